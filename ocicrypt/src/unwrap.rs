//! From a payload to the key of its layer.

mod failure;
mod jwe;
mod pgp;
mod pkcs11;
mod pkcs7;
mod provider;
mod reason;
mod scheme;

use rsa::rand_core::TryCryptoRng;

use crate::algorithms::Algorithm;
use crate::bounds::Bounds;
use crate::broker::{Broker, NoBroker};
use crate::crypto::layer::LayerKey;
use crate::format::annotation::{self, PUBLIC_OPTIONS, Scheme};
use crate::format::media_type::{self, UnsupportedMediaType};
use crate::format::options::{OptionsError, PublicOptions};
use crate::format::payload::Payload;
use crate::keyring::{KeyRing, NamedKey, NamedPgpKey};

use self::failure::Joined;
pub use self::failure::{Outcome, SchemeFailure, TriedKeys};
pub use self::reason::{Reason, Remedy};
use self::scheme::{Found, Input, SchemeSearch, Stage, Tools};

/// [`unwrap_with`] without a token or a key provider.
///
/// # Errors
/// Every [`UnwrapError`].
pub fn unwrap<R: TryCryptoRng + ?Sized>(
    payload: &Payload,
    ring: &KeyRing,
    rng: &mut R,
) -> Result<LayerKey, UnwrapError> {
    unwrap_with(payload, ring, &mut NoBroker, rng).map(|opened| opened.key)
}

/// The key of a layer, and what it was opened with.
pub struct Opened {
    /// The key of the layer.
    pub key: LayerKey,
    /// How it was wrapped.
    pub scheme: Scheme,
    /// What opened it.
    pub by: OpenedBy,
    /// Whether the wrapped key was authenticated. If not, whether it was opened is unknown until
    /// the layer has been verified: where nothing came out of it, the layer key is a made-up one.
    pub is_authenticated: bool,
    /// The algorithms that it was wrapped with, from the outermost inwards. None where a key
    /// provider unwrapped it: how is known to the provider alone.
    pub algorithms: Vec<Algorithm>,
}

/// What opened a wrapped key, in words for a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedBy {
    /// The name of the key's file, or `privkeys[0]` and so on for keys of the payload; the URI of a
    /// key in a token; the name of a key provider. Fit to be shown.
    pub name: String,
    /// The fingerprint of the key, if it is known here: `SHA256:…`, or `OpenPGP …`.
    pub fingerprint: Option<String>,
}

impl From<&NamedKey> for OpenedBy {
    fn from(key: &NamedKey) -> Self {
        let fingerprint = Some(key.fingerprint().to_string());
        Self { name: key.name().to_owned(), fingerprint }
    }
}

impl From<&NamedPgpKey> for OpenedBy {
    fn from(key: &NamedPgpKey) -> Self {
        let fingerprint = Some(format!("OpenPGP {}", key.key().fingerprint()));
        Self { name: key.name().to_owned(), fingerprint }
    }
}

/// [`unwrap_within`] the default bounds: every algorithm, and the budget of one layer.
///
/// # Errors
/// Every [`UnwrapError`].
pub fn unwrap_with<R: TryCryptoRng + ?Sized>(
    payload: &Payload,
    ring: &KeyRing,
    broker: &mut dyn Broker,
    rng: &mut R,
) -> Result<Opened, UnwrapError> {
    unwrap_within(payload, ring, broker, &mut Bounds::default(), rng)
}

