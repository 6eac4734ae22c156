//! JSON Web Keys and sets of them (RFC 7517; RFC 7518, section 6).

use zeroize::Zeroizing;

use super::der::{ClosedKey, Form, Found};
use super::{Contents, EcKey, Material, NotAKey, RsaKey};
use crate::budget::Budget;
use crate::encoding::base64;
use crate::encoding::json::Json;
use crate::encoding::text::printable;

/// Reads a key, or a set of keys.
pub(super) fn parse(bytes: &[u8], budget: &mut Budget, parsed: &mut Contents) {
    let Ok(json) = Json::parse(bytes) else {
        return parsed.add(Err(NotAKey::Malformed("JWK")));
    };
    match json.member("keys").and_then(Json::as_array) {
        Some([]) => parsed.add(Err(NotAKey::Empty)),
        Some(keys) => {
            for key in keys {
                if parsed.is_full() {
                    return;
                }
                parsed.add(parse_key(key, budget));
            }
        }
        None => parsed.add(parse_key(&json, budget)),
    }
}

fn parse_key(key: &Json<'_>, budget: &mut Budget) -> Result<Found, NotAKey> {
    let text = |name: &str| key.member(name).and_then(Json::as_str);
    if key.duplicate().is_some() {
        return Err(NotAKey::Malformed("JWK"));
    }
    match text("kty") {
        Some("RSA" | "EC") if key.member("d").is_none() => Err(NotAKey::PublicKey),
        Some("RSA") => parse_rsa(key, budget),
        Some("EC") => match text("crv") {
            Some("P-256") => {
                EcKey::new(&number(key, "d")?, None).map(|key| open(Material::P256(key)))
            }
            Some("P-384") => {
                EcKey::new(&number(key, "d")?, None).map(|key| open(Material::P384(key)))
            }
            Some("P-521") => {
                EcKey::new(&number(key, "d")?, None).map(|key| open(Material::P521(key)))
            }
            _ => Err(NotAKey::OtherCurve),
        },
        Some("OKP") => Err(NotAKey::OtherKind(printable(text("crv").unwrap_or("OKP")))),
        Some("oct") => Err(NotAKey::OtherKind("a symmetric JWK".to_owned())),
        Some(other) => Err(NotAKey::OtherKind(format!("JWK {}", printable(other)))),
        None => Err(NotAKey::NoJwk),
    }
}

/// RFC 7518, section 6.3.2. `dp` and `dq` are always computed, and `qi` is computed if it is missing. A
/// key with more than two primes (`oth`) is refused.
fn parse_rsa(key: &Json<'_>, budget: &mut Budget) -> Result<Found, NotAKey> {
    let [n, e, d] = [number(key, "n")?, number(key, "e")?, number(key, "d")?];
    if key.member("oth").is_some() {
        return Err(NotAKey::OtherKind("multi-prime RSA JWK".to_owned()));
    }
    if key.member("p").is_none() && key.member("q").is_none() {
        RsaKey::check_size(&n)?;
        return Ok(Found::Closed(ClosedKey(Form::WithoutPrimes { n, e, d })));
    }
    let (p, q, coefficient) = (number(key, "p")?, number(key, "q")?, number(key, "qi").ok());
    let coefficient = coefficient.as_ref().map(|number| number.as_slice());
    let key = RsaKey::new(&n, &e, &d, &[&p, &q], coefficient, budget)?;
    Ok(open(Material::Rsa(key)))
}

fn number(key: &Json<'_>, name: &str) -> Result<Zeroizing<Vec<u8>>, NotAKey> {
    let text = key.member(name).and_then(Json::as_str);
    text.and_then(base64::url).filter(|n| !n.is_empty()).ok_or(NotAKey::Malformed("JWK"))
}

fn open(material: Material) -> Found {
    Found::Open(material.into())
}
