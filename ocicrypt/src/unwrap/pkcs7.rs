//! Wrapped keys in PKCS#7.

use rsa::rand_core::TryCryptoRng;

use super::failure::none_tried;
use super::{OpenedBy, Outcome, Reasons, Remedy, SchemeFailure};
use crate::annotation::WrappedKeys;
use crate::keyring::{KeyRing, describe};
use crate::layer::LayerKey;
use crate::options::{PublicOptions, layer_key_of};
use crate::pkcs7::{Envelope, Pkcs7Error, Search, Which};

/// First tries the keys whose certificates are named, on all wrapped keys, because they are
/// likely right; only then the others.
pub(super) fn unwrap<R: TryCryptoRng + ?Sized>(
    keys: &WrappedKeys,
    public: &PublicOptions,
    ring: &KeyRing,
    rng: &mut R,
) -> Result<(LayerKey, OpenedBy), SchemeFailure> {
    if ring.is_empty() {
        return Err(SchemeFailure::new(keys, Outcome::NoKeys));
    }
    let mut reasons = Reasons::of(keys);
    let mut envelopes = Vec::new();
    for (item, bytes) in &keys.items {
        match Envelope::parse(bytes) {
            Ok(envelope) => envelopes.push((*item, envelope)),
            Err(error) => reasons.mended_by(remedy(&error), *item, error.to_string()),
        }
    }
    let accept = |content: &[u8]| layer_key_of(content, public).map_err(|error| error.to_string());
    let mut search = Search::new(ring);
    for which in [Which::Named, Which::AnyKey] {
        for (_, envelope) in &mut envelopes {
            if let Some((key, by)) = envelope.open(which, &mut search, rng, accept) {
                return Ok((key, by.into()));
            }
        }
    }
    for (item, envelope) in &envelopes {
        for failure in envelope.failures() {
            if *failure == Pkcs7Error::TooMuchWork {
                reasons.leave_undecided();
            }
            reasons.mended_by(remedy(failure), *item, failure.to_string());
        }
    }
    Err(SchemeFailure::new(keys, tried(&search, ring, reasons)))
}

fn tried(search: &Search<'_>, ring: &KeyRing, reasons: Reasons) -> Outcome {
    let (tried, of) = (search.tried().len(), ring.len());
    let keys = match tried {
        0 => none_tried(of, "key"),
        _ => describe(search.tried()),
    };
    let certificates = match search.certificates() {
        0 => "without a certificate".to_owned(),
        1 => "with 1 certificate".to_owned(),
        count => format!("with {count} certificates"),
    };
    reasons.tried(tried, of, format!("{keys}, {certificates}"))
}

fn remedy(error: &Pkcs7Error) -> Remedy {
    match error {
        Pkcs7Error::NoKeyOfKind { .. } => Remedy::Key,
        Pkcs7Error::WrongKey => Remedy::KeyOrImage,
        Pkcs7Error::NotEnveloped(_)
        | Pkcs7Error::UnsupportedCipher(_)
        | Pkcs7Error::UnsupportedTransport(_)
        | Pkcs7Error::UnsupportedHash(_)
        | Pkcs7Error::Label
        | Pkcs7Error::UnsupportedRecipient(_) => Remedy::Encryption,
        _ => Remedy::Image,
    }
}
