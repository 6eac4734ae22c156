//! Key providers that are programs. The other forms are tested where they are asked, in `broker/`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use keycell_tests::decoder::Decoder;
use keycell_tests::node::{Node, says};
use keycell_tests::payload::Payload;
use keycell_tests::sealed::{JWE_KEYS, Sealed};
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use serde_json::{Value, json};

use crate::keycell::Encrypted;

const TOOLS: [Tool; 2] = [Tool::Openssl, Tool::Python];

const PROVIDER_KEYS: &str = "org.opencontainers.image.enc.keys.provider.vault";

const VARIABLE: &str = "OCICRYPT_KEYPROVIDER_CONFIG";

/// A provider that keeps a password, as a service would keep a key.
const PROGRAM: &str = r#"#!/usr/bin/python3
import base64, json, os, subprocess, sys
question = sys.stdin.read()
open(os.path.dirname(os.path.abspath(__file__)) + "/asked.json", "w").write(question)
question = json.loads(question)
command = ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-pass", "pass:vault"]
def openssl(command, text):
    done = subprocess.run(command, input=base64.b64decode(text), stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit("the vault does not know this key")
    return base64.b64encode(done.stdout).decode()
if question["op"] == "keywrap":
    wrapped = openssl(command, question["keywrapparams"]["optsdata"])
    json.dump({"keywrapresults": {"annotation": wrapped}}, sys.stdout)
else:
    options = openssl(command + ["-d"], question["keyunwrapparams"]["annotation"])
    json.dump({"keyunwrapresults": {"optsdata": options}}, sys.stdout)
"#;

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &TOOLS, run);
    case("provider/command", || {
        let vault = Vault::new(PROGRAM)?;
        vault.opens(&vault.decoder()?)
    });
    case("provider/sees-its-own-parameters-only", || {
        let vault = Vault::new(PROGRAM)?;
        let payload = vault.payload()?;
        let payload = payload.private_key(b"a private key of the node");
        let payload = payload.parameter("vault", Some(b"for the vault"));
        let payload = payload.parameter("other", Some(b"for another provider"));
        vault.opens(&vault.decoder()?.payload(payload.bytes()))?;
        let asked: Value = serde_json::from_slice(&fs::read(vault.path("asked.json"))?)?;
        let parameters = &asked["keyunwrapparams"]["dc"]["Parameters"];
        let own = json!({ "vault": [Base64::encode_string(b"for the vault")] });
        ensure!(*parameters == own, "the provider saw {parameters}");
        Ok(())
    });
    case("provider/what-keycell-encrypts", || {
        let vault = Vault::new(PROGRAM)?;
        let env = [(VARIABLE, vault.config())];
        let encrypted = Encrypted::new("provider:vault", &[], &env)?;
        encrypted.opens_with_decoder(&vault.node.keys())?;
        encrypted.opens_with_keycell(&vault.node.keys())
    });
    case("provider/fails-in-its-own-words", || {
        let vault = Vault::new(PROGRAM)?;
        let payload = vault.payload()?.annotation(PROVIDER_KEYS, "c2Vjb25k");
        let outcome = vault.decoder()?.payload(payload.bytes()).run()?;
        says(&outcome, &["provider.vault: 1 wrapped key", "the vault does not know this key"])
    });
    case("provider/not-in-the-configuration", || {
        let vault = Vault::new(PROGRAM)?;
        fs::write(vault.config(), r#"{"key-providers":{"other":{"cmd":{"path":"/bin/true"}}}}"#)?;
        let named = ["no such key provider", "the key providers that are configured: `other`"];
        says(&vault.decoder()?.run()?, &["provider.vault", named[0], named[1], VARIABLE])
    });
    case("provider/nothing-configured", || {
        let vault = Vault::new(PROGRAM)?;
        let payload = vault.payload()?;
        vault.node.refuses(&vault.sealed, &payload, &["no such key provider", VARIABLE])
    });
    case("provider/configuration-is-not-there", configuration_is_not_there);
    case("provider/configuration-is-garbage", || {
        let vault = Vault::new(PROGRAM)?;
        fs::write(vault.config(), "key-providers:")?;
        says(&vault.decoder()?.run()?, &["provider.vault", "JSON"])?;
        let node = Node::new()?;
        let decoder = node.decoder(&vault.sealed)?.env(VARIABLE, vault.config());
        decoder.run()?.is_silent_success(&vault.sealed.plain)
    });
    case("provider/dies-with-the-decoder", dies_with_the_decoder);
    case("broker/not-there", not_there);
    as_with_go(suite);
}

