//! Messages about why containerd's content store cannot be used.

use std::io;
use std::path::PathBuf;

use keycell_content_store::{PlacesError, USUAL_ROOTS, Unknown};
use keycell_diagnostic::hint::DecoderHint;
use keycell_diagnostic::{Diagnostic, os_error};

use crate::report::failure::{Ending, Failure};

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
    /// There is no store, or one that cannot be opened.
    #[error("and {0}")]
    Places(#[from] PlacesError),
    /// A blob in it, or the list of its blobs, cannot be read.
    #[error("and {} in its content store `{}` cannot be read: {}", what(.blob.as_ref()), store.display(), os_error(error))]
    Unreadable {
        /// The store.
        store: PathBuf,
        /// The blob; `None` if it is the list of blobs.
        blob: Option<Digest>,
        /// Why.
        error: io::Error,
    },
    /// None of its blobs is the manifest of an encrypted layer.
    #[error(
        "and none of {blobs} blobs in its content store {} is the manifest of an encrypted image",
        listed(stores)
    )]
    Bare {
        /// The stores.
        stores: Vec<PathBuf>,
        /// How many blobs they hold.
        blobs: usize,
        /// Why the containerd that calls is not known.
        unknown: Option<Unknown>,
    },
    /// The search reached a bound, so a manifest may have been left out.
    #[error(
        "and its content store {} {bound}{}: the right manifest may be one that was not looked at, \
         so no other one is used",
        listed(stores),
        of_which(*bound, *has_layer)
    )]
    Unfinished {
        /// The stores.
        stores: Vec<PathBuf>,
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

/// The paths of stores, as messages name them.
pub(super) fn listed(stores: &[PathBuf]) -> String {
    let names = stores.iter().map(|store| format!("`{}`", store.display()));
    names.collect::<Vec<_>>().join(", ")
}

impl ContentStoreError {
    /// What mends it, the likeliest first.
    fn hints(&self) -> Vec<DecoderHint> {
        match self {
            Self::Places(PlacesError::Off) => vec![DecoderHint::ContentStoreOff],
            Self::Places(PlacesError::Absent { of_caller, unknown }) => {
                let usual = USUAL_ROOTS.iter().map(ToString::to_string);
                let of_caller = of_caller.iter().map(|store| store.display().to_string());
                let looked_at = of_caller.chain(usual).collect();
                with_caller(DecoderHint::ContentStoreAbsent { looked_at }, unknown.as_ref())
            }
            Self::Places(PlacesError::Other { unknown, .. }) => {
                with_caller(DecoderHint::ContentStoreIsOther, unknown.as_ref())
            }
            Self::Places(PlacesError::Closed { .. }) => vec![DecoderHint::ContentStoreClosed],
            Self::Unreadable { .. } => vec![DecoderHint::ContentStoreUnreadable],
            Self::Bare { unknown: None, .. } => vec![DecoderHint::ContentStoreEmptied],
            Self::Bare { unknown, .. } => {
                with_caller(DecoderHint::ContentStoreBare, unknown.as_ref())
            }
            Self::Unfinished { bound, .. } => vec![match bound {
                Bound::Time => DecoderHint::SlowContentStore,
                Bound::Blobs | Bound::Json | Bound::Compared => DecoderHint::RemoveUnneededImages,
                Bound::Alike => DecoderHint::RemoveImitations,
                Bound::Manifests | Bound::ManifestBytes => DecoderHint::RemoveUntrustedImages,
            }],
        }
    }
}

/// Adds why the containerd that calls is not known.
fn with_caller(hint: DecoderHint, unknown: Option<&Unknown>) -> Vec<DecoderHint> {
    let unknown = unknown.map(|unknown| DecoderHint::CallerUnknown { why: unknown.to_string() });
    std::iter::once(hint).chain(unknown).collect()
}

impl From<ContentStoreError> for Ending {
    fn from(error: ContentStoreError) -> Self {
        let mut hints = error.hints();
        let manifests = match &error {
            ContentStoreError::Unfinished { manifests, stores, .. } if !manifests.is_empty() => {
                hints.extend(ambiguous(stores.clone()));
                vec![manifests.iter().map(ToString::to_string).collect()]
            }
            _ => {
                hints.push(DecoderHint::PassPayload { or: true });
                Vec::new()
            }
        };
        let hints = hints.into_iter().map(Into::into).collect();
        let diagnostic = Diagnostic { message: NoPayload(error).to_string(), hints };
        Failure { manifests, ..diagnostic.into() }.into()
    }
}

/// Hints on how to find out which image in `stores` is hostile, and how to remove it.
pub(super) fn ambiguous(stores: Vec<PathBuf>) -> [DecoderHint; 3] {
    [
        DecoderHint::FindImagesOfManifests { stores },
        DecoderHint::RemoveUntrustedImage,
        DecoderHint::PayloadIsNeverAmbiguous,
    ]
}
