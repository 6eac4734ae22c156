//! What the node itself says, besides the log: the age of its keys, and the verdict of `keycell doctor`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use keycell_broker::providers::Providers;
use keycell_settings::{Destination, Request};
use keycell_walls::rights::User;
use ocicrypt::keyring::KeyRing;

use crate::doctor::{self, Decoder, Report};
use crate::keys::Keys;

/// The most files with keys whose age is shown: the oldest ones.
const MAX_KEYS: usize = 256;

/// A file with a private key.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyFile {
    /// Seconds since it was changed.
    pub age: u64,
    /// The keys directory, or the directory of the key file.
    pub directory: String,
    /// The file in it.
    pub file: String,
}

/// The node, as `keycell doctor` finds it.
pub struct Node {
    /// What doctor found.
    pub report: Report,
    decoders: Vec<(Decoder, Option<Keys>)>,
}

impl Node {
    /// Examines the node.
    pub fn examine(arguments: &doctor::Node) -> Self {
        let mut report = Report::default();
        let decoders = doctor::examine(arguments, &mut report);
        Self { report, decoders }
    }

    /// Where the decoders log; if doctor found none, where the configuration file says.
    pub fn logs(&self) -> Vec<Destination> {
        let mut logs: Vec<Destination> = Vec::new();
        for (decoder, _) in &self.decoders {
            let log = &decoder.settings.report.log;
            if !logs.contains(log) {
                logs.push(log.clone());
            }
        }
        if logs.is_empty() {
            logs.push(match keycell_settings::parse(["ctd-decoder".into()].into_iter()) {
                Ok(Request::Decrypt(settings)) => settings.report.log,
                // A decoder with an unusable configuration logs as if it had none.
                Ok(Request::Print(_)) | Err(_) => Destination::System,
            });
        }
        logs
    }

    /// The users as which decoders log: root, this process's user, and those that decoders become.
    pub fn users(&self) -> BTreeSet<u32> {
        let others = self.decoders.iter().filter_map(|(decoder, _)| {
            let user = decoder.settings.sandbox.user.as_deref()?;
            Some(User::parse(user).ok()?.uid())
        });
        let own = rustix::process::geteuid().as_raw();
        others.chain([0, own]).collect()
    }

    /// The names of the configured key providers.
    pub fn providers(&self) -> Vec<String> {
        let files = self.decoders.iter().filter_map(|(decoder, _)| {
            decoder.processor.variable("OCICRYPT_KEYPROVIDER_CONFIG").map(Path::new)
        });
        let files: BTreeSet<_> = files.collect();
        let providers = files.into_iter().filter_map(|file| Providers::open(file).ok());
        providers.flat_map(|all| all.names().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// How many files with private keys there are, and the age of each.
    pub fn keys(&self) -> (usize, Vec<KeyFile>) {
        let mut files: BTreeMap<PathBuf, KeyFile> = BTreeMap::new();
        for (decoder, keys) in &self.decoders {
            let (Some(path), Some(keys)) = (decoder.settings.keys.as_deref(), keys) else {
                continue;
            };
            for file in names(keys.ring()) {
                let is_directory = path.is_dir();
                let file = if is_directory { path.join(file) } else { path.to_owned() };
                let directory = if is_directory { Some(path) } else { path.parent() };
                let Some(age) = age(&file) else { continue };
                let shown = |path: &Path| path.display().to_string();
                let directory = directory.unwrap_or(Path::new(""));
                let relative = shown(file.strip_prefix(directory).unwrap_or(&file));
                let directory = shown(directory);
                files.insert(file, KeyFile { age, directory, file: relative });
            }
        }
        let count = files.len();
        let mut oldest: Vec<_> = files.into_values().collect();
        oldest.sort_by(|a, b| b.cmp(a));
        oldest.truncate(MAX_KEYS);
        (count, oldest)
    }
}

/// The names of the files with private keys.
fn names(ring: &KeyRing) -> BTreeSet<&str> {
    ring.keys().map(|key| key.name()).chain(ring.pgp_keys().map(|key| key.name())).collect()
}

/// Seconds since the file was changed; 0 if that is in the future.
fn age(file: &Path) -> Option<u64> {
    let changed = file.metadata().ok()?.modified().ok()?;
    Some(SystemTime::now().duration_since(changed).unwrap_or_default().as_secs())
}
