//! OpenPGP keys in a separate GnuPG home.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::tools::{Tool, filtered, output};

/// What gpg encrypts.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The content of a file.
    File(&'a Path),
    /// These bytes, on stdin.
    Pipe(&'a [u8]),
}

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

    /// The value of `GNUPGHOME`.
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

    /// Makes all keys of a parameter file (see "Unattended key generation" in GnuPG's manual) at
    /// once, without passwords unless it says so.
    pub fn generate_all(&self, parameters: &str) -> Result<()> {
        let file = self.home().join("parameters");
        fs::write(&file, parameters)?;
        let mut command = self.command()?;
        output(command.args(["--no-auto-check-trustdb", "--gen-key"]).arg(file))?;
        Ok(())
    }

    /// Encrypts for recipients that `args` name. From a file gpg knows the length and writes it
    /// first, from a pipe it does not.
    pub fn encrypt(&self, args: &[&str], source: Source<'_>) -> Result<Vec<u8>> {
        let mut command = self.command()?;
        command.args(args).args(["--output", "-", "--encrypt"]);
        match source {
            Source::File(path) => output(command.arg(path)),
            Source::Pipe(content) => filtered(&mut command, content),
        }
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
        let mut command = self.command()?;
        output(command.args(["--passphrase", ""]).args(args))
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(Tool::Gpg.find()?);
        command.args(["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback"]);
        command.args(["--trust-model", "always"]).env("GNUPGHOME", self.home());
        Ok(command)
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
