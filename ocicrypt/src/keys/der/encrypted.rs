//! Private keys that are encrypted with a password: PKCS#8 (RFC 5958, section 3) with PBES2 (RFC 8018),
//! and the PEM of older programs with a `DEK-Info` header (RFC 1421).
//!
//! Neither form is authenticated. A wrong password results in invalid padding or DER, and so does
//! damage. All of these have the same error, [`NotAKey::WrongPassword`].

mod cipher;
mod dek_info;
mod pbes2;
mod rounds;

use std::sync::Arc;

use pkcs8::spki::ObjectIdentifier;
use zeroize::Zeroizing;

use self::dek_info::DekInfo;
use self::pbes2::Pbes2;
use super::Found;
use crate::keys::{NotAKey, PrivateKey, Work};

use crate::budget::Budget;

const PKCS8: &str = "PKCS#8";
const PEM: &str = "PEM with DEK-Info";

/// The password for encrypted keys, if there is one, and the budget for checking the others.
pub(in crate::keys) struct Opener<'a> {
    pub(in crate::keys) password: Option<Arc<Zeroizing<Vec<u8>>>>,
    pub(in crate::keys) budget: &'a mut Budget,
}

impl Opener<'_> {
    /// `EncryptedPrivateKeyInfo` (RFC 5958, section 3). `curve` is as in [`super::parse`].
    pub(super) fn close_pkcs8(
        &self,
        der: &[u8],
        curve: Option<ObjectIdentifier>,
    ) -> Result<EncryptedKey, NotAKey> {
        Pbes2::parse(der)?;
        let password = self.password.clone().ok_or(NotAKey::PasswordNeeded(PKCS8))?;
        let key = EncryptedKey { form: Encrypted::Pkcs8(der.to_vec()), curve, password };
        Ok(key)
    }

    /// A PEM block with a `DEK-Info` header (RFC 1421, section 4.6.1.3), such as
    /// `DES-EDE3-CBC,8A3E…`; `content` is the ciphertext.
    pub(super) fn close_pem(
        &self,
        dek_info: &str,
        content: &[u8],
        curve: Option<ObjectIdentifier>,
    ) -> Result<EncryptedKey, NotAKey> {
        let dek_info = DekInfo::parse(dek_info)?;
        let password = self.password.clone().ok_or(NotAKey::PasswordNeeded(PEM))?;
        let form = Encrypted::Pem(dek_info, content.to_vec());
        let key = EncryptedKey { form, curve, password };
        Ok(key)
    }
}

/// An encrypted key and its password.
pub(in crate::keys) struct EncryptedKey {
    form: Encrypted,
    curve: Option<ObjectIdentifier>,
    password: Arc<Zeroizing<Vec<u8>>>,
}

enum Encrypted {
    Pkcs8(Vec<u8>),
    Pem(DekInfo, Vec<u8>),
}

impl EncryptedKey {
    /// The cost of decrypting it.
    pub(super) fn cost(&self) -> u64 {
        match &self.form {
            Encrypted::Pkcs8(der) => {
                Pbes2::parse(der).map_or(0, |sealed| sealed.cost(&self.password))
            }
            Encrypted::Pem(dek_info, content) => dek_info.cost(&self.password, content.len()),
        }
    }

    /// Opens the key. `budget` is for checking its numbers.
    pub(super) fn open(&self, budget: &mut Budget) -> Result<PrivateKey, NotAKey> {
        match &self.form {
            Encrypted::Pkcs8(der) => {
                let sealed = Pbes2::parse(der)?;
                let key = sealed.derive_key(&self.password)?;
                self.read(sealed.decrypt(&key), budget, PKCS8)
            }
            Encrypted::Pem(dek_info, content) => {
                let key = dek_info.derive_key(&self.password);
                self.read(dek_info.decrypt(&key, content), budget, PEM)
            }
        }
    }

    /// Reads the key in the decrypted bytes, if there are any.
    fn read(
        &self,
        plain: Option<Zeroizing<Vec<u8>>>,
        budget: &mut Budget,
        form: &'static str,
    ) -> Result<PrivateKey, NotAKey> {
        let plain = plain.ok_or(NotAKey::WrongPassword(form))?;
        // Encryption is not nested: without a password, a second layer of it stays closed.
        let mut inner = Opener { password: None, budget };
        match super::parse(&plain, self.curve, &mut inner) {
            Ok(Found::Open(key)) => Ok(key),
            Ok(Found::Closed(_)) => Err(NotAKey::WrongPassword(form)),
            // These errors require complete DER, which a wrong password does not produce.
            Err(
                reason @ (NotAKey::OtherKind(_)
                | NotAKey::OtherCurve
                | NotAKey::RsaSize(_)
                | NotAKey::TooMuchWork(_)),
            ) => Err(reason),
            Err(_) => Err(NotAKey::WrongPassword(form)),
        }
    }
}
