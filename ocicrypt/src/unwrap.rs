//! From a payload to the key of its layer.

mod pkcs7;

use std::collections::BTreeMap;
use std::fmt;

use rsa::rand_core::TryCryptoRng;

use crate::annotation::{self, PUBLIC_OPTIONS, Scheme, WrappedKeys};
use crate::jwe::{Jwe, Work};
use crate::keyring::{KeyRing, NamedKey, describe, describe_any};
use crate::layer::LayerKey;
use crate::media_type::{self, UnsupportedMediaType};
use crate::options::{self, OptionsError, PrivateOptions, PublicOptions};
use crate::payload::Payload;
use crate::pgp::{self, PgpMessage};

/// Opens the first wrapped key that can be opened, and puts the key of the layer together.
///
/// Schemes are tried in the order of [`Scheme`], within a scheme the wrapped keys in their order,
/// and for each the keys of the ring in theirs. A wrapped key that opens, but holds nothing
/// useful, does not end the search: anyone can make one.
///
/// The random numbers blind private-key operations.
///
/// # Errors
/// Every [`UnwrapError`].
pub fn unwrap<R: TryCryptoRng + ?Sized>(
    payload: &Payload,
    ring: &KeyRing,
    rng: &mut R,
) -> Result<LayerKey, UnwrapError> {
    media_type::plain(&payload.descriptor.media_type)?;
    let annotations = &payload.descriptor.annotations;
    let schemes = annotation::wrapped_keys(annotations);
    if schemes.is_empty() {
        return Err(UnwrapError::NotEncrypted);
    }
    let public = annotations.get(PUBLIC_OPTIONS).filter(|value| !value.is_empty());
    let public = public.ok_or(OptionsError::NoPublicOptions)?;
    let public = PublicOptions::of_annotation(public)?;
    let mut failures = Vec::new();
    for keys in &schemes {
        let result = match keys.scheme {
            Scheme::Jwe => unwrap_jwe(keys, &public, ring, rng),
            Scheme::Pkcs7 => pkcs7::unwrap(keys, &public, ring, rng),
            Scheme::Pgp => unwrap_pgp(keys, &public, ring, rng),
            // The other schemes slot in here.
            _ => Err(SchemeFailure::new(keys, Outcome::Unsupported)),
        };
        match result {
            Ok(key) => return Ok(key.with_length(payload.descriptor.length())),
            Err(failure) => failures.push(failure),
        }
    }
    Err(UnwrapError::NoKeyOpened { failures })
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

/// What came of the wrapped keys of one scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeFailure {
    /// The scheme.
    pub scheme: Scheme,
    /// How many wrapped keys there are.
    pub wrapped: usize,
    /// What was tried.
    pub outcome: Outcome,
}

/// How far a scheme came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// This version knows the scheme, but cannot open it.
    Unsupported,
    /// There is no private key for the scheme.
    NoKeys,
    /// Keys were tried, unless none was of the right kind.
    Tried {
        /// How many keys were tried.
        tried: usize,
        /// How many keys there are.
        of: usize,
        /// Which, in words: see [`crate::keyring::describe`].
        keys: String,
        /// Why each wrapped key failed: the reason, and the positions in the list, from 1.
        reasons: Vec<(String, Vec<usize>)>,
    },
}

impl SchemeFailure {
    fn new(keys: &WrappedKeys, outcome: Outcome) -> Self {
        Self { scheme: keys.scheme.clone(), wrapped: keys.len(), outcome }
    }
}

/// Reasons, and positions for one reason, that a message tells at most.
const TOLD: usize = 5;

impl fmt::Display for SchemeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.wrapped == 1 { "" } else { "s" };
        write!(f, "{}: {} wrapped key{plural}, ", self.scheme, self.wrapped)?;
        match &self.outcome {
            Outcome::Unsupported => f.write_str("present but not supported by this guest yet"),
            Outcome::NoKeys if self.scheme == Scheme::Pgp => {
                f.write_str("but there is no OpenPGP key")
            }
            Outcome::NoKeys => f.write_str("but there is no private key"),
            Outcome::Tried { keys, reasons, .. } => {
                f.write_str(keys)?;
                for (reason, items) in reasons.iter().take(TOLD) {
                    let shown: Vec<_> = items.iter().take(TOLD).map(usize::to_string).collect();
                    let plural = if items.len() == 1 { "" } else { "s" };
                    write!(f, "; item{plural} {}", shown.join(", "))?;
                    if items.len() > TOLD {
                        write!(f, " and {} more", items.len() - TOLD)?;
                    }
                    write!(f, ": {reason}")?;
                }
                if reasons.len() > TOLD {
                    write!(f, "; and {} more reasons", reasons.len() - TOLD)?;
                }
                Ok(())
            }
        }
    }
}

