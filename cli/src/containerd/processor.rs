//! A stream processor of containerd: the program that decrypts a layer.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use keycell_settings::Request;
use ocicrypt::media_type::ENCRYPTED;
use toml::Value;

use super::KEYS;

/// The key provider configuration that containerd's defaults name.
pub const PROVIDERS: &str = "/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf";

/// A stream processor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processor {
    /// Media types that it takes.
    pub accepts: Vec<String>,
    /// The media type that it gives.
    pub returns: String,
    /// The program: a path, or a name that is looked up in containerd's `PATH`.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// `NAME=value`, beside containerd's own environment.
    pub env: Vec<String>,
    /// The file that defines it; none for one of containerd's defaults.
    pub file: Option<PathBuf>,
}

impl Processor {
    /// The value of a variable that is set for it.
    pub fn variable(&self, name: &str) -> Option<&str> {
        // The last value counts, as in any environment.
        let mut set = self.env.iter().rev().filter_map(|entry| entry.split_once('='));
        set.find_map(|(found, value)| (found == name).then_some(value))
    }

    /// Whether its decoder decompresses gzip layers. `None` if its arguments are not understood.
    pub fn decompresses(&self) -> Option<bool> {
        let words = self.args.iter().map(OsString::from);
        let words = [OsString::from("ctd-decoder")].into_iter().chain(words);
        match keycell_settings::parse(words) {
            Ok(Request::Decrypt(settings)) => Some(settings.decompress),
            _ => None,
        }
    }

    pub(super) fn parse(table: &Value, file: &Path) -> Result<Self> {
        let strings = |name: &str| -> Result<Vec<String>> {
            let Some(value) = table.get(name) else { return Ok(Vec::new()) };
            let list = value.as_array().with_context(|| format!("`{name}` is not a list"))?;
            let text = |item: &Value| item.as_str().map(str::to_owned);
            let list: Option<_> = list.iter().map(text).collect();
            list.with_context(|| format!("`{name}` is not a list of strings"))
        };
        let string = |name: &str| -> Result<String> {
            let Some(value) = table.get(name) else { return Ok(String::new()) };
            value.as_str().map(str::to_owned).with_context(|| format!("`{name}` is not a string"))
        };
        Ok(Self {
            accepts: strings("accepts")?,
            returns: string("returns")?,
            path: string("path")?,
            args: strings("args")?,
            env: strings("env")?,
            file: Some(file.to_owned()),
        })
    }

    pub(super) fn of_containerd(media_type: &str) -> Self {
        Self {
            accepts: vec![format!("{media_type}{ENCRYPTED}")],
            returns: media_type.to_owned(),
            path: "ctd-decoder".to_owned(),
            args: vec!["--decryption-keys-path".to_owned(), KEYS.to_owned()],
            env: vec![format!("OCICRYPT_KEYPROVIDER_CONFIG={PROVIDERS}")],
            file: None,
        }
    }
}
