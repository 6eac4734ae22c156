//! Public keys, in every form that Go reads and some more: PEM (RFC 7468), DER
//! (`SubjectPublicKeyInfo`, RFC 5280; PKCS#1, RFC 8017) and JSON Web Keys (RFC 7517).

mod ec;
mod rsa;

use pkcs8::der::Decode;
use pkcs8::der::asn1::UintRef;
use pkcs8::spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

pub(crate) use self::ec::EcPublicKey;
pub(crate) use self::rsa::RsaPublicKey;
use super::{KeyKind, MAX_BITS, PrivateKey, der};
use crate::crypto::rng::NoRandomness;
use crate::encoding::json::Json;
use crate::encoding::text::printable;
use crate::encoding::{base64, pem};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// A public key of a kind that a layer key can be wrapped for.
#[derive(Clone)]
pub(crate) enum PublicKey {
    Rsa(RsaPublicKey),
    Ec(EcPublicKey),
}

/// A public key, and what a JSON Web Key says beside it.
pub(crate) struct NamedPublicKey {
    pub(crate) key: PublicKey,
    /// `alg`: what the key wants to be used with.
    pub(crate) alg: Option<String>,
    /// `kid`: how its owner calls it.
    pub(crate) kid: Option<String>,
}

impl PublicKey {
    /// Reads the one key that `bytes`, the content of a file, holds.
    pub(crate) fn parse(bytes: &[u8]) -> Result<NamedPublicKey, PublicKeyError> {
        let text = bytes.trim_ascii_start();
        let key = match text.first() {
            None => return Err(PublicKeyError::Empty),
            Some(b'{') => return parse_jwk(text),
            Some(_) if pem::is_pem(bytes) => Self::of_pem(bytes),
            Some(_) => Self::of_der(bytes),
        };
        Ok(NamedPublicKey { key: key?, alg: None, kid: None })
    }

    /// Reads `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7).
    pub(crate) fn of_info(info: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, PublicKeyError> {
        let key = info.subject_public_key.as_bytes();
        let key = key.ok_or(PublicKeyError::Malformed("SubjectPublicKeyInfo"))?;
        match info.algorithm.oid {
            RSA => Self::of_pkcs1(key).unwrap_or(Err(PublicKeyError::Malformed("PKCS#1"))),
            EC => {
                let parameters = info.algorithm.parameters;
                let curve = parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
                let kind = curve.and_then(|curve| der::kind_of_curve(&curve));
                let kind = kind.ok_or(PublicKeyError::OtherCurve)?;
                EcPublicKey::new(kind, key).map(Self::Ec)
            }
            other => Err(PublicKeyError::OtherKind(der::name_of_kind(&other))),
        }
    }

    /// Go takes the first block and ignores the others, so that a recipient may be forgotten.
    fn of_pem(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let mut found = None;
        for (label, content) in pem::blocks(bytes) {
            let content = content.ok_or(PublicKeyError::Malformed("PEM"))?.content;
            let key = match label {
                "EC PARAMETERS" => continue,
                label if label.ends_with("CERTIFICATE") => Err(PublicKeyError::Certificate),
                label if label.ends_with("PRIVATE KEY") => Err(PublicKeyError::PrivateKey),
                label if label.ends_with("PUBLIC KEY") => Self::of_der(&content),
                label => Err(PublicKeyError::OtherPem(printable(label))),
            };
            if found.replace(key?).is_some() {
                return Err(PublicKeyError::SeveralKeys);
            }
        }
        found.ok_or(PublicKeyError::Unknown)
    }

    fn of_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        if let Ok(info) = SubjectPublicKeyInfoRef::from_der(der) {
            return Self::of_info(&info);
        }
        Self::of_pkcs1(der).unwrap_or_else(|| {
            let parsed = PrivateKey::parse(der, None);
            Err(match (parsed.keys.first(), parsed.certificates.first()) {
                (Some(_), _) => PublicKeyError::PrivateKey,
                (None, Some(_)) => PublicKeyError::Certificate,
                (None, None) => PublicKeyError::Unknown,
            })
        })
    }

    /// PKCS#1 (RFC 8017, appendix A.1.1). None if it has another form.
    fn of_pkcs1(der: &[u8]) -> Option<Result<Self, PublicKeyError>> {
        let key = pkcs1::RsaPublicKey::<UintRef<'_>>::from_der(der).ok()?;
        let key = RsaPublicKey::new(key.modulus.as_bytes(), key.public_exponent.as_bytes());
        Some(key.map(Self::Rsa))
    }
}

