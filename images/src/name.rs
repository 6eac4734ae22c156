//! The names of images, in the form of skopeo: a transport, a colon, and a place.

use std::fmt;
use std::path::PathBuf;

use keycell_diagnostic::hint::ImageHint;

use crate::archive::{self, ArchiveFile};
use crate::error::Result;
use crate::layout;
use crate::place::{Source, Target};
use crate::registry::{self, Options, Reference};

/// The name of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// `docker://[HOST/]REPOSITORY[:TAG|@DIGEST]`.
    Registry(Reference),
    /// `oci:DIR[:NAME|@INDEX|@DIGEST]`.
    Layout {
        /// The directory of the layout.
        directory: PathBuf,
        /// Which image of it.
        choice: Choice,
    },
    /// `oci-archive:FILE[:NAME|@INDEX|@DIGEST]`; a FILE of `-` is standard input or output.
    OciArchive {
        /// The archive.
        file: ArchiveFile,
        /// Which image of it.
        choice: Choice,
    },
    /// `docker-archive:FILE[:NAME|@INDEX]`, as a source only.
    DockerArchive {
        /// The archive.
        file: ArchiveFile,
        /// Which image of it.
        choice: Choice,
    },
}

/// Which image of a layout or of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The only one.
    Only,
    /// The one with this name.
    Named(String),
    /// By its place in the list, counted from 0.
    Index(usize),
    /// The one with this digest.
    Digest(String),
}

/// Why a name is none.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// No transport, or one that is not supported.
    #[error("`{0}` does not name an image")]
    Transport(String),
}

impl NameError {
    /// What mends it.
    pub fn hint(&self) -> Option<ImageHint> {
        None
    }
}

impl Name {
    /// Whether a name begins with one of the transports that there are.
    pub fn has_transport(name: &str) -> bool {
        ["docker://", "oci:", "oci-archive:", "docker-archive:"]
            .iter()
            .any(|transport| name.starts_with(transport))
    }

    /// Parses a name.
    ///
    /// # Errors
    /// A name without a transport, or of one that is not supported.
    pub fn parse(name: &str) -> Result<Self> {
        let rest =
            name.strip_prefix("oci:").ok_or_else(|| NameError::Transport(name.to_owned()))?;
        let (directory, choice) = match rest.split_once(':') {
            Some((directory, name)) => (directory, Choice::Named(name.to_owned())),
            None => (rest, Choice::Only),
        };
        Ok(Self::Layout { directory: directory.into(), choice })
    }

    /// Opens the image that has this name.
    ///
    /// # Errors
    /// No such image.
    pub fn open(&self, options: &Options) -> Result<Box<dyn Source>> {
        match self {
            Self::Registry(reference) => registry::open(reference, options),
            Self::Layout { directory, choice } => layout::open(directory, choice),
            Self::OciArchive { file, choice } => archive::open_oci(file, choice),
            Self::DockerArchive { file, choice } => archive::open_docker(file, choice),
        }
    }

    /// Prepares a place for an image of this name. Without `replace`, an image that has the name
    /// already is an error.
    ///
    /// # Errors
    /// A place that cannot be written to, or that has such an image.
    pub fn create(&self, options: &Options, replace: bool) -> Result<Box<dyn Target>> {
        match self {
            Self::Registry(reference) => registry::create(reference, options, replace),
            Self::Layout { directory, choice } => layout::create(directory, choice, replace),
            Self::OciArchive { file, choice } => archive::create_oci(file, choice, replace),
            Self::DockerArchive { .. } => Err(NameError::Transport(self.to_string()).into()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "docker://{reference}"),
            Self::Layout { directory, choice } => write!(f, "oci:{}{choice}", directory.display()),
            Self::OciArchive { file, choice } => write!(f, "oci-archive:{file}{choice}"),
            Self::DockerArchive { file, choice } => write!(f, "docker-archive:{file}{choice}"),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => Ok(()),
            Self::Named(name) => write!(f, ":{name}"),
            Self::Index(index) => write!(f, "@{index}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}
