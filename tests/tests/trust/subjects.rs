//! What decides which code runs, or whom the node trusts.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::dist;
use keycell_tests::guest::COPIES;
use keycell_tests::node::Node;
use keycell_tests::payload::Payload;
use keycell_tests::sealed::{JWE_KEYS, Sealed};
use keycell_tests::tools::output;
use serde_json::json;

const PROVIDERS: &str = "OCICRYPT_KEYPROVIDER_CONFIG";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A thing in a directory, and a decoder that would use it.
pub struct Subject {
    /// Where it lies.
    pub thing: PathBuf,
    /// A decoder that is configured with it.
    pub decoder: Decoder,
    /// Whether a run has used it.
    pub is_used: Box<dyn Fn(&Outcome) -> bool>,
    /// What else the run needs.
    _node: Node,
}

type Make = fn(&Path) -> Result<Subject>;

/// The name of each, how it is made in a directory, and what is said where it is refused.
pub const SUBJECTS: &[(&str, Make, &[&str])] = &[
    ("configuration", configuration, &["the configuration `", "can be changed by others"]),
    ("ocicrypt.conf-by-its-variable", |dir| policy(dir, "x.conf", named), POLICY),
    ("ocicrypt.conf-in-the-home", |dir| policy(dir, "ocicrypt.conf", in_the_home), POLICY),
    ("providers-file", providers_file, &["provider.vault", "providers.json` is not trusted"]),
    ("provider-command", |dir| provider(dir, Provider::Absolute), PROVIDER),
    ("provider-command-in-the-path", |dir| provider(dir, Provider::InThePath), PROVIDER),
    ("provider-command-behind-walls", |dir| provider(dir, Provider::Confined), PROVIDER),
    ("broker", broker, &["cannot start `", "keycell-broker"]),
    ("guest-store", guest_store, &["who could run code in the decoder"]),
];

const POLICY: &[&str] =
    &["cannot tell which files in the keys directory may hold a PIN", "is not trusted"];
const PROVIDER: &[&str] = &["provider.vault", "vault"];

fn decrypts(sealed: &Sealed) -> Box<dyn Fn(&Outcome) -> bool> {
    let plain = sealed.plain.clone();
    Box::new(move |outcome| outcome.is_silent_success(&plain).is_ok())
}

fn configuration(directory: &Path) -> Result<Subject> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let thing = file(directory, "config.toml", "cipher = \"host\"\n", 0o644)?;
    let decoder = node.decoder(&sealed)?.arg("--config").arg(&thing);
    Ok(Subject { thing, decoder, is_used: decrypts(&sealed), _node: node })
}

fn policy(directory: &Path, name: &str, place: fn(Decoder, &Path) -> Decoder) -> Result<Subject> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let text = "pkcs11:\n  allowed-module-paths: [/usr/lib/softhsm/]\n";
    let thing = file(directory, name, text, 0o644)?;
    let decoder = place(node.decoder(&sealed)?, &thing);
    Ok(Subject { thing, decoder, is_used: decrypts(&sealed), _node: node })
}

fn named(decoder: Decoder, file: &Path) -> Decoder {
    decoder.env("OCICRYPT_CONFIG", file)
}

fn in_the_home(decoder: Decoder, file: &Path) -> Decoder {
    decoder.env("XDG_CONFIG_HOME", file.parent().unwrap_or(file))
}

/// How a provider's program is named.
enum Provider {
    Absolute,
    InThePath,
    Confined,
}

/// Asks a provider that says that it was asked: `thing` is its program.
fn provider(directory: &Path, kind: Provider) -> Result<Subject> {
    let node = Node::without_key()?;
    let asked = node.outside().join("asked");
    let program = format!("#!/bin/sh\n: >{}\n", asked.display());
    let thing = file(directory, "vault", &program, 0o755)?;
    let command = match kind {
        Provider::Absolute => json!({ "path": thing }),
        Provider::InThePath => json!({ "path": "vault" }),
        Provider::Confined => json!({ "path": thing, "files": [node.outside()] }),
    };
    let config = node.outside().join("providers.json");
    fs::write(&config, json!({ "key-providers": { "vault": { "cmd": command } } }).to_string())?;
    let path = format!("{}:{PATH}", directory.display());
    let decoder = asks(&node, &config)?.env("PATH", path);
    Ok(Subject { thing, decoder, is_used: was_asked(asked), _node: node })
}

fn providers_file(directory: &Path) -> Result<Subject> {
    let node = Node::without_key()?;
    let asked = node.outside().join("asked");
    let command = json!({ "path": "touch", "args": [asked] });
    let config = json!({ "key-providers": { "vault": { "cmd": command } } });
    let thing = file(directory, "providers.json", &config.to_string(), 0o644)?;
    let decoder = asks(&node, &thing)?;
    Ok(Subject { thing, decoder, is_used: was_asked(asked), _node: node })
}

/// A decoder with a broker beside it, which is asked through a provider.
fn broker(directory: &Path) -> Result<Subject> {
    let node = Node::without_key()?;
    let asked = node.outside().join("asked");
    let command = json!({ "path": "touch", "args": [asked] });
    let config = node.outside().join("providers.json");
    fs::write(&config, json!({ "key-providers": { "vault": { "cmd": command } } }).to_string())?;
    for name in ["ctd-decoder", "keycell-broker"] {
        fs::copy(dist(name)?, directory.join(name))?;
    }
    let decoder = asks(&node, &config)?.program(&directory.join("ctd-decoder"));
    let thing = directory.join("keycell-broker");
    Ok(Subject { thing, decoder, is_used: was_asked(asked), _node: node })
}

/// A store with a guest that copies: the decoder gets as far as to run it.
fn guest_store(directory: &Path) -> Result<Subject> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let thing = directory.join("guests");
    let wasm = node.outside().join("copies.wasm");
    fs::write(&wasm, wat::parse_str(COPIES)?)?;
    let mut install = Command::new(dist("keycell")?);
    output(install.args(["guest", "install", "--store"]).arg(&thing).arg(&wasm))?;
    let decoder = node.decoder(&sealed)?.arg("--guest").arg("copies");
    let decoder = decoder.arg("--guest-store").arg(&thing);
    let is_used = |outcome: &Outcome| outcome.stderr.contains("it wrote more bytes than");
    Ok(Subject { thing, decoder, is_used: Box::new(is_used), _node: node })
}

/// A layer whose key only the provider `vault` could unwrap.
fn asks(node: &Node, config: &Path) -> Result<Decoder> {
    let sealed = Sealed::of_length(1000);
    let mut descriptor = sealed.descriptor::<&[u8]>(&[]);
    descriptor.annotations.remove(JWE_KEYS);
    let name = "org.opencontainers.image.enc.keys.provider.vault".to_owned();
    descriptor.annotations.insert(name, "c2VjcmV0".to_owned());
    let decoder = node.without_payload(&sealed)?.payload(Payload::new(&descriptor).bytes());
    Ok(decoder.env(PROVIDERS, config))
}

fn was_asked(marker: PathBuf) -> Box<dyn Fn(&Outcome) -> bool> {
    Box::new(move |_| marker.exists())
}

fn file(directory: &Path, name: &str, content: &str, mode: u32) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, content)?;
    fs::set_permissions(&path, Permissions::from_mode(mode))?;
    Ok(path)
}
