//! Base64 (RFC 4648) as Go's `encoding/base64` reads it, in a time that does not depend on the data.

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use zeroize::Zeroizing;

/// Decodes the standard alphabet with padding (RFC 4648, section 4). As in Go, line ends may be
/// anywhere, and the unused bits of the last character may have any value.
pub(crate) fn standard(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let ends = text.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count();
    let mut clean = Zeroizing::new(Vec::with_capacity(text.len() - ends));
    clean.extend(text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    clear_unused_bits(&mut clean);
    let clean = std::str::from_utf8(&clean).ok()?;
    Base64::decode_vec(clean).ok().map(Zeroizing::new)
}

/// Decodes only the URL alphabet without padding (RFC 7515, section 2).
pub(crate) fn url(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    Base64UrlUnpadded::decode_vec(text).ok().map(Zeroizing::new)
}

/// Encodes with the standard alphabet and padding.
#[cfg(feature = "encrypt")]
pub(crate) fn encode(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Encodes with the URL alphabet without padding.
#[cfg(any(test, feature = "encrypt"))]
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// Clears the bits of the last character that hold no data, as `base64ct` requires.
fn clear_unused_bits(text: &mut [u8]) {
    let unused = match text {
        [.., last, b'=', b'='] => Some((last, 0b1111)),
        [.., last, b'='] => Some((last, 0b11)),
        _ => None,
    };
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if let Some((last, mask)) = unused
        && let Some(value) = ALPHABET.iter().position(|letter| letter == last)
    {
        *last = ALPHABET[value & !mask];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_is_as_tolerant_as_go() {
        for text in ["aGk=", "a\r\nGk\n=", "aGl=", "\naGk=\n"] {
            assert_eq!(standard(text.as_bytes()).as_deref().map(Vec::as_slice), Some(&b"hi"[..]));
        }
        assert_eq!(standard(b"aR==").as_deref().map(Vec::as_slice), Some(&b"i"[..]));
        assert_eq!(standard(b"").as_deref().map(Vec::as_slice), Some(&b""[..]));
        for text in ["aGk", "aGk= ", "a-k=", "aGk==", "=", "====", "aGk=aGk=", "\u{e9}Gk="] {
            assert!(standard(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn url_is_strict() {
        assert_eq!(url("_-8").as_deref().map(Vec::as_slice), Some(&[0xff, 0xef][..]));
        for text in ["_-8=", "/+8", "_-9", "_-8\n", "_"] {
            assert!(url(text).is_none(), "{text}");
        }
    }
}
