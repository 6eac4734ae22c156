//! Keys that are wrapped for a PKCS#11 token: RSA-OAEP blobs in JSON.

#[cfg(feature = "encrypt")]
mod encrypt;
#[cfg(feature = "encrypt")]
mod existing;

use zeroize::Zeroizing;

use crate::encoding::base64;
use crate::encoding::json::Json;

#[cfg(feature = "encrypt")]
pub(crate) use self::encrypt::{Pkcs11Recipient, encrypt};
#[cfg(feature = "encrypt")]
pub(crate) use self::existing::{existing, without};

/// The most recipients of one wrapped key. Each costs an operation in the token.
pub const MAX_RECIPIENTS: usize = 64;

/// The hashes that the format has for RSA-OAEP and its mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OaepHash {
    /// SHA-1: the default of a wrapped key that names none. It is the only one that SoftHSM supports,
    /// and it leaves enough space in RSA-2048.
    Sha1,
    /// SHA-256: the default for writing, as in Go unless the environment variable
    /// `OCICRYPT_OAEP_HASHALG` names another one. It requires a modulus of at least 2072 bits.
    #[default]
    Sha256,
}

impl From<OaepHash> for crate::keys::OaepHash {
    fn from(hash: OaepHash) -> Self {
        match hash {
            OaepHash::Sha1 => Self::Sha1,
            OaepHash::Sha256 => Self::Sha256,
        }
    }
}

/// Why a wrapped key was refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// It is not JSON of the format.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Its version is not known.
    #[error("its version is {0}, only 0 is known")]
    Version(i64),
    /// No recipient can be used.
    #[error("it has no recipient")]
    NoRecipient,
    /// It has more than [`MAX_RECIPIENTS`].
    #[error("it has more than {MAX_RECIPIENTS} recipients")]
    TooMany,
}

/// One recipient.
pub struct Blob {
    /// The bytes that the token decrypts.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The hash of OAEP.
    pub hash: OaepHash,
}

/// Parses `{"version":0,"recipients":[{"version":0,"blob":…,"hash":"sha256"}]}`. A malformed recipient
/// does not affect the others.
///
/// # Errors
/// [`Pkcs11Error`].
pub fn parse(bytes: &[u8]) -> Result<Vec<Blob>, Pkcs11Error> {
    let json = Json::parse(bytes).map_err(|_| Pkcs11Error::Malformed("not JSON"))?;
    if json.as_object().is_none() {
        return Err(Pkcs11Error::Malformed("not an object"));
    }
    check_version(&json)?;
    let recipients = json.field("recipients").and_then(Json::as_array).unwrap_or_default();
    if recipients.len() > MAX_RECIPIENTS {
        return Err(Pkcs11Error::TooMany);
    }
    let blobs: Vec<_> = recipients.iter().map(blob).collect();
    if blobs.iter().all(Result::is_err) {
        return Err(blobs.into_iter().find_map(Result::err).unwrap_or(Pkcs11Error::NoRecipient));
    }
    Ok(blobs.into_iter().flatten().collect())
}

fn blob(recipient: &Json<'_>) -> Result<Blob, Pkcs11Error> {
    check_version(recipient)?;
    let text = recipient.field("blob").and_then(Json::as_str);
    let text = text.filter(|text| !text.is_empty());
    let text = text.ok_or(Pkcs11Error::Malformed("a recipient without `blob`"))?;
    let bytes = base64::standard(text.as_bytes());
    let hash = match recipient.field("hash").map(Json::as_str) {
        None | Some(Some("" | "sha1")) => OaepHash::Sha1,
        Some(Some("sha256")) => OaepHash::Sha256,
        _ => return Err(Pkcs11Error::Malformed("`hash` is neither `sha1` nor `sha256`")),
    };
    Ok(Blob { bytes: bytes.ok_or(Pkcs11Error::Malformed("`blob` is not base64"))?, hash })
}

fn check_version(json: &Json<'_>) -> Result<(), Pkcs11Error> {
    match json.field("version") {
        None | Some(Json::Number(Some(0))) => Ok(()),
        Some(Json::Number(Some(version))) => Err(Pkcs11Error::Version(*version)),
        Some(_) => Err(Pkcs11Error::Malformed("`version` is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> Option<Pkcs11Error> {
        parse(json.as_bytes()).err()
    }

    #[test]
    fn recipients_keep_their_order_and_hash() -> Result<(), Pkcs11Error> {
        let json = r#"{"version":0,"recipients":[
            {"version":0,"blob":"AQI=","hash":"sha256"},
            {"version":1,"blob":"AQI=","hash":"sha256"},
            {"version":0,"blob":"Aw=="},
            {"version":0,"blob":"BA==","hash":"md5"},
            {"version":0,"blob":"BQ==","hash":""}]}"#;
        let blobs = parse(json.as_bytes())?;
        let found: Vec<_> = blobs.iter().map(|blob| (blob.bytes.as_slice(), blob.hash)).collect();
        let wanted: [(&[u8], _); 3] =
            [(&[1, 2], OaepHash::Sha256), (&[3], OaepHash::Sha1), (&[5], OaepHash::Sha1)];
        assert_eq!(found, wanted);
        Ok(())
    }

    #[test]
    fn what_is_of_no_use_is_said() {
        assert_eq!(error("{"), Some(Pkcs11Error::Malformed("not JSON")));
        assert_eq!(error("[]"), Some(Pkcs11Error::Malformed("not an object")));
        assert_eq!(error("{}"), Some(Pkcs11Error::NoRecipient));
        assert_eq!(error(r#"{"version":1}"#), Some(Pkcs11Error::Version(1)));
        let recipient = r#"{"recipients":[{"blob":"%"}]}"#;
        assert_eq!(error(recipient), Some(Pkcs11Error::Malformed("`blob` is not base64")));
        let empty = r#"{"recipients":[{"blob":""}]}"#;
        assert_eq!(error(empty), Some(Pkcs11Error::Malformed("a recipient without `blob`")));
        let many = format!(r#"{{"recipients":[{}{{}}]}}"#, "{},".repeat(MAX_RECIPIENTS));
        assert_eq!(error(&many), Some(Pkcs11Error::TooMany));
    }
}
