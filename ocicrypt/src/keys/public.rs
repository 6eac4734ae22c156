//! Public keys in all the forms that Go reads, and more: PEM (RFC 7468), DER (`SubjectPublicKeyInfo`,
//! RFC 5280; PKCS#1, RFC 8017) and JSON Web Keys (RFC 7517).

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

/// A public key, and the other members of a JSON Web Key.
pub(crate) struct NamedPublicKey {
    pub(crate) key: PublicKey,
    /// `alg`: the algorithm that the key is for.
    pub(crate) alg: Option<String>,
    /// `kid`: the owner's name for the key.
    pub(crate) kid: Option<String>,
}

impl PublicKey {
    /// Reads the only key in `bytes`, the content of a file.
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

    /// Reads the only block. Go uses the first block and ignores the others, so a recipient could be
    /// missed.
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

    /// Reads PKCS#1 (RFC 8017, appendix A.1.1). None if it has another form.
    fn of_pkcs1(der: &[u8]) -> Option<Result<Self, PublicKeyError>> {
        let key = pkcs1::RsaPublicKey::<UintRef<'_>>::from_der(der).ok()?;
        let key = RsaPublicKey::new(key.modulus.as_bytes(), key.public_exponent.as_bytes());
        Some(key.map(Self::Rsa))
    }
}

/// RFC 7518, section 6. As in Go, a private key is refused.
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

/// Why something is not a public key that a layer key can be wrapped for. The text completes "it is …",
/// or stands alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// It is empty, or has only white space.
    #[error("empty")]
    Empty,
    /// It has none of the supported forms.
    #[error("not a public key in PEM, DER or JWK form")]
    Unknown,
    /// It is a private key.
    #[error("a private key, not a public one: `openssl pkey -pubout` writes the public key of it")]
    PrivateKey,
    /// It is a certificate, but a public key is needed.
    #[error(
        "a certificate, which is for `pkcs7`: \
         `openssl x509 -pubkey -noout` writes the public key of it"
    )]
    Certificate,
    /// It is not a certificate, but one is needed. It holds the label if it is PEM.
    #[error("not a certificate{}", .0.as_ref().map_or(String::new(), |label| format!(", but `{label}`")))]
    NoCertificate(Option<String>),
    /// It is a PEM block of another kind.
    #[error("a PEM block `{0}`, which is not a public key")]
    OtherPem(String),
    /// It has several keys, but one recipient is named.
    #[error("a file of several keys: give each its own file, and name them all")]
    SeveralKeys,
    /// Nothing can be wrapped for the key. It holds the algorithm.
    #[error("a key of a kind that no layer key is wrapped for ({0})")]
    OtherKind(String),
    /// The key is on an elliptic curve that the format does not have, or that is not named.
    #[error("a key on an elliptic curve that no layer key is wrapped for")]
    OtherCurve,
    /// The size of the RSA key is not accepted.
    #[error("an RSA key of {0} bits: 2048 to {MAX_BITS} are accepted")]
    RsaSize(u32),
    /// The named form is malformed.
    #[error("a damaged key ({0})")]
    Malformed(&'static str),
    /// The algorithm that a JSON Web Key requires is unknown, or does not match its kind.
    #[error("a key for the algorithm `{0}`, which is not one of the format or not for this key")]
    Algorithm(String),
}

/// Why a key could not be wrapped for a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// The modulus of an RSA key is too short for the bytes that must be encrypted with it directly.
    #[error(
        "the RSA key of {bits} bits is too short for {needed} bytes with {padding}: \
         take a longer key, or SHA-1"
    )]
    KeyTooShort {
        /// The length of the modulus in bits.
        bits: u32,
        /// The length in bytes that must be encrypted.
        needed: usize,
        /// The padding, or its hash function.
        padding: &'static str,
    },
    /// The random number generator failed.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}
