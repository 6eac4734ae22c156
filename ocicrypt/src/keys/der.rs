//! DER: detects the kind of a key, and reads it.

mod closed;
mod encrypted;
mod explicit;

use pkcs1::RsaPrivateKey;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::asn1::UintRef;
use pkcs8::der::{AnyRef, Decode, Encode};
use pkcs8::spki::ObjectIdentifier;
use sec1::EcPrivateKey;

pub(crate) use self::closed::ClosedKey;
pub(super) use self::closed::Form;
use self::encrypted::EncryptedKey;
pub(super) use self::encrypted::Opener;
#[cfg(feature = "encrypt")]
use super::KeyKind;
use super::{EcKey, Material, NotAKey, PrivateKey, RsaKey};
use crate::budget::Budget;

/// A key that was read.
pub(super) enum Found {
    Open(PrivateKey),
    Closed(ClosedKey),
}

impl Found {
    fn encrypted(key: EncryptedKey) -> Self {
        Self::Closed(ClosedKey(Form::Encrypted(key)))
    }
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Names for the algorithms of keys that open no layer.
const OTHER_KINDS: [(&str, &str); 9] = [
    ("1.3.101.110", "X25519"),
    ("1.3.101.111", "X448"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.2.840.113549.1.3.1", "DH"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
];

/// Whether `bytes` begin with a whole DER SEQUENCE.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.first() == Some(&SEQUENCE) && element(bytes).is_some()
}

/// Reads the key at the beginning of `bytes`; bytes after it are ignored, as in Go. `curve` is the
/// content of a preceding `EC PARAMETERS` block.
pub(super) fn parse(
    bytes: &[u8],
    curve: Option<ObjectIdentifier>,
    opener: &mut Opener<'_>,
) -> Result<Found, NotAKey> {
    let outer = element(bytes).filter(|outer| outer.tag == SEQUENCE);
    let outer = outer.ok_or(NotAKey::Malformed("DER"))?;
    let mut shape = [Element::NONE; 3];
    let mut rest = outer.content;
    for place in &mut shape {
        if let Some(found) = element(rest) {
            (*place, rest) = (found, found.rest);
        }
    }
    let whole = &bytes[..bytes.len() - outer.rest.len()];
    match shape.map(|element| element.tag) {
        [INTEGER, SEQUENCE, OCTET_STRING] => parse_pkcs8(whole, opener.budget).map(Found::Open),
        [INTEGER, INTEGER, INTEGER] => parse_pkcs1(whole, opener.budget).map(Found::Open),
        [INTEGER, OCTET_STRING, _] => parse_sec1(whole, curve).map(Found::Open),
        [INTEGER, INTEGER, _] => Err(NotAKey::PublicKey),
        [INTEGER, SEQUENCE, _] if shape[0].content == [3] => Err(NotAKey::Pkcs12),
        [SEQUENCE, OCTET_STRING, _] => opener.close_pkcs8(whole, curve).map(Found::encrypted),
        [SEQUENCE, BIT_STRING, _] => Err(NotAKey::PublicKey),
        [SEQUENCE, SEQUENCE, BIT_STRING] => Err(NotAKey::Certificate),
        _ => Err(NotAKey::Unknown),
    }
}

/// Reads a PEM block with a `DEK-Info` header (RFC 1421, section 4.6.1.3), whose content is encrypted.
pub(super) fn parse_encrypted_pem(
    dek_info: &str,
    content: &[u8],
    curve: Option<ObjectIdentifier>,
    opener: &Opener<'_>,
) -> Result<Found, NotAKey> {
    opener.close_pem(dek_info, content, curve).map(Found::encrypted)
}

/// The curve that an `EC PARAMETERS` block names or writes out, if the format has it.
pub(super) fn parse_curve(bytes: &[u8]) -> Option<ObjectIdentifier> {
    ObjectIdentifier::from_der(bytes).ok().or_else(|| explicit::curve(bytes))
}

/// PKCS#8 (RFC 5958, section 2).
fn parse_pkcs8(der: &[u8], budget: &mut Budget) -> Result<PrivateKey, NotAKey> {
    let malformed = NotAKey::Malformed("PKCS#8");
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| malformed)?;
    let key = info.private_key.as_bytes();
    match info.algorithm.oid {
        RSA => parse_pkcs1(key, budget),
        RSA_PSS => Err(NotAKey::OtherKind("RSASSA-PSS".to_owned())),
        RSA_OAEP => Err(NotAKey::OtherKind("RSAES-OAEP".to_owned())),
        EC => {
            let curve = info.algorithm.parameters.and_then(|any| curve_of(&any));
            parse_sec1(key, Some(curve.ok_or(NotAKey::OtherCurve)?))
        }
        other => Err(NotAKey::OtherKind(name_of_kind(&other))),
    }
}

