//! Unwraps the key of the layer of a payload.

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

/// Calls [`unwrap_with`] without tokens and key providers.
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

/// The key of a layer, and how it was unwrapped.
pub struct Opened {
    /// The key of the layer.
    pub key: LayerKey,
    /// How the key was wrapped.
    pub scheme: Scheme,
    /// What opened the wrapped key.
    pub by: OpenedBy,
    /// Whether the wrapped key was authenticated. If not, it is unknown whether it was opened until the
    /// layer has been verified: if it was not opened, the layer key is a made-up one.
    pub is_authenticated: bool,
    /// The algorithms that the key was wrapped with, from the outermost inwards. The list is empty if a
    /// key provider unwrapped it, because only the provider knows them.
    pub algorithms: Vec<Algorithm>,
}

/// What opened a wrapped key, as text for a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedBy {
    /// The name of the key's file, or `privkeys[0]` and so on for keys of the payload; the URI of a key
    /// in a token; or the name of a key provider. It is sanitized for messages.
    pub name: String,
    /// The fingerprint of the key, if it is known: `SHA256:…` or `OpenPGP …`.
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

/// Calls [`unwrap_within`] with the default bounds: every algorithm, and the budget of one layer.
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

/// Opens the first wrapped key that can be opened, and makes the key of the layer from it.
///
/// Schemes are tried in the order of [`Scheme`]; within a scheme, wrapped keys are tried in their
/// order; for each, the keys that it names are tried before the others. Encrypted keys are opened one
/// after the other when all others have been tried; tokens and key providers come last. A wrapped key
/// that opens, but does not have a usable content, does not end the search, because anyone can make
/// one.
///
/// Wrapped keys that are not authenticated (CMS with CBC) come after all others, and it is not known
/// whether they were opened: see [`Opened::is_authenticated`].
///
/// The digest that is sealed with the key of a compressed layer is not compared: if podman, buildah and
/// skopeo compress and encrypt a layer in one operation, as they do with layers of a local store, they
/// seal the digest of the uncompressed blob. Go ctd-decoder compares no digest; Keycell compares those
/// of layers that are not compressed.
///
/// The cost of the search is paid from `bounds`, which may serve several searches. Go ctd-decoder has
/// no bound. The random numbers are for blinding private-key operations.
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

/// Makes a search for the wrapped keys of a scheme.
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

/// Runs all stages of the search. When the open keys have been tried, closed keys are opened one after
/// the other, and each is tried immediately.
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
            Err(_) => is_complete = false, // another key may cost less
        }
    }
    if !is_complete {
        searches.iter_mut().for_each(|(_, search)| search.give_up());
    }
    let last = [Stage::Broker, Stage::Unauthenticated];
    last.into_iter().find_map(|stage| pass(searches, stage, tools))
}

/// Runs one stage of the search for each scheme.
fn pass<'a, R: ?Sized>(
    searches: &mut Searches<'a, R>,
    stage: Stage<'a>,
    tools: &mut Tools<'_, R>,
) -> Option<(&'a Scheme, Found)> {
    searches.iter_mut().find_map(|(scheme, search)| Some((*scheme, search.attempt(stage, tools)?)))
}

impl UnwrapError {
    /// Whether the existing keys might still open a wrapped key: see [`SchemeFailure::is_undecided`].
    pub fn is_undecided(&self) -> bool {
        match self {
            Self::NoKeyOpened { failures } => failures.iter().any(SchemeFailure::is_undecided),
            _ => false,
        }
    }
}

/// Why no layer key was unwrapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// The media type is not that of an encrypted layer.
    #[error(transparent)]
    MediaType(#[from] UnsupportedMediaType),
    /// There is no annotation with a wrapped key.
    #[error("the layer has no annotation with a wrapped key (`{}…`)", annotation::KEYS_PREFIX)]
    NotEncrypted,
    /// The public options are missing, or cannot be used.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// No wrapped key could be opened.
    #[error("no wrapped key could be opened: {}", Joined(failures))]
    NoKeyOpened {
        /// What was tried, one entry for each scheme.
        failures: Vec<SchemeFailure>,
    },
}
