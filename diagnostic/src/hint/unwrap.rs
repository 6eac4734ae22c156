//! What mends an image that no key opens.

use std::fmt;

/// A cause that a person can mend.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnwrapHint {
    /// The image is damaged: no key helps.
    Damaged,
}

impl fmt::Display for UnwrapHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("pull the image again"),
        }
    }
}
