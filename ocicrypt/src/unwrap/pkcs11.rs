//! Keys that are wrapped for a PKCS#11 token.

use super::failure::none_tried;
use super::{Found, OpenedBy, Outcome, Reasons, Remedy, SchemeFailure};
use crate::algorithms::Algorithm;
use crate::annotation::WrappedKeys;
use crate::bounds::Bounds;
use crate::broker::{Broker, Refusal, TokenKey};
use crate::keyring::describe_any;
use crate::options::PublicOptions;
use crate::payload::Parameters;
use crate::pkcs11::{self, Blob};

/// Operations that a token is asked for at most: it may take a second for each.
const MAX_OPERATIONS: usize = 64;

/// Tries the keys of the operator first, then those of the payload.
pub(super) fn unwrap(
    keys: &WrappedKeys,
    public: &PublicOptions,
    parameters: &Parameters,
    bounds: &Bounds,
    broker: &mut dyn Broker,
) -> Result<Found, SchemeFailure> {
    let names = broker.token_keys();
    let mut tokens: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (TokenKey::Configured(index), format!("`{name}`")))
        .collect();
    for (index, file) in parameters.pkcs11_keys().iter().enumerate() {
        if !file.is_empty() {
            tokens.push((TokenKey::Given(file), format!("`pkcs11-yamls[{index}]`")));
        }
    }
    if tokens.is_empty() {
        return Err(SchemeFailure::new(keys, Outcome::NoKeys));
    }
    let mut operations = 0;
    let mut reasons = Reasons::of(keys);
    for (item, bytes) in &keys.items {
        let blobs = match pkcs11::parse(bytes) {
            Ok(blobs) => blobs,
            Err(error) => {
                reasons.add(*item, error.to_string());
                continue;
            }
        };
        for (blob, (token, name)) in
            blobs.iter().flat_map(|blob| tokens.iter().map(move |token| (blob, token)))
        {
            let algorithms = algorithms(blob);
            if let Err(refused) = bounds.algorithms.check(&algorithms) {
                reasons.mended_by(Remedy::Algorithms, *item, refused.to_string());
                continue;
            }
            if operations == MAX_OPERATIONS {
                let reason = format!("gave up after {MAX_OPERATIONS} operations");
                reasons.mended_by(Remedy::Fewer, *item, reason);
                break;
            }
            operations += 1;
            match broker.token_decrypt(*token, blob.hash, &blob.bytes) {
                Ok(opened) => {
                    if let Some(key) = reasons.accept(*item, &opened, public) {
                        let name = name.trim_matches('`').to_owned();
                        let by = OpenedBy { name, fingerprint: None };
                        return Ok(Found { key, by, algorithms, is_authenticated: true });
                    }
                }
                Err(Refusal::Failed(why)) => {
                    reasons.leave_undecided();
                    reasons.mended_by(Remedy::Elsewhere, *item, format!("{name}: {why}"));
                }
                Err(Refusal::NotConfigured) => {
                    let why = format!("{name}: no PKCS#11 module may be loaded");
                    reasons.mended_by(Remedy::Module, *item, why);
                }
            }
        }
    }
    let count = tokens.len();
    let described = match operations {
        0 => none_tried(count, "key"),
        _ => describe_any(tokens.iter().map(|(_, name)| name)),
    };
    let tried = if operations == 0 { 0 } else { count };
    Err(SchemeFailure::new(keys, reasons.tried(tried, count, described)))
}

/// What a blob tells of how it was encrypted: its length is that of the modulus.
fn algorithms(blob: &Blob) -> Vec<Algorithm> {
    let bits = u32::try_from(blob.bytes.len() * 8).unwrap_or(u32::MAX);
    vec![Algorithm::rsa(bits), Algorithm::oaep(blob.hash.into())]
}
