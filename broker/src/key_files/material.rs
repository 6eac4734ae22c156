//! Extracts the keys and certificates of a file. Only those are passed to the guest: comments,
//! attributes and other members may contain anything, even a PIN.

use ocicrypt::keys::{decoded_text, unwrapped};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::tokens::mentions_pin;

/// The members of a JSON Web Key that are parameters of keys (RFC 7518, section 6).
const PARAMETERS: [&str; 13] =
    ["kty", "crv", "x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi", "k"];

/// The longest label, and the longest header that is kept, in bytes.
const LINE: usize = 100;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// The keys and certificates in `content`, in its own form: OpenPGP, DER, PEM or JWK. None if it has
/// none of these forms. Everything in it that is not a key or a certificate is left out.
pub(crate) fn key_material(content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if is_openpgp(content) {
        return Some(Zeroizing::new(content.to_vec()));
    }
    if let Some(der) = der(content) {
        return Some(Zeroizing::new(der.to_vec()));
    }
    // As in the guest: JSON decides before PEM, and both before what somebody wrapped.
    let text = Zeroizing::new(decoded_text(content).into_owned());
    if let Some(keys) = json_web_keys(&text) {
        return Some(keys);
    }
    let found = Some(blocks(&text)).filter(|blocks| !blocks.is_empty());
    found.or_else(|| Some(blocks(&unwrapped(&text)?)).filter(|blocks| !blocks.is_empty()))
}

/// Whether the bytes begin with an OpenPGP key packet (RFC 9580, section 5.5): its tag, and an existing
/// version.
fn is_openpgp(bytes: &[u8]) -> bool {
    const KEYS: [u8; 3] = [5, 6, 7];
    let (tag, length) = match bytes {
        [header @ 0xc0..=0xff, 0..=191, ..] => (header & 0x3f, 1),
        [header @ 0xc0..=0xff, 192..=223, ..] => (header & 0x3f, 2),
        [header @ 0xc0..=0xff, 255, ..] => (header & 0x3f, 5),
        [header @ 0x80..=0xbf, ..] if header & 3 < 3 => (header >> 2 & 0xf, 1 << (header & 3)),
        _ => return false,
    };
    KEYS.contains(&tag) && bytes.get(1 + length).is_some_and(|version| (2..=6).contains(version))
}

/// The DER SEQUENCE that the bytes begin with. It must consist exactly of elements, the first of which
/// is an INTEGER or a SEQUENCE, as in all private keys, public keys and certificates.
fn der(bytes: &[u8]) -> Option<&[u8]> {
    const INTEGER: u8 = 0x02;
    const SEQUENCE: u8 = 0x30;
    let (tag, content, after) = element(bytes)?;
    let mut rest = content;
    let first = element(rest)?.0;
    while !rest.is_empty() {
        rest = element(rest)?.2;
    }
    let is_key = tag == SEQUENCE && matches!(first, INTEGER | SEQUENCE);
    is_key.then(|| &bytes[..bytes.len() - after.len()])
}

/// The tag and the content of an element, and the bytes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The PEM blocks (RFC 7468) one after the other, with only those headers that are needed. A block that
/// does not end, that contains something other than base64, or that mentions a PIN, is left out.
fn blocks(content: &[u8]) -> Zeroizing<Vec<u8>> {
    // The capacity is large enough for everything, because a growing vector leaves copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(content.len() + 1));
    let mut lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        let Some(label) = delimited(line, BEGIN) else { continue };
        let (before, mut after) = (out.len(), lines.clone());
        if copy_block(line, label, &mut after, &mut out).is_some() {
            lines = after; // as in the guest: another block may begin before this one ends
        } else {
            out.truncate(before);
        }
    }
    out
}

fn copy_block<'a>(
    begin: &[u8],
    label: &[u8],
    lines: &mut impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let mut add = |line: &[u8]| {
        out.extend_from_slice(line);
        out.push(b'\n');
    };
    let mut body = Zeroizing::new(Vec::new());
    add(begin);
    for line in lines {
        if let Some(end) = delimited(line, END) {
            add(line);
            return (end == label && !mentions_pin(&decoded(&body))).then_some(());
        }
        match line.iter().position(|byte| *byte == b':') {
            Some(colon) => {
                if tells_encryption(&line[..colon], line[colon + 1..].trim_ascii()) {
                    add(line);
                }
            }
            None if line.iter().all(is_base64) => {
                body.extend_from_slice(line);
                add(line);
            }
            None => return None,
        }
    }
    None
}

/// Whether a header describes how its block is encrypted (RFC 1421, section 4.6.1), and nothing else.
fn tells_encryption(name: &[u8], value: &[u8]) -> bool {
    let is_cipher = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let is_dek_info = || {
        let mut parts = value.split(|byte| *byte == b',');
        let cipher = parts.next().is_some_and(|name| name.iter().all(is_cipher));
        let vector = parts.next().is_some_and(|iv| iv.iter().all(u8::is_ascii_hexdigit));
        cipher && vector && parts.next().is_none() && value.len() <= LINE
    };
    match name {
        b"Proc-Type" => value == b"4,ENCRYPTED",
        b"DEK-Info" => is_dek_info(),
        _ => false,
    }
}

/// The label of a delimiter line, if it has only the characters of labels.
fn delimited<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let label = line.strip_prefix(prefix)?.strip_suffix(DASHES)?;
    let is_fit =
        |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" #-.".contains(byte);
    (label.len() <= LINE && label.iter().all(is_fit)).then_some(label)
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(byte)
}

