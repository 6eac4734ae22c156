//! The payload that containerd passes to a decoder on descriptor 3: a protobuf `Any` around JSON.

use std::collections::BTreeMap;

use prost::Message;
use zeroize::Zeroizing;

use crate::encoding::base64;
use crate::encoding::json::Json;
use crate::encoding::text::printable;

/// The only type URL that a payload may have.
pub const TYPE_URL: &str = "io.containerd.ocicrypt.v1.Payload";

/// Why a payload was refused. No message shows its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// It has no bytes.
    #[error("the payload is empty")]
    Empty,
    /// The bytes are not a protobuf `Any`, or are truncated.
    #[error("the payload is not a protobuf message, or is cut off")]
    NotProtobuf,
    /// The message has another type.
    #[error("the payload has the type `{found}` instead of `{TYPE_URL}`")]
    WrongType {
        /// The type URL that was found, sanitized for a message.
        found: String,
    },
    /// The value of the message is not JSON.
    #[error("the payload is not JSON: see line {line}, column {column}")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// A member has another type than in the format.
    #[error("`{member}` of the payload is not {wanted}")]
    WrongShape {
        /// The path of the member, sanitized for a message.
        member: String,
        /// What it should be, in words.
        wanted: &'static str,
    },
}

/// A decoded payload.
#[derive(Default)]
pub struct Payload {
    /// The keys and passwords with which containerd was configured.
    pub parameters: Parameters,
    /// The layer.
    pub descriptor: Descriptor,
}

impl Payload {
    /// Decodes a payload. Unknown fields of the message and unknown members of the JSON are skipped;
    /// the names of members match in any case; `null` counts as absent.
    ///
    /// # Errors
    /// Every [`PayloadError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PayloadError> {
        if bytes.is_empty() {
            return Err(PayloadError::Empty);
        }
        let any = Any::decode(bytes).map_err(|_| PayloadError::NotProtobuf)?;
        let value = Zeroizing::new(any.value);
        if any.type_url != TYPE_URL {
            return Err(PayloadError::WrongType { found: printable(&any.type_url) });
        }
        let json = Json::parse(&value)
            .map_err(|at| PayloadError::NotJson { line: at.line, column: at.column })?;
        must_be_object(&json, "the value")?;
        Ok(Self { parameters: Parameters::parse(&json)?, descriptor: Descriptor::parse(&json)? })
    }
}

/// The bytes of a payload around `json`, an object with the members `DecryptConfig` and `Descriptor`,
/// as [`Payload`] describes. containerd writes these bytes to descriptor 3.
///
/// ```
/// use ocicrypt::payload::{self, Payload};
///
/// let json = br#"{"DecryptConfig":null,"Descriptor":{"mediaType":"text/plain"}}"#;
/// let payload = Payload::parse(&payload::encode(json))?;
/// assert_eq!(payload.descriptor.media_type, "text/plain");
/// # Ok::<(), ocicrypt::payload::PayloadError>(())
/// ```
#[must_use]
pub fn encode(json: &[u8]) -> Vec<u8> {
    Any { type_url: TYPE_URL.to_owned(), value: json.to_vec() }.encode_to_vec()
}

/// `google.protobuf.Any`.
#[derive(prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The decryption parameters: lists of byte strings by name. They are wiped when dropped.
#[derive(Default)]
pub struct Parameters(BTreeMap<String, Vec<Zeroizing<Vec<u8>>>>);

impl Parameters {
    /// Private keys for JWE and PKCS#7, in any form that [`crate::keys`] reads.
    pub fn private_keys(&self) -> &[Zeroizing<Vec<u8>>] {
        self.named("privkeys")
    }

    /// The passwords of [`Parameters::private_keys`], one for each key; empty if a key has none. The
    /// list may be shorter.
    pub fn private_key_passwords(&self) -> &[Zeroizing<Vec<u8>>] {
        self.named("privkeys-passwords")
    }

    /// X.509 certificates for PKCS#7.
    pub fn certificates(&self) -> &[Zeroizing<Vec<u8>>] {
        self.named("x509s")
    }

    /// OpenPGP secret key rings.
    pub fn pgp_private_keys(&self) -> &[Zeroizing<Vec<u8>>] {
        self.named("gpg-privatekeys")
    }

    /// The passwords of [`Parameters::pgp_private_keys`], one for each.
    pub fn pgp_private_key_passwords(&self) -> &[Zeroizing<Vec<u8>>] {
        self.named("gpg-privatekeys-passwords")
    }

    /// PKCS#11 key files, in YAML.
    pub fn pkcs11_keys(&self) -> &[Zeroizing<Vec<u8>>] {
        self.named("pkcs11-yamls")
    }

