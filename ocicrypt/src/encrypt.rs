//! Makes the annotations with which the recipients of a layer can decrypt it from the layer's key.
//!
//! A layer is encrypted once, with [`Encryptor`](crate::crypto::layer::Encryptor). Its key is then
//! wrapped for each [`Recipient`]; the wrapped keys and the public options are in the [`annotations`]
//! of the layer. With the key of an encrypted layer, [`add_recipients`] adds recipients without
//! changing the layer itself.
//!
//! The output is the same as that of Go ocicrypt, and skopeo and every Go ctd-decoder can read it. The
//! functions document where Keycell differs.
//!
//! # Example
//! ```
//! use ocicrypt::encrypt::{self, Recipient};
//! use ocicrypt::layer::Encryptor;
//!
//! # let pem = b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBBCZ2hx6OzEFu7XgxM4IwQ+EehUX\nNA9axGbbvyqtfrP+scgQ2JrWmpCSu7Gh5Z4wQwSkx7X+W1BMZl1cxcFekg==\n-----END PUBLIC KEY-----";
//! // Parse the recipients first: an invalid one is found before any work is done.
//! let recipients = [Recipient::jwe(pem)?];
//!
//! let mut encryptor = Encryptor::new(&mut getrandom::SysRng)?;
//! let mut layer = b"the layer".to_vec();
//! encryptor.update(&mut layer);
//! let key = encryptor.finish();
//!
//! let annotations = encrypt::annotations(&key, &recipients, &mut getrandom::SysRng)?;
//! assert!(annotations.contains_key("org.opencontainers.image.enc.keys.jwe"));
//! assert!(annotations.contains_key("org.opencontainers.image.enc.pubopts"));
//!
//! // A key provider wraps outside of this crate: it gets the private options.
//! let wrapped = wrapped_by_vault(&encrypt::private_options(&key));
//! let more = [Recipient::provider("vault", &wrapped)?];
//! let annotations = encrypt::add_recipients(&annotations, &key, &more, &mut getrandom::SysRng)?;
//! assert!(annotations.contains_key("org.opencontainers.image.enc.keys.provider.vault"));
//! # fn wrapped_by_vault(options: &[u8]) -> Vec<u8> { vec![options.len() as u8] }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod existing;
mod options;
mod recipient;
mod warning;

use std::collections::BTreeMap;

use ::rsa::rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use crate::crypto::layer::LayerKey;
pub use crate::crypto::rng::NoRandomness;
use crate::encoding::base64;
use crate::format::annotation::{self, PUBLIC_OPTIONS, Scheme};
use crate::format::options::{OptionsError, PublicOptions};
use crate::jwe;
pub use crate::keys::{PublicKeyError, WrapError};
pub use crate::pgp::{PgpRecipientError, PgpSelector, Unusable};
pub use crate::pkcs7::Pkcs7Form;
use crate::pkcs7::Pkcs7Recipient;
pub use crate::pkcs11::OaepHash as Pkcs11Hash;
use crate::{pgp, pkcs7, pkcs11};

pub use self::existing::{ExistingRecipient, ExistingSelector, RemoveError, remove_recipients};
pub use self::options::private_options;
use self::recipient::Kind;
pub use self::recipient::{Recipient, RecipientError};
pub use self::warning::RecipientWarning;

/// The annotations of a layer that only `recipients` can decrypt: its key wrapped for each of them, and
/// the public options.
///
/// As in Go, all recipients of a scheme share one wrapped key: one JWE, one CMS message for each
/// [`Pkcs7Form`], one OpenPGP message. Each key provider has its own.
///
/// # Errors
/// [`EncryptError::NoRecipients`], [`EncryptError::Wrap`].
pub fn annotations<R: TryCryptoRng + ?Sized>(
    key: &LayerKey,
    recipients: &[Recipient],
    rng: &mut R,
) -> Result<BTreeMap<String, String>, EncryptError> {
    let public = base64::encode(&options::public_options(key));
    let mut annotations = BTreeMap::from([(PUBLIC_OPTIONS.to_owned(), public)]);
    append(&mut annotations, key, recipients, rng)?;
    Ok(annotations)
}

