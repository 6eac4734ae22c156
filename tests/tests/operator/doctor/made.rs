//! A node that is made for a case.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use keycell_tests::jwe::Recipient;
use keycell_tests::node::{KEY, Node};
use keycell_tests::sealed::Sealed;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{exits, keycell};

/// A node as `keycell config containerd` would leave it, in a directory.
pub(super) struct Made {
    pub(super) node: Node,
}

impl Made {
    pub(super) fn new() -> Result<Self> {
        let made = Self { node: Node::new()? };
        fs::set_permissions(made.node.keys().join(KEY), Permissions::from_mode(0o600))?;
        let text = exits(
            keycell(&["config", "containerd", "--version", "1.7"])?
                .arg("--keys")
                .arg(made.node.keys())
                .arg("--decoder")
                .arg(keycell_tests::dist("ctd-decoder")?),
            0,
        )?;
        let shown = made.node.outside().display();
        let places = format!(
            "root = \"{shown}/root\"\nstate = \"{shown}/state\"\n[grpc]\n  address = \"{shown}/containerd.sock\"\n"
        );
        fs::write(made.path("config.toml"), text.replacen("\n\n", &format!("\n{places}\n"), 1))?;
        Ok(made)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.node.outside().join(name)
    }

    /// Changes the configuration.
    pub(super) fn change(&self, from: &str, to: &str) -> Result<()> {
        let file = self.path("config.toml");
        let decoder = keycell_tests::dist("ctd-decoder")?.display().to_string();
        let text = fs::read_to_string(&file)?.replace(&decoder, "/usr/bin/ctd-decoder");
        ensure!(text.contains(from), "nothing of `{from}`: {text}");
        Ok(fs::write(&file, text.replace(from, to).replace("/usr/bin/ctd-decoder", &decoder))?)
    }

    /// Has a copy of the programs in `bin`, which may be damaged, instead of those in `dist`.
    pub(super) fn own_decoder(&self) -> Result<()> {
        let bin = self.path("bin");
        fs::create_dir_all(&bin)?;
        for name in ["ctd-decoder", "keycell-broker", "keycell"] {
            let file = bin.join(name);
            if fs::exists(&file)? {
                fs::remove_file(&file)?;
            }
            fs::copy(keycell_tests::dist(name)?, file)?;
        }
        let dist = keycell_tests::dist("ctd-decoder")?.display().to_string();
        let own = bin.join("ctd-decoder").display().to_string();
        let text = self.config()?.replace(&dist, &own);
        Ok(fs::write(self.path("config.toml"), text)?)
    }

    /// containerd's configuration.
    pub(super) fn config(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("config.toml"))?)
    }

    /// Appends to the configuration.
    pub(super) fn append(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.path("config.toml"), self.config()? + text)?)
    }

    pub(super) fn doctor(&self) -> Result<Command> {
        let mut command = keycell(&["doctor"])?;
        command.arg("--config").arg(self.path("config.toml"));
        Ok(command)
    }

    /// Puts the manifest of an encrypted layer into the content store, and returns its digest.
    pub(super) fn store(&self, sealed: &Sealed, recipient: &Recipient) -> Result<String> {
        let descriptor =
            sealed.descriptor(&[sealed.wrapped_for(recipient).flattened().to_string()]);
        let manifest = json!({ "schemaVersion": 2, "layers": [descriptor] });
        self.blob(manifest.to_string().as_bytes())
    }

    pub(super) fn blob(&self, bytes: &[u8]) -> Result<String> {
        let blobs = self.path("root/io.containerd.content.v1.content/blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let digest = keycell_tests::image::hex(&Sha256::digest(bytes));
        fs::write(blobs.join(&digest), bytes)?;
        Ok(format!("sha256:{digest}"))
    }
}
