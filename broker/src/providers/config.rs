//! The operator's file of key providers.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use keycell_trusted_path::{self as trusted, Trust};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Way, text};

/// The largest file in bytes, of configuration, certificates or keys.
const MAX_FILE: u64 = 1 << 20;

/// A provider, or what is wrong with its entry.
pub(super) type Entry = Result<Way, EntryError>;

/// Why the file of key providers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(
        "the key providers' configuration {0}; correct the file, or the path in \
         `OCICRYPT_KEYPROVIDER_CONFIG`"
    )]
    File(FileError),
    /// It is not JSON.
    #[error(
        "the key providers' configuration `{file}` is not JSON: see line {line}, column {column}"
    )]
    NotJson {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// It is JSON of another form.
    #[error(
        "the key providers' configuration `{0}` is not of the form `{{\"key-providers\": \
         {{\"NAME\": {{…}}}}}}`"
    )]
    Shape(String),
}

/// Why a file of the operator cannot be read: a predicate that begins with the path.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not a regular file.
    #[error("`{0}` is not a regular file")]
    NotRegular(String),
    /// Opening or reading it failed.
    #[error("`{path}` cannot be read: {}", text::io_error(.error))]
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// Others could have changed it.
    #[error("`{path}` is not trusted: {why}; {}", .why.mend())]
    Untrusted {
        /// Its path.
        path: String,
        /// Who could have, and how to fix it.
        why: trusted::Error,
    },
    /// It is too large.
    #[error("`{0}` is larger than {limit} MiB", limit = MAX_FILE >> 20)]
    TooLarge(String),
}

/// What is wrong with the entry of a provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its entry in `{file}` is wrong: {fault}")]
pub struct EntryError {
    /// The file of key providers.
    pub file: String,
    /// What is wrong.
    pub fault: EntryFault,
}

/// What is wrong with the entry of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// It is not an object.
    #[error("it is not an object")]
    NotObject,
    /// The members of `cmd` are wrong.
    #[error(
        "`cmd` needs a `path`, and `args`, `env` and `files`, if there are any, lists of strings"
    )]
    Command,
    /// The command has no name.
    #[error("`path` in `cmd` is empty")]
    EmptyPath,
    /// A path in `files` is relative.
    #[error("a path in `files` of `cmd` does not begin with `/`")]
    RelativeFile,
    /// The members of `grpc-tls` are wrong.
    #[error("a member of `grpc-tls` has the wrong type")]
    Tls,
    /// `grpc` is not text.
    #[error("`grpc` is not an address such as `localhost:50051`")]
    Grpc,
    /// `ttrpc` is not text.
    #[error("`ttrpc` is not an address such as `unix:///run/provider.sock`")]
    Ttrpc,
    /// It has no way to reach the provider.
    #[error("it has neither `cmd` nor `grpc` nor `ttrpc`")]
    NoWay,
    /// It has the form that ocicrypt's own documentation shows, but that never worked.
    #[error(
        "it has neither `cmd` nor `grpc` nor `ttrpc`; put `path` and `args` into an object `cmd`"
    )]
    DocumentedForm,
}

/// A program that is started for each request.
#[derive(Debug, Clone, Deserialize)]
pub struct Command {
    /// The program, which is searched in `PATH` if it has no slash.
    pub(super) path: String,
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    files: Option<Vec<PathBuf>>,
}

impl Command {
    pub(super) fn args(&self) -> &[String] {
        self.args.as_deref().unwrap_or_default()
    }

    /// Which variables of the broker's environment it gets.
    pub(super) fn environment(&self) -> Environment<'_> {
        match (&self.env, &self.files) {
            (Some(names), _) => Environment::Named(names),
            (None, Some(_)) => Environment::Named(&[]),
            (None, None) => Environment::All,
        }
    }

    /// What it may read and write in addition to the system's libraries; None stands for everything
    /// that this user may.
    pub(super) fn files(&self) -> Option<&[PathBuf]> {
        self.files.as_deref()
    }
}

/// Which variables a command gets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Environment<'a> {
    /// All, as with Go.
    All,
    /// `PATH`, and these, as far as they are set.
    Named(&'a [String]),
}

/// How to trust a gRPC server, and how it can trust us.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Tls {
    root_ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
    server_name: Option<String>,
    insecure_skip_verify: Option<bool>,
}

