//! Wrapped keys in OpenPGP messages.

use rsa::rand_core::TryCryptoRng;

use super::failure::none_tried;
use super::{OpenedBy, Outcome, Reasons, Remedy, SchemeFailure};
use crate::annotation::WrappedKeys;
use crate::keyring::{KeyRing, describe_any};
use crate::layer::LayerKey;
use crate::options::PublicOptions;
use crate::pgp::{PgpError, PgpMessage, Work};

pub(super) fn unwrap<R: TryCryptoRng + ?Sized>(
    keys: &WrappedKeys,
    public: &PublicOptions,
    ring: &KeyRing,
    rng: &mut R,
) -> Result<(LayerKey, OpenedBy), SchemeFailure> {
    let count = ring.pgp_keys().count();
    if count == 0 {
        return Err(SchemeFailure::new(keys, Outcome::NoKeys));
    }
    let mut work = Work::new(ring.pgp_keys());
    let mut reasons = Reasons::of(keys);
    for (item, bytes) in &keys.items {
        let message = PgpMessage::parse(bytes).map_err(|error| vec![error]);
        match message.and_then(|message| message.decrypt(&mut work, rng)) {
            Ok(opened) => {
                let key = reasons.accept(*item, &opened, public);
                // Nothing is opened without a key that was tried.
                if let (Some(key), Some(by)) = (key, work.last_tried()) {
                    return Ok((key, by.into()));
                }
            }
            Err(errors) => {
                for error in errors {
                    if error == PgpError::TooMuchWork {
                        reasons.leave_undecided();
                    }
                    reasons.mended_by(remedy(&error), *item, error.to_string());
                }
            }
        }
    }
    let tried: Vec<_> = work.tried().collect();
    let tried_count = tried.len();
    let described = match tried_count {
        0 => none_tried(count, "OpenPGP key"),
        _ => describe_any(tried),
    };
    Err(SchemeFailure::new(keys, reasons.tried(tried_count, count, described)))
}

fn remedy(error: &PgpError) -> Remedy {
    match error {
        PgpError::OtherKeys(_) | PgpError::NoKeyOfKind | PgpError::DamagedKey(_) => Remedy::Key,
        PgpError::NotOpened => Remedy::KeyOrImage,
        PgpError::Locked(_) | PgpError::WrongPassword(_) => Remedy::Password,
        PgpError::Unsupported { .. } | PgpError::NotProtected | PgpError::NotEncrypted => {
            Remedy::Encryption
        }
        _ => Remedy::Image,
    }
}
