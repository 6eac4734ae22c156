//! Public keys, in every form that Go reads and some more: PEM (RFC 7468), DER
//! (`SubjectPublicKeyInfo`, RFC 5280; PKCS#1, RFC 8017) and JSON Web Keys (RFC 7517).

use pkcs8::der::Decode;
use pkcs8::der::asn1::UintRef;
use pkcs8::spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::{EcPublicKey, RecipientError, RsaPublicKey};
use crate::base64;
use crate::json::Json;
use crate::key::{self, KeyKind, PrivateKey};
use crate::text::printable;

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
    pub(crate) fn parse(bytes: &[u8]) -> Result<NamedPublicKey, RecipientError> {
        let text = bytes.trim_ascii_start();
        let key = match text.first() {
            None => return Err(RecipientError::Empty),
            Some(b'{') => return parse_jwk(text),
            Some(_) if key::is_pem(bytes) => Self::of_pem(bytes),
            Some(_) => Self::of_der(bytes),
        };
        Ok(NamedPublicKey { key: key?, alg: None, kid: None })
    }

    /// Reads `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7).
    pub(crate) fn of_info(info: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, RecipientError> {
        let key = info.subject_public_key.as_bytes();
        let key = key.ok_or(RecipientError::Malformed("SubjectPublicKeyInfo"))?;
        match info.algorithm.oid {
            RSA => Self::of_pkcs1(key).unwrap_or(Err(RecipientError::Malformed("PKCS#1"))),
            EC => {
                let parameters = info.algorithm.parameters;
                let curve = parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
                let kind = curve.and_then(|curve| key::kind_of_curve(&curve));
                let kind = kind.ok_or(RecipientError::OtherCurve)?;
                EcPublicKey::new(kind, key).map(Self::Ec)
            }
            other => Err(RecipientError::OtherKind(key::name_of_kind(&other))),
        }
    }

    /// Go takes the first block and ignores the others, so that a recipient may be forgotten.
    fn of_pem(bytes: &[u8]) -> Result<Self, RecipientError> {
        let mut found = None;
        for (label, content) in key::blocks(bytes) {
            let content = content.ok_or(RecipientError::Malformed("PEM"))?;
            let key = match label {
                "EC PARAMETERS" => continue,
                label if label.ends_with("CERTIFICATE") => Err(RecipientError::Certificate),
                label if label.ends_with("PRIVATE KEY") => Err(RecipientError::PrivateKey),
                label if label.ends_with("PUBLIC KEY") => Self::of_der(&content),
                label => Err(RecipientError::OtherPem(printable(label))),
            };
            if found.replace(key?).is_some() {
                return Err(RecipientError::SeveralKeys);
            }
        }
        found.ok_or(RecipientError::Unknown)
    }

    fn of_der(der: &[u8]) -> Result<Self, RecipientError> {
        if let Ok(info) = SubjectPublicKeyInfoRef::from_der(der) {
            return Self::of_info(&info);
        }
        Self::of_pkcs1(der).unwrap_or_else(|| {
            let parsed = PrivateKey::parse(der, None);
            Err(match (parsed.keys.first(), parsed.certificates.first()) {
                (Some(_), _) => RecipientError::PrivateKey,
                (None, Some(_)) => RecipientError::Certificate,
                (None, None) => RecipientError::Unknown,
            })
        })
    }

    /// PKCS#1 (RFC 8017, appendix A.1.1). None if it has another form.
    fn of_pkcs1(der: &[u8]) -> Option<Result<Self, RecipientError>> {
        let key = pkcs1::RsaPublicKey::<UintRef<'_>>::from_der(der).ok()?;
        let key = RsaPublicKey::new(key.modulus.as_bytes(), key.public_exponent.as_bytes());
        Some(key.map(Self::Rsa))
    }
}

/// RFC 7518, section 6. As in Go, a key with its private half is refused.
fn parse_jwk(bytes: &[u8]) -> Result<NamedPublicKey, RecipientError> {
    let malformed = || RecipientError::Malformed("JWK");
    let json = Json::parse(bytes).map_err(|_| malformed())?;
    let jwk = match json.member("keys").and_then(Json::as_array) {
        Some([one]) => one,
        Some([]) => return Err(RecipientError::Empty),
        Some(_) => return Err(RecipientError::SeveralKeys),
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
        return Err(RecipientError::PrivateKey);
    }
    let key = match text("kty") {
        Some("RSA") => RsaPublicKey::new(&number("n")?, &number("e")?).map(PublicKey::Rsa),
        Some("EC") => {
            let (kind, size) = match text("crv") {
                Some("P-256") => (KeyKind::P256, 32),
                Some("P-384") => (KeyKind::P384, 48),
                Some("P-521") => (KeyKind::P521, 66),
                _ => return Err(RecipientError::OtherCurve),
            };
            let (x, y) = (number("x")?, number("y")?);
            if x.len() != size || y.len() != size {
                return Err(malformed());
            }
            EcPublicKey::new(kind, &[&[4], &x[..], &y[..]].concat()).map(PublicKey::Ec)
        }
        Some(other) => Err(RecipientError::OtherKind(format!("JWK {}", printable(other)))),
        None => Err(malformed()),
    };
    let owned = |name: &str| text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(NamedPublicKey { key: key?, alg: owned("alg"), kid: owned("kid") })
}
