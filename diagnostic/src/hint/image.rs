//! Hints about images, wherever they are.

use std::fmt;

/// Why an image cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageHint {
    /// A layout or an archive has several images, or none of this name.
    WhichImage,
    /// The destination has an image of this name.
    Force,
}

impl fmt::Display for ImageHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WhichImage => WHICH_IMAGE,
            Self::Force => FORCE,
        })
    }
}

const WHICH_IMAGE: &str = "`keycell inspect oci:DIR@0` takes the first image of the layout `DIR`, \
    `oci:DIR@1` the second, `oci:DIR:NAME` the one of this name, and `oci:DIR@sha256:…` the one of this digest";
const FORCE: &str = "`--force` replaces it; another name keeps both";