/// What a command gets from the caller.
fn as_with_go(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &TOOLS, run);
    case("provider/gets-the-environment-as-with-go", || {
        let check =
            "import os, sys\nif os.environ.get('REGION') != 'eu': sys.exit(3)\nimport base64";
        let vault = Vault::new(&PROGRAM.replace("import base64", check))?;
        vault.decoder()?.env("REGION", "eu").run()?.is_silent_success(&vault.sealed.plain)?;
        says(&vault.decoder()?.run()?, &["failed with exit code 3"])?;
        // With `env` the operator says what it gets.
        vault.configure(&json!({"env": []}))?;
        let refused = vault.decoder()?.env("REGION", "eu").run()?;
        says(&refused, &["failed with exit code 3", "gets no other variables but `PATH`"])?;
        vault.configure(&json!({"env": ["REGION"]}))?;
        vault.decoder()?.env("REGION", "eu").run()?.is_silent_success(&vault.sealed.plain)
    });
    case("provider/relative-paths-count-from-the-working-directory", || {
        let vault = Vault::new(PROGRAM)?;
        vault.configure(&json!({"path": "./vault"}))?;
        let decoder =
            vault.decoder()?.env(VARIABLE, "providers.json").in_directory(vault.dir.path());
        decoder.run()?.is_silent_success(&vault.sealed.plain)?;
        // A name without a slash is not searched there, even if `PATH` says so.
        vault.configure(&json!({"path": "vault"}))?;
        let decoder = vault.decoder()?.env("PATH", ":.:/usr/bin").in_directory(vault.dir.path());
        says(&decoder.run()?, &["cannot start `vault`"])
    });
}

fn configuration_is_not_there() -> Result<()> {
    let vault = Vault::new(PROGRAM)?;
    fs::remove_file(vault.config())?;
    says(&vault.decoder()?.run()?, &["there is no file", VARIABLE])?;
    // containerd's default configuration names one that is not there: nobody is disturbed.
    let node = Node::new()?;
    let decoder = node.decoder(&vault.sealed)?.env(VARIABLE, vault.config());
    decoder.run()?.is_silent_success(&vault.sealed.plain)?;
    // Nor is who decrypts by hand.
    let key = node.keys().join("public.pem");
    let private = node.keys().join(keycell_tests::node::KEY);
    let args = [private.as_os_str(), "-pubout".as_ref(), "-out".as_ref(), key.as_os_str()];
    Tool::Openssl.run(["pkey".as_ref(), "-in".as_ref()].into_iter().chain(args))?;
    let env = [(VARIABLE, vault.config())];
    let encrypted = Encrypted::new(&format!("jwe:{}", key.display()), &[], &env)?;
    encrypted.opens_with_keycell(&node.keys())
}

/// containerd cancels with SIGKILL. Nothing may go on asking.
fn dies_with_the_decoder() -> Result<()> {
    let marker = format!("{}", 100_000 + std::process::id() % 100_000);
    let vault = Vault::new(&format!("#!/bin/sh\nexec sleep {marker}\n"))?;
    let mut command = Command::new(keycell_tests::dist("ctd-decoder")?);
    let payload = vault.path("payload");
    fs::write(&payload, vault.payload()?.bytes())?;
    // A shell passes the payload on descriptor 3.
    let script = r#"exec "$0" 3<"$1" </dev/null >/dev/null 2>&1"#;
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(command.get_program())
        .arg(&payload)
        .env(VARIABLE, vault.config())
        .spawn()?;
    command.env_clear();
    ensure!(eventually(|| runs(&marker)), "the provider was never asked");
    child.kill()?;
    child.wait()?;
    ensure!(eventually(|| !runs(&marker)), "the provider goes on without a decoder");
    Ok(())
}

