//! A node with one key, and layers that are encrypted for it: no tool is needed to make either.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::decoder::{Decoder, Outcome};
use crate::image::LayerKind;
use crate::jwe::Recipient;
use crate::payload::Payload;
use crate::sealed::Sealed;

/// The name of the file with the key. Most other names sort before it.
pub const KEY: &str = "node.pem";

/// What a decoder holds back until the layer has verified.
pub const WITHHELD: usize = 64 * 1024;

/// A directory for keys, and the key that belongs in it.
pub struct Node {
    dir: TempDir,
    /// The key that layers are encrypted for.
    pub recipient: Recipient,
}

impl Node {
    /// With its key in the directory.
    pub fn new() -> Result<Self> {
        let node = Self::without_key()?;
        node.add(KEY, node.recipient.private_pem())?;
        Ok(node)
    }

    /// Another one with the same key.
    pub fn with(other: &Self) -> Result<Self> {
        let node = Self { recipient: other.recipient.clone(), ..Self::without_key()? };
        node.add(KEY, node.recipient.private_pem())?;
        Ok(node)
    }

    /// With an empty directory.
    pub fn without_key() -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-node-")?;
        fs::create_dir(dir.path().join("keys"))?;
        Ok(Self { dir, recipient: Recipient::generate() })
    }

    /// The directory with the keys.
    pub fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    /// The directory around it, for what must not lie in it.
    pub fn outside(&self) -> &Path {
        self.dir.path()
    }

    /// Puts a file beside the key, and makes the directories on the way.
    pub fn add(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.keys().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        Ok(path)
    }

    /// The decoder with a layer and the keys, and no payload.
    pub fn without_payload(&self, sealed: &Sealed) -> Result<Decoder> {
        let media_type = format!("{}+encrypted", LayerKind::Tar.media_type());
        let decoder = Decoder::new()?.keys(&self.keys()).media_type(&media_type);
        Ok(decoder.layer(sealed.encrypted.clone()))
    }

    /// All that containerd would give to the decoder.
    pub fn decoder(&self, sealed: &Sealed) -> Result<Decoder> {
        Ok(self.without_payload(sealed)?.payload(sealed.payload_for(&self.recipient).bytes()))
    }

    /// The layer is decrypted, no matter what else is in the directory.
    pub fn opens(&self, sealed: &Sealed) -> Result<()> {
        self.decoder(sealed)?.run()?.is_silent_success(&sealed.plain)
    }

    /// A layer is decrypted with this payload.
    pub fn opens_with(&self, sealed: &Sealed, payload: &Payload) -> Result<()> {
        let decoder = self.without_payload(sealed)?.payload(payload.bytes());
        decoder.run()?.is_silent_success(&sealed.plain)
    }

    /// No layer comes out of this payload, and the message says each of `words`. It comes before
    /// the layer was read, because no key was found.
    pub fn refuses(&self, sealed: &Sealed, payload: &Payload, words: &[&str]) -> Result<()> {
        let decoder = self.without_payload(sealed)?.payload(payload.bytes());
        says(&decoder.stdin_stays_open().run()?, words)
    }
}

/// Failed without a byte of the layer, in one message that says each of `words`.
pub fn says(outcome: &Outcome, words: &[&str]) -> Result<()> {
    let error = outcome.error_without_output()?;
    for word in words {
        ensure!(error.contains(word), "nothing of `{word}`: {error}");
    }
    Ok(())
}

/// Failed, and at least the last 64 KiB of the layer stayed inside.
pub fn withheld(outcome: &Outcome, plain: &[u8]) -> Result<()> {
    outcome.error()?;
    let (came, most) = (outcome.stdout.len(), plain.len().saturating_sub(WITHHELD));
    ensure!(came <= most, "{came} bytes came out, {most} at most should have");
    Ok(())
}
