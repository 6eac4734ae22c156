//! The format of the case files: see `docs/conformance.md`.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use base64ct::{Base64, Encoding};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// What the names of its cases begin with.
    pub family: String,
    /// What its cases are about.
    #[serde(rename = "about")]
    pub _about: String,
    /// The cases, in the order in which they run.
    pub cases: Vec<Case>,
    /// Contents that cases name.
    pub files: BTreeMap<String, Content>,
    /// It is a part of this program, or trusted as if it were.
    #[serde(skip)]
    pub is_trusted: bool,
}

/// One run of a decoder, and the expected outcome.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A unique name, `FAMILY/…`.
    pub name: String,
    /// How much a decoder may be expected to do this.
    pub level: Level,
    /// What is expected, in a sentence.
    pub why: String,
    /// The standard's section, or whose behaviour it is.
    pub rule: String,
    /// The program that made what is unusual about the case.
    #[serde(default, rename = "origin")]
    pub _origin: Option<String>,
    /// What is unusual about the call.
    #[serde(default)]
    pub call: Call,
    /// The expected outcome.
    pub expect: Expect,
    /// The file on standard input.
    pub layer: String,
    /// What is on descriptor 3; without it the descriptor is closed.
    pub payload: Option<Payload>,
    /// The keys directory; without it none is named.
    pub keys: Option<BTreeMap<String, Entry>>,
}

/// How much a decoder may be expected to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Without it, images that work elsewhere fail, or wrong content is written.
    Must,
    /// A standard requires it, or it makes nodes more robust; the Go implementation may lack it.
    Should,
    /// Further features of some decoders.
    May,
    /// Only for decoders with the flag `--decompress`.
    Decompress,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 4] = [Self::Must, Self::Should, Self::May, Self::Decompress];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::May => "may",
            Self::Decompress => "decompress",
        })
    }
}

/// What is unusual about a call. Words may hold `{keys}` and `{around}`: the keys directory, and
/// the directory that it lies in.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Call {
    /// The arguments, in the place of `--decryption-keys-path {keys}`.
    pub args: Option<Vec<String>>,
    /// More environment variables.
    pub env: BTreeMap<String, String>,
    /// `STREAM_PROCESSOR_MEDIATYPE`: null for none; otherwise the descriptor's media type.
    #[serde(deserialize_with = "present")]
    pub media_type: Option<Option<String>>,
    /// Descriptors that are closed.
    pub closed: Vec<u8>,
    /// Files around the keys directory.
    pub around: BTreeMap<String, Entry>,
    /// The layer arrives in pieces.
    pub pieces: Option<Pieces>,
    /// Standard input does not end.
    pub stdin_stays_open: bool,
    /// So many bytes of standard output are read, then it is closed.
    pub reads: Option<usize>,
    /// Milliseconds that the reader waits after each 64 KiB.
    pub reads_slowly: u64,
}

impl Call {
    /// Whether it chooses what the target is told, or finds in its working directory: with that, a
    /// case can make a target execute what it likes, through a key provider for instance.
    pub fn is_code(&self) -> bool {
        self.args.is_some() || !self.env.is_empty() || !self.around.is_empty()
    }

    /// The longest that anything waits.
    fn pause(&self) -> u64 {
        self.pieces.map_or(0, |pieces| pieces.pause).max(self.reads_slowly)
    }
}

/// Null is a value here, and not the same as nothing.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// How a layer arrives.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pieces {
    /// Bytes of each piece.
    pub bytes: usize,
    /// Milliseconds after each piece.
    pub pause: u64,
}

/// The expected outcome of a call.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Expect {
    /// The layer, and exit code 0.
    Plain {
        /// Of all that comes out, in hexadecimal.
        sha256: String,
        /// Bytes that come out.
        size: usize,
    },
    /// An error: another exit code than 0, a message, and no more than this of a layer.
    Refused {
        /// Bytes that may come out.
        most: usize,
    },
    /// It ends, and not with exit code 0.
    Stops {},
}

/// What is on descriptor 3.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Payload {
    /// This file, as it is.
    Bytes {
        /// Its name.
        bytes: String,
    },
    /// `{"DecryptConfig":{"Parameters":…},"Descriptor":…}` in the protobuf that containerd writes.
    Document {
        /// Keys that the client sends.
        parameters: Value,
        /// What the manifest says of the layer.
        descriptor: Value,
    },
}

/// A file in the keys directory or around it.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// A plain one.
    File(String),
    /// Anything else.
    Special(Special),
}

/// A file that is not just its content.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Special {
    /// A symbolic link, and where it leads; may hold `{around}`.
    Link(String),
    /// A file whose content may hold `{around}`.
    Template(String),
}

/// The content of a file.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// In UTF-8.
    Text(String),
    /// In base64.
    Base64(String),
    /// One piece, many times.
    Repeat(Part),
    /// Such pieces one after another.
    Parts(Vec<Part>),
}

/// A piece of a content.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    base64: String,
    times: usize,
}

/// Milliseconds of a pause at most: a case must end.
const MAX_PAUSE: u64 = 10_000;

/// Bytes of a file at most.
const MAX_CONTENT: usize = 1 << 30;

/// Bytes of a path of a file at most, and directories that it lies in.
const MAX_PATH: usize = 1024;
const MAX_DEPTH: usize = 64;

impl Case {
    /// Whether it can be run without harm to anything but the target: it writes no file outside of
    /// its own directory, and ends.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<()> {
        let names = self.keys.iter().flatten().chain(&self.call.around).map(|(name, _)| name);
        for name in names {
            if !is_plain(name) {
                bail!(
                    "the case `{}` names the file `{}`, which is no plain relative path",
                    self.name.escape_debug(),
                    name.escape_debug()
                );
            }
        }
        if self.call.pause() > MAX_PAUSE {
            bail!("the case `{}` pauses for more than {MAX_PAUSE} ms", self.name.escape_debug());
        }
        Ok(())
    }
}

/// Names with `/` between them, none of which leads upwards or to itself.
fn is_plain(name: &str) -> bool {
    let parts = name.split('/');
    name.len() <= MAX_PATH
        && !name.contains('\0')
        && parts.clone().count() <= MAX_DEPTH
        && parts.into_iter().all(|part| !matches!(part, "" | "." | ".."))
}

impl Family {
    /// The bytes of a file that a case names.
    ///
    /// # Errors
    /// When there is none, or it is not base64.
    pub fn content(&self, name: &str) -> Result<Vec<u8>> {
        let content = self.files.get(name);
        let content = content.with_context(|| format!("`{}` has no file `{name}`", self.family))?;
        let part = |part: &Part| part.content();
        let content = match content {
            Content::Text(text) => Ok(text.clone().into_bytes()),
            Content::Base64(text) => decode(text),
            Content::Repeat(one) => part(one),
            Content::Parts(parts) => {
                Ok(parts.iter().map(part).collect::<Result<Vec<_>>>()?.concat())
            }
        };
        content.with_context(|| format!("file `{name}` of `{}`", self.family))
    }
}

impl Part {
    fn content(&self) -> Result<Vec<u8>> {
        let piece = decode(&self.base64)?;
        match piece.len().checked_mul(self.times) {
            Some(length) if length <= MAX_CONTENT => Ok(piece.repeat(self.times)),
            _ => bail!("it is longer than {} MiB", MAX_CONTENT >> 20),
        }
    }
}

fn decode(text: &str) -> Result<Vec<u8>> {
    Base64::decode_vec(text).ok().context("its base64 is malformed")
}
