//! The digests that name the blobs of a content store.

use std::fmt;

/// The algorithms of the digests that blobs are named after, and how many hexadecimal digits each has.
pub(super) const ALGORITHMS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];

/// The digest of a blob, as manifests write it: `sha256:` and 64 lower-case hexadecimal digits, for
/// example.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Box<str>);

impl Digest {
    /// The digest at the beginning of `text`, if there is one.
    pub(super) fn at_start_of(text: &[u8]) -> Option<Self> {
        let (algorithm, digits) = ALGORITHMS.into_iter().find_map(|(name, length)| {
            let digits = text.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
            Some((name, digits.get(..length)?))
        })?;
        Self::new(algorithm, digits)
    }

    /// A short form for messages, long enough to tell it from others.
    pub(super) fn short(&self) -> &str {
        &self.0[..self.0.len().min("sha256:".len() + 12)]
    }

    /// The digest of a blob with the file name `name` in the directory of `algorithm`.
    pub(super) fn of_file(algorithm: &str, name: &[u8]) -> Option<Self> {
        let (_, digits) = ALGORITHMS.into_iter().find(|(known, _)| *known == algorithm)?;
        Self::new(algorithm, name).filter(|_| name.len() == digits)
    }

    fn new(algorithm: &str, digits: &[u8]) -> Option<Self> {
        let is_hex = digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
        Some(Self(format!("{algorithm}:{digits}").into()))
    }

    /// Algorithm and digits.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or_default()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
