//! `keycell keys`: lists private keys with their fingerprints.

use std::fmt::{self, Display, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::RecipientHint;
use keycell_keys_directory::{CapStdDirectory, walk};
use ocicrypt::keyring::KeyRing;
use serde_json::{Value, json};

use crate::keys;

/// The arguments of `keycell keys`.
#[derive(Args)]
pub struct Arguments {
    /// Keys directories, which are read as `ctd-decoder` reads them, and single files. The password of
    /// `node.pem` is in `node.pem.pass`
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Print JSON: `{"keys": [{"kind", "fingerprint", "file"}, …], "skipped": [{"file", "reason"}, …]}`
    #[arg(long, conflicts_with = "public")]
    json: bool,
    /// Print the public key of the only private key, in PEM: `keycell encrypt --recipient jwe:FILE`
    /// takes it
    #[arg(long)]
    public: bool,
}

/// Lists the keys, and the files that are no keys.
///
/// # Errors
/// A path that cannot be read, or no private key.
pub fn run(arguments: &Arguments) -> Result<String> {
    let mut ring = KeyRing::new();
    for path in &arguments.paths {
        if path.is_dir() {
            add_directory(&mut ring, path)?;
        } else {
            keys::add_file(&mut ring, path)?;
        }
    }
    let ring = &ring;
    if arguments.public {
        return public_key(ring);
    }
    if ring.is_empty() && ring.pgp_keys().next().is_none() {
        let skipped = list(ring);
        let separator = if skipped.is_empty() { "" } else { "\n" };
        bail!("there is no private key in these files{separator}{}", skipped.trim_end());
    }
    Ok(if arguments.json { format!("{}\n", json(ring)) } else { list(ring) })
}

/// Adds the files in a directory, from which no link leads out, as in the decoder's sandbox.
fn add_directory(ring: &mut KeyRing, path: &Path) -> Result<()> {
    let shown = path.display().to_string();
    let directory = CapStdDirectory::open(path);
    let directory = directory.with_context(|| format!("cannot read `{shown}`"))?;
    walk(&directory, &shown, |name, found| match found {
        Ok(file) => ring.add_file(name, &file.content),
        Err(why) => ring.skip(name, &why.to_string()),
    })
    .with_context(|| format!("cannot read `{shown}`"))
}

/// The line for a key.
pub fn line(kind: &dyn Display, fingerprint: &dyn Display, file: &dyn Display) -> String {
    format!("{:<9} {fingerprint} `{file}`", kind.to_string())
}

fn list(ring: &KeyRing) -> String {
    let mut text = String::new();
    for key in ring.keys() {
        let line = line(&key.key().kind(), &key.key().fingerprint(), &key.name());
        let _ = writeln!(text, "{line}");
    }
    for key in ring.pgp_keys() {
        let fingerprint = format!("OpenPGP {}", key.key().fingerprint());
        let _ = writeln!(text, "{}", line(&key.key().kind(), &fingerprint, &key.name()));
    }
    for skipped in ring.skipped() {
        let _ = writeln!(text, "no key    {skipped}");
    }
    text
}

fn json(ring: &KeyRing) -> Value {
    let key = |kind: String, fingerprint: String, file: &str| json!({ "kind": kind, "fingerprint": fingerprint, "file": file });
    let keys = ring.keys().map(|found| {
        key(found.key().kind().to_string(), found.fingerprint().to_string(), found.name())
    });
    let pgp = ring.pgp_keys().map(|found| {
        let fingerprint = format!("OpenPGP {}", found.key().fingerprint());
        key(found.key().kind().to_string(), fingerprint, found.name())
    });
    let keys: Vec<_> = keys.chain(pgp).collect();
    let skipped = ring.skipped();
    let skipped = skipped
        .iter()
        .map(|skipped| json!({ "file": skipped.name, "reason": skipped.reason.to_string() }));
    json!({ "keys": keys, "skipped": skipped.collect::<Vec<_>>() })
}

/// The PEM of the only key.
fn public_key(ring: &KeyRing) -> Result<String> {
    let mut keys = ring.keys();
    match (keys.next(), keys.next()) {
        (Some(only), None) => Ok(only.key().public_key_pem()),
        _ => {
            let refusal = NotOneKey { keys: ring.len(), pgp: ring.pgp_keys().count() };
            Err(Diagnostic::new(refusal.to_string(), RecipientHint::OnePrivateKey).into())
        }
    }
}

/// Not exactly one private key.
struct NotOneKey {
    keys: usize,
    pgp: usize,
}

impl Display for NotOneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.keys, self.pgp) {
            (0, 0) => f.write_str("there is no private key in these files"),
            (0, _) => f.write_str(
                "there are only OpenPGP keys in these files, whose public keys `gpg --export` writes",
            ),
            (keys, _) => write!(f, "there are {keys} private keys in these files"),
        }
    }
}
