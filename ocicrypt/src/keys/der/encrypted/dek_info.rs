//! The `DEK-Info` header of encrypted PEM (RFC 1421, section 4.6.1.3), as OpenSSL writes it: the
//! name of a cipher, a comma, and the initialization vector in hexadecimal digits.

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::cipher::Cipher;
use super::{NotAKey, PEM, rounds};
use crate::encoding::text::printable;

/// The content of a `DEK-Info` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DekInfo {
    cipher: Cipher,
    iv: Vec<u8>,
}

/// The first bytes of the initialization vector are also the salt of the key.
const SALT: usize = 8;

impl DekInfo {
    pub(super) fn parse(header: &str) -> Result<Self, NotAKey> {
        let malformed = NotAKey::Malformed(PEM);
        let (name, iv) = header.split_once(',').ok_or_else(|| malformed.clone())?;
        let cipher = match name.trim().to_ascii_uppercase().as_str() {
            "DES-CBC" => Cipher::Des,
            "DES-EDE3-CBC" => Cipher::TripleDes,
            "AES-128-CBC" => Cipher::Aes128,
            "AES-192-CBC" => Cipher::Aes192,
            "AES-256-CBC" => Cipher::Aes256,
            other => return Err(NotAKey::UnsupportedEncryption(printable(other))),
        };
        let iv = hexadecimal(iv.trim()).filter(|iv| iv.len() == cipher.block_length());
        Ok(Self { cipher, iv: iv.ok_or(malformed)? })
    }

    /// The cost of deriving the key and of decrypting this many bytes.
    pub(super) fn cost(&self, password: &[u8], length: usize) -> u64 {
        rounds::cost(2 * rounds::of_password(password)).saturating_add(self.cipher.cost(length))
    }

    /// `EVP_BytesToKey` of OpenSSL with MD5 and one round: the input of each hash is the previous hash,
    /// the password and the salt.
    pub(super) fn derive_key(&self, password: &[u8]) -> Zeroizing<[u8; 32]> {
        // Vectors are at least this long: both were checked above.
        let salt = &self.iv[..SALT];
        let mut key = Zeroizing::new([0; 32]);
        let mut first = Md5::new();
        first.update(password);
        first.update(salt);
        first.finalize_into((&mut key[..16]).try_into().expect("as long as a hash"));
        let (first, second) = key.split_at_mut(16);
        let mut next = Md5::new();
        next.update(first);
        next.update(password);
        next.update(salt);
        next.finalize_into(second.try_into().expect("as long as a hash"));
        key
    }

    /// Decrypts with the part of `key` that the cipher uses.
    pub(super) fn decrypt(&self, key: &[u8; 32], content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.cipher.decrypt(&key[..self.cipher.key_length()], &self.iv, content)
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let eight = "0011223344556677";
        for (header, cipher) in [
            (format!("DES-CBC,{eight}"), Cipher::Des),
            (format!("des-ede3-cbc , {eight}"), Cipher::TripleDes),
            (format!("AES-128-CBC,{eight}{eight}"), Cipher::Aes128),
            (format!("AES-192-CBC,{eight}89ABCDEFabcdef00"), Cipher::Aes192),
        ] {
            assert_eq!(DekInfo::parse(&header).map(|found| found.cipher), Ok(cipher), "{header}");
        }
        for header in [
            "",
            ",",
            "DES-CBC",
            "DES-CBC,",
            "DES-CBC,00",
            "DES-CBC,001122334455667",
            "DES-CBC,00112233445566778",
            "DES-CBC,001122334455667g",
            "DES-CBC,+011223344556677",
            "AES-256-CBC,0011223344556677",
        ] {
            let refused = DekInfo::parse(header);
            let wanted = match header {
                "," => NotAKey::UnsupportedEncryption(String::new()),
                _ => NotAKey::Malformed(PEM),
            };
            assert_eq!(refused, Err(wanted), "{header}");
        }
        let refused = DekInfo::parse("CAMELLIA-256-CBC,00");
        assert_eq!(refused, Err(NotAKey::UnsupportedEncryption("CAMELLIA-256-CBC".to_owned())));
    }
}
