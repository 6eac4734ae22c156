//! What is written down of an installed guest, beside its code: `record.json`.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// An installed guest.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What it is called: the name of its directory.
    pub name: String,
    /// How it is run.
    pub kind: Kind,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Two steps in two instances: it exports the interfaces of `wit/decoder.wit`.
    Decoder,
    /// A WASI command: one instance that sees the keys and writes the layer.
    Command,
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

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }

    /// The record as it is written, with a line for each member.
    ///
    /// # Errors
    /// As serde_json.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
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

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::Native => "native",
        })
    }
}