/// The name of the algorithm of a key that opens no layer, or its number if no name is known.
pub(crate) fn name_of_kind(algorithm: &ObjectIdentifier) -> String {
    let oid = algorithm.to_string();
    let name = OTHER_KINDS.iter().find(|(known, _)| *known == oid);
    name.map_or(oid, |(_, name)| (*name).to_owned())
}

/// The kind of the keys on a curve. None if the format does not have it.
#[cfg(feature = "encrypt")]
pub(crate) fn kind_of_curve(curve: &ObjectIdentifier) -> Option<KeyKind> {
    match *curve {
        P256 => Some(KeyKind::P256),
        P384 => Some(KeyKind::P384),
        P521 => Some(KeyKind::P521),
        _ => None,
    }
}

/// PKCS#1 (RFC 8017, appendix A.1.2).
fn parse_pkcs1(der: &[u8], budget: &mut Budget) -> Result<PrivateKey, NotAKey> {
    let key =
        RsaPrivateKey::<UintRef<'_>>::from_der(der).map_err(|_| NotAKey::Malformed("PKCS#1"))?;
    let mut primes = vec![key.prime1.as_bytes(), key.prime2.as_bytes()];
    let others = key.other_prime_infos.iter().flatten();
    primes.extend(others.map(|info| info.prime.as_bytes()));
    let [n, e, d] = [key.modulus, key.public_exponent, key.private_exponent];
    let coefficient = Some(key.coefficient.as_bytes());
    let key = RsaKey::new(n.as_bytes(), e.as_bytes(), d.as_bytes(), &primes, coefficient, budget);
    key.map(|key| Material::Rsa(key).into())
}

/// SEC1 (RFC 5915, section 3). The curve that the key itself names takes precedence.
fn parse_sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<PrivateKey, NotAKey> {
    let Ok(key) = EcPrivateKey::from_der(der) else {
        return parse_explicit_sec1(der).unwrap_or(Err(NotAKey::Malformed("SEC1")));
    };
    let named = key.parameters.as_ref().and_then(|parameters| parameters.named_curve());
    ec_key(named.or(curve), key.private_key, key.public_key)
}

/// SEC1 with parameters that are written out. Its public key is not read.
fn parse_explicit_sec1(der: &[u8]) -> Option<Result<PrivateKey, NotAKey>> {
    let version = element(element(der)?.content).filter(|version| version.tag == INTEGER)?;
    let secret = element(version.rest).filter(|secret| secret.tag == OCTET_STRING)?;
    let parameters = element(secret.rest).filter(|parameters| parameters.tag == CONTEXT_0)?;
    if element(parameters.content)?.tag != SEQUENCE {
        return None;
    }
    Some(ec_key(explicit::curve(parameters.content), secret.content, None))
}

fn ec_key(
    curve: Option<ObjectIdentifier>,
    secret: &[u8],
    public: Option<&[u8]>,
) -> Result<PrivateKey, NotAKey> {
    let material = match curve {
        Some(P256) => EcKey::new(secret, public).map(Material::P256),
        Some(P384) => EcKey::new(secret, public).map(Material::P384),
        Some(P521) => EcKey::new(secret, public).map(Material::P521),
        _ => Err(NotAKey::OtherCurve),
    };
    material.map(PrivateKey::from)
}

/// The curve that the parameters name, or that they write out.
fn curve_of(parameters: &AnyRef<'_>) -> Option<ObjectIdentifier> {
    let named = parameters.decode_as::<ObjectIdentifier>().ok();
    named.or_else(|| explicit::curve(&parameters.to_der().ok()?))
}

const NONE: u8 = 0;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;

/// One element, for detecting the form of a key; the crates of the formats parse it.
#[derive(Clone, Copy)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

impl Element<'_> {
    const NONE: Self = Self { tag: NONE, content: &[], rest: &[] };
}

fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // A length of four bytes is enough for every file that is read.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, content, rest })
}
