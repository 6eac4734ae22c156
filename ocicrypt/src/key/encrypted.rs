//! Private keys that are encrypted with a password: PKCS#8 (RFC 5958, section 3) with PBES2
//! (RFC 8018), and the PEM of older programs with a `DEK-Info` header (RFC 1421).
//!
//! Neither form is authenticated. A wrong password shows as padding or DER that makes no sense,
//! and so does damage: there is one answer to all of it, [`NotAKey::WrongPassword`].

mod budget;
mod cipher;
mod dek_info;
mod pbes2;

use pkcs8::spki::ObjectIdentifier;
use zeroize::Zeroizing;

pub(crate) use self::budget::Budget;
use self::dek_info::DekInfo;
use self::pbes2::Pbes2;
use super::{NotAKey, PrivateKey, der};

const PKCS8: &str = "PKCS#8";
const PEM: &str = "PEM with DEK-Info";

/// What it takes to open encrypted keys: the password, if there is one, and what may be spent.
pub(super) struct Opener<'a> {
    pub(super) password: Option<&'a [u8]>,
    pub(super) budget: &'a mut Budget,
}

impl Opener<'_> {
    /// `EncryptedPrivateKeyInfo` (RFC 5958, section 3). `curve` is as in [`der::parse`].
    pub(super) fn open_pkcs8(
        &mut self,
        der: &[u8],
        curve: Option<ObjectIdentifier>,
    ) -> Result<PrivateKey, NotAKey> {
        let sealed = Pbes2::parse(der)?;
        let password = self.password.ok_or(NotAKey::PasswordNeeded(PKCS8))?;
        let key = sealed.derive_key(password, self.budget)?;
        self.read(sealed.decrypt(&key), curve, PKCS8)
    }

    /// A PEM block with a `DEK-Info` header (RFC 1421, section 4.6.1.3), such as
    /// `DES-EDE3-CBC,8A3E…`; `content` is the ciphertext.
    pub(super) fn open_pem(
        &mut self,
        dek_info: &str,
        content: &[u8],
        curve: Option<ObjectIdentifier>,
    ) -> Result<PrivateKey, NotAKey> {
        let dek_info = DekInfo::parse(dek_info)?;
        let password = self.password.ok_or(NotAKey::PasswordNeeded(PEM))?;
        let key = dek_info.derive_key(password, self.budget)?;
        self.read(dek_info.decrypt(&key, content), curve, PEM)
    }

    /// The key in what was decrypted, if anything was.
    fn read(
        &mut self,
        plain: Option<Zeroizing<Vec<u8>>>,
        curve: Option<ObjectIdentifier>,
        form: &'static str,
    ) -> Result<PrivateKey, NotAKey> {
        let plain = plain.ok_or(NotAKey::WrongPassword(form))?;
        // Encryption is not nested: without a password the second layer stays closed.
        let mut inner = Opener { password: None, budget: self.budget };
        der::parse(&plain, curve, &mut inner).map_err(|reason| match reason {
            // It takes whole DER to get here, which no wrong password leaves behind.
            NotAKey::OtherKind(_) | NotAKey::OtherCurve | NotAKey::RsaSize(_) => reason,
            _ => NotAKey::WrongPassword(form),
        })
    }
}