impl Tls {
    /// A PEM file with certification authorities. Without one, the system's are trusted.
    pub(super) fn root_ca_file(&self) -> Option<&Path> {
        given(&self.root_ca_file).map(Path::new)
    }

    /// The files of the client's certificates and of its key. As with Go, both are ignored if one is
    /// missing.
    pub(super) fn client(&self) -> Option<(&Path, &Path)> {
        Some((Path::new(given(&self.cert_file)?), Path::new(given(&self.key_file)?)))
    }

    /// The name that the certificate must have, if it is not the name in the address.
    pub(super) fn server_name(&self) -> Option<&str> {
        given(&self.server_name)
    }

    pub(super) fn insecure_skip_verify(&self) -> bool {
        self.insecure_skip_verify.unwrap_or(false)
    }
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Entry>, Error> {
    let bytes = read_file(path).map_err(Error::File)?;
    let file = text::name(&path.display().to_string());
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| Error::NotJson {
        file: file.clone(),
        line: error.line(),
        column: error.column(),
    })?;
    let Value::Object(top) = json else { return Err(Error::Shape(file)) };
    match member(top, "key-providers") {
        None => Ok(BTreeMap::new()),
        Some(Value::Object(providers)) => {
            Ok(providers.into_iter().map(|(name, value)| (name, entry(value, &file))).collect())
        }
        Some(_) => Err(Error::Shape(file)),
    }
}

/// Reads a small regular file of the operator, which only root and the broker's user may be able to
/// change: it decides what is executed, or whom the broker trusts.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    let shown = || text::name(&path.display().to_string());
    let unreadable = |error| FileError::Unreadable { path: shown(), error };
    let file = Trust::of_this_process().open_file(path).map_err(|error| match error {
        trusted::Error::NotRegular { .. } => FileError::NotRegular(shown()),
        trusted::Error::Unreadable { error, .. } => unreadable(error),
        why => FileError::Untrusted { path: shown(), why },
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(FileError::TooLarge(shown()));
    }
    Ok(bytes)
}

fn entry(value: Value, file: &str) -> Entry {
    way(value).map_err(|fault| EntryError { file: file.to_owned(), fault })
}

fn way(value: Value) -> Result<Way, EntryFault> {
    let Value::Object(mut members) = lowered(value) else {
        return Err(EntryFault::NotObject);
    };
    let command = take::<Command>(&mut members, "cmd").ok_or(EntryFault::Command)?;
    if let Some(command) = command {
        if command.path.is_empty() {
            return Err(EntryFault::EmptyPath);
        }
        if command.files().into_iter().flatten().any(|file| file.is_relative()) {
            return Err(EntryFault::RelativeFile);
        }
        return Ok(Way::Command(command));
    }
    let tls = take::<Tls>(&mut members, "grpc-tls").ok_or(EntryFault::Tls)?;
    let grpc = take::<String>(&mut members, "grpc").ok_or(EntryFault::Grpc)?;
    if let Some(target) = grpc.filter(|target| !target.is_empty()) {
        return Ok(Way::Grpc(target, tls));
    }
    let ttrpc = take::<String>(&mut members, "ttrpc").ok_or(EntryFault::Ttrpc)?;
    if let Some(address) = ttrpc.filter(|address| !address.is_empty()) {
        return Ok(Way::Ttrpc(address));
    }
    Err(match members.contains_key("path") {
        true => EntryFault::DocumentedForm,
        false => EntryFault::NoWay,
    })
}

/// Returns the member, or `Some(None)` if it is missing. It returns `None` if the member has another
/// type, because the error of serde_json would show the value.
fn take<T: DeserializeOwned>(members: &mut Map<String, Value>, name: &str) -> Option<Option<T>> {
    let value = members.remove(name).unwrap_or(Value::Null);
    serde_json::from_value(value).ok()
}

/// Go matches the names of members in any case.
fn member(object: Map<String, Value>, name: &str) -> Option<Value> {
    let found = object.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).filter(|value| !value.is_null())
}

fn lowered(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter();
            members.map(|(name, value)| (name.to_ascii_lowercase(), lowered(value))).collect()
        }
        other => other,
    }
}

fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !value.is_empty())
}
