//! Properties of recipients that a person should know before an image is encrypted for them.

use std::time::SystemTime;

use super::recipient::{Kind, Recipient};
use crate::keys::{KeyKind, OaepHash};
use crate::pgp::PgpKind;
use crate::pkcs7::{Pkcs7Form, Validity};
use crate::pkcs11::OaepHash as Pkcs11Hash;

/// RSA keys below this length are weaker than 128 bits (SP 800-57, part 1, section 5.6.1).
const STRONG_RSA_BITS: u32 = 3072;

/// Something about a recipient that weakens the encryption, or that its owner may not want. The text
/// completes a sentence about the recipient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientWarning {
    /// The validity of the certificate has ended.
    #[error("the certificate expired on {0}")]
    Expired(String),
    /// The validity of the certificate has not begun.
    #[error("the certificate is not valid before {0}")]
    NotYetValid(String),
    /// The key usage of the certificate does not have `keyEncipherment` (RFC 5280, section 4.2.1.3).
    #[error("the certificate's key usage does not allow encryption")]
    KeyUsage,
    /// The RSA key is short, but accepted.
    #[error("the RSA key has {0} bits, which NIST allows until 2030: 3072 are recommended")]
    ShortRsaKey(u32),
    /// RSAES-OAEP with SHA-1, by default.
    #[error("RSA-OAEP uses SHA-1, as Go ocicrypt does by default")]
    JweSha1,
    /// RSAES-OAEP with SHA-1, as the JSON Web Key requires.
    #[error("the JSON Web Key requires RSA-OAEP with SHA-1")]
    JwkSha1,
    /// RSAES-OAEP with SHA-1 for a token.
    #[error("RSA-OAEP uses SHA-1, as was asked for")]
    TokenSha1,
    /// RSAES-PKCS1-v1_5 in the CMS form of Go.
    #[error("RSA uses PKCS#1 v1.5, in the form that Go ocicrypt writes and reads")]
    Pkcs7Pkcs1v15,
    /// RSAES-PKCS1-v1_5 in OpenPGP, which has nothing else.
    #[error("RSA uses PKCS#1 v1.5, as always in OpenPGP")]
    PgpPkcs1v15,
}

impl Recipient {
    /// What should be known about this recipient. The crate has no clock: `now` is the time at which
    /// certificates must be valid.
    pub fn warnings(&self, now: SystemTime) -> Vec<RecipientWarning> {
        let mut warnings = Vec::new();
        match &self.0 {
            Kind::Jwe(recipient) => {
                if let KeyKind::Rsa { bits } = recipient.kind() {
                    warnings.extend(short(bits));
                }
                if recipient.oaep() == Some(OaepHash::Sha1) {
                    let is_required = recipient.names_algorithm();
                    warnings.push(if is_required {
                        RecipientWarning::JwkSha1
                    } else {
                        RecipientWarning::JweSha1
                    });
                }
            }
            Kind::Pkcs7(recipient) => {
                warnings.extend(recipient.validity().and_then(|validity| outside(&validity, now)));
                if !recipient.allows_encryption() {
                    warnings.push(RecipientWarning::KeyUsage);
                }
                warnings.extend(short(recipient.key().bits()));
                if recipient.form() == Pkcs7Form::Go {
                    warnings.push(RecipientWarning::Pkcs7Pkcs1v15);
                }
            }
            Kind::Pgp(recipient) => {
                if let PgpKind::Rsa { bits } = recipient.kind() {
                    warnings.extend(short(bits));
                    warnings.push(RecipientWarning::PgpPkcs1v15);
                }
            }
            Kind::Pkcs11(recipient) => {
                warnings.extend(short(recipient.key().bits()));
                if recipient.hash() == Pkcs11Hash::Sha1 {
                    warnings.push(RecipientWarning::TokenSha1);
                }
            }
            Kind::Provider { .. } => {}
        }
        warnings
    }
}

fn short(bits: u32) -> Option<RecipientWarning> {
    (bits < STRONG_RSA_BITS).then_some(RecipientWarning::ShortRsaKey(bits))
}

fn outside(validity: &Validity, now: SystemTime) -> Option<RecipientWarning> {
    if now > validity.not_after.to_system_time() {
        return Some(RecipientWarning::Expired(validity.not_after.to_string()));
    }
    let is_early = now < validity.not_before.to_system_time();
    is_early.then(|| RecipientWarning::NotYetValid(validity.not_before.to_string()))
}
