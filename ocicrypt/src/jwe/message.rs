//! The three serializations (RFC 7516, section 7), and the parts that all recipients share.

use zeroize::Zeroizing;

use super::JweError;
use super::header::{Header, string};
use crate::encoding::base64;
use crate::encoding::json::Json;
use crate::encoding::text::printable;

/// The size in bytes that a decompressed content may always have, as in go-jose.
const MAX_INFLATED: usize = 250_000;

/// The limit for larger contents, as a multiple of the compressed size.
const MAX_RATIO: usize = 10;

/// The parts that all recipients share, decoded.
pub(super) struct Message {
    /// The additional authenticated data (RFC 7516, section 5.1, step 14).
    pub(super) aad: Vec<u8>,
    pub(super) iv: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: Vec<u8>,
    compressed: bool,
}

/// The merged header of a recipient and its wrapped key, or why it cannot be used.
pub(super) type RawRecipient = Result<(Header, Vec<u8>), JweError>;

impl Message {
    pub(super) fn parse(bytes: &[u8]) -> Result<(Self, Vec<RawRecipient>), JweError> {
        let bytes = bytes.trim_ascii();
        if bytes.starts_with(b"{") { Self::parse_json(bytes) } else { Self::parse_compact(bytes) }
    }

    fn parse_compact(bytes: &[u8]) -> Result<(Self, Vec<RawRecipient>), JweError> {
        let not_text = JweError::Malformed("neither JSON nor the compact form");
        let text = std::str::from_utf8(bytes).map_err(|_| not_text)?;
        let parts: Vec<_> = text.splitn(6, '.').collect();
        let [protected, encrypted_key, iv, ciphertext, tag] = parts[..] else {
            return Err(JweError::Malformed("the compact form has five parts"));
        };
        let shared = Shared::read(protected, None)?;
        let message = Self {
            aad: protected.as_bytes().to_vec(),
            iv: decoded(iv)?,
            ciphertext: decoded(ciphertext)?,
            tag: decoded(tag)?,
            compressed: shared.compressed,
        };
        let recipient = decoded(encrypted_key).map(|key| (shared.header, key));
        Ok((message, vec![recipient]))
    }

    fn parse_json(bytes: &[u8]) -> Result<(Self, Vec<RawRecipient>), JweError> {
        let json = Json::parse(bytes).map_err(|_| JweError::Malformed("not JSON"))?;
        if let Some(name) = json.duplicate() {
            return Err(JweError::Duplicate(printable(name)));
        }
        let part = |name| string(&json, name).map(Option::unwrap_or_default);
        let protected = part("protected")?;
        let shared = Shared::read(&protected, present(&json, "unprotected"))?;
        let mut aad = protected.into_bytes();
        if let Some(more) = present(&json, "aad") {
            let more = more.as_str().ok_or(JweError::Malformed("`aad` is not a string"))?;
            decoded(more)?;
            aad.push(b'.');
            aad.extend_from_slice(more.as_bytes());
        }
        let message = Self {
            aad,
            iv: decoded(&part("iv")?)?,
            ciphertext: decoded(&part("ciphertext")?)?,
            tag: decoded(&part("tag")?)?,
            compressed: shared.compressed,
        };
        let recipients = match present(&json, "recipients") {
            Some(Json::Array(recipients)) => recipients.as_slice(),
            Some(_) => return Err(JweError::Malformed("`recipients` is not a list")),
            None => &[],
        };
        // If there are recipients, the `header` and `encrypted_key` next to them have no meaning: Go
        // repeats the key of the first recipient there.
        let recipients = match recipients {
            [] => vec![shared.recipient(&json)],
            several => several.iter().map(|recipient| shared.recipient(recipient)).collect(),
        };
        Ok((message, recipients))
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// The largest size of a content of this length after [`Message::decompress`], in bytes.
    pub(super) fn most_decompressed(&self, length: usize) -> usize {
        MAX_INFLATED.max(length.saturating_mul(MAX_RATIO))
    }

    /// Reverses `zip` (RFC 7516, section 4.1.3), if it is set.
    pub(super) fn decompress(
        &self,
        plaintext: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, JweError> {
        if !self.compressed {
            return Ok(plaintext);
        }
        let limit = self.most_decompressed(plaintext.len());
        let inflated = miniz_oxide::inflate::decompress_to_vec_with_limit(&plaintext, limit);
        match inflated {
            Ok(inflated) => Ok(Zeroizing::new(inflated)),
            Err(mut error) => {
                drop(Zeroizing::new(std::mem::take(&mut error.output)));
                Err(JweError::Compression)
            }
        }
    }
}

/// The headers that all recipients share.
struct Shared {
    header: Header,
    compressed: bool,
}

impl Shared {
    fn read(protected: &str, unprotected: Option<&Json<'_>>) -> Result<Self, JweError> {
        let mut header = Header::default();
        let mut compressed = false;
        if !protected.is_empty() {
            let bytes = decoded(protected)?;
            let json = Json::parse(&bytes)
                .map_err(|_| JweError::Malformed("the protected header is not JSON"))?;
            header.merge(&json)?;
            // In other places `zip` is not authenticated, and Go does not read it there.
            compressed = match string(&json, "zip")?.as_deref() {
                None => false,
                Some("DEF") => true,
                Some(other) => return Err(JweError::UnsupportedCompression(printable(other))),
            };
        }
        if let Some(unprotected) = unprotected {
            header.merge(unprotected)?;
        }
        if header.is_critical() {
            return Err(JweError::Critical);
        }
        Ok(Self { header, compressed })
    }

    fn recipient(&self, json: &Json<'_>) -> RawRecipient {
        if json.as_object().is_none() {
            return Err(JweError::Malformed("a recipient is not an object"));
        }
        let mut header = self.header.clone();
        if let Some(own) = present(json, "header") {
            header.merge(own)?;
        }
        // Go ignores `crit` of a recipient. Here, a recipient with extensions that must be understood
        // is refused.
        if header.is_critical() {
            return Err(JweError::Critical);
        }
        let key = string(json, "encrypted_key")?.unwrap_or_default();
        Ok((header, decoded(&key)?))
    }
}

/// A member that is present and not `null`.
fn present<'j, 'a>(json: &'j Json<'a>, name: &str) -> Option<&'j Json<'a>> {
    json.member(name).filter(|value| !value.is_null())
}

fn decoded(text: &str) -> Result<Vec<u8>, JweError> {
    let bytes = base64::url(text).map(|bytes| bytes.to_vec());
    bytes.ok_or(JweError::Malformed("a part is not base64url"))
}