/// Opens the first wrapped key that can be opened, and puts the key of the layer together.
///
/// Schemes are tried in the order of [`Scheme`], within a scheme the wrapped keys in their order,
/// and for each the keys that it names before the others. Keys that are encrypted are opened one
/// after the other when all others were tried; tokens and key providers come last. A wrapped key
/// that opens, but holds nothing useful, does not end the search: anyone can make one.
///
/// Wrapped keys that are not authenticated (CMS with CBC) come after all others, and are not known
/// to be opened: see [`Opened::is_authenticated`].
///
/// The digest that is sealed with the key of a compressed layer is not compared: podman, buildah and
/// skopeo, where they compress a layer and encrypt it in one go, as they do with layers of a local
/// store, seal that of the blob from before. Go ctd-decoder compares no digest; Keycell those of
/// layers that are not compressed.
///
/// What the search costs is paid from `bounds`, which may serve several searches. Go ctd-decoder
/// has no bound. The random numbers blind private-key operations.
///
/// # Errors
/// Every [`UnwrapError`].
pub fn unwrap_within<R: TryCryptoRng + ?Sized>(
    payload: &Payload,
    ring: &KeyRing,
    broker: &mut dyn Broker,
    bounds: &mut Bounds,
    rng: &mut R,
) -> Result<Opened, UnwrapError> {
    let plain = media_type::plain(&payload.descriptor.media_type)?;
    let annotations = &payload.descriptor.annotations;
    let schemes = annotation::wrapped_keys(annotations);
    if schemes.is_empty() {
        return Err(UnwrapError::NotEncrypted);
    }
    let public = annotations.get(PUBLIC_OPTIONS).filter(|value| !value.is_empty());
    let public = public.ok_or(OptionsError::NoPublicOptions)?;
    let public = PublicOptions::of_annotation(public)?;
    let mut searches = Vec::new();
    for wrapped in &schemes {
        let input = Input { wrapped, public: &public, ring, parameters: &payload.parameters };
        searches.push((&wrapped.scheme, search(input)));
    }
    let Some((scheme, found)) = open(&mut searches, ring, &mut Tools { bounds, broker, rng })
    else {
        let failures = searches.into_iter().map(|(_, search)| search.failure()).collect();
        return Err(UnwrapError::NoKeyOpened { failures });
    };
    let key = found.key.with_length(payload.descriptor.length());
    let is_compressed = media_type::is_compressed(plain);
    let key = if is_compressed { key.with_digest_of_any_blob() } else { key };
    let Found { by, algorithms, is_authenticated, .. } = found;
    Ok(Opened { key, scheme: scheme.clone(), by, is_authenticated, algorithms })
}

/// A search for the wrapped keys of a scheme.
fn search<'a, R: TryCryptoRng + ?Sized>(input: Input<'a>) -> Box<dyn SchemeSearch<'a, R> + 'a> {
    match &input.wrapped.scheme {
        Scheme::Jwe => Box::new(jwe::Search::new(input)),
        Scheme::Pkcs7 => Box::new(pkcs7::Search::new(input)),
        Scheme::Pgp => Box::new(pgp::Search::new(input)),
        Scheme::Pkcs11 => Box::new(pkcs11::Search::new(input)),
        Scheme::Provider(name) => Box::new(provider::Search::new(input, name)),
    }
}

/// A search for each scheme of a layer.
type Searches<'a, R> = [(&'a Scheme, Box<dyn SchemeSearch<'a, R> + 'a>)];

/// Passes all stages of the search. Keys that are closed are opened one after the other, when those
/// that are open have been tried, and each is tried at once.
fn open<'a, R: ?Sized>(
    searches: &mut Searches<'a, R>,
    ring: &'a KeyRing,
    tools: &mut Tools<'_, R>,
) -> Option<(&'a Scheme, Found)> {
    for stage in [Stage::OpenKeys, Stage::LockedPgpKeys] {
        if let Some(found) = pass(searches, stage, tools) {
            return Some(found);
        }
    }
    let mut is_complete = true;
    for place in ring.closed() {
        if !searches.iter().any(|(_, search)| search.takes_keys()) {
            break;
        }
        match ring.open(place, &mut tools.bounds.budget) {
            Ok(Some(key)) => {
                if let Some(found) = pass(searches, Stage::NextKey(key), tools) {
                    return Some(found);
                }
            }
            Ok(None) => {}
            Err(_) => is_complete = false, // another may cost less
        }
    }
    if !is_complete {
        searches.iter_mut().for_each(|(_, search)| search.give_up());
    }
    let last = [Stage::Broker, Stage::Unauthenticated];
    last.into_iter().find_map(|stage| pass(searches, stage, tools))
}

/// Passes one stage of the search: scheme by scheme.
fn pass<'a, R: ?Sized>(
    searches: &mut Searches<'a, R>,
    stage: Stage<'a>,
    tools: &mut Tools<'_, R>,
) -> Option<(&'a Scheme, Found)> {
    searches.iter_mut().find_map(|(scheme, search)| Some((*scheme, search.attempt(stage, tools)?)))
}

impl UnwrapError {
    /// Whether the keys that are there might open a wrapped key after all: see
    /// [`SchemeFailure::is_undecided`].
    pub fn is_undecided(&self) -> bool {
        match self {
            Self::NoKeyOpened { failures } => failures.iter().any(SchemeFailure::is_undecided),
            _ => false,
        }
    }
}

/// Why no layer key came out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// The media type is none that an encrypted layer has.
    #[error(transparent)]
    MediaType(#[from] UnsupportedMediaType),
    /// There is no annotation with a wrapped key.
    #[error("the layer has no annotation with a wrapped key (`{}…`)", annotation::KEYS_PREFIX)]
    NotEncrypted,
    /// The public options are missing or of no use.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// No wrapped key could be opened.
    #[error("no wrapped key could be opened: {}", Joined(failures))]
    NoKeyOpened {
        /// What was tried, a scheme each.
        failures: Vec<SchemeFailure>,
    },
}