struct Joined<'a>(&'a [SchemeFailure]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().take(TOLD).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        if self.0.len() > TOLD {
            write!(f, "; and {} more schemes", self.0.len() - TOLD)?;
        }
        Ok(())
    }
}

/// The reasons of a scheme, each with the items that failed for it.
#[derive(Default)]
struct Reasons {
    places: BTreeMap<String, usize>,
    reasons: Vec<(String, Vec<usize>)>,
}

impl Reasons {
    fn add(&mut self, item: usize, reason: String) {
        let next = self.reasons.len();
        let place = *self.places.entry(reason).or_insert_with_key(|reason| {
            self.reasons.push((reason.clone(), Vec::new()));
            next
        });
        let items = &mut self.reasons[place].1;
        if items.last() != Some(&item) {
            items.push(item);
        }
    }
}

fn unwrap_jwe<R: TryCryptoRng + ?Sized>(
    keys: &WrappedKeys,
    public: &PublicOptions,
    ring: &KeyRing,
    rng: &mut R,
) -> Result<LayerKey, SchemeFailure> {
    if ring.is_empty() {
        return Err(SchemeFailure::new(keys, Outcome::NoKeys));
    }
    let mut work = Work::default();
    let mut tried: Vec<&NamedKey> = Vec::new();
    let mut reasons = Reasons::default();
    for item in &keys.not_base64 {
        reasons.add(*item, "malformed: not base64".to_owned());
    }
    for (item, bytes) in &keys.items {
        let jwe = match Jwe::parse(bytes) {
            Ok(jwe) => jwe,
            Err(error) => {
                reasons.add(*item, error.to_string());
                continue;
            }
        };
        let opened = jwe.decrypt(ring.keys(), rng, &mut work, |key| {
            if !tried.iter().any(|known| std::ptr::eq(*known, key)) {
                tried.push(key);
            }
        });
        let opened = match opened {
            Ok(opened) => opened,
            Err(errors) => {
                for error in errors {
                    reasons.add(*item, error.to_string());
                }
                continue;
            }
        };
        let private = PrivateOptions::parse(&opened);
        match private.and_then(|private| options::layer_key(&private, public)) {
            Ok(key) => return Ok(key),
            Err(error) => reasons.add(*item, format!("it was opened, but {error}")),
        }
    }
    let outcome = Outcome::Tried {
        tried: tried.len(),
        of: ring.len(),
        keys: match tried.len() {
            0 => format!("0 of {} keys were tried", ring.len()),
            _ => describe(tried.iter().copied()),
        },
        reasons: reasons.reasons,
    };
    Err(SchemeFailure::new(keys, outcome))
}

fn unwrap_pgp<R: TryCryptoRng + ?Sized>(
    keys: &WrappedKeys,
    public: &PublicOptions,
    ring: &KeyRing,
    rng: &mut R,
) -> Result<LayerKey, SchemeFailure> {
    let count = ring.pgp_keys().count();
    if count == 0 {
        return Err(SchemeFailure::new(keys, Outcome::NoKeys));
    }
    let mut work = pgp::Work::new(ring.pgp_keys());
    let mut reasons = Reasons::default();
    for item in &keys.not_base64 {
        reasons.add(*item, "malformed: not base64".to_owned());
    }
    for (item, bytes) in &keys.items {
        let message = PgpMessage::parse(bytes).map_err(|error| vec![error]);
        let opened = match message.and_then(|message| message.decrypt(&mut work, rng)) {
            Ok(opened) => opened,
            Err(errors) => {
                for error in errors {
                    reasons.add(*item, error.to_string());
                }
                continue;
            }
        };
        let private = PrivateOptions::parse(&opened);
        match private.and_then(|private| options::layer_key(&private, public)) {
            Ok(key) => return Ok(key),
            Err(error) => reasons.add(*item, format!("it was opened, but {error}")),
        }
    }
    let tried: Vec<_> = work.tried().collect();
    let outcome = Outcome::Tried {
        tried: tried.len(),
        of: count,
        keys: match tried.len() {
            0 => format!("no key was tried: none of the {count} OpenPGP keys is meant"),
            _ => describe_any(tried),
        },
        reasons: reasons.reasons,
    };
    Err(SchemeFailure::new(keys, outcome))
}
