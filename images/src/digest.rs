//! SHA-256 digests in the form `sha256:HEX`.

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// The digest of bytes.
pub fn of(bytes: &[u8]) -> String {
    finish(Sha256::new_with_prefix(bytes))
}

/// The digest of what was hashed.
pub fn finish(hash: Sha256) -> String {
    let digest = hash.finalize();
    digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// The hexadecimal digits of a digest.
///
/// # Errors
/// A digest that is malformed, or of another algorithm than SHA-256.
pub fn hex(digest: &str) -> Result<&str> {
    let hex = digest.strip_prefix("sha256:").filter(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    hex.ok_or_else(|| match digest.split_once(':') {
        _ if digest.is_empty() => Error::NoDigest,
        Some((algorithm, encoded)) if is_another(algorithm) && !encoded.is_empty() => {
            Error::OtherAlgorithm(crate::shown(digest))
        }
        _ => Error::NotADigest(crate::shown(digest)),
    })
}

/// Whether this is the name of another algorithm, as the image specification writes them.
fn is_another(algorithm: &str) -> bool {
    let is_part = |part: &str| {
        let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !part.is_empty() && part.bytes().all(is_known)
    };
    algorithm != "sha256" && algorithm.split(['+', '.', '_', '-']).all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_64_digits() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of(b""), empty);
        assert!(hex(empty).is_ok_and(|hex| hex == &empty[7..]));
        for wrong in ["", "sha256:", &empty[..70], &empty.to_uppercase(), &format!("{empty}0")] {
            assert!(hex(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_algorithm_is_told_from_no_digest() {
        let error = |digest: &str| hex(digest).err().map(|error| error.to_string());
        for digest in ["sha512:00", "blake3:00", "multihash+base58:Qm"] {
            assert!(matches!(hex(digest), Err(Error::OtherAlgorithm(_))), "{:?}", error(digest));
        }
        for digest in ["sha256:", "sha256:00", "SHA256:00", ":00", "sha512:", "00"] {
            assert!(matches!(hex(digest), Err(Error::NotADigest(_))), "{:?}", error(digest));
        }
        assert!(matches!(hex(""), Err(Error::NoDigest)), "{:?}", error(""));
    }
}
