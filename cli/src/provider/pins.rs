//! What a JWE of Clevis asks a node for, before `clevis` sees it.
//!
//! Whoever made an image wrote it. Its header names programs to run (`clevis-decrypt-PIN`) and servers to
//! call, and `clevis` is a set of shell scripts that trust it. So only headers get there that consist of
//! known members with harmless values, and that name what the operator has allowed.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value};

/// How many levels of `sss` may be inside of each other.
const MAX_DEPTH: usize = 4;

/// How many pins a JWE may have in all levels together.
const MAX_PINS: usize = 32;

/// What the operator allows.
#[derive(Default)]
pub struct Allowed<'a> {
    /// The Tang servers that may be asked.
    pub tang: &'a [String],
    /// Whether the TPM may be asked.
    pub tpm2: bool,
}

/// Why a JWE is not passed to `clevis`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// It is not a JWE in compact serialization, or its header is not written as Clevis writes it.
    #[error("the annotation is not a JWE of Clevis")]
    NotClevis,
    /// A member of its header has a value that Clevis does not write.
    #[error("the JWE has no proper `{0}` in its header")]
    Member(&'static str),
    /// It asks for too much.
    #[error("the JWE has more than {MAX_PINS} pins, or more than {MAX_DEPTH} levels of them")]
    TooMany,
    /// It asks for a Tang server that is not allowed.
    #[error("the image asks for the Tang server `{0}`, which this node may not ask")]
    Tang(String),
    /// It asks for the TPM, which is not allowed.
    #[error("the image asks for the TPM of this node, which it may not use")]
    Tpm2,
    /// It asks for another pin.
    #[error("the image asks for the Clevis pin `{0}`, which this provider does not call")]
    Pin(String),
}

impl Allowed<'_> {
    /// Checks a JWE in compact serialization, and all that are inside of it.
    ///
    /// # Errors
    /// The first [`PinError`].
    pub fn check(&self, jwe: &str) -> Result<(), PinError> {
        self.check_level(jwe, MAX_DEPTH, &mut MAX_PINS.clone())
    }

    fn check_level(&self, jwe: &str, depth: usize, left: &mut usize) -> Result<(), PinError> {
        let depth = depth.checked_sub(1).ok_or(PinError::TooMany)?;
        *left = left.checked_sub(1).ok_or(PinError::TooMany)?;
        let header = header(jwe)?;
        let clevis = object(&header, "clevis")?;
        let pin = string(clevis, "pin", "clevis.pin", |_| true)?;
        match pin {
            "tang" => {
                string(&header, "kid", "kid", |kid| is_token(kid, 16, 128))?;
                let curve = |curve: &str| ["P-256", "P-384", "P-521"].contains(&curve);
                string(object(&header, "epk")?, "crv", "epk.crv", curve)?;
                let url = string(object(clevis, "tang")?, "url", "clevis.tang.url", |_| true)?;
                match self.tang.iter().any(|allowed| is_same_server(allowed, url)) {
                    true => Ok(()),
                    false => Err(PinError::Tang(shown(url))),
                }
            }
            "tpm2" => {
                let tpm2 = object(clevis, "tpm2")?;
                let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
                for (name, shown) in [("hash", "clevis.tpm2.hash"), ("key", "clevis.tpm2.key")] {
                    string(tpm2, name, shown, is_name)?;
                }
                for (name, shown) in
                    [("jwk_pub", "clevis.tpm2.jwk_pub"), ("jwk_priv", "clevis.tpm2.jwk_priv")]
                {
                    string(tpm2, name, shown, |text| is_token(text, 1, 4096))?;
                }
                if tpm2.contains_key("pcr_ids") || tpm2.contains_key("pcr_bank") {
                    string(tpm2, "pcr_bank", "clevis.tpm2.pcr_bank", is_name)?;
                    let is_list = |text: &str| {
                        text.split(',').all(|id| id.parse().is_ok_and(|id: u8| id < 32))
                    };
                    string(tpm2, "pcr_ids", "clevis.tpm2.pcr_ids", is_list)?;
                }
                if self.tpm2 { Ok(()) } else { Err(PinError::Tpm2) }
            }
            "sss" => {
                let sss = object(clevis, "sss")?;
                let inner = sss.get("jwe").and_then(Value::as_array);
                for jwe in inner.ok_or(PinError::Member("clevis.sss.jwe"))? {
                    let jwe = jwe.as_str().ok_or(PinError::Member("clevis.sss.jwe"))?;
                    self.check_level(jwe, depth, left)?;
                }
                Ok(())
            }
            other => Err(PinError::Pin(shown(other))),
        }
    }
}

