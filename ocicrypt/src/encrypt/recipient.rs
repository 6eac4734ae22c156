//! Who will be able to decrypt a layer.

use std::fmt;
use std::time::SystemTime;

use crate::format::annotation::Scheme;
use crate::jwe::JweRecipient;
use crate::keys::public::PublicKey;
use crate::keys::{OaepHash, PublicKeyError};
use crate::pgp::{PgpRecipient, PgpRecipientError, PgpSelector};
use crate::pkcs7::{Pkcs7Form, Pkcs7Recipient};
use crate::pkcs11::{OaepHash as Pkcs11Hash, Pkcs11Recipient};

/// One who will be able to decrypt: a public key that was read and found fit, and the scheme that
/// the key of the layer is wrapped in for it.
#[derive(Clone)]
pub struct Recipient(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Jwe(JweRecipient),
    Pkcs7(Pkcs7Recipient),
    Pgp(PgpRecipient),
    Pkcs11(Pkcs11Recipient),
    Provider { name: String, wrapped: Vec<u8> },
}

impl Recipient {
    /// A recipient by JSON Web Encryption (skopeo's `jwe:FILE`): the content of a file with one
    /// public key in PEM or DER (`SubjectPublicKeyInfo`, or PKCS#1), or one JSON Web Key. RSA from
    /// 2048 to 8192 bits, P-256, P-384 and P-521.
    ///
    /// The algorithm is the `alg` of a JSON Web Key, else `RSA-OAEP` or `ECDH-ES+A256KW`, the
    /// content encryption `A256GCM`, as in Go. `kid` is that of a JSON Web Key, else the key's
    /// fingerprint: a decoder with many keys finds the right one by it. Go writes none.
    ///
    /// Go takes shorter RSA keys too, and the first of several keys; Keycell refuses both.
    ///
    /// # Errors
    /// [`RecipientError`].
    pub fn jwe(public_key: &[u8]) -> Result<Self, RecipientError> {
        let named = PublicKey::parse(public_key)?;
        Ok(Self(Kind::Jwe(JweRecipient::new(named)?)))
    }

    /// The same with SHA-256 in place of SHA-1 in RSAES-OAEP: `RSA-OAEP-256`. Go ocicrypt reads both,
    /// and writes the older. Recipients by other schemes, and with keys of other kinds or that name
    /// their algorithm, stay as they are.
    #[must_use]
    pub fn with_jwe_oaep_sha256(self) -> Self {
        match self.0 {
            Kind::Jwe(recipient) => Self(Kind::Jwe(recipient.with_oaep(OaepHash::Sha256))),
            other => Self(other),
        }
    }

    /// A recipient by PKCS#7 (skopeo's `pkcs7:FILE`): the content of a file with an X.509
    /// certificate in PEM or DER, for RSA from 2048 to 8192 bits. As in Go, it is the first one of
    /// several, which in a chain is its owner's, and neither its signature nor its validity is
    /// checked: this crate has no clock.
    ///
    /// Go ctd-decoder needs the certificate beside the private key. The message is in the form that
    /// Go writes: see [`Recipient::with_pkcs7_form`].
    ///
    /// # Errors
    /// [`RecipientError`].
    pub fn pkcs7(certificate: &[u8]) -> Result<Self, RecipientError> {
        Ok(Self(Kind::Pkcs7(Pkcs7Recipient::parse(certificate)?)))
    }

    /// The same recipient with a CMS message of this form, where its scheme is PKCS#7.
    #[must_use]
    pub fn with_pkcs7_form(self, form: Pkcs7Form) -> Self {
        match self.0 {
            Kind::Pkcs7(recipient) => Self(Kind::Pkcs7(recipient.with_form(form))),
            other => Self(other),
        }
    }

