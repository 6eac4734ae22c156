//! Why an image is not rewritten.

use std::fmt;

use keycell_diagnostic::hint::{ImageHint, LayerFlag};

/// Why an image is not rewritten.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Layers that would stay readable.
    #[error("cannot encrypt {0}")]
    CannotEncrypt(Few<Named>),
    /// Layers that would stay encrypted.
    #[error("cannot decrypt {0}")]
    CannotDecrypt(Few<Named>),
    /// A layer that is encrypted already, and no key.
    #[error("this layer is encrypted already")]
    EncryptedAlready,
    /// No layer is encrypted.
    #[error("no layer of this image is encrypted")]
    NothingEncrypted,
    /// No layer is chosen: a platform is misspelt, or a number is too high.
    #[error("no layer is chosen by {0}")]
    NothingChosen(Few<String>),
    /// The image has no layer.
    #[error("the image has no layer")]
    NoLayer,
    /// The image has no layer.
    #[error("the manifest `{digest}` has no layers{reason}")]
    NoLayers {
        /// Its digest.
        digest: String,
        /// What it has instead, if that is known.
        reason: &'static str,
    },
    /// Manifests that the index lists, and that are not there.
    #[error("the index lists {0}, and the source does not have {them}", them = if .0.all.len() == 1 { "it" } else { "them" })]
    NotThere(Few<String>),
    /// The key does not open the layer.
    #[error("{NOT_OPENED}")]
    NotOpened(#[source] ocicrypt::layer::LayerError),
    /// The layer changed between two reads.
    #[error("the layer changed while it was read")]
    Changed,
    /// The password and the archive on standard input.
    #[error("standard input cannot have both the password and the archive")]
    StandardInputTwice,
    /// One password for two registries.
    #[error("`--username` is for one registry, and there are two: `{first}` and `{second}`")]
    LoginForTwo {
        /// The registry of the source.
        first: String,
        /// The registry of the destination.
        second: String,
    },
}

const NOT_OPENED: &str = "the key of this layer does not open it, so no recipient could: the image was altered \
    or, where the wrapped key is not authenticated (CMS with CBC), the keys are the wrong ones";

impl ImageError {
    /// What mends it.
    pub fn hint(&self) -> Option<ImageHint> {
        Some(match self {
            Self::CannotEncrypt(named) => {
                let is_attestation = named.all.iter().any(|named| named.is_attestation);
                ImageHint::LeaveReadable { layers: named.flags(), is_attestation }
            }
            Self::CannotDecrypt(named) => ImageHint::LeaveEncrypted(named.flags()),
            Self::EncryptedAlready => ImageHint::AddRecipients,
            Self::NothingEncrypted | Self::NothingChosen(_) | Self::NoLayer => ImageHint::Inspect,
            Self::NotThere(_) => ImageHint::ChoosePlatform,
            Self::LoginForTwo { .. } | Self::StandardInputTwice => ImageHint::AuthFile,
            Self::NoLayers { .. } | Self::NotOpened(_) | Self::Changed => return None,
        })
    }
}

/// A layer in a message.
#[derive(Debug)]
pub struct Named {
    /// Where it is, such as `layer 1 of linux/amd64`.
    pub place: String,
    /// Its number in the manifest, counted from 1.
    pub number: usize,
    /// Its media type, sanitized for a message.
    pub media_type: String,
    /// Whether it is in an attestation.
    pub is_attestation: bool,
    /// Why it is not done, if the media type does not say it.
    pub reason: Option<&'static str>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, media_type, reason, .. } = self;
        write!(f, "{place} (`{media_type}`")?;
        if let Some(reason) = reason {
            write!(f, ", {reason}")?;
        }
        f.write_str(")")
    }
}

/// A list, of which a message names the first few.
#[derive(Debug)]
pub struct Few<T> {
    all: Vec<T>,
}

impl<T> Few<T> {
    /// A list of these.
    pub fn of(all: Vec<T>) -> Self {
        Self { all }
    }
}

impl Few<Named> {
    /// What names these layers in a flag: the media type of each if it is one that can be typed, and else
    /// its number. Each stands only once.
    fn flags(&self) -> Vec<LayerFlag> {
        let mut flags = Vec::new();
        for Named { number, media_type, .. } in &self.all {
            let flag = match is_plain(media_type) {
                true => LayerFlag::MediaType(media_type.clone()),
                false => LayerFlag::Number(*number),
            };
            if !flags.contains(&flag) {
                flags.push(flag);
            }
        }
        flags
    }
}

/// Whether this is a media type of RFC 6838 without what a shell reads as something else. What was
/// sanitized or cut is none.
fn is_plain(media_type: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-^_.+".contains(&byte))
    };
    media_type.split_once('/').is_some_and(|(first, second)| is_name(first) && is_name(second))
}

impl<T: fmt::Display> fmt::Display for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (index, one) in self.all.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{one}")?;
        }
        match self.all.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}