/// Whether a `sleep` of this length runs.
fn runs(marker: &str) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.into_iter().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.starts_with(b"sleep\0") && String::from_utf8_lossy(&line).contains(marker)
    })
}

fn eventually(condition: impl Fn() -> bool) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        condition()
    })
}

/// The decoder without its broker: keys of the directory work, and messages tell what is missing.
fn not_there() -> Result<()> {
    let vault = Vault::new(PROGRAM)?;
    let alone = vault.path("ctd-decoder");
    fs::copy(keycell_tests::dist("ctd-decoder")?, &alone)?;
    let decoder = |node: &Node, payload: &Payload| {
        Decoder::at(&alone)
            .keys(&node.keys())
            .media_type("application/vnd.oci.image.layer.v1.tar+encrypted")
            .layer(vault.sealed.encrypted.clone())
            .payload(payload.bytes())
    };
    let node = Node::new()?;
    let for_node = vault.sealed.payload_for(&node.recipient);
    let run = decoder(&node, &for_node).env(VARIABLE, vault.config()).run()?;
    run.is_silent_success(&vault.sealed.plain)?;
    let run = decoder(&node, &vault.payload()?).env(VARIABLE, vault.config()).run()?;
    says(&run, &["cannot start", "keycell-broker"])?;
    // The directory may hold PINs, and nobody is there to take them out.
    let run = decoder(&node, &for_node).env("OCICRYPT_CONFIG", "internal").run()?;
    says(&run, &["keycell-broker", "OCICRYPT_CONFIG"])
}

/// A layer whose key a provider has wrapped.
struct Vault {
    dir: tempfile::TempDir,
    node: Node,
    sealed: Sealed,
}

impl Vault {
    fn new(program: &str) -> Result<Self> {
        let dir = tempfile::TempDir::with_prefix("keycell-vault-")?;
        let vault = Self { dir, node: Node::without_key()?, sealed: Sealed::of_length(100_000) };
        let path = vault.path("vault");
        fs::write(&path, program)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        vault.configure(&json!({}))?;
        Ok(vault)
    }

    /// Configures the program as a command, with `members` added to its entry.
    fn configure(&self, members: &Value) -> Result<()> {
        let mut command = json!({ "path": self.path("vault") });
        let added = members.as_object().into_iter().flatten();
        added.for_each(|(name, value)| command[name] = value.clone());
        let config = json!({ "key-providers": { "vault": { "cmd": command } } });
        Ok(fs::write(self.config(), config.to_string())?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("providers.json")
    }

    fn payload(&self) -> Result<Payload> {
        let options = self.path("options");
        fs::write(&options, self.sealed.private.to_string())?;
        let wrapped = output(
            Command::new(Tool::Openssl.find()?)
                .args(["enc", "-aes-256-cbc", "-pbkdf2", "-pass", "pass:vault", "-in"])
                .arg(&options),
        )
        .context("wrapping")?;
        let mut descriptor = self.sealed.descriptor::<&[u8]>(&[]);
        descriptor.annotations.remove(JWE_KEYS);
        let wrapped = Base64::encode_string(&wrapped);
        descriptor.annotations.insert(PROVIDER_KEYS.to_owned(), wrapped);
        Ok(Payload::new(&descriptor))
    }

    fn decoder(&self) -> Result<Decoder> {
        let decoder = self.node.without_payload(&self.sealed)?;
        Ok(decoder.payload(self.payload()?.bytes()).env(VARIABLE, self.config()))
    }

    fn opens(&self, decoder: &Decoder) -> Result<()> {
        decoder.clone().run()?.is_silent_success(&self.sealed.plain)
    }
}
