//! Why the name of an image is none.

use keycell_diagnostic::hint::{ImageHint, TransportHint};

/// Why the name of an image is none.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// An empty name.
    #[error("the name of the image is empty")]
    Empty,
    /// A name that begins with no transport, or with an unknown one.
    #[error(
        "`{name}` does not begin with a transport, which is `docker://`, `oci:`, `oci-archive:` or `docker-archive:`"
    )]
    NoTransport {
        /// The name.
        name: String,
        /// What it may have been meant for.
        suggestion: Option<String>,
    },
    /// A transport of skopeo that is not supported.
    #[error(
        "the transport `{transport}:` is not supported: name an image by `docker://`, `oci:`, `oci-archive:` or `docker-archive:`"
    )]
    Unsupported {
        /// The transport, without its colon.
        transport: &'static str,
        /// How to get at such an image.
        hint: TransportHint,
    },
    /// A transport with nothing behind it.
    #[error("`{name}` names no {place}")]
    NoPlace {
        /// The name.
        name: String,
        /// What it should name.
        place: &'static str,
    },
    /// `oci:-`.
    #[error(
        "`{0}` names a layout, which is a directory: only archives can be read from standard input or written to standard output"
    )]
    NoStream(String),
    /// The name of an image in a layout that the image specification does not allow.
    #[error("`{0}` is not a valid name of an image")]
    Invalid(String),
    /// An index that is no number.
    #[error("`{0}` is not an index: an index is a number, counted from 0")]
    NotAnIndex(String),
    /// A digest where only a tag or an index is possible.
    #[error(
        "`{0}` has a digest, and `docker save` writes none: name the image by its tag or its index"
    )]
    DigestOfDockerArchive(String),
    /// `docker-archive:` as a destination.
    #[error("`{0}` is a destination, and `docker-archive:` can only be read")]
    ReadOnly(String),
    /// A destination that is named by its place in a list, or by a digest.
    #[error("`{0}` has an index or a digest, and a destination has a name or none")]
    NotADestination(String),
}

impl NameError {
    /// A transport with nothing behind it.
    pub(crate) fn no_place(name: &str, place: &'static str) -> Self {
        Self::NoPlace { name: name.escape_debug().to_string(), place }
    }

    /// What mends it.
    pub fn hint(&self) -> Option<ImageHint> {
        match self {
            Self::NoTransport { suggestion: Some(name), .. } => {
                Some(ImageHint::Suggestion(name.clone()))
            }
            Self::Unsupported { hint, .. } => Some(ImageHint::Transport(hint.clone())),
            Self::NoStream(_) => Some(ImageHint::ArchiveStream),
            Self::Invalid(_) => Some(ImageHint::ValidName),
            Self::NotAnIndex(_) | Self::DigestOfDockerArchive(_) => None,
            Self::ReadOnly(_) => Some(ImageHint::WritableTransports),
            Self::NotADestination(_) => Some(ImageHint::DestinationName),
            Self::Empty | Self::NoTransport { .. } | Self::NoPlace { .. } => {
                Some(ImageHint::Transports)
            }
        }
    }
}
