//! Messages about why containerd's content store cannot be used.

use std::io;
use std::path::PathBuf;

use keycell_diagnostic::hint::DecoderHint;
use keycell_diagnostic::{Diagnostic, os_error};

use crate::report::failure::{Ending, Failure};

use super::ROOTS;
use super::digest::Digest;

/// A bound of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bound {
    /// The time of the search.
    #[error("was not searched completely in 20 seconds")]
    Time,
    /// The number of blobs in a store.
    #[error("has more than 262144 blobs")]
    Blobs,
    /// The bytes that are read to find manifests.
    #[error("has more than 256 MiB of JSON")]
    Json,
    /// The number of blobs that are compared with the layer.
    #[error("has manifests that name more than 65536 other layers")]
    Compared,
    /// The number of blobs that begin as the layer does.
    #[error("has more than 64 layers that begin like this one")]
    Alike,
    /// The number of manifests.
    #[error("has more than 256 manifests with wrapped keys")]
    Manifests,
    /// The size of all manifests together.
    #[error("has more than 16 MiB of manifests with wrapped keys")]
    ManifestBytes,
}

/// Why the content store cannot be used when there is no payload either.
///
/// In this case, Go ctd-decoder says `type with url : not found` or `bad file descriptor`.
#[derive(Debug, thiserror::Error)]
#[error("containerd passed no payload on descriptor 3, {}", .0)]
pub struct NoPayload(ContentStoreError);

/// Why the content store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContentStoreError {
    /// The operator has turned it off.
    #[error("and its content store is not to be looked at")]
    Off,
    /// There is no content store at any of the usual places.
    #[error("and there is no content store at containerd's usual places")]
    Absent,
    /// The configured path is not a content store.
    #[error("and `{}` is no content store", path.display())]
    Other {
        /// The configured path.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("and its content store `{}` cannot be read: {}", root.display(), os_error(error))]
    Closed {
        /// The store.
        root: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A blob in it, or the list of its blobs, cannot be read.
    #[error("and {} in its content store `{store}` cannot be read: {}", what(.blob.as_ref()), os_error(error))]
    Unreadable {
        /// The store.
        store: String,
        /// The blob; `None` if it is the list of blobs.
        blob: Option<Digest>,
        /// Why.
        error: io::Error,
    },
    /// None of its blobs is the manifest of an encrypted layer.
    #[error(
        "and none of {blobs} blobs in its content store `{stores}` is the manifest of an encrypted \
         image"
    )]
    Bare {
        /// The stores, as messages name them.
        stores: String,
        /// How many blobs they hold.
        blobs: usize,
    },
    /// The search reached a bound, so a manifest may have been left out.
    #[error(
        "and its content store `{stores}` {bound}{}: the right manifest may be one that was not \
         looked at, so no other one is used",
        of_which(*bound, *has_layer)
    )]
    Unfinished {
        /// The stores, as messages name them.
        stores: String,
        /// The bound.
        bound: Bound,
        /// Whether a blob was found that begins as the layer does.
        has_layer: bool,
        /// Some of the manifests, if there are too many of them.
        manifests: Vec<Digest>,
    },
}

fn what(blob: Option<&Digest>) -> String {
    match blob {
        Some(digest) => format!("the blob `{}…`", digest.short()),
        None => "the list of blobs".to_owned(),
    }
}

/// Says for which layer there are too many manifests.
fn of_which(bound: Bound, has_layer: bool) -> &'static str {
    match bound {
        Bound::Manifests | Bound::ManifestBytes if has_layer => " for this layer",
        Bound::Manifests | Bound::ManifestBytes => " of encrypted layers, and not this layer",
        _ => "",
    }
}

impl ContentStoreError {
    fn hint(&self) -> DecoderHint {
        match self {
            Self::Off => DecoderHint::ContentStoreOff,
            Self::Absent => DecoderHint::ContentStoreAbsent { roots: &ROOTS },
            Self::Other { .. } => DecoderHint::ContentStoreIsOther,
            Self::Closed { .. } => DecoderHint::ContentStoreClosed,
            Self::Unreadable { .. } => DecoderHint::ContentStoreUnreadable,
            Self::Bare { .. } => DecoderHint::ContentStoreBare,
            Self::Unfinished { bound, .. } => match bound {
                Bound::Time => DecoderHint::SlowContentStore,
                Bound::Blobs | Bound::Json | Bound::Compared => DecoderHint::RemoveUnneededImages,
                Bound::Alike => DecoderHint::RemoveImitations,
                Bound::Manifests | Bound::ManifestBytes => DecoderHint::RemoveUntrustedImages,
            },
        }
    }
}

impl From<ContentStoreError> for Ending {
    fn from(error: ContentStoreError) -> Self {
        let hint = error.hint();
        let manifests = match &error {
            ContentStoreError::Unfinished { manifests, .. } if !manifests.is_empty() => {
                vec![manifests.iter().map(ToString::to_string).collect()]
            }
            _ => Vec::new(),
        };
        let mut hints = vec![hint.into()];
        if manifests.is_empty() {
            hints.push(DecoderHint::PassPayload { or: true }.into());
        } else {
            hints.extend(ambiguous().map(Into::into));
        }
        let diagnostic = Diagnostic { message: NoPayload(error).to_string(), hints };
        Failure { manifests, ..diagnostic.into() }.into()
    }
}

/// Hints on how to find out which image is hostile, and how to remove it.
pub fn ambiguous() -> [DecoderHint; 3] {
    [
        DecoderHint::FindImagesOfManifests,
        DecoderHint::RemoveUntrustedImage,
        DecoderHint::PayloadIsNeverAmbiguous,
    ]
}