    /// The recipients by OpenPGP that `whom` means (skopeo's `pgp:ADDRESS`) in a ring of public
    /// keys, binary or armored: of each key that fits, the newest valid subkey for encryption.
    /// There is at least one. RSA, ECDH (Curve25519, P-256, P-384, P-521) and X25519, of version 4.
    ///
    /// A subkey is valid if the key has signed that it is its own, and neither is revoked or
    /// expired; the crate has no clock, so that `now` must tell the time. Names count if the key
    /// has signed them. The signatures of others are not looked at: whether a key belongs to
    /// whom it names is for the caller to know, best by its fingerprint.
    ///
    /// Go knows names and addresses only, takes them as they are in the ring, and accepts
    /// signatures with SHA-1.
    ///
    /// ```no_run
    /// use std::time::SystemTime;
    ///
    /// use ocicrypt::encrypt::Recipient;
    ///
    /// // What `gpg --export alice@example.org` writes.
    /// let keyring = std::fs::read("alice.gpg")?;
    /// let whom = "alice@example.org".parse()?; // or a fingerprint
    /// let recipients = Recipient::pgp(&keyring, &whom, SystemTime::now())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RecipientError`]: of the last key that was refused, if none is left.
    pub fn pgp(
        keyring: &[u8],
        whom: &PgpSelector,
        now: SystemTime,
    ) -> Result<Vec<Self>, RecipientError> {
        let found = PgpRecipient::find(keyring, whom, now)?;
        Ok(found.into_iter().map(|recipient| Self(Kind::Pgp(recipient))).collect())
    }

    /// A recipient whose private key is in a PKCS#11 token: the content of a file with its public
    /// key, in the forms of [`Recipient::jwe`] (skopeo's `pkcs11:FILE`). RSA only.
    ///
    /// The YAML file with the URI of a key, which Go takes too, is not read here: it takes the
    /// token to get the public key from it.
    ///
    /// # Errors
    /// [`RecipientError`].
    pub fn pkcs11(public_key: &[u8], hash: Pkcs11Hash) -> Result<Self, RecipientError> {
        let named = PublicKey::parse(public_key)?;
        Ok(Self(Kind::Pkcs11(Pkcs11Recipient::new(named.key, hash)?)))
    }

    /// A recipient whose key provider has wrapped the key already: `name` is what the
    /// configuration calls the provider, `wrapped` what it answered when it was given the
    /// [`private_options`](super::private_options) (skopeo's `provider:NAME`).
    ///
    /// # Errors
    /// [`RecipientError::Empty`] if either is empty.
    pub fn provider(name: &str, wrapped: &[u8]) -> Result<Self, RecipientError> {
        if name.is_empty() || wrapped.is_empty() {
            return Err(RecipientError::Empty);
        }
        Ok(Self(Kind::Provider { name: name.to_owned(), wrapped: wrapped.to_vec() }))
    }

    /// How the key of the layer is wrapped for this recipient.
    pub fn scheme(&self) -> Scheme {
        match &self.0 {
            Kind::Jwe(_) => Scheme::Jwe,
            Kind::Pkcs7(_) => Scheme::Pkcs7,
            Kind::Pgp(_) => Scheme::Pgp,
            Kind::Pkcs11(_) => Scheme::Pkcs11,
            Kind::Provider { name, .. } => Scheme::Provider(name.clone()),
        }
    }
}

/// For people: the scheme and the kind of the key, for example `jwe RSA-2048`.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scheme())?;
        match &self.0 {
            Kind::Jwe(recipient) => write!(f, " {}", recipient.kind()),
            Kind::Pkcs7(recipient) => {
                write!(f, " RSA-{} {}", recipient.key().bits(), recipient.certificate())
            }
            Kind::Pgp(recipient) => {
                write!(f, " {} {}", recipient.kind(), recipient.fingerprint())
            }
            Kind::Pkcs11(recipient) => write!(f, " RSA-{}", recipient.key().bits()),
            Kind::Provider { .. } => Ok(()),
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

/// Why something is no recipient. The text completes "it is …", or stands alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// The name of a key provider, or what it wrapped, is empty.
    #[error("empty")]
    Empty,
    /// No public key, or none that a layer key can be wrapped for.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// No OpenPGP key that a layer key can be wrapped for.
    #[error(transparent)]
    Pgp(#[from] PgpRecipientError),
}
