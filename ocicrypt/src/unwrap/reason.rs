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

/// What would help. Of several the last one of this list is the most likely.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Remedy {
    /// An image that is not damaged. No key would help.
    #[default]
    Image,
    /// An image that is encrypted in another way: this one is not known, or refused.
    Encryption,
    /// To look after the key provider, or the token.
    Elsewhere,
    /// Another key, unless the image is damaged: the two cannot be told apart.
    KeyOrImage,
    /// Another key.
    Key,
    /// A PKCS#11 module that the operator allows.
    Module,
    /// The password of a key.
    Password,
    /// An image whose algorithms are accepted, or to accept these.
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
    /// What it held makes no layer key.
    #[error("it was opened, but {0}")]
    Useless(OptionsError),
    /// The public options make no layer key, whatever it holds.
    #[error(transparent)]
    PublicOptions(LayerKeyError),
    /// An algorithm that the caller does not accept.
    #[error(transparent)]
    BelowMinimum(#[from] BelowMinimum),
    /// A JWE.
    #[error(transparent)]
    Jwe(#[from] JweError),
    /// A CMS message.
    #[error(transparent)]
    Pkcs7(#[from] Pkcs7Error),
    /// An OpenPGP message.
    #[error(transparent)]
    Pgp(#[from] PgpError),
    /// The form of what is wrapped for a token.
    #[error(transparent)]
    Pkcs11(#[from] Pkcs11Error),
    /// A token was asked too often.
    #[error("gave up after {0} operations")]
    TooManyOperations(usize),
    /// A key provider was asked too often.
    #[error("not tried, after {0} others")]
    NotTried(usize),
    /// A key in a token, which is named, needs a module, and the operator allows none.
    #[error("`{0}`: no PKCS#11 module may be loaded")]
    NoModule(String),
    /// A token failed.
    #[error("`{key}`: {reason}")]
    Token {
        /// The name of the key.
        key: String,
        /// What the broker answered.
        reason: String,
    },
    /// A key provider failed. Holds what the broker answered.
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

    /// Whether the keys that are there might open the wrapped key after all.
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
    /// What helps with the reason that is the most likely to be helped with.
    pub(super) remedy: Remedy,
    /// Whether the keys that are there might open a wrapped key after all.
    pub(super) undecided: bool,
    pub(super) reasons: Vec<(Reason, Vec<usize>)>,
}

impl Reasons {
    /// Those that are known before any key is tried.
    pub(super) fn of(wrapped: &WrappedKeys) -> Self {
        let mut reasons = Self::default();
        wrapped.not_base64.iter().for_each(|item| reasons.add(*item, Reason::NotBase64));
        reasons
    }

    /// The key of the layer from what `item` held, or the reason why there is none.
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
