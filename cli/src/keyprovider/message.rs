//! Requests and answers in JSON, as Go ocicrypt writes and reads them.

use std::collections::BTreeMap;
use std::fmt;

use base64ct::{Base64, Encoding as _};
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::error::KeyproviderError;
use super::limits::MAX_REQUEST;

/// A request.
pub enum Request {
    /// Wrap the private options of a layer.
    Wrap {
        /// The private options.
        options: Zeroizing<Vec<u8>>,
        /// The parameters of each provider.
        parameters: BTreeMap<String, Vec<Vec<u8>>>,
    },
    /// Unwrap the private options of a layer.
    Unwrap {
        /// The wrapped key: one item of the annotation.
        annotation: Vec<u8>,
    },
}

impl Request {
    /// Parses a request. The private keys that a client may send in `dc` are skipped.
    ///
    /// # Errors
    /// It is too long, no JSON of this form, or lacks what its operation needs.
    pub fn parse(json: &[u8]) -> Result<Self, KeyproviderError> {
        if json.len() > MAX_REQUEST {
            return Err(KeyproviderError::TooLong);
        }
        if json.iter().all(u8::is_ascii_whitespace) {
            return Err(KeyproviderError::Empty);
        }
        let input: Input = serde_json::from_slice(json).map_err(|error| {
            KeyproviderError::NotJson { line: error.line(), column: error.column() }
        })?;
        let missing = KeyproviderError::Missing;
        match input.op.as_str() {
            "keywrap" => {
                let wrap = input.keywrapparams.ok_or(missing("keywrapparams"))?;
                let Bytes(options) = wrap.optsdata.ok_or(missing("keywrapparams.optsdata"))?;
                let all = wrap.ec.and_then(|ec| ec.parameters).unwrap_or_default();
                let bytes = |list: Option<Vec<Option<Bytes>>>| {
                    let list = list.into_iter().flatten().flatten();
                    list.map(|Bytes(bytes)| bytes.to_vec()).collect()
                };
                let parameters = all.into_iter().map(|(name, list)| (name, bytes(list)));
                Ok(Self::Wrap { options, parameters: parameters.collect() })
            }
            "keyunwrap" => {
                let unwrap = input.keyunwrapparams.ok_or(missing("keyunwrapparams"))?;
                let annotation = unwrap.annotation.filter(|Bytes(bytes)| !bytes.is_empty());
                let annotation = annotation.ok_or(missing("keyunwrapparams.annotation"))?;
                Ok(Self::Unwrap { annotation: annotation.0.to_vec() })
            }
            _ => Err(KeyproviderError::Operation),
        }
    }
}

/// The answer with a wrapped key.
pub fn wrapped(annotation: &[u8]) -> Zeroizing<Vec<u8>> {
    let annotation = Base64::encode_string(annotation);
    let json = format!(
        r#"{{"keywrapresults":{{"annotation":"{annotation}"}},"keyunwrapresults":{{"optsdata":null}}}}"#
    );
    Zeroizing::new(json.into_bytes())
}

/// The answer with the private options of a layer.
pub fn unwrapped(options: &[u8]) -> Zeroizing<Vec<u8>> {
    let options = Zeroizing::new(Base64::encode_string(options));
    let parts = [
        r#"{"keywrapresults":{"annotation":null},"keyunwrapresults":{"optsdata":""#,
        &options,
        r#""}}"#,
    ];
    // A growing vector would leave copies of the key behind.
    let mut json = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| json.extend_from_slice(part.as_bytes()));
    json
}

#[derive(Deserialize)]
struct Input {
    op: String,
    keywrapparams: Option<WrapParameters>,
    keyunwrapparams: Option<UnwrapParameters>,
}

#[derive(Deserialize)]
struct WrapParameters {
    ec: Option<EncryptConfig>,
    optsdata: Option<Bytes>,
}

#[derive(Deserialize)]
struct EncryptConfig {
    #[serde(rename = "Parameters", alias = "parameters", alias = "param")]
    parameters: Option<BTreeMap<String, Option<Vec<Option<Bytes>>>>>,
}

#[derive(Deserialize)]
struct UnwrapParameters {
    /// Never kept, because it may hold private keys.
    #[serde(rename = "dc")]
    _dc: Option<IgnoredAny>,
    annotation: Option<Bytes>,
}

/// Bytes: base64, as Go writes them, or a list of numbers, as the Rust ocicrypt does.
struct Bytes(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(OfBytes)
    }
}

struct OfBytes;

impl<'de> Visitor<'de> for OfBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
        let bytes = Base64::decode_vec(text).map_err(|_| E::custom("no base64"))?;
        Ok(Bytes(Zeroizing::new(bytes)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bytes, A::Error> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        while let Some(byte) = list.next_element::<u8>()? {
            if bytes.len() == MAX_REQUEST {
                return Err(A::Error::custom("too long"));
            }
            bytes.push(byte);
        }
        Ok(Bytes(bytes))
    }
}
