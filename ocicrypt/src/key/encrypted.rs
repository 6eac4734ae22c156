//! The place for keys that are encrypted with a password. They are recognised, not opened yet.

use super::{NotAKey, PrivateKey};

/// `EncryptedPrivateKeyInfo` (RFC 5958, section 3).
pub(super) fn open_pkcs8(_der: &[u8], _password: Option<&[u8]>) -> Result<PrivateKey, NotAKey> {
    Err(NotAKey::Encrypted("PKCS#8"))
}

/// A PEM block with a `DEK-Info` header (RFC 1421, section 4.6.1.3), such as
/// `DES-EDE3-CBC,8A3E…`; `content` is the ciphertext.
pub(super) fn open_pem(
    _dek_info: &str,
    _content: &[u8],
    _password: Option<&[u8]>,
) -> Result<PrivateKey, NotAKey> {
    Err(NotAKey::Encrypted("PEM with DEK-Info"))
}
