//! What the cases share: a place for files, providers in it, and what they are asked for.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keycell_broker::Refusal;
use keycell_broker::providers::{Providers, TIMEOUT};
use serde_json::{Value, json};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::PYTHON;

/// Private options, and so a secret.
pub const OPTIONS: &[u8] = br#"{"symkey":"c3ltbWV0cmljIGtleSBvZiAzMiBieXRlcyAuLi4uLi4uLi4=","digest":"sha256:00","cipheroptions":{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#;

/// The time limit of cases that wait for it.
pub const SOON: Duration = Duration::from_secs(1);

/// A directory that goes with the case.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Providers from a configuration of `entries`.
    pub fn providers(&self, entries: &Value) -> Providers {
        let file = self.path("providers.json");
        fs::write(&file, json!({ "key-providers": entries }).to_string()).unwrap();
        Providers::open(&file).unwrap()
    }

    /// A single provider named `test`.
    pub fn provider(&self, entry: &Value) -> Providers {
        self.providers(&json!({ "test": entry }))
    }

    /// The tests' provider as a command.
    pub fn command(&self, mode: &str) -> Value {
        let arguments =
            [script(), "command".into(), mode.into(), self.0.path().display().to_string()];
        json!({"cmd": {"path": PYTHON, "args": arguments}})
    }

    /// What the tests' provider was asked last.
    pub fn recorded(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("request")).unwrap()).unwrap()
    }

    /// Starts the tests' provider as a gRPC server.
    pub fn serve(&self, mode: &str, address: &str, tls: &[&Path]) -> Server {
        let mut child = Command::new(PYTHON)
            .args([&script(), "grpc", mode])
            .arg(self.0.path())
            .arg(address)
            .args(tls)
            .env("GRPC_VERBOSITY", "NONE")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server { child, port: line.trim().parse().unwrap() }
    }
}

/// A server that ends with the case.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// `OPTIONS`, wrapped by the tests' provider.
pub fn wrapped() -> Vec<u8> {
    let place = Place::new();
    let providers = place.provider(&place.command("normal"));
    providers.wrap("test", OPTIONS, &[b"Enabled".to_vec()], TIMEOUT).unwrap()
}

pub fn parameters(values: &[&str]) -> Vec<Zeroizing<Vec<u8>>> {
    values.iter().map(|value| Zeroizing::new(value.as_bytes().to_vec())).collect()
}

/// Has `OPTIONS` unwrapped, which must succeed.
pub fn opens(providers: &Providers) {
    let unwrapped = providers.unwrap("test", &wrapped(), &[], TIMEOUT).unwrap();
    assert_eq!(*unwrapped, OPTIONS);
}

/// Asks for a key that must not come, and returns the message.
pub fn refused(providers: &Providers, limit: Duration) -> String {
    message(providers.unwrap("test", b"wrapped", &[], limit))
}

/// The message of a failure, which must be fit to be shown.
pub fn message<T>(result: Result<T, Refusal>) -> String {
    let Err(Refusal::Failed(failure)) = result else { panic!("it did not fail") };
    let message = failure.to_string();
    assert!(!message.is_empty() && message.chars().count() < 1500, "{message}");
    assert!(!message.contains(|c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)));
    assert!(!message.contains("SECRET"), "{message}");
    message
}

fn script() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/providers/provider.py").to_owned()
}
