//! OpenPGP keys in a GnuPG of the test's own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::tools::{Tool, output};

/// A directory with key rings, and the agent that guards them until it is dropped.
#[derive(Debug)]
pub struct Gpg {
    home: TempDir,
}

impl Gpg {
    /// Without a key.
    pub fn new() -> Result<Self> {
        // The path of the agent's socket must be short.
        let home = tempfile::Builder::new().prefix("gpg").tempdir()?;
        fs::set_permissions(home.path(), Permissions::from_mode(0o700))?;
        Ok(Self { home })
    }

    /// What is `GNUPGHOME`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Makes a key for signatures and a subkey for encryption, of the kinds that gpg calls so, and
    /// returns its fingerprint.
    pub fn generate(&self, user_id: &str, primary: &str, subkey: &str) -> Result<String> {
        self.run(&["--quick-gen-key", user_id, primary, "sign", "never"])?;
        let fingerprint = self.fingerprint(user_id)?;
        self.run(&["--quick-add-key", &fingerprint, subkey, "encr", "never"])?;
        Ok(fingerprint)
    }

    /// The public keys of a user, in binary form.
    pub fn public(&self, user_id: &str) -> Result<Vec<u8>> {
        self.run(&["--export", user_id])
    }

    /// The secret keys of a user, in binary form.
    pub fn secret(&self, user_id: &str) -> Result<Vec<u8>> {
        self.run(&["--export-secret-keys", user_id])
    }

    /// Runs gpg, which asks nobody anything, and returns its stdout.
    pub fn run(&self, args: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new(Tool::Gpg.find()?);
        command.args(["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback"]);
        command.args(["--passphrase", "", "--trust-model", "always"]).args(args);
        output(command.env("GNUPGHOME", self.home()))
    }

    fn fingerprint(&self, user_id: &str) -> Result<String> {
        let listed = self.run(&["--list-keys", "--with-colons", user_id])?;
        let listed = String::from_utf8(listed)?;
        let line = listed.lines().find(|line| line.starts_with("fpr:"));
        let fingerprint = line.and_then(|line| line.split(':').nth(9));
        fingerprint.map(str::to_owned).context("gpg lists no fingerprint")
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        let _ = output(command.args(["--kill", "all"]).env("GNUPGHOME", self.home()));
    }
}
