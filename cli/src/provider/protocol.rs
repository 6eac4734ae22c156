//! The protocol of ocicrypt's key providers: one request in JSON, and its answer.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64ct::{Base64, Encoding as _};
use keycell_diagnostic::hint::ProviderHint;
use keycell_diagnostic::{Diagnostic, os_error};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize as _, Zeroizing};

/// The longest request in bytes. Go's tools send all keys and parameters that they were given.
const MAX_REQUEST: u64 = 16 << 20;

/// What a provider is asked for.
pub enum Question {
    /// To wrap `options`, which are the private options of a layer, for a recipient.
    Wrap {
        /// The bytes to wrap.
        options: Zeroizing<Vec<u8>>,
        /// What the recipient `provider:NAME:PARAMETER` says after the name, once for each.
        parameters: Vec<Vec<u8>>,
    },
    /// To unwrap an annotation.
    Unwrap {
        /// What the provider has returned when it wrapped.
        annotation: Vec<u8>,
    },
}

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Standard input cannot be read.
    #[error("cannot read the request: {}", os_error(.0))]
    Unreadable(std::io::Error),
    /// It is longer than [`MAX_REQUEST`].
    #[error("the request is longer than {} MiB", MAX_REQUEST >> 20)]
    TooLong,
    /// It is not JSON of this form. Its text may hold a key, so it is not quoted.
    #[error(
        "standard input is not the request of a key provider: see line {line}, column {column}"
    )]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// It asks for another operation.
    #[error("the request asks neither for `keywrap` nor for `keyunwrap`, or does not say of what")]
    NoOperation,
}

impl From<RequestError> for Diagnostic {
    fn from(error: RequestError) -> Self {
        Self::new(error.to_string(), ProviderHint::NotByHand)
    }
}

impl Question {
    /// Reads a request to the provider `name`, up to its end.
    ///
    /// The operator may have given the provider another name. Its parameters are then the only ones in
    /// the request.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn read(input: impl Read, name: &str) -> Result<Self, RequestError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
        let read = input.take(MAX_REQUEST + 1).read_to_end(&mut bytes);
        read.map_err(RequestError::Unreadable)?;
        if bytes.len() as u64 > MAX_REQUEST {
            return Err(RequestError::TooLong);
        }
        let request: Request = serde_json::from_slice(&bytes).map_err(|error| {
            RequestError::Malformed { line: error.line(), column: error.column() }
        })?;
        match (request.op.as_str(), request.keywrapparams, request.keyunwrapparams) {
            ("keywrap", Some(WrapParameters { ec, optsdata: Some(Bytes(options)) }), _) => {
                let mut all = ec.and_then(|ec| ec.parameters).unwrap_or_default();
                let own = all.remove(name).or_else(|| match all.len() {
                    1 => all.pop_first().map(|(_, values)| values),
                    _ => None,
                });
                let parameters = own.into_iter().flatten().map(|Bytes(mut value)| {
                    std::mem::take(&mut *value) // a recipient is no secret
                });
                Ok(Self::Wrap { options, parameters: parameters.collect() })
            }
            ("keyunwrap", _, Some(UnwrapParameters { annotation: Some(Bytes(mut bytes)), .. })) => {
                Ok(Self::Unwrap { annotation: std::mem::take(&mut *bytes) })
            }
            _ => Err(RequestError::NoOperation),
        }
    }
}

/// Writes the answer to a request to wrap: what goes into the annotation.
///
/// # Errors
/// As `output` fails.
pub fn answer_wrapped(mut output: impl Write, annotation: &[u8]) -> std::io::Result<()> {
    let text = Base64::encode_string(annotation);
    writeln!(output, r#"{{"keywrapresults":{{"annotation":"{text}"}}}}"#)?;
    output.flush()
}

/// Writes the answer to a request to unwrap: the private options of the layer.
///
/// # Errors
/// As `output` fails.
pub fn answer_unwrapped(mut output: impl Write, options: &[u8]) -> std::io::Result<()> {
    let mut text = Zeroizing::new(vec![0; options.len().div_ceil(3) * 4]);
    let text = Base64::encode(options, &mut text).unwrap_or_default(); // the buffer is large enough
    output.write_all(br#"{"keyunwrapresults":{"optsdata":""#)?;
    output.write_all(text.as_bytes())?;
    output.write_all(b"\"}}\n")?;
    output.flush()
}

/// As Go writes it. Names of members match in one case only, as Go's own tools write them.
#[derive(Deserialize)]
struct Request {
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
    #[serde(rename = "Parameters")]
    parameters: Option<BTreeMap<String, Vec<Bytes>>>,
}

#[derive(Deserialize)]
struct UnwrapParameters {
    /// Keys and passwords that the caller has, which nobody here needs.
    #[serde(default, rename = "dc")]
    _keys: IgnoredAny,
    annotation: Option<Bytes>,
}

/// Bytes in base64.
struct Bytes(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let mut text = Zeroizing::new(String::deserialize(json)?.into_bytes());
        let length = match Base64::decode_in_place(&mut text) {
            Ok(bytes) => bytes.len(),
            Err(_) => {
                text.zeroize();
                return Err(D::Error::custom("base64"));
            }
        };
        text.truncate(length);
        Ok(Self(text))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests_as_go_writes_them_are_read() {
        let wrap = r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":{"clevis":["dGFuZw=="],
            "other":["eA=="]},"DecryptConfig":{"Parameters":null}},"optsdata":"AQID"},
            "keyunwrapparams":{"dc":null,"annotation":null}}"#;
        let Question::Wrap { options, parameters } =
            Question::read(wrap.as_bytes(), "clevis").unwrap()
        else {
            panic!("another question");
        };
        assert_eq!((&options[..], parameters), (&[1, 2, 3][..], vec![b"tang".to_vec()]));
        let unwrap = r#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},
            "keyunwrapparams":{"dc":{"Parameters":{"privkeys":["eA=="]}},"annotation":"BAUG"}}"#;
        let question = Question::read(unwrap.as_bytes(), "clevis").unwrap();
        assert!(matches!(question, Question::Unwrap { annotation } if annotation == [4, 5, 6]));
    }

    #[test]
    fn anything_else_is_refused_without_quoting_it() {
        for text in [
            "",
            "secret",
            "{\"op\":\"keyunwrap\"}",
            "{\"op\":\"secret\"}",
            "[]",
            "{} {}",
            "{\"op\":\"keywrap\",\"keywrapparams\":{\"optsdata\":\"secret!\"}}",
        ] {
            let error = Question::read(text.as_bytes(), "clevis").err().unwrap();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
