//! The requests to a provider and its answers: JSON; in gRPC and ttrpc, it is inside a protobuf
//! message.

use std::fmt;

use base64ct::{Base64, Encoding as _};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::error::Category;
use zeroize::{Zeroize as _, Zeroizing};

/// The service in gRPC and ttrpc.
pub(super) const SERVICE: &str = "keyprovider.KeyProviderService";

/// The operation that a provider is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Wrap a key.
    Wrap,
    /// Unwrap a key.
    Unwrap,
}

impl Operation {
    /// The method in gRPC and ttrpc.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Wrap => "WrapKey",
            Self::Unwrap => "UnWrapKey",
        }
    }
}

/// `keyProviderKeyWrapProtocolInput` and `keyProviderKeyWrapProtocolOutput`: JSON in field 1.
#[derive(prost::Message)]
pub(super) struct Envelope {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) json: Vec<u8>,
}

impl Drop for Envelope {
    fn drop(&mut self) {
        self.json.zeroize();
    }
}

/// The request to unwrap a key, with the same members as Go writes, except that `Parameters` holds only
/// the provider's own.
pub(super) fn to_unwrap(
    name: &str,
    wrapped: &[u8],
    parameters: &[Zeroizing<Vec<u8>>],
) -> Zeroizing<Vec<u8>> {
    let parameters: Vec<&[u8]> = parameters.iter().map(|value| &***value).collect();
    let mut json = Writer::for_values(name, parameters.iter().copied().chain([wrapped]));
    json.raw(r#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},"#);
    json.raw(r#""keyunwrapparams":{"dc":{"Parameters":"#);
    json.parameters(name, &parameters);
    json.raw(r#"},"annotation":"#);
    json.base64(wrapped);
    json.raw("}}");
    json.0
}

/// The request to wrap a key, with the same members as Go writes.
pub(super) fn to_wrap(name: &str, options: &[u8], parameters: &[Vec<u8>]) -> Zeroizing<Vec<u8>> {
    let parameters: Vec<&[u8]> = parameters.iter().map(Vec::as_slice).collect();
    let mut json = Writer::for_values(name, parameters.iter().copied().chain([options]));
    json.raw(r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":"#);
    json.parameters(name, &parameters);
    json.raw(r#","DecryptConfig":{"Parameters":{}}},"optsdata":"#);
    json.base64(options);
    json.raw(r#"},"keyunwrapparams":{"dc":null,"annotation":null}}"#);
    json.0
}

/// What is wrong with an answer: a predicate that follows the provider's name. It quotes nothing of the
/// answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is empty.
    #[error("answered nothing")]
    Nothing,
    /// It is not JSON.
    #[error("answered something that is not JSON, see its line {line}, column {column}")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// The member that should hold the key has another content.
    #[error("answered without base64 in `{member}`")]
    NotBase64 {
        /// The path of the member.
        member: String,
    },
    /// The member that should hold the key is missing or empty.
    #[error("answered without a key: `{member}` is missing or empty")]
    NoKey {
        /// The path of the member.
        member: String,
    },
}

/// Returns the bytes that an answer holds.
///
/// Go writes them as base64, the Rust ocicrypt as a list of numbers: both are accepted.
pub fn result(operation: Operation, answer: &[u8]) -> Result<Zeroizing<Vec<u8>>, AnswerError> {
    let path = match operation {
        Operation::Wrap => ["keywrapresults", "annotation"],
        Operation::Unwrap => ["keyunwrapresults", "optsdata"],
    };
    if answer.is_empty() {
        return Err(AnswerError::Nothing);
    }
    let mut json = serde_json::Deserializer::from_slice(answer);
    let found = Find(&path).deserialize(&mut json).and_then(|found| json.end().map(|()| found));
    let found = found.map_err(|error| match error.classify() {
        Category::Data => AnswerError::NotBase64 { member: path.join(".") },
        _ => AnswerError::NotJson { line: error.line(), column: error.column() },
    })?;
    found
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| AnswerError::NoKey { member: path.join(".") })
}

/// JSON of a known size: a growing vector would leave copies of secrets behind.
struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    fn for_values<'a>(name: &str, values: impl Iterator<Item = &'a [u8]>) -> Self {
        // The sum of the fixed part, the name with every byte escaped, and base64 with quotes and
        // comma.
        let values: usize = values.map(|value| value.len().div_ceil(3) * 4 + 3).sum();
        Self(Zeroizing::new(Vec::with_capacity(256 + 6 * name.len() + values)))
    }

    fn raw(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// Writes an empty object if there are no parameters, because providers treat their own name as a
    /// reason to continue.
    fn parameters(&mut self, name: &str, values: &[&[u8]]) {
        self.raw("{");
        if !values.is_empty() {
            self.raw(&serde_json::Value::from(name).to_string());
            self.raw(":[");
            for (index, value) in values.iter().enumerate() {
                self.raw(if index == 0 { "" } else { "," });
                self.base64(value);
            }
            self.raw("]");
        }
        self.raw("}");
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.raw("\"");
        // The pieces have no padding between them, and use a buffer that is wiped.
        let mut buffer = Zeroizing::new([0; 4096]);
        for piece in bytes.chunks(3072) {
            // This never fails, because 3072 bytes fill 4096 characters.
            self.raw(Base64::encode(piece, &mut *buffer).unwrap_or_default());
        }
        self.raw("\"");
    }
}

/// Finds the bytes at the end of a path of member names, which match in any case as with Go.
struct Find<'p>(&'p [&'p str]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<Zeroizing<Vec<u8>>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<Zeroizing<Vec<u8>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer of a key provider")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (name, rest) = self.0.split_first().ok_or_else(|| A::Error::custom("an object"))?;
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key.eq_ignore_ascii_case(name) {
                found = map.next_value_seed(Find(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if !self.0.is_empty() {
            return Err(E::custom("a string"));
        }
        let mut text = Zeroizing::new(text.as_bytes().to_vec());
        // Go's decoder ignores these two.
        text.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        let length = Base64::decode_in_place(&mut text).map_err(|_| E::custom("base64"))?.len();
        text.truncate(length);
        Ok(Some(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        if !self.0.is_empty() {
            return Err(A::Error::custom("a list"));
        }
        // In an answer, each byte takes at least two characters.
        let mut bytes = Zeroizing::new(Vec::with_capacity(super::MAX_ANSWER / 2));
        while let Some(byte) = list.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(Some(bytes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_bytes_are_read_in_any_case() {
        for answer in [
            r#"{"keyunwrapresults":{"optsdata":"AQID"}}"#,
            r#"{"keywrapresults":{"annotation":null},"keyunwrapresults":{"optsdata":[1,2,3]}}"#,
            r#" {"KeyUnwrapResults":{"OptsData":"AQ\r\nID","x":[{}]},"y":1} "#,
        ] {
            assert_eq!(
                **result(Operation::Unwrap, answer.as_bytes()).unwrap(),
                [1, 2, 3],
                "{answer}"
            );
        }
    }

    #[test]
    fn an_answer_without_a_key_is_told_by_its_fault() {
        for (answer, wanted) in [
            ("", "answered nothing"),
            ("{}", "answered without a key: `keyunwrapresults.optsdata` is missing or empty"),
            ("null", "answered without a key: `keyunwrapresults.optsdata` is missing or empty"),
            (
                r#"{"keyunwrapresults":{"optsdata":""}}"#,
                "answered without a key: `keyunwrapresults.optsdata` is missing or empty",
            ),
            (
                r#"{"keyunwrapresults":"secret"}"#,
                "answered without base64 in `keyunwrapresults.optsdata`",
            ),
            (
                r#"{"keyunwrapresults":{"optsdata":"secret!"}}"#,
                "answered without base64 in `keyunwrapresults.optsdata`",
            ),
            (
                r#"{"keyunwrapresults":{"optsdata":[256]}}"#,
                "answered without base64 in `keyunwrapresults.optsdata`",
            ),
            ("secret", "answered something that is not JSON, see its line 1, column 1"),
            ("{} {}", "answered something that is not JSON, see its line 1, column 4"),
        ] {
            let fault = result(Operation::Unwrap, answer.as_bytes()).unwrap_err();
            assert_eq!(fault.to_string(), wanted, "{answer}");
        }
    }

    #[test]
    fn a_request_is_written_without_growing() {
        let long = vec![0xff; 10_000];
        let parameters =
            [Zeroizing::new(long.clone()), Zeroizing::new(vec![]), Zeroizing::new(vec![1])];
        let name = "a\"\u{1}b";
        let estimated = Writer::for_values(name, [&long[..], &[], &[1], &long].into_iter());
        let json = to_unwrap(name, &long, &parameters);
        assert!(json.len() <= estimated.0.capacity());
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["keyunwrapparams"]["dc"]["Parameters"][name][2], "AQ==");
        let long = Base64::encode_string(&long);
        assert_eq!(json["keyunwrapparams"]["annotation"], long.as_str());
    }
}
