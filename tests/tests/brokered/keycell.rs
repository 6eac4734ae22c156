//! Layers that `keycell` encrypts for a token or a key provider, and what decrypts them again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use keycell_tests::decoder::Decoder;
use keycell_tests::layout;
use keycell_tests::tools::output;

/// An image, encrypted for `recipient` with this environment.
pub(crate) struct Encrypted {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, PathBuf)>,
}

impl Encrypted {
    pub(crate) fn new(
        recipient: &str,
        options: &[&str],
        env: &[(&'static str, PathBuf)],
    ) -> Result<Self> {
        let dir = tempfile::TempDir::with_prefix("keycell-brokered-")?;
        layout::make(&dir.path().join("plain"))?;
        let encrypted = Self { dir, env: env.to_vec() };
        let (from, to) = (encrypted.name("plain"), encrypted.name("encrypted"));
        let args = ["encrypt", &from, &to, "-r", recipient, "--drop-attestations"];
        encrypted.keycell(&[&args, options].concat())?;
        Ok(encrypted)
    }

    /// `keycell decrypt` gives the plain layers back.
    pub(crate) fn opens_with_keycell(&self, keys: &Path) -> Result<()> {
        let (from, to) = (self.name("encrypted"), self.name("decrypted"));
        self.keycell(&["decrypt", &from, &to, "--keys", &keys.display().to_string()])?;
        let root = self.dir.path().join("decrypted");
        let layers = layout::layers(&root)?;
        for (layer, name) in layers.iter().zip(["one", "two", "three"]) {
            ensure!(layout::read(&root, layer)? == layout::plain(name), "layer `{name}`");
        }
        Ok(())
    }

    /// `ctd-decoder` gives the second layer back, as containerd calls it.
    pub(crate) fn opens_with_decoder(&self, keys: &Path) -> Result<()> {
        let payload = self.dir.path().join("payload");
        let (name, shown) = (self.name("encrypted"), payload.display().to_string());
        let blob = self.keycell(&["payload", &name, "--layer", "2", "--output", &shown])?;
        let mut decoder = Decoder::new()?
            .keys(keys)
            .media_type("application/vnd.oci.image.layer.v1.tar+encrypted")
            .payload(fs::read(&payload)?)
            .layer(fs::read(blob.trim_end())?);
        for (name, value) in &self.env {
            decoder = decoder.env(name, value);
        }
        decoder.run()?.is_silent_success(&layout::plain("two"))
    }

    fn name(&self, name: &str) -> String {
        format!("oci:{}:demo", self.dir.path().join(name).display())
    }

    fn keycell(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(keycell_tests::dist("keycell")?);
        command.args(args).envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(String::from_utf8(output(&mut command)?)?)
    }
}