/// RFC 7518, section 6. As in Go, a key with its private half is refused.
fn parse_jwk(bytes: &[u8]) -> Result<NamedPublicKey, PublicKeyError> {
    let malformed = || PublicKeyError::Malformed("JWK");
    let json = Json::parse(bytes).map_err(|_| malformed())?;
    let jwk = match json.member("keys").and_then(Json::as_array) {
        Some([one]) => one,
        Some([]) => return Err(PublicKeyError::Empty),
        Some(_) => return Err(PublicKeyError::SeveralKeys),
        None => &json,
    };
    let text = |name: &str| jwk.member(name).and_then(Json::as_str);
    let number = |name: &str| {
        let number = text(name).and_then(base64::url).filter(|number| !number.is_empty());
        number.ok_or_else(malformed)
    };
    if jwk.duplicate().is_some() {
        return Err(malformed());
    }
    if jwk.member("d").is_some() {
        return Err(PublicKeyError::PrivateKey);
    }
    let key = match text("kty") {
        Some("RSA") => RsaPublicKey::new(&number("n")?, &number("e")?).map(PublicKey::Rsa),
        Some("EC") => {
            let (kind, size) = match text("crv") {
                Some("P-256") => (KeyKind::P256, 32),
                Some("P-384") => (KeyKind::P384, 48),
                Some("P-521") => (KeyKind::P521, 66),
                _ => return Err(PublicKeyError::OtherCurve),
            };
            let (x, y) = (number("x")?, number("y")?);
            if x.len() != size || y.len() != size {
                return Err(malformed());
            }
            EcPublicKey::new(kind, &[&[4], &x[..], &y[..]].concat()).map(PublicKey::Ec)
        }
        Some(other) => Err(PublicKeyError::OtherKind(format!("JWK {}", printable(other)))),
        None => Err(malformed()),
    };
    let owned = |name: &str| text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(NamedPublicKey { key: key?, alg: owned("alg"), kid: owned("kid") })
}

/// Why something is no public key that a layer key can be wrapped for. The text completes "it is …",
/// or stands alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// Nothing, or white space only.
    #[error("empty")]
    Empty,
    /// None of the forms that are read.
    #[error("not a public key in PEM, DER or JWK form")]
    Unknown,
    /// A private key.
    #[error("a private key, not a public one: `openssl pkey -pubout` writes the public key of it")]
    PrivateKey,
    /// A certificate, where a public key is needed.
    #[error(
        "a certificate, which is for `pkcs7`: \
         `openssl x509 -pubkey -noout` writes the public key of it"
    )]
    Certificate,
    /// Something other than a certificate, where one is needed; the label if it is PEM.
    #[error("not a certificate{}", .0.as_ref().map_or(String::new(), |label| format!(", but `{label}`")))]
    NoCertificate(Option<String>),
    /// A PEM block of another kind.
    #[error("a PEM block `{0}`, which is not a public key")]
    OtherPem(String),
    /// More than one key, where one recipient is named.
    #[error("a file of several keys: give each its own file, and name them all")]
    SeveralKeys,
    /// A key that nothing can be wrapped for. Holds its algorithm.
    #[error("a key of a kind that no layer key is wrapped for ({0})")]
    OtherKind(String),
    /// A key on an elliptic curve that the format does not have, or that is not named.
    #[error("a key on an elliptic curve that no layer key is wrapped for")]
    OtherCurve,
    /// An RSA key of a size that is not accepted.
    #[error("an RSA key of {0} bits: 2048 to {MAX_BITS} are accepted")]
    RsaSize(u32),
    /// The form, which is named, is broken.
    #[error("a damaged key ({0})")]
    Malformed(&'static str),
    /// The algorithm that a JSON Web Key demands is unknown or does not fit its kind.
    #[error("a key for the algorithm `{0}`, which is not one of the format or not for this key")]
    Algorithm(String),
}

/// Why a public key did not wrap a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// The modulus of an RSA key is too short for what must be encrypted with it directly.
    #[error(
        "the RSA key of {bits} bits is too short for {needed} bytes with {padding}: \
         take a longer key, or SHA-1"
    )]
    KeyTooShort {
        /// The length of the modulus in bits.
        bits: u32,
        /// The length of what must be encrypted in bytes.
        needed: usize,
        /// The padding, or the hash function of it.
        padding: &'static str,
    },
    /// The generator of random numbers failed.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}
