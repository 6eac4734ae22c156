//! The recipients who can decrypt a layer.

use std::fmt;
use std::time::SystemTime;

use crate::format::annotation::Scheme;
use crate::jwe::JweRecipient;
use crate::keys::public::PublicKey;
use crate::keys::{OaepHash, PublicKeyError};
use crate::pgp::{PgpRecipient, PgpRecipientError, PgpSelector};
use crate::pkcs7::{Pkcs7Form, Pkcs7Recipient};
use crate::pkcs11::{OaepHash as Pkcs11Hash, Pkcs11Recipient};

/// A recipient: a public key that was parsed and accepted, and the scheme in which the key of the layer
/// is wrapped for it.
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
    /// A recipient with JSON Web Encryption (skopeo's `jwe:FILE`). The file contains one public key in
    /// PEM or DER (`SubjectPublicKeyInfo`, or PKCS#1), or one JSON Web Key. Supported are RSA from 2048
    /// to 16384 bits, P-256, P-384 and P-521.
    ///
    /// As in Go, the algorithm is the `alg` of a JSON Web Key, or else `RSA-OAEP` or `ECDH-ES+A256KW`,
    /// and the content encryption is `A256GCM`. `kid` is that of a JSON Web Key, or else the key's
    /// fingerprint, with which a decoder with many keys finds the right one. Go writes no `kid`.
    ///
    /// Go also accepts shorter RSA keys, and the first of several keys; Keycell refuses both.
    ///
    /// # Errors
    /// [`RecipientError`].
    pub fn jwe(public_key: &[u8]) -> Result<Self, RecipientError> {
        let named = PublicKey::parse(public_key)?;
        Ok(Self(Kind::Jwe(JweRecipient::new(named)?)))
    }

    /// The same with SHA-256 instead of SHA-1 in RSAES-OAEP: `RSA-OAEP-256`. Go ocicrypt reads both,
    /// and writes the older one. Recipients with other schemes, with other kinds of keys, or with keys
    /// that name their algorithm, stay unchanged.
    #[must_use]
    pub fn with_jwe_oaep_sha256(self) -> Self {
        match self.0 {
            Kind::Jwe(recipient) => Self(Kind::Jwe(recipient.with_oaep(OaepHash::Sha256))),
            other => Self(other),
        }
    }

    /// A recipient with PKCS#7 (skopeo's `pkcs7:FILE`). The file contains an X.509 certificate in PEM
    /// or DER, for RSA from 2048 to 16384 bits. As in Go, the first of several certificates is used,
    /// which in a chain is the owner's. Neither its signature nor its validity is checked, because this
    /// crate has no clock.
    ///
    /// Go ctd-decoder needs the certificate in addition to the private key. The message has the form
    /// that Go writes: see [`Recipient::with_pkcs7_form`].
    ///
    /// # Errors
    /// [`RecipientError`].
    pub fn pkcs7(certificate: &[u8]) -> Result<Self, RecipientError> {
        Ok(Self(Kind::Pkcs7(Pkcs7Recipient::parse(certificate)?)))
    }

    /// The same recipient with a CMS message of this form, if its scheme is PKCS#7.
    #[must_use]
    pub fn with_pkcs7_form(self, form: Pkcs7Form) -> Self {
        match self.0 {
            Kind::Pkcs7(recipient) => Self(Kind::Pkcs7(recipient.with_form(form))),
            other => Self(other),
        }
    }

    /// The recipients with OpenPGP that `whom` selects (skopeo's `pgp:ADDRESS`) in a ring of public
    /// keys, binary or armored. Of each key that matches, the newest valid subkey for encryption is
    /// used. There is at least one recipient. Supported are RSA, ECDH (Curve25519, P-256, P-384, P-521)
    /// and X25519, of version 4.
    ///
    /// A subkey is valid if the key has signed that it owns the subkey, and neither is revoked or
    /// expired. The crate has no clock, so `now` must be the current time. Names count if the key has
    /// signed them. Signatures of others are not checked: the caller must know whether a key belongs to
    /// the person whom it names, preferably by its fingerprint.
    ///
    /// Go supports only names and addresses, accepts them without checking their signatures, and
    /// accepts signatures with SHA-1.
    ///
    /// ```no_run
    /// use std::time::SystemTime;
    ///
    /// use ocicrypt::encrypt::Recipient;
    ///
    /// // The file is the output of `gpg --export alice@example.org`.
    /// let keyring = std::fs::read("alice.gpg")?;
    /// let whom = "alice@example.org".parse()?; // or a fingerprint
    /// let recipients = Recipient::pgp(&keyring, &whom, SystemTime::now())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RecipientError`]: that of the last refused key, if no key is left.
    pub fn pgp(
        keyring: &[u8],
        whom: &PgpSelector,
        now: SystemTime,
    ) -> Result<Vec<Self>, RecipientError> {
        let found = PgpRecipient::find(keyring, whom, now)?;
        Ok(found.into_iter().map(|recipient| Self(Kind::Pgp(recipient))).collect())
    }

    /// A recipient whose private key is in a PKCS#11 token. The file contains its public key, in the
    /// forms of [`Recipient::jwe`] (skopeo's `pkcs11:FILE`). Only RSA is supported.
    ///
    /// The YAML file with the URI of a key, which Go accepts too, is not read here, because getting the
    /// public key from it requires the token.
    ///
    /// # Errors
    /// [`RecipientError`].
    pub fn pkcs11(public_key: &[u8], hash: Pkcs11Hash) -> Result<Self, RecipientError> {
        let named = PublicKey::parse(public_key)?;
        Ok(Self(Kind::Pkcs11(Pkcs11Recipient::new(named.key, hash)?)))
    }

    /// A recipient whose key provider has already wrapped the key. `name` is the provider's name in the
    /// configuration, `wrapped` is its answer for the [`private_options`](super::private_options)
    /// (skopeo's `provider:NAME`).
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

/// The scheme and the kind of the key for people, for example `jwe RSA-2048`.
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

/// Why something cannot be a recipient. The text completes "it is …", or stands alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// The name of a key provider, or what it wrapped, is empty.
    #[error("empty")]
    Empty,
    /// There is no public key, or none that a layer key can be wrapped for.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// There is no OpenPGP key that a layer key can be wrapped for.
    #[error(transparent)]
    Pgp(#[from] PgpRecipientError),
}
