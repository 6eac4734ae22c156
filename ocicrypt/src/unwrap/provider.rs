//! Keys that a key provider wrapped.

use super::{Found, OpenedBy, Outcome, Reasons, Remedy, SchemeFailure};
use crate::annotation::WrappedKeys;
use crate::broker::{Broker, Refusal};
use crate::options::PublicOptions;
use crate::payload::Parameters;
use crate::text::printable;

/// Wrapped keys that one provider is asked about at most: each may start a program.
const MAX_OPERATIONS: usize = 16;

/// Go ctd-decoder sends every parameter of the payload to every provider, private keys and
/// passwords included; Keycell sends those under the provider's own name.
pub(super) fn unwrap(
    keys: &WrappedKeys,
    public: &PublicOptions,
    name: &str,
    parameters: &Parameters,
    broker: &mut dyn Broker,
) -> Result<Found, SchemeFailure> {
    let mut reasons = Reasons::of(keys);
    for (item, bytes) in keys.items.iter().take(MAX_OPERATIONS) {
        match broker.provider_unwrap(name, bytes, parameters.provider(name)) {
            Ok(opened) => {
                if let Some(key) = reasons.accept(*item, &opened, public) {
                    let by = OpenedBy { name: printable(name), fingerprint: None };
                    let algorithms = Vec::new();
                    return Ok(Found { key, by, algorithms, is_authenticated: true });
                }
            }
            Err(Refusal::Failed(why)) => {
                reasons.leave_undecided();
                reasons.mended_by(Remedy::Elsewhere, *item, why);
            }
            Err(Refusal::NotConfigured) => {
                return Err(SchemeFailure::new(keys, Outcome::NotConfigured));
            }
        }
    }
    for (item, _) in keys.items.iter().skip(MAX_OPERATIONS) {
        let reason = format!("not tried, after {MAX_OPERATIONS} others");
        reasons.mended_by(Remedy::Fewer, *item, reason);
    }
    Err(SchemeFailure::new(keys, reasons.tried(1, 1, "the key provider was asked".to_owned())))
}
