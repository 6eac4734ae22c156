//! Why a registry does not do what it is asked for.

use keycell_diagnostic::hint::ImageHint;

/// Why a registry does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A name that is none.
    #[error("`{name}` does not name an image in a registry: {part}")]
    Name {
        /// The name as it was given.
        name: String,
        /// Its part that is wrong.
        part: Part,
    },
    /// It cannot be reached.
    #[error("cannot reach `{0}`")]
    Unreachable(String),
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Part {
    /// The host or its port.
    #[error("the host is malformed")]
    Host,
    /// The path of the repository.
    #[error("the repository is malformed")]
    Repository,
    /// Upper-case letters in the path.
    #[error("a repository has no upper-case letters")]
    UpperCase,
    /// The tag.
    #[error("the tag is malformed")]
    Tag,
    /// The digest.
    #[error("the digest is not `sha256:` and 64 hexadecimal digits")]
    Digest,
    /// A tag and a digest.
    #[error("it has both a tag and a digest")]
    TagAndDigest,
    /// A name that is too long.
    #[error("it is longer than 255 characters")]
    Length,
}

impl RegistryError {
    /// What mends it.
    pub fn hint(&self) -> Option<ImageHint> {
        None
    }
}
