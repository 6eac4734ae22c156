//! Wrapped keys in OpenPGP messages.

use rsa::rand_core::TryCryptoRng;

use super::failure::none_tried;
use super::{Found, Outcome, Reasons, Remedy, SchemeFailure};
use crate::annotation::WrappedKeys;
use crate::bounds::Bounds;
use crate::budget::cost;
use crate::keyring::{KeyRing, describe_any};
use crate::options::PublicOptions;
use crate::pgp::{Locked, PgpError, PgpMessage, Work};

/// All messages of a layer, and what came of them so far. A key is unlocked when a message names it.
pub(super) struct Search<'a> {
    keys: &'a WrappedKeys,
    public: &'a PublicOptions,
    count: usize,
    work: Work<'a>,
    reasons: Reasons,
    is_over: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(keys: &'a WrappedKeys, public: &'a PublicOptions, ring: &'a KeyRing) -> Self {
        let (count, work) = (ring.pgp_keys().count(), Work::new(ring.pgp_keys()));
        Self { keys, public, count, work, reasons: Reasons::of(keys), is_over: false }
    }

    /// Tries the keys that are locked, or those that are not.
    pub(super) fn with<R: TryCryptoRng + ?Sized>(
        &mut self,
        which: Locked,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Option<Found> {
        if self.count == 0 || self.is_over {
            return None;
        }
        self.work.only(which);
        for (item, bytes) in &self.keys.items {
            let message = PgpMessage::parse(bytes).map_err(|error| vec![error]);
            let opened = message.and_then(|message| {
                let opened = message.decrypt(&mut self.work, bounds, rng)?;
                let paid = bounds.budget.spend_on_bytes(opened.content.len(), cost::READ);
                paid.map(|()| opened).map_err(|error| vec![error.into()])
            });
            match opened {
                Ok(opened) => {
                    let key = self.reasons.accept(*item, &opened.content, self.public);
                    // Nothing is opened without a key that was tried.
                    if let (Some(key), Some(by)) = (key, self.work.last_tried()) {
                        let (by, algorithms) = (by.into(), opened.algorithms);
                        return Some(Found { key, by, algorithms, is_authenticated: true });
                    }
                }
                Err(errors) => {
                    self.is_over = errors.contains(&PgpError::TooMuchWork);
                    for error in errors {
                        self.reasons.mended_by(remedy(&error), *item, error.to_string());
                    }
                    if self.is_over {
                        break;
                    }
                }
            }
        }
        None
    }

    pub(super) fn failure(self) -> SchemeFailure {
        if self.count == 0 {
            return SchemeFailure::new(self.keys, Outcome::NoKeys);
        }
        let tried: Vec<_> = self.work.tried().collect();
        let tried_count = tried.len();
        let described = match tried_count {
            0 => none_tried(self.count, "OpenPGP key"),
            _ => describe_any(tried),
        };
        SchemeFailure::new(self.keys, self.reasons.tried(tried_count, self.count, described))
    }
}

fn remedy(error: &PgpError) -> Remedy {
    match error {
        PgpError::OtherKeys(_) | PgpError::NoKeyOfKind | PgpError::DamagedKey(_) => Remedy::Key,
        PgpError::NotOpened => Remedy::KeyOrImage,
        PgpError::Locked(_) | PgpError::WrongPassword(_) => Remedy::Password,
        PgpError::Unsupported { .. } | PgpError::NotProtected | PgpError::NotEncrypted => {
            Remedy::Encryption
        }
        PgpError::BelowMinimum(_) => Remedy::Algorithms,
        PgpError::TooMuchWork => Remedy::Fewer,
        _ => Remedy::Image,
    }
}
