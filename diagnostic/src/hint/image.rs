//! Hints about images, wherever they are.

use std::fmt;

/// Why an image cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageHint {
    /// A layout or an archive has several images, or none of this name.
    WhichImage,
    /// The destination has an image of this name.
    Force,
    /// Layers would stay readable.
    LeaveReadable {
        /// The media type of the first of them, sanitized for a message.
        media_type: String,
    },
    /// Layers would stay encrypted.
    LeaveEncrypted {
        /// The media type of the first of them, sanitized for a message.
        media_type: String,
    },
    /// A layer is encrypted already.
    AddRecipients,
    /// The image has other layers.
    Inspect,
    /// The source does not have all that the index lists.
    ChoosePlatform,
    /// One login for two registries.
    AuthFile,
}

impl fmt::Display for ImageHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaveReadable { media_type } => return leave_readable(f, media_type),
            Self::LeaveEncrypted { media_type } => {
                return write!(f, "`--allow-encrypted {media_type}` leaves it as it is");
            }
            Self::AddRecipients => ADD_RECIPIENTS,
            Self::Inspect => INSPECT,
            Self::ChoosePlatform => CHOOSE_PLATFORM,
            Self::AuthFile => AUTH_FILE,
            Self::WhichImage => WHICH_IMAGE,
            Self::Force => FORCE,
        })
    }
}

const WHICH_IMAGE: &str = "`keycell inspect oci:DIR@0` takes the first image of the layout `DIR`, \
    `oci:DIR@1` the second, `oci:DIR:NAME` the one of this name, and `oci:DIR@sha256:…` the one of this digest";
const FORCE: &str = "`--force` replaces it; another name keeps both";
const ADD_RECIPIENTS: &str = "with `--keys` and a key that opens it, the recipients are added";
const INSPECT: &str = "`keycell inspect` lists the layers";
const CHOOSE_PLATFORM: &str =
    "`--platform` chooses among those that are there, and `--prune` leaves the others out";
const AUTH_FILE: &str = "`docker login` or `skopeo login` keeps a password for each registry, and `--authfile` names their file";

fn leave_readable(f: &mut fmt::Formatter<'_>, media_type: &str) -> fmt::Result {
    if media_type == IN_TOTO {
        f.write_str("`--drop-attestations` leaves attestations out; ")?;
    }
    write!(
        f,
        "`--allow-unencrypted {media_type}` leaves it readable; `--media-type {media_type}` encrypts it for \
         `keycell decrypt` alone"
    )
}

/// The media type of the statements in attestations.
const IN_TOTO: &str = "application/vnd.in-toto+json";
