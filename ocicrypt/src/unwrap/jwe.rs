//! Wrapped keys in JWE.

use rsa::rand_core::TryCryptoRng;

use super::failure::none_tried;
use super::{OpenedBy, Outcome, Reasons, Remedy, SchemeFailure};
use crate::annotation::WrappedKeys;
use crate::jwe::{Jwe, JweError, Work};
use crate::keyring::{KeyRing, NamedKey, describe};
use crate::layer::LayerKey;
use crate::options::PublicOptions;

pub(super) fn unwrap<R: TryCryptoRng + ?Sized>(
    keys: &WrappedKeys,
    public: &PublicOptions,
    ring: &KeyRing,
    rng: &mut R,
) -> Result<(LayerKey, OpenedBy), SchemeFailure> {
    if ring.is_empty() {
        return Err(SchemeFailure::new(keys, Outcome::NoKeys));
    }
    let mut work = Work::default();
    let mut tried: Vec<&NamedKey> = Vec::new();
    let mut reasons = Reasons::of(keys);
    for (item, bytes) in &keys.items {
        let mut last = None;
        let opened = Jwe::parse(bytes).map_err(|error| vec![error]).and_then(|jwe| {
            jwe.decrypt(ring.keys(), rng, &mut work, |key| {
                last = Some(key);
                if !tried.iter().any(|known| std::ptr::eq(*known, key)) {
                    tried.push(key);
                }
            })
        });
        match opened {
            Ok(opened) => {
                let key = reasons.accept(*item, &opened, public);
                // Nothing is opened without a key that was tried.
                if let (Some(key), Some(by)) = (key, last) {
                    return Ok((key, by.into()));
                }
            }
            Err(errors) => {
                for error in errors {
                    if error == JweError::TooMuchWork {
                        reasons.leave_undecided();
                    }
                    reasons.mended_by(remedy(&error), *item, error.to_string());
                }
            }
        }
    }
    let described = match tried.len() {
        0 => none_tried(ring.len(), "key"),
        _ => describe(tried.iter().copied()),
    };
    Err(SchemeFailure::new(keys, reasons.tried(tried.len(), ring.len(), described)))
}

fn remedy(error: &JweError) -> Remedy {
    match error {
        JweError::WrongKey | JweError::NoKeyOfKind(_) => Remedy::Key,
        JweError::Critical
        | JweError::UnsupportedAlgorithm(_)
        | JweError::UnsupportedEncryption(_)
        | JweError::UnsupportedCompression(_) => Remedy::Encryption,
        _ => Remedy::Image,
    }
}
