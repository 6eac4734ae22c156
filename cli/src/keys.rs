//! Private keys: `keycell keys`, and the keys that decrypt.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use getrandom::SysRng;
use keycell_broker::tokens::TokenKey;
use keycell_diagnostic::Hint;
use keycell_diagnostic::hint::{ToolHint, UnwrapHint};
use keycell_guest::failure::Failure;
use ocicrypt::algorithms::MinAlgorithms;
use ocicrypt::bounds::Bounds;
use ocicrypt::broker::NoBroker;
use ocicrypt::budget::Budget;
use ocicrypt::keyring::{KeyFile, KeyRing, PASSWORD_SUFFIXES};
use ocicrypt::media_type::{self, ENCRYPTED, TAR, TAR_GZIP};
use ocicrypt::payload::{self, Payload};
use ocicrypt::unwrap::{self, Opened};
use serde_json::json;

use crate::local_broker::Brokered;
use keycell_images::documents::Descriptor;

/// Private keys, as `ctd-decoder` would find them.
pub struct Keys {
    ring: KeyRing,
    /// A key ring for each file with keys.
    each: OnceLock<Vec<KeyRing>>,
    broker: Brokered,
    algorithms: MinAlgorithms,
}

impl Keys {
    /// Reads directories with all files in them, and single files.
    ///
    /// # Errors
    /// A path that cannot be read.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut ring = KeyRing::new();
        for path in paths {
            if path.is_dir() {
                keycell_guest::keys::add_directory(&mut ring, path);
            } else {
                add_file(&mut ring, path)?;
            }
        }
        let broker = Brokered::find(&ring);
        Ok(Self { ring, each: OnceLock::new(), broker, algorithms: MinAlgorithms::Legacy })
    }

    /// The same keys, for a decoder that accepts these algorithms.
    #[must_use]
    pub fn accepting(self, algorithms: MinAlgorithms) -> Self {
        Self { algorithms, ..self }
    }

    /// The keys, and the files that are no keys.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The keys in tokens that PKCS#11 key files name.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenKey> {
        self.broker.tokens()
    }

    /// The key of an encrypted layer, and what opens it.
    ///
    /// # Errors
    /// Why no key opens it, with the text of `ctd-decoder`.
    pub fn unwrap(&mut self, layer: &Descriptor) -> Result<Opened> {
        let payload = payload_of(layer)?;
        let mut bounds = Bounds { algorithms: self.algorithms, ..Bounds::default() };
        let (ring, broker) = (&self.ring, &mut self.broker);
        let opened = unwrap::unwrap_within(&payload, ring, broker, &mut bounds, &mut SysRng);
        opened.map_err(|error| {
            let mut diagnostic = Failure::no_key(&error, &self.ring).diagnostic;
            diagnostic.hints.iter_mut().for_each(for_this_tool);
            diagnostic.into()
        })
    }

    /// Whether a key file opens an encrypted layer for certain. No token and no key provider is asked.
    ///
    /// # Errors
    /// A layer that is malformed.
    pub fn opens(&self, layer: &Descriptor) -> Result<bool> {
        let payload = payload_of(layer)?;
        let mut bounds = Bounds { algorithms: self.algorithms, ..Bounds::default() };
        let (ring, none) = (&self.ring, &mut NoBroker);
        let opened = unwrap::unwrap_within(&payload, ring, none, &mut bounds, &mut SysRng);
        Ok(opened.is_ok_and(|opened| opened.is_authenticated))
    }

    /// Which key files open an encrypted layer. Each is tried separately; `budget` limits the time for
    /// all of them.
    ///
    /// # Errors
    /// A layer that is malformed.
    pub fn that_open(&mut self, layer: &Descriptor, budget: &mut Budget) -> Result<Openers> {
        let payload = payload_of(layer)?;
        let mut bounds = Bounds { algorithms: self.algorithms, budget: budget.clone() };
        let mut openers = Openers::default();
        for ring in self.each() {
            let opened =
                unwrap::unwrap_within(&payload, ring, &mut NoBroker, &mut bounds, &mut SysRng);
            match opened {
                Ok(opened) => openers.add(&opened, name_of(ring)),
                Err(error) => openers.gave_up |= error.is_undecided(),
            }
        }
        let none = KeyRing::new();
        let broker = &mut self.broker;
        let opened = unwrap::unwrap_within(&payload, &none, broker, &mut bounds, &mut SysRng);
        if let Ok(opened) = opened {
            openers.add(&opened, "a token or a key provider".to_owned());
        }
        *budget = bounds.budget;
        Ok(openers)
    }

    /// The names of all key files, as [`Keys::that_open`] has them.
    pub fn names(&self) -> Vec<String> {
        self.each().iter().map(name_of).collect()
    }

    /// A key ring for each file with keys. They are kept, so that each locked key is opened once.
    fn each(&self) -> &[KeyRing] {
        self.each.get_or_init(|| {
            let alone = |wanted: KeyFile<'_>| {
                let mut ring = KeyRing::new();
                ring.add_file(wanted.name, wanted.bytes);
                if let Some(password) = wanted.password {
                    ring.add_file(&format!("{}{}", wanted.name, PASSWORD_SUFFIXES[0]), password);
                }
                ring
            };
            let rings = self.ring.files().map(alone);
            rings.filter(|ring| ring.candidates() > 0 || ring.pgp_keys().next().is_some()).collect()
        })
    }
}

