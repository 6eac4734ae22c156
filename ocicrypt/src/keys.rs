//! Private keys in all the forms of a node's files: PEM (RFC 7468), DER (PKCS#8, RFC 5958; PKCS#1, RFC
//! 8017; SEC1, RFC 5915) and JSON Web Keys (RFC 7517).

mod certificate;
mod der;
mod ec;
mod foreign;
#[cfg(feature = "encrypt")]
mod generate;
mod jwk;
mod kind;
mod openssh;
mod pem;
#[cfg(feature = "encrypt")]
pub(crate) mod public;
mod rsa;
#[cfg(feature = "timing")]
pub mod timing;
mod wrapping;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use zeroize::Zeroizing;

use crate::algorithms::Algorithm;
use crate::budget::{self, Budget, cost};
use crate::encoding::pem::is_pem;

pub use self::certificate::Certificate;
pub(crate) use self::der::ClosedKey;
use self::der::{Found, Opener};
pub(crate) use self::ec::EcKey;
pub use self::foreign::Foreign;
#[cfg(feature = "encrypt")]
pub use self::generate::GenerateError;
pub use self::kind::{Fingerprint, KeyKind};
#[cfg(feature = "encrypt")]
pub use self::public::{PublicKeyError, WrapError};
pub use self::rsa::{MAX_BITS, MIN_BITS, OaepRefusal, RsaKey};
pub use self::wrapping::{decoded_text, unwrapped};
pub use crate::crypto::oaep::OaepHash;

/// Which keys are tried for a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// The keys that it names, by a certificate or a `kid`.
    Named,
    /// Every key of the right kind.
    AnyKey,
}

/// A private key of a kind that can open a wrapped key. It is wiped when dropped, and has no `Debug`.
pub struct PrivateKey {
    material: Material,
    fingerprint: OnceLock<Fingerprint>,
}

/// The numbers of a private key.
pub(crate) enum Material {
    Rsa(RsaKey),
    P256(EcKey<p256::NistP256>),
    P384(EcKey<p384::NistP384>),
    P521(EcKey<p521::NistP521>),
}

impl From<Material> for PrivateKey {
    fn from(material: Material) -> Self {
        Self { material, fingerprint: OnceLock::new() }
    }
}

impl PrivateKey {
    /// Reads all keys in `bytes`, the content of one file. [`Parsed::refused`] lists what else it
    /// contains. A bad key does not affect the others.
    ///
    /// The password is for encrypted keys: PKCS#8 with PBES2 (RFC 8018), and PEM with `DEK-Info` (RFC
    /// 1421, as OpenSSL writes it). Keys that would take many seconds or much memory to open are
    /// refused.
    pub fn parse(bytes: &[u8], password: Option<&[u8]>) -> Parsed {
        let mut budget = Budget::new(budget::KEYS);
        let mut passwords = Budget::new(budget::PASSWORDS);
        let mut parsed = Parsed::default();
        for item in Contents::of(bytes, password, &mut budget).items {
            let found = match item {
                Item::Open(key) => Ok(key),
                Item::Closed(key) => match passwords.spend(key.cost()) {
                    Ok(()) => key.open(&mut budget),
                    Err(_) => Err(NotAKey::TooMuchWork(Work::Together)),
                },
                Item::Certificate(certificate) => {
                    parsed.certificates.push(certificate);
                    continue;
                }
                Item::Refused(reason) => Err(reason),
            };
            match found {
                Ok(key) => parsed.keys.push(key),
                Err(reason) => parsed.refused.push(reason),
            }
        }
        parsed
    }

    /// The kind of the key.
    pub fn kind(&self) -> KeyKind {
        match &self.material {
            Material::Rsa(key) => KeyKind::Rsa { bits: key.bits() },
            Material::P256(_) => KeyKind::P256,
            Material::P384(_) => KeyKind::P384,
            Material::P521(_) => KeyKind::P521,
        }
    }

