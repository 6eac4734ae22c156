//! What is written down of an installed guest, beside its code: `record.json`.

use std::fmt;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// An installed guest.
#[derive(Clone)]
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
    /// Whose signature was verified when it was installed, if there was one.
    pub signature: Option<Signature>,
}

/// How a guest is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Two steps in two instances: it exports the interfaces of `wit/decoder.wit`.
    Decoder,
    /// A WASI command: one instance that sees the keys and writes the layer.
    Command,
}

/// What a guest is to the engine. A decoder is always a component.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A component, for WASI 0.2.
    Component,
    /// A core module, for WASI 0.1.
    Module,
}

/// The CPUs that an artefact runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cpu {
    /// All of the target.
    Baseline,
    /// Those that have what the one has that it was compiled on.
    Native,
}

/// A minisign signature over the source that was verified.
#[derive(Clone)]
pub struct Signature {
    /// The public key, in base64.
    pub key: String,
    /// The trusted comment: what the signer says of the file.
    pub comment: String,
}

/// A SHA-256 digest, as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digest(String);

impl Record {
    /// Reads a record. Every member has to be there, and no other.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let mut members = Members::of(value, "it")?;
        let signature = match members.take("signature")? {
            Value::Null => None,
            value => {
                let mut members = Members::of(value, "`signature`")?;
                let signature =
                    Signature { key: members.text("key")?, comment: members.text("comment")? };
                members.are_all(signature).map(Some)?
            }
        };
        let record = Self {
            name: members.text("name")?,
            kind: members.one_of("kind", [Kind::Decoder, Kind::Command])?,
            form: members.one_of("form", [Form::Component, Form::Module])?,
            artefact: Digest(members.text("artefact")?),
            size: members.take("size")?.as_u64().ok_or("`size` is no number")?,
            source: Digest(members.text("source")?),
            engine: members.text("engine")?,
            target: members.text("target")?,
            cpu: members.one_of("cpu", [Cpu::Baseline, Cpu::Native])?,
            imports: members.texts("imports")?,
            may: members.texts("may")?,
            signature,
        };
        if (record.kind, record.form) == (Kind::Decoder, Form::Module) {
            return Err("a decoder is no core module".to_owned());
        }
        members.are_all(record)
    }

    /// The record as JSON.
    pub fn to_value(&self) -> Value {
        let signature = self.signature.as_ref();
        json!({
            "name": self.name,
            "kind": self.kind.to_string(),
            "form": self.form.to_string(),
            "artefact": self.artefact.0,
            "size": self.size,
            "source": self.source.0,
            "engine": self.engine,
            "target": self.target,
            "cpu": self.cpu.to_string(),
            "imports": self.imports,
            "may": self.may,
            "signature": signature.map(|it| json!({ "key": it.key, "comment": it.comment })),
        })
    }

    /// The record as it is written, with a line for each member.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.to_value())
    }
}

/// What is left to be read of an object.
struct Members(Map<String, Value>);

impl Members {
    fn of(value: Value, what: &str) -> Result<Self, String> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(format!("{what} is no object")),
        }
    }

    fn take(&mut self, name: &str) -> Result<Value, String> {
        self.0.remove(name).ok_or_else(|| format!("`{name}` is missing"))
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        match self.take(name)? {
            Value::String(text) => Ok(text),
            _ => Err(format!("`{name}` is no text")),
        }
    }

    fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        let value = self.take(name)?;
        let texts = value.as_array().map(|texts| texts.iter().map(Value::as_str).collect());
        let texts: Option<Vec<_>> = texts.flatten();
        let texts = texts.ok_or_else(|| format!("`{name}` is no list of texts"))?;
        Ok(texts.into_iter().map(str::to_owned).collect())
    }

    fn one_of<T: ToString>(&mut self, name: &str, possible: [T; 2]) -> Result<T, String> {
        let text = self.text(name)?;
        let mut possible = possible.into_iter();
        possible.find(|it| it.to_string() == text).ok_or_else(|| format!("`{name}` is none known"))
    }

    fn are_all<T>(self, read: T) -> Result<T, String> {
        match self.0.keys().next() {
            Some(name) => Err(format!("`{name}` is not known")),
            None => Ok(read),
        }
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