/// The protected header of a JWE.
///
/// It has to be JSON as Clevis writes it, without a space and without a member twice: another reader
/// could take another one of two.
fn header(jwe: &str) -> Result<Map<String, Value>, PinError> {
    let parts: Vec<_> = jwe.split('.').collect();
    if parts.len() != 5 || !parts.iter().all(|part| is_token(part, 0, usize::MAX)) {
        return Err(PinError::NotClevis);
    }
    let bytes = Base64UrlUnpadded::decode_vec(parts[0]).map_err(|_| PinError::NotClevis)?;
    let header: Value = serde_json::from_slice(&bytes).map_err(|_| PinError::NotClevis)?;
    match header {
        Value::Object(members) if Value::from(members.clone()).to_string().as_bytes() == bytes => {
            Ok(members)
        }
        _ => Err(PinError::NotClevis),
    }
}

fn object<'v>(
    value: &'v Map<String, Value>,
    name: &'static str,
) -> Result<&'v Map<String, Value>, PinError> {
    value.get(name).and_then(Value::as_object).ok_or(PinError::Member(name))
}

/// A member that is text of which `is_proper` holds. `path` is its name for a message.
fn string<'v>(
    value: &'v Map<String, Value>,
    name: &str,
    path: &'static str,
    is_proper: impl Fn(&str) -> bool,
) -> Result<&'v str, PinError> {
    let text = value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.filter(|text| is_proper(text)).ok_or(PinError::Member(path))
}

/// Whether `text` consists of the characters of base64url.
fn is_token(text: &str, least: usize, most: usize) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (least..=most).contains(&text.len()) && text.bytes().all(is_of_it)
}

/// Whether both are the URL of one Tang server, but for a slash at the end.
fn is_same_server(allowed: &str, url: &str) -> bool {
    allowed.trim_end_matches('/') == url.trim_end_matches('/')
}