/// The decoded part of the base64, as far as it can be decoded: it is only inspected.
fn decoded(base64: &[u8]) -> Zeroizing<Vec<u8>> {
    use base64ct::{Base64, Encoding};
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let mut digits: Zeroizing<Vec<u8>> =
        Zeroizing::new(base64.iter().copied().filter(is_digit).collect());
    let whole = digits.len() / 4 * 4;
    digits.truncate(whole);
    let mut bytes = Zeroizing::new(vec![0; digits.len() / 4 * 3]);
    let length = Base64::decode(digits.as_slice(), &mut bytes).map_or(0, <[u8]>::len);
    bytes.truncate(length);
    bytes
}

/// A JSON Web Key, or a set of them (RFC 7517), with only the parameters of the keys.
fn json_web_keys(content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let Ok(Value::Object(object)) = serde_json::from_slice(content) else { return None };
    let kept = match object.get("keys") {
        Some(Value::Array(keys)) => {
            let keys = keys.iter().map(|key| json_web_key(key.as_object()?));
            let keys: Vec<_> = keys.collect();
            keys.iter().any(Option::is_some).then_some(())?;
            // A damaged key is replaced by an empty one, so that the guest still finds the others.
            let keys = keys.into_iter().map(|key| key.unwrap_or(Value::Object(Map::new())));
            Value::Object(Map::from_iter([("keys".to_owned(), keys.collect())]))
        }
        _ => json_web_key(&object)?,
    };
    serde_json::to_vec(&kept).ok().map(Zeroizing::new)
}

/// Returns None if the key has no type, or if a parameter is something other than base64url.
fn json_web_key(key: &Map<String, Value>) -> Option<Value> {
    key.get("kty")?;
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
    let parameters = key.iter().filter(|(name, _)| PARAMETERS.contains(&name.as_str()));
    let parameters = parameters.map(|(name, value)| {
        let text = value.as_str().filter(|text| text.bytes().all(is_base64url))?;
        Some((name.clone(), Value::from(text)))
    });
    Some(Value::Object(parameters.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn material(text: &str) -> Option<String> {
        key_material(text.as_bytes()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn of_pem_only_the_blocks_are_left() {
        let block = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
            DEK-Info: AES-128-CBC,0A\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let text = format!("# the PIN is 1234\n{}\nmore\n{block}", block.replace('\n', "\r\n"));
        assert_eq!(material(&text), Some(block.repeat(2)));
        let named = block.replace("4,ENCRYPTED", "the PIN is 1234").replace(",0A", " 1234, 0A");
        let bare = "-----BEGIN RSA PRIVATE KEY-----\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        assert_eq!(material(&named).as_deref(), Some(bare));
        let armor = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nComment: 1234\n\nAAAA\n=AAAA\n\
            -----END PGP PRIVATE KEY BLOCK-----";
        assert_eq!(material(armor), Some(armor.replace("Comment: 1234\n", "") + "\n"));
    }

    #[test]
    fn a_block_that_is_none_is_left_out() {
        use base64ct::{Base64, Encoding};
        let uri = Base64::encode_string(b"pkcs11:token=node?pin-value=1234");
        for body in ["PIN is 1234", "PIN=1234!", &uri] {
            let text = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
            assert_eq!(material(&text), None, "{body}");
        }
        for text in [
            "-----BEGIN PRIVATE KEY-----\nAAAA\n",
            "-----BEGIN pin 1234-----\nAAAA\n-----END pin 1234-----\n",
            "-----BEGIN A-----\nAAAA\n-----END B-----\n",
        ] {
            assert_eq!(material(text), None, "{text}");
        }
        let inner = "-----BEGIN B-----\nAAAA\n-----END B-----\n";
        assert_eq!(material(&format!("-----BEGIN A-----\nAAAA\n{inner}")), Some(inner.to_owned()));
    }

    #[test]
    fn of_a_json_web_key_only_the_parameters_are_left() {
        let kept = |text: &str| -> Option<Value> { serde_json::from_str(&material(text)?).ok() };
        let key = r#"{"kty":"EC","crv":"P-256","kid":"1234","d":"AA","comment":{"a":"1234"}}"#;
        assert_eq!(kept(key), Some(json!({ "kty": "EC", "crv": "P-256", "d": "AA" })));
        let set =
            r#"{"note":"1234","keys":[{"kty":"oct","k":"AA","kid":"1234"},{"pin":"1234"},1234]}"#;
        assert_eq!(kept(set), Some(json!({ "keys": [{ "kty": "oct", "k": "AA" }, {}, {}] })));
        for text in [
            r#"{"kty":"EC","d":"a PIN"}"#,
            r#"{"kty":"EC","d":{"uri":"1234"}}"#,
            r#"{"pin":"1234"}"#,
            r#"{"kty":"EC","d":"AA"} 1234"#,
            r#"{"kty":"EC","d":"AA""#,
            r#"["kty"]"#,
            r#"{"keys":[{"pin":"1234"},1234]}"#,
        ] {
            assert_eq!(material(text), None, "{text}");
        }
    }

    #[test]
    fn text_that_looks_like_der_is_none() {
        assert!(
            key_material(b"0\x03\x02\x01\x00 and more")
                .is_some_and(|key| key[..] == *b"0\x03\x02\x01\x00")
        );
        let text = format!("0: {}", "a comment that goes on ".repeat(20));
        for text in [&text, "0412", "1234", "", "\u{142}\u{f3}d\u{17a}"] {
            assert_eq!(material(text), None, "{text}");
        }
    }
}