    /// The PKCS#11 configuration, in YAML.
    pub fn pkcs11_config(&self) -> &[Zeroizing<Vec<u8>>] {
        self.named("pkcs11-config")
    }

    /// The parameters of the key provider `name`.
    pub fn provider(&self, name: &str) -> &[Zeroizing<Vec<u8>>] {
        self.named(name)
    }

    /// The values of the parameter `name`; none if it is absent.
    pub fn named(&self, name: &str) -> &[Zeroizing<Vec<u8>>] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The names of all parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn parse(payload: &Json<'_>) -> Result<Self, PayloadError> {
        let Some(config) = payload.field("DecryptConfig") else {
            return Ok(Self::default());
        };
        must_be_object(config, "DecryptConfig")?;
        let Some(parameters) = config.field("Parameters") else {
            return Ok(Self::default());
        };
        let mut found = BTreeMap::new();
        // Names are the keys of a Go map, so their case matters.
        for (name, values) in must_be_object(parameters, "DecryptConfig.Parameters")? {
            let path = || format!("DecryptConfig.Parameters.{}", printable(name.as_str()));
            let values = match values {
                Json::Null => &[],
                values => values.as_array().ok_or_else(|| wrong(path(), "a list"))?,
            };
            let values: Option<Vec<_>> = values.iter().map(bytes_or_null).collect();
            let values = values.ok_or_else(|| wrong(path(), "a list of base64 strings"))?;
            found.insert(name.as_str().to_owned(), values);
        }
        Ok(Self(found))
    }
}

/// The descriptor of the layer in the image's manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type of the encrypted layer.
    pub media_type: String,
    /// The digest of the encrypted layer.
    pub digest: String,
    /// The size of the encrypted layer in bytes.
    pub size: i64,
    /// The annotations, among them those of [`crate::format::annotation`].
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// The size in bytes, if it is stated: a writer that does not know it writes zero or less.
    pub fn length(&self) -> Option<u64> {
        u64::try_from(self.size).ok().filter(|size| *size > 0)
    }

    fn parse(payload: &Json<'_>) -> Result<Self, PayloadError> {
        match payload.field("Descriptor") {
            Some(descriptor) => Ok(Self::of(descriptor, "Descriptor")?),
            None => Ok(Self::default()),
        }
    }

    /// Parses a descriptor at `place` in its document.
    pub(crate) fn of(descriptor: &Json<'_>, place: &str) -> Result<Self, WrongShape> {
        must_be_object(descriptor, place)?;
        let string = |name: &str| match descriptor.field(name) {
            Some(value) => {
                let text = value.as_str().map(str::to_owned);
                text.ok_or_else(|| wrong(format!("{place}.{name}"), "a string"))
            }
            None => Ok(String::new()),
        };
        let size = match descriptor.field("size") {
            Some(Json::Number(Some(size))) => *size,
            Some(_) => return Err(wrong(format!("{place}.size"), "a whole number")),
            None => 0,
        };
        let mut annotations = BTreeMap::new();
        if let Some(found) = descriptor.field("annotations") {
            for (name, value) in must_be_object(found, &format!("{place}.annotations"))? {
                let path = || format!("{place}.annotations.{}", printable(name.as_str()));
                let value = match value {
                    Json::Null => "",
                    value => value.as_str().ok_or_else(|| wrong(path(), "a string"))?,
                };
                annotations.insert(name.as_str().to_owned(), value.to_owned());
            }
        }
        Ok(Self { media_type: string("mediaType")?, digest: string("digest")?, size, annotations })
    }
}

/// A member that has another type than in the format.
pub(crate) struct WrongShape {
    pub(crate) member: String,
    pub(crate) wanted: &'static str,
}

impl From<WrongShape> for PayloadError {
    fn from(WrongShape { member, wanted }: WrongShape) -> Self {
        Self::WrongShape { member, wanted }
    }
}

pub(crate) fn must_be_object<'j, 'a>(
    json: &'j Json<'a>,
    member: &str,
) -> Result<&'j [(crate::encoding::json::Text<'a>, Json<'a>)], WrongShape> {
    json.as_object().ok_or_else(|| wrong(member.to_owned(), "an object"))
}

fn bytes_or_null(value: &Json<'_>) -> Option<Zeroizing<Vec<u8>>> {
    match value {
        Json::Null => Some(Zeroizing::default()),
        value => base64::standard(value.as_str()?.as_bytes()),
    }
}

fn wrong(member: String, wanted: &'static str) -> WrongShape {
    WrongShape { member, wanted }
}