fn shown(text: &str) -> String {
    ocicrypt::text::printable_to(text, 128)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn jwe(header: &str) -> String {
        format!("{}..AA.AA.AA", Base64UrlUnpadded::encode_string(header.as_bytes()))
    }

    fn tang(url: &str) -> Value {
        json!({"alg": "ECDH-ES", "clevis": {"pin": "tang", "tang": {"adv": {"keys": []}, "url": url}},
            "epk": {"crv": "P-521", "kty": "EC"}, "kid": "a".repeat(43)})
    }

    fn tpm2(changed: &[(&str, &str)]) -> Value {
        let mut tpm2 = json!({"hash": "sha256", "jwk_priv": "AA", "jwk_pub": "AA", "key": "ecc"});
        changed.iter().for_each(|(name, value)| tpm2[*name] = json!(value));
        json!({"clevis": {"pin": "tpm2", "tpm2": tpm2}})
    }

    fn sss(inner: &[Value]) -> Value {
        let inner: Vec<_> = inner.iter().map(|header| jwe(&header.to_string())).collect();
        json!({"clevis": {"pin": "sss", "sss": {"jwe": inner, "p": "AA", "t": 1}}})
    }

    fn check(header: &Value) -> Result<(), PinError> {
        let servers = ["http://tang.example/".to_owned()];
        Allowed { tang: &servers, tpm2: true }.check(&jwe(&header.to_string()))
    }

    #[test]
    fn what_the_operator_allows_is_allowed_at_all_levels() {
        let ours = tang("http://tang.example");
        assert_eq!(check(&ours), Ok(()));
        assert_eq!(check(&tpm2(&[("pcr_bank", "sha256"), ("pcr_ids", "0,7")])), Ok(()));
        assert_eq!(check(&sss(&[ours.clone(), sss(&[tpm2(&[]), ours])])), Ok(()));
        let nothing = Allowed::default();
        let refused = |header: &Value| nothing.check(&jwe(&header.to_string())).unwrap_err();
        assert_eq!(refused(&tpm2(&[])), PinError::Tpm2);
        assert_eq!(refused(&sss(&[tpm2(&[])])), PinError::Tpm2);
        let server = "http://tang.example";
        assert_eq!(refused(&tang(server)), PinError::Tang(server.to_owned()));
    }

    #[test]
    fn other_servers_and_pins_are_refused_at_all_levels() {
        for url in [
            "http://tang.example.org",
            "http://tang.example:81",
            "http://169.254.169.254",
            "http://tang.example/x",
            "file:///etc",
            "http://tang.example@evil",
            "HTTP://tang.example",
        ] {
            let refused = Err(PinError::Tang(url.to_owned()));
            assert_eq!(check(&tang(url)), refused);
            assert_eq!(check(&sss(&[tang("http://tang.example"), tang(url)])), refused);
        }
        for pin in ["null", "../../bin/sh", "pkcs11", "tang;id"] {
            let header = json!({"clevis": {"pin": pin}});
            assert_eq!(check(&header), Err(PinError::Pin(pin.to_owned())));
            assert_eq!(check(&sss(&[header])), Err(PinError::Pin(pin.to_owned())));
        }
    }

    #[test]
    fn values_that_a_shell_would_take_apart_are_refused() {
        for (name, value) in [
            ("pcr_bank", "sha256 -T device:/tmp/x"),
            ("pcr_ids", "7 -o /etc/x"),
            ("hash", "-T"),
            ("key", "ecc;id"),
            ("jwk_pub", "$(id)"),
            ("jwk_priv", "a b"),
        ] {
            let mut changed = vec![("pcr_bank", "sha256"), ("pcr_ids", "7")];
            changed.push((name, value));
            assert!(matches!(check(&tpm2(&changed)), Err(PinError::Member(_))), "{name}");
        }
        let mut header = tang("http://tang.example");
        header["kid"] = json!("../../rec/aaaaaaaaaaaaaaaa");
        assert_eq!(check(&header), Err(PinError::Member("kid")));
        let mut header = tang("http://tang.example");
        header["epk"]["crv"] = json!("P-521\",\"x\":\"");
        assert_eq!(check(&header), Err(PinError::Member("epk.crv")));
    }

    #[test]
    fn two_readers_cannot_read_two_things() {
        let text = tang("http://tang.example").to_string();
        let twice = text.replacen("\"pin\"", "\"pin\":\"null\",\"pin\"", 1);
        let spaced = text.replacen(':', ": ", 1);
        let escaped = text.replacen("tang.example", "tang\\u002eexample", 1);
        for header in [twice, spaced, escaped] {
            let servers = ["http://tang.example".to_owned()];
            let allowed = Allowed { tang: &servers, tpm2: false };
            assert_eq!(allowed.check(&jwe(&header)), Err(PinError::NotClevis), "{header}");
        }
        let text = jwe(&text);
        for jwe in [format!("{text}\n"), format!("{text}.x"), format!(" {text}"), String::new()] {
            let servers = ["http://tang.example".to_owned()];
            let allowed = Allowed { tang: &servers, tpm2: false };
            assert_eq!(allowed.check(&jwe), Err(PinError::NotClevis), "{jwe}");
        }
    }

    #[test]
    fn nothing_is_asked_for_without_end() {
        let mut deep = tpm2(&[]);
        (0..MAX_DEPTH).for_each(|_| deep = sss(&[deep.clone()]));
        assert_eq!(check(&deep), Err(PinError::TooMany));
        assert_eq!(check(&sss(&vec![tpm2(&[]); MAX_PINS])), Err(PinError::TooMany));
    }
}
