//! The record of an installed guest, which lies beside its code: `record.json`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// An installed guest.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What it is called: the name of its directory.
    pub name: String,
    /// How it is run.
    pub kind: Kind,
    /// What it is to the engine.
    pub form: Form,
    /// The digest of its native code.
    pub artefact: Digest,
    /// The length of its native code, in bytes.
    pub size: u64,
    /// The digest of the WebAssembly file that was installed.
    pub source: Digest,
    /// The engine that it was compiled for: [`crate::ENGINE`].
    pub engine: String,
    /// The target that it was compiled for, such as `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// The CPUs that it runs on.
    pub cpu: Cpu,
    /// What it imports, by name.
    pub imports: Vec<String>,
    /// What that lets it do, in words.
    pub may: Vec<String>,
    /// Whose signature was verified when it was installed; `null` where there was none.
    #[serde(deserialize_with = "Option::deserialize")] // so that the member has to be there
    pub signature: Option<Signature>,
}

/// How a guest is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Two steps in two instances: it exports the interfaces of `wit/decoder.wit`.
    Decoder,
    /// A WASI command: one instance that sees the keys and writes the layer.
    Command,
}

/// What a guest is to the engine. A decoder is always a component.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A component, for WASI 0.2.
    Component,
    /// A core module, for WASI 0.1.
    #[serde(rename = "core module")]
    Module,
}

/// The CPUs that an artefact runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cpu {
    /// All of the target.
    Baseline,
    /// Those that have what the one has that it was compiled on.
    Native,
}

/// A minisign signature over the source that was verified.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The public key, in base64.
    pub key: String,
    /// The trusted comment: what the signer says of the file.
    pub comment: String,
}

/// A SHA-256 digest, as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Digest(String);

/// Why a record is not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON, or a member is missing, not known or of another type.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It claims a form that no decoder has.
    #[error("a decoder is no core module")]
    DecoderAsModule,
}

impl Record {
    /// Reads a record. Every member has to be there, and no other.
    ///
    /// # Errors
    /// What is not such a record.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let record: Self = serde_json::from_slice(json)?;
        match (record.kind, record.form) {
            (Kind::Decoder, Form::Module) => Err(Error::DecoderAsModule),
            _ => Ok(record),
        }
    }

    /// The record as JSON.
    pub fn to_value(&self) -> Value {
        // Never an error: all members are texts, numbers and lists.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The record as it is written, with a line for each member.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.to_value())
    }
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let hex =
            Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self(format!("sha256:{hex}"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decoder => "decoder",
            Self::Command => "command",
        })
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Component => "component",
            Self::Module => "core module",
        })
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::Native => "native",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            name: "a".to_owned(),
            kind: Kind::Command,
            form: Form::Module,
            artefact: Digest::of(b"code"),
            size: 4,
            source: Digest::of(b"source"),
            engine: "wasmtime".to_owned(),
            target: "x86_64-unknown-linux-gnu".to_owned(),
            cpu: Cpu::Native,
            imports: vec!["wasi_snapshot_preview1".to_owned()],
            may: Vec::new(),
            signature: None,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let written = record();
        let read = Record::parse(written.to_json().as_bytes()).expect("a record");
        assert_eq!(read.to_value(), written.to_value());
        assert_eq!(written.to_value()["form"], "core module");
        let signature = Signature { key: "k".to_owned(), comment: "c".to_owned() };
        let signed = Record { signature: Some(signature), ..record() };
        let read = Record::parse(signed.to_json().as_bytes()).expect("a record");
        assert!(read.signature.is_some_and(|it| (&*it.key, &*it.comment) == ("k", "c")));
    }

    #[test]
    fn every_member_has_to_be_there_and_no_other() {
        let members = record().to_value();
        let members = members.as_object().expect("an object");
        for name in members.keys() {
            let mut fewer = members.clone();
            fewer.remove(name);
            let error = Record::parse(Value::from(fewer).to_string().as_bytes()).err();
            let text = error.expect(name).to_string();
            assert!(text.starts_with(&format!("missing field `{name}`")), "{text}");
        }
        let mut more = members.clone();
        more.insert("other".to_owned(), Value::Null);
        let error = Record::parse(Value::from(more).to_string().as_bytes()).err();
        assert!(error.expect("refused").to_string().starts_with("unknown field `other`"));
        let mut decoder = members.clone();
        decoder.insert("kind".to_owned(), "decoder".into());
        let error = Record::parse(Value::from(decoder).to_string().as_bytes()).err();
        assert!(matches!(error, Some(Error::DecoderAsModule)));
    }
}