    /// The numbers of the key.
    pub(crate) fn material(&self) -> &Material {
        &self.material
    }

    /// The RSA key, if it is one.
    pub fn as_rsa(&self) -> Option<&RsaKey> {
        match &self.material {
            Material::Rsa(key) => Some(key),
            _ => None,
        }
    }

    /// ECDH (SP 800-56A, section 5.7.1.2) with the public point whose affine coordinates are `x` and
    /// `y`. The shared secret is as long as the field. None if the key is not on an elliptic curve, a
    /// coordinate has another length, or the point is not on the curve.
    pub(crate) fn agree(&self, x: &[u8], y: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match &self.material {
            Material::Rsa(_) => None,
            Material::P256(key) => key.agree(x, y),
            Material::P384(key) => key.agree(x, y),
            Material::P521(key) => key.agree(x, y),
        }
    }

    /// The algorithm by which the length of an RSA key is judged. None for keys of other kinds.
    pub(crate) fn algorithm(&self) -> Option<Algorithm> {
        self.as_rsa().map(|key| Algorithm::rsa(key.bits()))
    }

    /// The fingerprint of the public key, which is computed only once. If the file of an elliptic curve
    /// key states the public key, that one is used, as in OpenSSL; otherwise it costs a scalar
    /// multiplication.
    pub fn fingerprint(&self) -> Fingerprint {
        *self.fingerprint.get_or_init(|| Fingerprint::of(&self.public_key_info()))
    }

    /// The public key as `SubjectPublicKeyInfo` in DER (RFC 5280, section 4.1.2.7).
    /// [`encrypt::Recipient::jwe`](crate::encrypt::Recipient::jwe) takes it. As in
    /// [`PrivateKey::fingerprint`], a stated public key is used.
    pub fn public_key_info(&self) -> Vec<u8> {
        match &self.material {
            Material::Rsa(key) => key.public_key_info(),
            Material::P256(key) => key.public_key_info(),
            Material::P384(key) => key.public_key_info(),
            Material::P521(key) => key.public_key_info(),
        }
    }

    /// Whether a `kid` names this key, because it is the key's fingerprint.
    pub(crate) fn is_named(&self, kid: &str) -> bool {
        self.fingerprint().is_text(kid)
    }

    /// The same key, whose public key is computed and not taken from its file. With a stated public key, a
    /// client could choose the fingerprint of its own key.
    pub(crate) fn of_a_stranger(self) -> Self {
        Self::from(match self.material {
            Material::Rsa(key) => Material::Rsa(key),
            Material::P256(key) => Material::P256(key.unstated()),
            Material::P384(key) => Material::P384(key.unstated()),
            Material::P521(key) => Material::P521(key.unstated()),
        })
    }

    /// The cost of a private-key operation.
    pub(crate) fn cost(&self) -> u64 {
        match &self.material {
            Material::Rsa(key) => key.cost(),
            Material::P256(_) => cost::P256,
            Material::P384(_) => cost::P384,
            Material::P521(_) => cost::P521,
        }
    }

    /// The additional cost of the previous operation, beyond [`PrivateKey::cost`]. It is not zero if that
    /// operation found out that the primes of an RSA key are not prime.
    pub(crate) fn cost_of_detour(&self) -> u64 {
        self.as_rsa().map_or(0, RsaKey::cost_of_detour)
    }

    /// The current cost of [`PrivateKey::fingerprint`].
    pub(crate) fn cost_of_fingerprint(&self) -> u64 {
        match (self.fingerprint.get(), &self.material) {
            (Some(_), _) => 0,
            (None, Material::Rsa(_)) => cost::ATTEMPT,
            (None, _) => self.cost(),
        }
    }

    /// Whether both are the same key. The time does not depend on private parts.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.material, &other.material) {
            (Material::Rsa(a), Material::Rsa(b)) => a.is_same(b),
            (Material::P256(a), Material::P256(b)) => a.is_same(b),
            (Material::P384(a), Material::P384(b)) => a.is_same(b),
            (Material::P521(a), Material::P521(b)) => a.is_same(b),
            _ => false,
        }
    }
}

