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
pub(super) type Entry = Result<Way, String>;

/// A program that is started anew for each request.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Command {
    /// Searched in `PATH` if it has no slash.
    pub(super) path: String,
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    files: Option<Vec<PathBuf>>,
}

impl Command {
    pub(super) fn args(&self) -> &[String] {
        self.args.as_deref().unwrap_or_default()
    }

    /// The names of the variables that it gets beside `PATH`.
    pub(super) fn env(&self) -> &[String] {
        self.env.as_deref().unwrap_or_default()
    }

    /// What it may read and write beside the system's libraries; None for everything that this user may.
    pub(super) fn files(&self) -> Option<&[PathBuf]> {
        self.files.as_deref()
    }
}

/// How a gRPC server is to be trusted, and how it can trust us.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Tls {
    root_ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
    server_name: Option<String>,
    insecure_skip_verify: Option<bool>,
}

impl Tls {
    /// A PEM file. Without one the system's certification authorities are trusted.
    pub(super) fn root_ca_file(&self) -> Option<&Path> {
        given(&self.root_ca_file).map(Path::new)
    }

    /// The files of the client's certificates and of its key. As with Go, one without the other
    /// is none.
    pub(super) fn client(&self) -> Option<(&Path, &Path)> {
        Some((Path::new(given(&self.cert_file)?), Path::new(given(&self.key_file)?)))
    }

    /// Whose certificate it must be, where that is not the name in the address.
    pub(super) fn server_name(&self) -> Option<&str> {
        given(&self.server_name)
    }

    pub(super) fn insecure_skip_verify(&self) -> bool {
        self.insecure_skip_verify.unwrap_or(false)
    }
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Entry>, String> {
    let bytes = read_file(path)
        .map_err(|fault| format!("the key providers' configuration {fault}; correct the file, or the path in `OCICRYPT_KEYPROVIDER_CONFIG`"))?;
    let file = text::name(&path.display().to_string());
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("the key providers' configuration `{file}` is not JSON: see line {line}, column {column}")
    })?;
    let shape = || {
        format!(
            "the key providers' configuration `{file}` is not of the form `{{\"key-providers\": {{\"NAME\": {{…}}}}}}`"
        )
    };
    let Value::Object(top) = json else { return Err(shape()) };
    match member(top, "key-providers") {
        None => Ok(BTreeMap::new()),
        Some(Value::Object(providers)) => {
            Ok(providers.into_iter().map(|(name, value)| (name, entry(value, &file))).collect())
        }
        Some(_) => Err(shape()),
    }
}

/// Reads a small regular file of the operator's, which nobody but root and the broker's user may be
/// able to change: it decides what is executed, or whom the broker trusts. The error is a predicate
/// with the path before it.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let shown = text::name(&path.display().to_string());
    let unreadable =
        |error: &io::Error| format!("`{shown}` cannot be read: {}", text::plain(error));
    let file = Trust::of_this_process().open_file(path).map_err(|error| match &error {
        trusted::Error::NotRegular { .. } => format!("`{shown}` is not a regular file"),
        trusted::Error::Unreadable { error, .. } => unreadable(error),
        error => format!("`{shown}` is not trusted: {error}; {}", error.mend()),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("`{shown}` is larger than {} MiB", MAX_FILE >> 20));
    }
    Ok(bytes)
}

fn entry(value: Value, file: &str) -> Entry {
    let wrong = |what: &str| format!("its entry in `{file}` is wrong: {what}");
    let Value::Object(mut members) = lowered(value) else {
        return Err(wrong("it is not an object"));
    };
    let strings = "and `args`, `env` and `files`, if there are any, lists of strings";
    if let Some(command) = take::<Command>(&mut members, "cmd")
        .map_err(|()| wrong(&format!("`cmd` needs a `path`, {strings}")))?
    {
        if command.path.is_empty() {
            return Err(wrong("`path` in `cmd` is empty"));
        }
        if command.files().into_iter().flatten().any(|file| file.is_relative()) {
            return Err(wrong("a path in `files` of `cmd` does not begin with `/`"));
        }
        return Ok(Way::Command(command));
    }
    let tls = take::<Tls>(&mut members, "grpc-tls")
        .map_err(|()| wrong("a member of `grpc-tls` has the wrong type"))?;
    let grpc = take::<String>(&mut members, "grpc")
        .map_err(|()| wrong("`grpc` is not an address such as `localhost:50051`"))?;
    if let Some(target) = grpc.filter(|target| !target.is_empty()) {
        return Ok(Way::Grpc(target, tls));
    }
    let ttrpc = take::<String>(&mut members, "ttrpc")
        .map_err(|()| wrong("`ttrpc` is not an address such as `unix:///run/provider.sock`"))?;
    if let Some(address) = ttrpc.filter(|address| !address.is_empty()) {
        return Ok(Way::Ttrpc(address));
    }
    // ocicrypt's own documentation shows entries of this form, which never worked.
    let hint = if members.contains_key("path") {
        "; put `path` and `args` into an object `cmd`"
    } else {
        ""
    };
    Err(wrong(&format!("it has neither `cmd` nor `grpc` nor `ttrpc`{hint}")))
}

fn take<T: DeserializeOwned>(
    members: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<T>, ()> {
    // The error of serde_json would show the value.
    let value = members.remove(name).unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(drop)
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
