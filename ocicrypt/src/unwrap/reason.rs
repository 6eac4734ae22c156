//! Why wrapped keys were not opened.

use std::collections::BTreeMap;

use crate::algorithms::BelowMinimum;
use crate::crypto::layer::{LayerKey, LayerKeyError};
use crate::format::annotation::WrappedKeys;
use crate::format::options::{OptionsError, PublicOptions, layer_key_of};
use crate::jwe::JweError;
use crate::pgp::PgpError;
use crate::pkcs7::Pkcs7Error;
use crate::pkcs11::Pkcs11Error;

/// What would help. If there are several, the last one in this list is the most likely.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Remedy {
    /// An image that is not damaged. No key would help.
    #[default]
    Image,
    /// An image with another encryption: this one is not known, or is refused.
    Encryption,
    /// Checking the key provider or the token.
    Elsewhere,
    /// Another key, unless the image is damaged: the two cannot be distinguished.
    KeyOrImage,
    /// Another key.
    Key,
    /// A PKCS#11 module that the operator allows.
    Module,
    /// The password of a key.
    Password,
    /// An image whose algorithms are accepted, or accepting these algorithms.
    Algorithms,
    /// Fewer keys or fewer recipients: not all could be tried.
    Fewer,
}

/// Why one wrapped key was not opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It is not base64.
    #[error("malformed: not base64")]
    NotBase64,
    /// It was opened, but its content does not make a layer key.
    #[error("it was opened, but {0}")]
    Useless(OptionsError),
    /// The public options do not make a layer key with any content.
    #[error(transparent)]
    PublicOptions(LayerKeyError),
    /// The caller does not accept an algorithm.
    #[error(transparent)]
    BelowMinimum(#[from] BelowMinimum),
    /// A JWE was not opened.
    #[error(transparent)]
    Jwe(#[from] JweError),
    /// A CMS message was not opened.
    #[error(transparent)]
    Pkcs7(#[from] Pkcs7Error),
    /// An OpenPGP message was not opened.
    #[error(transparent)]
    Pgp(#[from] PgpError),
    /// A key that is wrapped for a token is malformed.
    #[error(transparent)]
    Pkcs11(#[from] Pkcs11Error),
    /// Too many operations of a token would be needed.
    #[error("gave up after {0} operations")]
    TooManyOperations(usize),
    /// A key provider was already asked for too many others.
    #[error("not tried, after {0} others")]
    NotTried(usize),
    /// A key in a token, which is named, needs a module, but the operator allows none.
    #[error("`{0}`: no PKCS#11 module may be loaded")]
    NoModule(String),
    /// A token failed.
    #[error("`{key}`: {reason}")]
    Token {
        /// The name of the key.
        key: String,
        /// The broker's answer.
        reason: String,
    },
    /// A key provider failed. It holds the broker's answer.
    #[error("{0}")]
    Provider(String),
}

impl Reason {
    /// What would help.
    fn remedy(&self) -> Remedy {
        match self {
            Self::NotBase64 | Self::Useless(_) | Self::PublicOptions(_) | Self::Pkcs11(_) => {
                Remedy::Image
            }
            Self::BelowMinimum(_) => Remedy::Algorithms,
            Self::Jwe(error) => of_jwe(error),
            Self::Pkcs7(error) => of_pkcs7(error),
            Self::Pgp(error) => of_pgp(error),
            Self::TooManyOperations(_) | Self::NotTried(_) => Remedy::Fewer,
            Self::NoModule(_) => Remedy::Module,
            Self::Token { .. } | Self::Provider(_) => Remedy::Elsewhere,
        }
    }

    /// Whether the existing keys might still open the wrapped key.
    fn is_undecided(&self) -> bool {
        matches!(self.remedy(), Remedy::Algorithms | Remedy::Fewer | Remedy::Elsewhere)
    }
}

fn of_jwe(error: &JweError) -> Remedy {
    match error {
        JweError::WrongKey | JweError::NoKeyOfKind(_) => Remedy::Key,
        JweError::Critical
        | JweError::UnsupportedAlgorithm(_)
        | JweError::UnsupportedEncryption(_)
        | JweError::UnsupportedCompression(_) => Remedy::Encryption,
        JweError::BelowMinimum(_) => Remedy::Algorithms,
        JweError::TooMuchWork => Remedy::Fewer,
        _ => Remedy::Image,
    }
}

fn of_pkcs7(error: &Pkcs7Error) -> Remedy {
    match error {
        Pkcs7Error::NoKeyOfKind { .. } => Remedy::Key,
        Pkcs7Error::WrongKey => Remedy::KeyOrImage,
        Pkcs7Error::NotEnveloped(_)
        | Pkcs7Error::UnsupportedCipher(_)
        | Pkcs7Error::UnsupportedTransport(_)
        | Pkcs7Error::UnsupportedHash(_)
        | Pkcs7Error::Label
        | Pkcs7Error::UnsupportedRecipient(_) => Remedy::Encryption,
        Pkcs7Error::BelowMinimum(_) => Remedy::Algorithms,
        Pkcs7Error::TooMuchWork => Remedy::Fewer,
        _ => Remedy::Image,
    }
}

fn of_pgp(error: &PgpError) -> Remedy {
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

/// The reasons of a scheme, each with the positions of the wrapped keys that failed for it.
#[derive(Default)]
pub(super) struct Reasons {
    places: BTreeMap<Reason, usize>,
    /// The remedy for the reason that is the most likely to be remedied.
    pub(super) remedy: Remedy,
    /// Whether the existing keys might still open a wrapped key.
    pub(super) undecided: bool,
    pub(super) reasons: Vec<(Reason, Vec<usize>)>,
}

impl Reasons {
    /// The reasons that are known before any key is tried.
    pub(super) fn of(wrapped: &WrappedKeys) -> Self {
        let mut reasons = Self::default();
        wrapped.not_base64.iter().for_each(|item| reasons.add(*item, Reason::NotBase64));
        reasons
    }

    /// The key of the layer from the content of `item`; none adds the reason.
    pub(super) fn accept(
        &mut self,
        item: usize,
        opened: &[u8],
        public: &PublicOptions,
    ) -> Option<LayerKey> {
        let key = layer_key_of(opened, public);
        key.map_err(|error| self.add(item, Reason::Useless(error))).ok()
    }

    pub(super) fn add(&mut self, item: usize, reason: impl Into<Reason>) {
        let reason = reason.into();
        self.remedy = self.remedy.max(reason.remedy());
        self.undecided |= reason.is_undecided();
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