/// Replaces a hint about the decoder's flags with one about those of `keycell`.
fn for_this_tool(hint: &mut Hint) {
    if *hint == Hint::Unwrap(UnwrapHint::NoKeyConfigured) {
        *hint = ToolHint::NoKey.into();
    }
}

/// The names of the keys that open a layer.
#[derive(Default)]
pub struct Openers {
    /// The keys that open it.
    pub certain: Vec<String>,
    /// The keys that may open it: the wrapped key is not authenticated, and only decrypting the layer
    /// shows whether they are right.
    pub possible: Vec<String>,
    /// Whether the budget was spent before all keys were tried.
    pub gave_up: bool,
}

impl Openers {
    fn add(&mut self, opened: &Opened, name: String) {
        match opened.is_authenticated {
            true => self.certain.push(name),
            false => self.possible.push(name),
        }
    }
}

/// The name of a file with keys.
fn name_of(ring: &KeyRing) -> String {
    described(ring).collect::<Vec<_>>().join(" or ")
}

/// The private keys, each with its file, kind and fingerprint.
pub fn described(ring: &KeyRing) -> impl Iterator<Item = String> {
    ring.keys().map(ToString::to_string).chain(ring.pgp_keys().map(ToString::to_string))
}

/// The payload for a layer. The library opens the layers that a decoder may get; layers of other media
/// types are opened by this tool alone, as if they were of one of those.
fn payload_of(layer: &Descriptor) -> Result<Payload> {
    let mut layer = layer.clone();
    if let Some(plain) = layer.media_type().strip_suffix(ENCRYPTED)
        && media_type::encrypted(plain).is_none()
    {
        let is_compressed = plain.ends_with("gzip") || plain.ends_with("zstd");
        let alike = if is_compressed { TAR_GZIP } else { TAR };
        layer.media_type = Some(format!("{alike}{ENCRYPTED}"));
    }
    let value = json!({ "DecryptConfig": null, "Descriptor": layer });
    Ok(Payload::parse(&payload::encode(&serde_json::to_vec(&value)?))?)
}

/// Adds a file, and its password if that lies beside it.
///
/// # Errors
/// A file that cannot be read.
pub fn add_file(ring: &mut KeyRing, path: &Path) -> Result<()> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{shown}`"))?;
    ring.add_file(&shown, &bytes);
    for suffix in PASSWORD_SUFFIXES {
        let mut beside = path.to_path_buf().into_os_string();
        beside.push(suffix);
        if let Ok(password) = std::fs::read(beside) {
            ring.add_file(&format!("{shown}{suffix}"), &password);
        }
    }
    Ok(())
}
