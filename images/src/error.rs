//! Why an image cannot be read or written.

mod archive;
mod name;

use std::fmt;
use std::io;
use std::path::PathBuf;

use keycell_diagnostic::hint::ImageHint;
use keycell_diagnostic::os_error;

use crate::registry::RegistryError;

pub use archive::{ArchiveError, Compression, EntryProblem, Stream};
pub use name::NameError;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an image cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name of an image.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A digest that is malformed.
    #[error("`{0}` is not a digest")]
    NotADigest(String),
    /// A digest of another algorithm.
    #[error("`{0}` is a digest of another algorithm than SHA-256, the only one that is supported")]
    OtherAlgorithm(String),
    /// A descriptor without a digest.
    #[error("a descriptor has no digest")]
    NoDigest,
    /// A blob with other bytes than its descriptor says.
    #[error("a blob was altered: `{wanted}` is `{found}`")]
    Altered {
        /// The digest in the descriptor.
        wanted: String,
        /// The digest of the bytes.
        found: String,
    },
    /// A blob that is longer or shorter than its descriptor says.
    #[error("a blob was altered: `{wanted}` has {found} bytes, and its descriptor says {size}")]
    Size {
        /// The digest in the descriptor.
        wanted: String,
        /// The length in the descriptor, in bytes.
        size: u64,
        /// The length that was found, in bytes.
        found: u64,
    },
    /// A document that is longer than 16 MiB.
    #[error("`{0}` is longer than 16 MiB")]
    TooLong(String),
    /// A document that is not JSON.
    #[error("`{shown}` is not JSON: {error}")]
    NotJson {
        /// Its path or digest.
        shown: String,
        /// Why it is not.
        error: serde_json::Error,
    },
    /// JSON that is no such document.
    #[error("`{shown}` is malformed: {error}")]
    Malformed {
        /// Its path or digest.
        shown: String,
        /// Why it is.
        error: serde_json::Error,
    },
    /// Indexes in indexes in indexes.
    #[error("image indexes are nested too deeply")]
    NestedTooDeeply,
    /// More manifests and indexes than an image has.
    #[error(
        "the image has more than {most} manifests and indexes, or more than {bytes} bytes of them"
    )]
    TooManyDocuments {
        /// How many it may have.
        most: usize,
        /// How long they may be together, in bytes.
        bytes: usize,
    },
    /// A file or a blob that cannot be read.
    #[error("cannot read `{shown}`: {}", os_error(.error))]
    Read {
        /// Its path or digest.
        shown: String,
        /// Why it cannot.
        error: io::Error,
    },
    /// A directory or file that cannot be written.
    #[error("cannot write to `{}`: {}", .path.display(), os_error(.error))]
    Write {
        /// Its path.
        path: PathBuf,
        /// Why it cannot.
        error: io::Error,
    },
    /// A directory that is not empty and holds no layout.
    #[error("`{}` is there and is no OCI image layout", .0.display())]
    NoLayout(PathBuf),
    /// A layout or an archive has no such image, or several.
    #[error("`{name}` names {}", Images(*.count))]
    HowMany {
        /// The name as it was given.
        name: String,
        /// How many images it names.
        count: usize,
        /// What names one image.
        others: Vec<String>,
    },
    /// The destination has an image of this name.
    #[error("`{name}` is there already")]
    Exists {
        /// The name as it was given.
        name: String,
    },
}

impl Error {
    /// The error of this crate that is inside of an input/output error, as [`Verified`] and the blobs of
    /// registries make them, or else what `otherwise` makes.
    ///
    /// [`Verified`]: crate::Verified
    pub fn from_io(error: io::Error, otherwise: impl FnOnce(io::Error) -> Self) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => otherwise(error),
        }
    }

    /// Whether the registry has forgotten the upload of a blob, which can be written again.
    pub fn is_lost_upload(&self) -> bool {
        matches!(self, Self::Registry(RegistryError::UploadLost { .. }))
    }

    /// Whether a blob is not there, as opposed to one that cannot be read.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Read { error, .. } => error.kind() == io::ErrorKind::NotFound,
            Self::Registry(error) => matches!(error, RegistryError::NoBlob { .. }),
            Self::Archive(error) => error.is_not_found(),
            _ => false,
        }
    }

    /// What mends it.
    pub fn hint(&self) -> Option<ImageHint> {
        match self {
            Self::Name(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::HowMany { others, .. } => Some(ImageHint::WhichImage(others.clone())),
            Self::NoLayout(_) => Some(ImageHint::OtherDestination),
            Self::Exists { .. } => Some(ImageHint::Force),
            _ => None,
        }
    }
}

/// A number of images, in words.
struct Images(usize);

impl fmt::Display for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no image"),
            1 => f.write_str("one image"),
            count => write!(f, "{count} images"),
        }
    }
}
