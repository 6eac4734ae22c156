//! Finds out whether bytes mention a PIN or a key in a token, in any spelling that a parser of YAML,
//! JSON or URIs decodes.

use zeroize::Zeroizing;

/// Text that PKCS#11 key files contain and other keys do not, in the form that [`reduced`] returns.
const MARKS: [&[u8]; 3] = [b"pkcs11:", b"pinvalue", b"pinsource"];

/// How many levels of nested escapes are decoded. Text with more levels counts as a mention.
const ROUNDS: usize = 4;

/// Whether `bytes` mention `pkcs11:`, `pin-value` or `pin-source`: in any case, in UTF-8, UTF-16 or
/// UTF-32, with quotes, spaces or line ends in between, percent-encoded, or with the escapes of JSON
/// and YAML (`\u002d`, `\x2d`). It prefers false positives: in a key of two kilobytes, the probability
/// of an accidental mention is below one in a million.
pub(crate) fn mentions_pin(bytes: &[u8]) -> bool {
    // UTF-16 and UTF-32 have zero bytes between these characters.
    let mut text: Zeroizing<Vec<u8>> =
        Zeroizing::new(bytes.iter().copied().filter(|byte| *byte != 0).collect());
    for _ in 0..ROUNDS {
        if has_mark(&text) {
            return true;
        }
        match unescaped(&text) {
            Some(shorter) => text = shorter,
            None => return false,
        }
    }
    true
}

fn has_mark(text: &[u8]) -> bool {
    let reduced = reduced(text);
    MARKS.iter().any(|mark| reduced.windows(mark.len()).any(|window| window == *mark))
}

/// Keeps only letters, in lower case, digits and colons.
fn reduced(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let is_kept = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b':';
    let kept = text.iter().filter(|byte| is_kept(byte)).map(u8::to_ascii_lowercase);
    Zeroizing::new(kept.collect())
}

/// The text with one level of escapes decoded; none if it has no escape.
fn unescaped(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        match escape(rest) {
            Some((byte, after)) => {
                out.push(byte);
                rest = after;
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    (out.len() < text.len()).then_some(out)
}

/// The character that the escape at the beginning of `text` encodes, and the rest. The marks are ASCII,
/// so any other character is treated like a space.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let (start, digits) = match text {
        [b'%', ..] => (1, 2),
        [b'\\', b'x', ..] => (2, 2),
        [b'\\', b'u', ..] => (2, 4),
        [b'\\', b'U', ..] => (2, 8),
        _ => return None,
    };
    let (digits, after) = text.get(start..)?.split_at_checked(digits)?;
    let number = std::str::from_utf8(digits).ok()?;
    let number = u32::from_str_radix(number, 16).ok().filter(|_| !number.starts_with('+'))?;
    Some((u8::try_from(number).unwrap_or(b' '), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_seen() {
        let utf16: Vec<u8> = "pin-value".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf32: Vec<u8> =
            "\u{feff}PKCS11: x".chars().flat_map(|c| (c as u32).to_be_bytes()).collect();
        for text in [
            &b"pkcs11:"[..],
            b"PKCS11 : {",
            b"\"pkcs11\": {",
            b"? pkcs11\n: uri",
            b"pkcs-11:",
            b"x\xfcy pin-value=1",
            b"PIN-Source",
            b"pin_value",
            br"pin\u002dvalue",
            br"\u0070in-value",
            br"\x70in-value",
            br"\U00000070in-value",
            b"pin%2dvalue",
            b"%70%69%6E%2D%76alue",
            b"pin%252Dsource",
            br"p\\u0069n-value",
            b"\"pin-\\\n    value\"",
            &utf16,
            &utf32,
            b"%25252525252525252525",
        ] {
            assert!(mentions_pin(text), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn other_text_is_not() {
        for text in [
            &b""[..],
            b"pkcs11",
            b"-----BEGIN PRIVATE KEY-----",
            br#"{"kty":"RSA","kid":"pkcs11","use":"enc"}"#,
            b"a pin, and its value",
            b"100%, 50%2",
            br"\u00",
        ] {
            assert!(!mentions_pin(text), "{}", String::from_utf8_lossy(text));
        }
    }
}
