//! JSON Web Keys and sets of them (RFC 7517; RFC 7518, section 6).

use zeroize::Zeroizing;

use super::{EcKey, NotAKey, Parsed, PrivateKey, RsaKey};
use crate::base64;
use crate::json::Json;
use crate::text::printable;

/// Reads a key, or a set of keys.
pub(super) fn parse(bytes: &[u8], parsed: &mut Parsed) {
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
                parsed.add(parse_key(key));
            }
        }
        None => parsed.add(parse_key(&json)),
    }
}

fn parse_key(key: &Json<'_>) -> Result<PrivateKey, NotAKey> {
    let text = |name: &str| key.member(name).and_then(Json::as_str);
    if key.duplicate().is_some() {
        return Err(NotAKey::Malformed("JWK"));
    }
    match text("kty") {
        Some("RSA" | "EC") if key.member("d").is_none() => Err(NotAKey::PublicKey),
        Some("RSA") => parse_rsa(key),
        Some("EC") => match text("crv") {
            Some("P-256") => EcKey::new(&number(key, "d")?, None).map(PrivateKey::P256),
            Some("P-384") => EcKey::new(&number(key, "d")?, None).map(PrivateKey::P384),
            Some("P-521") => EcKey::new(&number(key, "d")?, None).map(PrivateKey::P521),
            _ => Err(NotAKey::OtherCurve),
        },
        Some("OKP") => Err(NotAKey::OtherKind(printable(text("crv").unwrap_or("OKP")))),
        Some("oct") => Err(NotAKey::OtherKind("a symmetric JWK".to_owned())),
        Some(other) => Err(NotAKey::OtherKind(format!("JWK {}", printable(other)))),
        None => Err(NotAKey::Malformed("JWK")),
    }
}

/// RFC 7518, section 6.3.2. `dp` and `dq` are not needed: they are computed, as `qi` is if it is not there. A key with
/// more than two primes (`oth`) is refused.
fn parse_rsa(key: &Json<'_>) -> Result<PrivateKey, NotAKey> {
    let [n, e, d] = [number(key, "n")?, number(key, "e")?, number(key, "d")?];
    let key = if key.member("oth").is_some() {
        return Err(NotAKey::OtherKind("multi-prime RSA JWK".to_owned()));
    } else if key.member("p").is_none() && key.member("q").is_none() {
        RsaKey::new(&n, &e, &d, &[], None)
    } else {
        let (p, q, coefficient) = (number(key, "p")?, number(key, "q")?, number(key, "qi").ok());
        RsaKey::new(&n, &e, &d, &[&p, &q], coefficient.as_ref().map(|number| number.as_slice()))
    };
    key.map(PrivateKey::Rsa)
}

fn number(key: &Json<'_>, name: &str) -> Result<Zeroizing<Vec<u8>>, NotAKey> {
    let text = key.member(name).and_then(Json::as_str);
    text.and_then(base64::url).filter(|n| !n.is_empty()).ok_or(NotAKey::Malformed("JWK"))
}
