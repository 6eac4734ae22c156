//! Private keys in OpenSSH's own form (`PROTOCOL.key` in its sources), which `ssh-keygen` writes by default.

use zeroize::Zeroizing;

use super::{EcKey, Material, NotAKey, PrivateKey, RsaKey};
use crate::budget::Budget;
use crate::encoding::text::printable;

const MAGIC: &[u8] = b"openssh-key-v1\0";

const MALFORMED: NotAKey = NotAKey::Malformed("OpenSSH");

/// Reads the content of a PEM block `OPENSSH PRIVATE KEY`: one key without a passphrase.
pub(super) fn parse(content: &[u8], budget: &mut Budget) -> Result<PrivateKey, NotAKey> {
    let mut all = Reader(content.strip_prefix(MAGIC).ok_or(MALFORMED)?);
    let cipher = all.string()?;
    let (_kdf, _kdf_options) = (all.string()?, all.string()?);
    if all.number()? != 1 {
        return Err(MALFORMED);
    }
    let _public = all.string()?;
    let private = all.string()?;
    if cipher != b"none" {
        return Err(NotAKey::OpenSshWithPassphrase);
    }
    let mut key = Reader(private);
    if key.number()? != key.number()? {
        return Err(MALFORMED);
    }
    match key.string()? {
        b"ssh-rsa" => rsa(&mut key, budget),
        b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384" | b"ecdsa-sha2-nistp521" => ec(&mut key),
        b"ssh-ed25519" => Err(NotAKey::OtherKind("Ed25519".to_owned())),
        b"ssh-dss" => Err(NotAKey::OtherKind("DSA".to_owned())),
        other => Err(NotAKey::OtherKind(printable(&String::from_utf8_lossy(other)))),
    }
}

/// n, e, d, q⁻¹ mod p, p, q.
fn rsa(key: &mut Reader<'_>, budget: &mut Budget) -> Result<PrivateKey, NotAKey> {
    let [n, e, d, coefficient, p, q] =
        [key.string()?, key.string()?, key.string()?, key.string()?, key.string()?, key.string()?];
    let key = RsaKey::new(n, e, d, &[p, q], Some(coefficient), budget)?;
    Ok(Material::Rsa(key).into())
}

/// The name of the curve, the public point, and the scalar, in which a leading zero says that it is
/// positive.
fn ec(key: &mut Reader<'_>) -> Result<PrivateKey, NotAKey> {
    let (curve, public) = (key.string()?, key.string()?);
    let secret = Zeroizing::new(key.string()?.to_vec());
    let material = match curve {
        b"nistp256" => EcKey::new(&secret, Some(public)).map(Material::P256),
        b"nistp384" => EcKey::new(&secret, Some(public)).map(Material::P384),
        b"nistp521" => EcKey::new(&secret, Some(public)).map(Material::P521),
        _ => Err(NotAKey::OtherCurve),
    };
    material.map(PrivateKey::from)
}

/// Reads the types of RFC 4251, section 5.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u32, NotAKey> {
        let (number, rest) = self.0.split_first_chunk().ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Result<&'a [u8], NotAKey> {
        let length = self.number()? as usize;
        let (string, rest) = self.0.split_at_checked(length).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(string)
    }
}
