//! Which image, of those that a layout or an archive has.

use std::fmt;
use std::path::PathBuf;

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

/// The file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveFile {
    /// Standard input, or standard output.
    Standard,
    /// A file.
    Path(PathBuf),
}

impl fmt::Display for ArchiveFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("-"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// The name of an image: a transport, a place, and a choice.
pub struct Chosen<'a, P>(pub &'a str, pub P, pub &'a Choice);

impl<P: fmt::Display> fmt::Display for Chosen<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(transport, place, choice) = self;
        let place = place.to_string();
        write!(f, "{transport}:{place}")?;
        match choice {
            // Without the colon, what follows the `@` would be an index.
            Choice::Only if split_index(&place).is_some() => f.write_str(":"),
            Choice::Only => Ok(()),
            Choice::Named(name) => write!(f, ":{name}"),
            Choice::Index(index) => write!(f, "@{index}"),
            Choice::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

/// Splits `PLACE@INDEX`.
pub fn split_index(text: &str) -> Option<(&str, &str)> {
    let (place, index) = text.rsplit_once('@')?;
    let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some((place, index))
}

/// Whether `org.opencontainers.image.ref.name` may have this value: alphanumeric characters, with one
/// separator or `--` between them, and slashes (OCI image specification, section "Annotations").
pub fn is_image_name(name: &str) -> bool {
    name.split('/').all(|component| {
        let component = component.as_bytes();
        let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let mut separators = component.split(u8::is_ascii_alphanumeric);
        alphanumeric(component.first())
            && alphanumeric(component.last())
            && separators.all(|separator| {
                matches!(separator, b"" | b"-" | b"." | b"_" | b":" | b"@" | b"+" | b"--")
            })
    })
}