/// The content of one file.
#[derive(Default)]
pub struct Parsed {
    /// The keys, in the order of the file.
    pub keys: Vec<PrivateKey>,
    /// The X.509 certificates, in the order of the file.
    pub certificates: Vec<Certificate>,
    /// What was refused, with the reasons.
    pub refused: Vec<NotAKey>,
}

/// The content of one file, in order. Keys whose opening has a cost are still closed.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) items: Vec<Item>,
}

pub(crate) enum Item {
    Open(PrivateKey),
    Closed(ClosedKey),
    Certificate(Certificate),
    Refused(NotAKey),
}

impl Item {
    /// Whether it says only that a text is not of the form that it was taken for.
    fn is_unreadable(&self) -> bool {
        matches!(self, Self::Refused(NotAKey::Malformed("PEM" | "JWK") | NotAKey::NoJwk))
    }
}

impl Contents {
    /// The most keys or other blocks in one file. A longer file is not a key file.
    const MAX: usize = 1000;

    /// Reads the content of a file. `budget` is for checking the numbers of keys.
    pub(crate) fn of(bytes: &[u8], password: Option<&[u8]>, budget: &mut Budget) -> Self {
        let mut contents = Self::default();
        let password = password.map(|password| Arc::new(Zeroizing::new(password.to_vec())));
        let mut opener = Opener { password, budget };
        if bytes.trim_ascii().is_empty() {
            contents.add(Err(NotAKey::Empty));
        } else if der::is_whole(bytes) {
            match der::parse(bytes, None, &mut opener) {
                Err(NotAKey::Certificate) => contents.add_certificate(bytes),
                found => contents.add(found),
            }
        } else {
            let text = decoded_text(bytes);
            contents.read_text(&text, &mut opener);
            if let Cow::Owned(text) = text {
                drop(Zeroizing::new(text));
            }
        }
        // This happens for parameters of a curve without a key, or for a PEM label in the middle of a
        // line.
        if contents.items.is_empty() {
            contents.add(Err(NotAKey::Unknown));
        }
        contents
    }

    /// Reads PEM or JSON, as it is or as it was before somebody wrapped it.
    fn read_text(&mut self, text: &[u8], opener: &mut Opener<'_>) {
        let is_json = text.trim_ascii_start().starts_with(b"{");
        if is_json {
            jwk::parse(text, opener.budget, self);
        } else if is_pem(text) {
            pem::parse(text, opener, self);
        }
        if self.items.iter().all(Item::is_unreadable)
            && let Some(pem) = wrapping::unwrapped(text)
        {
            let mut unwrapped = Self::default();
            pem::parse(&pem, opener, &mut unwrapped);
            if !unwrapped.items.iter().all(Item::is_unreadable) {
                self.items = unwrapped.items;
            }
        }
        let is_unknown = matches!(self.items[..], [] | [Item::Refused(NotAKey::NoJwk)]);
        if is_unknown && (is_json || !is_pem(text)) {
            let is_token =
                text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"pkcs11:"));
            self.items.clear();
            self.add(Err(match Foreign::of(text) {
                _ if is_token => NotAKey::Pkcs11,
                Some(foreign) => NotAKey::Foreign(foreign),
                None => NotAKey::Unknown,
            }));
        }
    }

    fn add(&mut self, found: Result<Found, NotAKey>) {
        self.items.push(match found {
            Ok(Found::Open(key)) => Item::Open(key),
            Ok(Found::Closed(key)) => Item::Closed(key),
            Err(reason) => Item::Refused(reason),
        });
    }

    /// Adds the DER certificate at the beginning of `der`.
    fn add_certificate(&mut self, der: &[u8]) {
        self.items.push(match Certificate::parse(der) {
            Some(certificate) => Item::Certificate(certificate),
            None => Item::Refused(NotAKey::Certificate),
        });
    }

    fn is_full(&self) -> bool {
        self.items.len() >= Self::MAX
    }
}