/// Adds wrapped keys for further `recipients` to the `existing` annotations of an encrypted layer. The
/// layer, its public options and existing wrapped keys stay unchanged, and so do all other annotations.
///
/// `key` is the result of [`unwrap`](mod@crate::unwrap) with the key of an existing recipient.
///
/// # Errors
/// [`EncryptError::Options`] and [`EncryptError::OtherLayer`] if `key` is not that of the layer;
/// otherwise as [`annotations`].
pub fn add_recipients<R: TryCryptoRng + ?Sized>(
    existing: &BTreeMap<String, String>,
    key: &LayerKey,
    recipients: &[Recipient],
    rng: &mut R,
) -> Result<BTreeMap<String, String>, EncryptError> {
    let public = existing.get(PUBLIC_OPTIONS).ok_or(OptionsError::NoPublicOptions)?;
    if !bool::from(PublicOptions::of_annotation(public)?.hmac().ct_eq(key.hmac())) {
        return Err(EncryptError::OtherLayer);
    }
    let mut annotations = existing.clone();
    append(&mut annotations, key, recipients, rng)?;
    Ok(annotations)
}

/// Wraps the key for all recipients, scheme by scheme.
fn append<R: TryCryptoRng + ?Sized>(
    annotations: &mut BTreeMap<String, String>,
    key: &LayerKey,
    recipients: &[Recipient],
    rng: &mut R,
) -> Result<(), EncryptError> {
    if recipients.is_empty() {
        return Err(EncryptError::NoRecipients);
    }
    let options = private_options(key);
    let (mut jwe, mut pkcs7, mut pgp, mut pkcs11) = (vec![], vec![], vec![], vec![]);
    for recipient in recipients {
        match &recipient.0 {
            Kind::Jwe(recipient) => jwe.push(recipient),
            Kind::Pkcs7(recipient) => pkcs7.push(recipient),
            Kind::Pgp(recipient) => pgp.push(recipient),
            Kind::Pkcs11(recipient) => pkcs11.push(recipient),
            Kind::Provider { name, wrapped } => {
                annotation::append(annotations, &Scheme::Provider(name.clone()), wrapped);
            }
        }
    }
    if !jwe.is_empty() {
        annotation::append(annotations, &Scheme::Jwe, &jwe::encrypt(&jwe, &options, rng)?);
    }
    for form in [Pkcs7Form::Go, Pkcs7Form::AuthEnveloped] {
        let these: Vec<&Pkcs7Recipient> =
            pkcs7.iter().copied().filter(|recipient| recipient.form() == form).collect();
        if !these.is_empty() {
            let message = pkcs7::encrypt(form, &these, &options, rng)?;
            annotation::append(annotations, &Scheme::Pkcs7, &message);
        }
    }
    if !pgp.is_empty() {
        annotation::append(annotations, &Scheme::Pgp, &pgp::encrypt(&pgp, &options, rng)?);
    }
    if !pkcs11.is_empty() {
        let wrapped = pkcs11::encrypt(&pkcs11, &options, rng)?;
        annotation::append(annotations, &Scheme::Pkcs11, &wrapped);
    }
    Ok(())
}

/// Why the key of a layer was not wrapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// There is no recipient, so nobody could decrypt the layer.
    #[error("there is no recipient")]
    NoRecipients,
    /// The key does not belong to the layer to which recipients should be added.
    #[error("the key is not that of the layer: its HMAC is another one")]
    OtherLayer,
    /// The public options of the layer to which recipients should be added cannot be used.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The key of the layer could not be wrapped with a public key.
    #[error(transparent)]
    Wrap(#[from] WrapError),
}