/// Why something is not a private key that can be used. The text completes "it is …", or stands alone
/// in a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAKey {
    /// It is empty, or has only white space.
    #[error("empty")]
    Empty,
    /// It is neither PEM nor DER nor a JSON Web Key.
    #[error("not a key in PEM, DER, JWK or OpenPGP form")]
    Unknown,
    /// A PKCS#11 key file, which names a key in a token.
    #[error("a PKCS#11 key file, which names a key in a token")]
    Pkcs11,
    /// It is a public key.
    #[error("a public key, not a private one")]
    PublicKey,
    /// It is a certificate request, or a damaged certificate.
    #[error("a certificate that cannot be read, or only the request for one")]
    Certificate,
    /// It is PKCS#12, which contains keys but is not supported.
    #[error(
        "a PKCS#12 file, which is not read: `openssl pkcs12 -in FILE -nodes -nocerts -out FILE.pem` takes \
         the key out"
    )]
    Pkcs12,
    /// It is JSON without `kty`, which every JSON Web Key has.
    #[error("JSON, but not a JSON Web Key")]
    NoJwk,
    /// It has a form that others read.
    #[error("{0}")]
    Foreign(Foreign),
    /// An OpenSSH key that is encrypted in OpenSSH's own way.
    #[error(
        "an OpenSSH key with a passphrase, in a form that is not read: `ssh-keygen -p -m PEM -f FILE` \
         writes one that is"
    )]
    OpenSshWithPassphrase,
    /// It is a PEM block of another kind.
    #[error("a PEM block `{0}`, which is not a private key")]
    OtherPem(String),
    /// The private key is encrypted, in the named form, and there is no password.
    #[error("an encrypted key ({0}), and a password is needed")]
    PasswordNeeded(&'static str),
    /// The private key is encrypted, in the named form, and cannot be decrypted. It is not known
    /// whether the password is wrong or the file is damaged.
    #[error("an encrypted key ({0}) that the password does not open, unless it is damaged")]
    WrongPassword(&'static str),
    /// The encryption of the private key is not supported. It holds the algorithm.
    #[error(
        "an encrypted key in a way that is not supported ({0}): \
         `openssl pkcs8 -topk8 -v2 aes256` writes one that is"
    )]
    UnsupportedEncryption(String),
    /// A private key that would take too much time or memory to open: encrypted, or without its
    /// primes.
    #[error("a key that asks for too much work ({0})")]
    TooMuchWork(Work),
    /// A private key that opens no layer, such as one for signatures. Holds its algorithm.
    #[error("a key of a kind that opens no layer ({0})")]
    OtherKind(String),
    /// The key is on an elliptic curve that the format does not have, or that is not named.
    #[error("a key on an elliptic curve that opens no layer")]
    OtherCurve,
    /// The size of the RSA key is not accepted.
    #[error("an RSA key of {0} bits: {MIN_BITS} to {MAX_BITS} are accepted")]
    RsaSize(u32),
    /// The named form is malformed.
    #[error("a damaged key ({0})")]
    Malformed(&'static str),
    /// The numbers of the key contradict each other, or do not match its kind.
    #[error("a private key whose numbers do not fit together")]
    Inconsistent,
}

/// The work that a private key asks for and that exceeds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Work {
    /// PBKDF2 (RFC 8018, section 5.2) with this number of rounds.
    #[error("{0} rounds of PBKDF2")]
    Pbkdf2(u64),
    /// scrypt (RFC 7914, section 2) with these parameters.
    #[error("scrypt with N = {n}, r = {r}, p = {p}")]
    Scrypt {
        /// The cost parameter N.
        n: u64,
        /// The block size r.
        r: u64,
        /// The parallelization p.
        p: u64,
    },
    /// The keys before it have used the budget of all keys.
    #[error("together with the keys before it")]
    Together,
}
