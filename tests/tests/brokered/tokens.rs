//! Keys in SoftHSM. The blobs are openssl's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use keycell_tests::decoder::Decoder;
use keycell_tests::node::{Node, says};
use keycell_tests::payload::Payload;
use keycell_tests::sealed::{JWE_KEYS, Sealed};
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use serde_json::json;

use crate::keycell::Encrypted;

const TOOLS: [Tool; 2] = [Tool::Openssl, Tool::SoftHsm];

const PKCS11_KEYS: &str = "org.opencontainers.image.enc.keys.pkcs11";

/// Where Debian puts the module.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// No message and no guest may see it.
const PIN: &str = "Pin-27182-secret";

pub(crate) fn cases(suite: &mut Suite) {
    key_files(suite);
    beside_other_keys_and_files(suite);
    encrypted_by_keycell(suite);
    refused(suite);
}

fn key_files(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &TOOLS, run);
    case("token/key-file-in-the-directory", || {
        let (node, token, sealed) = made()?;
        node.add("token.yaml", token.key_file(PIN))?;
        opens(&token, &node, &sealed)
    });
    case("token/key-file-alone", || {
        let (node, token, sealed) = made()?;
        let file = node.add("token.yaml", token.key_file(PIN))?;
        let media_type = "application/vnd.oci.image.layer.v1.tar+encrypted";
        let decoder = Decoder::new()?.keys(&file).media_type(media_type);
        let decoder = decoder.layer(sealed.encrypted.clone());
        let decoder = decoder.payload(token.payload(&sealed)?.bytes());
        allowed(&token, decoder).run()?.is_silent_success(&sealed.plain)
    });
    case("token/key-file-in-the-payload", || {
        let (node, token, sealed) = made()?;
        // A client may not set variables on the node, so the operator does: in the service.
        let payload = token.payload(&sealed)?;
        let file = token.given_key_file();
        let payload = payload.parameter("pkcs11-yamls", Some(file.as_bytes()));
        let decoder = node.without_payload(&sealed)?.payload(payload.bytes());
        let outcome = allowed(&token, decoder).run()?;
        // SoftHSM finds no token without its variable, and must not be given the client's.
        says(&outcome, &["pkcs11-yamls[0]"])
    });
    case("token/key-file-in-the-payload-for-a-module-of-clients", || {
        let (node, token, sealed) = made()?;
        token.allows_clients(&[MODULE])?;
        let file = token.given_key_file();
        let payload = token.payload(&sealed)?.parameter("pkcs11-yamls", Some(file.as_bytes()));
        let decoder = node.without_payload(&sealed)?.payload(payload.bytes());
        let decoder = allowed(&token, decoder).env("SOFTHSM2_CONF", token.path("conf"));
        decoder.run()?.is_silent_success(&sealed.plain)
    });
}

fn beside_other_keys_and_files(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &TOOLS, run);
    case("token/a-client-learns-nothing-of-the-node", a_client_learns_nothing);
    case("token/a-file-that-may-hold-a-pin", || {
        let (node, token, sealed) = made()?;
        let file = [b"# Schl\xfcssel\n", token.key_file(PIN).as_bytes()].concat();
        node.add("token.yaml", file)?;
        let decoder = node.without_payload(&sealed)?.payload(token.payload(&sealed)?.bytes());
        let log = node.outside().join("log");
        let decoder = allowed(&token, decoder).arg("--explain").arg("--log").arg(&log);
        let outcome = decoder.run()?;
        let (granted, error) =
            outcome.stderr.rsplit_once("ctd-decoder: error: ").context("none")?;
        ensure!(granted.contains("denied   private keys"), "{granted}");
        let reason = "`token.yaml`: it mentions a PKCS#11 key or a PIN but is no key file, because \
                      it is not UTF-8";
        for word in ["there is no PKCS#11 key that may be used", reason] {
            ensure!(error.contains(word), "nothing of `{word}`: {error}");
        }
        ensure!(!outcome.stderr.contains(PIN), "the PIN: {}", outcome.stderr);
        let log = fs::read_to_string(&log)?;
        ensure!(log.contains(&format!("passed over {reason}")) && !log.contains(PIN), "{log}");
        Ok(())
    });
    case("token/after-a-jwe-that-nobody-opens", || {
        let (node, token, sealed) = made()?;
        node.add("token.yaml", token.key_file(PIN))?;
        let stranger = Node::new()?;
        let jwe = sealed.wrapped_for(&stranger.recipient).flattened().to_string();
        let jwe = Base64::encode_string(jwe.as_bytes());
        let payload = token.payload(&sealed)?.annotation(JWE_KEYS, &jwe);
        let decoder = node.without_payload(&sealed)?.payload(payload.bytes());
        allowed(&token, decoder).run()?.is_silent_success(&sealed.plain)
    });
    case("token/beside-other-keys", beside_other_keys);
    case("token/keys-of-every-form-are-handed-over-whole", keys_of_every_form);
}

fn encrypted_by_keycell(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &TOOLS, run);
    case("token/what-keycell-encrypts-for-its-public-key", || {
        let (node, token, _) = made()?;
        node.add("token.yaml", token.key_file(PIN))?;
        let public = format!("pkcs11:{}", token.path("public.pem").display());
        let env = [("OCICRYPT_CONFIG", token.policy())];
        let encrypted = Encrypted::new(&public, &["--oaep-hash", "sha1"], &env)?;
        encrypted.opens_with_decoder(&node.keys())?;
        encrypted.opens_with_keycell(&node.keys())
    });
    case("token/what-keycell-encrypts-for-its-key-file", || {
        let (node, token, _) = made()?;
        let file = node.add("token.yaml", token.key_file(PIN))?;
        let env =
            [("OCICRYPT_CONFIG", token.policy()), ("OCICRYPT_OAEP_HASHALG", PathBuf::from("sha1"))];
        let encrypted = Encrypted::new(&format!("pkcs11:{}", file.display()), &[], &env)?;
        encrypted.opens_with_decoder(&node.keys())
    });
}

fn refused(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &TOOLS, run);
    case("token/wrong-pin", || {
        let (node, token, sealed) = made()?;
        let wrong = "Pin-wrong-secret";
        node.add("token.yaml", token.key_file(wrong))?;
        let decoder = node.without_payload(&sealed)?.payload(token.payload(&sealed)?.bytes());
        let outcome = allowed(&token, decoder).run()?;
        says(&outcome, &["pkcs11: 1 wrapped key", "token=node", "PIN"])?;
        ensure!(!outcome.stderr.contains(wrong), "the PIN: {}", outcome.stderr);
        Ok(())
    });
    case("token/module-not-allowed", || {
        let (node, token, sealed) = made()?;
        node.add("token.yaml", token.key_file(PIN))?;
        let policy = "pkcs11:\n  module-directories: [/usr/lib/softhsm/]\n";
        fs::write(token.policy(), policy)?;
        let decoder = node.without_payload(&sealed)?.payload(token.payload(&sealed)?.bytes());
        let words = ["no PKCS#11 module may be loaded", "allowed-module-paths"];
        says(&allowed(&token, decoder).run()?, &words)
    });
    case("token/configuration-that-others-can-write", || {
        let (node, token, sealed) = made()?;
        fs::set_permissions(token.policy(), fs::Permissions::from_mode(0o666))?;
        let path = token.policy().display().to_string();
        let decoder = node.without_payload(&sealed)?.payload(token.payload(&sealed)?.bytes());
        let hint = "hint: correct what the message names; where no PKCS#11 token is used, remove";
        says(&allowed(&token, decoder).run()?, &[&path, "can be written to by others", hint])
    });
    case("token/malformed-configuration", || {
        let (node, token, sealed) = made()?;
        fs::write(token.policy(), "pkcs11: text")?;
        let decoder = node.without_payload(&sealed)?.payload(token.payload(&sealed)?.bytes());
        let hint = "hint: correct what the message names; where no PKCS#11 token is used, remove";
        let words = ["`pkcs11` is not a mapping", hint];
        let outcome = allowed(&token, decoder).run()?;
        says(&outcome, &words)?;
        // The cause is the configuration, not a broker that is missing.
        ensure!(!outcome.stderr.contains("keycell-broker"), "{}", outcome.stderr);
        Ok(())
    });
    case("token/nothing-configured", || {
        let (node, token, sealed) = made()?;
        node.add("token.yaml", token.key_file(PIN))?;
        let payload = token.payload(&sealed)?;
        let words = ["no PKCS#11 key that may be used", "`token.yaml`", "OCICRYPT_CONFIG"];
        node.refuses(&sealed, &payload, &words)
    });
    case("token/pin-is-not-granted", || {
        let (node, token, sealed) = made()?;
        node.add("token.yaml", token.key_file(PIN))?;
        node.add("node.pem", node.recipient.private_pem())?;
        let decoder = node.without_payload(&sealed)?.payload(token.payload(&sealed)?.bytes());
        let outcome = allowed(&token, decoder).arg("--explain").run()?;
        let granted = "granted  private keys: `node.pem`, as bytes";
        ensure!(outcome.stderr.contains(granted), "{}", outcome.stderr);
        let listed = "granted  key providers, tokens: `pkcs11:token=node;object=images`";
        ensure!(outcome.stderr.contains(listed), "{}", outcome.stderr);
        Ok(())
    });
}

/// Where modules are allowed, the guest finds the same keys in a file as where it reads the file itself,
/// although it is given only what of the file is a key.
fn keys_of_every_form() -> Result<()> {
    let (_, token, sealed) = made()?;
    let payload = sealed.payload_for(&Node::new()?.recipient);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ocicrypt/tests/data");
    let mut seen = 0;
    for directory in ["keys", "encrypted-keys", "pgp/keys"] {
        for entry in fs::read_dir(data.join(directory))? {
            let path = entry?.path();
            let kind = path.extension().unwrap_or_default();
            // Those that ask for much work would take long.
            let is_bomb = path.to_string_lossy().contains("bomb");
            if is_bomb || !["pem", "der", "jwk", "jwks", "gpg", "asc"].iter().any(|k| kind == *k) {
                continue;
            }
            let node = Node::without_key()?;
            node.add(&path.file_name().context("no name")?.to_string_lossy(), fs::read(&path)?)?;
            let decoder = node.without_payload(&sealed)?.payload(payload.bytes());
            let alone = decoder.clone().run()?;
            let sorted = allowed(&token, decoder).run()?;
            alone.error_without_output()?;
            ensure!(
                sorted.stderr == alone.stderr,
                "{}: {}\nbut without modules: {}",
                path.display(),
                sorted.stderr,
                alone.stderr
            );
            seen += 1;
        }
    }
    ensure!(seen > 100, "only {seen} keys were there to be tried");
    Ok(())
}

/// Whatever a client's key file names, the answer is the same; the reason is in the log.
fn a_client_learns_nothing() -> Result<()> {
    let (node, token, sealed) = made()?;
    token.allows_clients(&[MODULE])?;
    let payload = token.payload(&sealed)?;
    let mut answers = Vec::new();
    for (query, reason) in [
        ("module-name=libz&pin-value=1234", "may not name this module"),
        ("module-name=nosuch&pin-value=1234", "may not name this module"),
        ("module-path=/usr/lib/softhsm/libz.so&pin-value=1234", "may not name this module"),
        ("module-path=/usr/lib/softhsm/libsofthsm2.so&pin-value=1234", "the PIN is wrong"),
        ("module-name=softhsm2&pin-value=1234", "the PIN is wrong"),
        ("module-name=softhsm2&pin-source=/etc/passwd", "there is no PIN"),
        ("module-name=softhsm2", "there is no PIN"),
        ("%", "the URI"),
    ] {
        let file = format!("pkcs11: {{uri: 'pkcs11:token=node;object=images?{query}'}}");
        let payload = payload.clone().parameter("pkcs11-yamls", Some(file.as_bytes()));
        let log = node.outside().join("log");
        let decoder = node.without_payload(&sealed)?.payload(payload.bytes());
        let decoder = decoder.env("SOFTHSM2_CONF", token.path("conf")).arg("--log").arg(&log);
        let outcome = allowed(&token, decoder).run()?;
        says(&outcome, &["pkcs11-yamls[0]", "the reason is in the log only", "client-modules"])?;
        let noted = fs::read_to_string(&log)?;
        ensure!(noted.contains(reason), "`{query}`: nothing of `{reason}` in the log: {noted}");
        fs::remove_file(&log)?;
        // What the client's own file says is no secret of the node.
        let dropped = "; of such a file, Keycell does not use `pin-source`";
        let is_told = outcome.stderr.contains(dropped);
        ensure!(is_told == query.contains("pin-source"), "`{query}`: {}", outcome.stderr);
        answers.push((query, outcome.stderr.replace(dropped, "")));
    }
    let first = &answers[0].1;
    for (query, answer) in &answers {
        ensure!(answer == first, "`{query}`: {answer}\nbut also: {first}");
    }
    Ok(())
}

fn made() -> Result<(Node, Token, Sealed)> {
    Ok((Node::without_key()?, Token::new()?, Sealed::of_length(100_000)))
}

fn opens(token: &Token, node: &Node, sealed: &Sealed) -> Result<()> {
    let decoder = node.without_payload(sealed)?.payload(token.payload(sealed)?.bytes());
    allowed(token, decoder).run()?.is_silent_success(&sealed.plain)
}

/// Where modules are allowed, the broker reads the directory: JWE keys in it work as ever, with
/// passwords, links and sub-directories.
fn beside_other_keys() -> Result<()> {
    let (_, token, sealed) = made()?;
    let node = Node::without_key()?;
    node.add("token.yaml", token.key_file(PIN))?;
    node.add("..2026_11_24/pod.pem", node.recipient.private_pem())?;
    std::os::unix::fs::symlink("..2026_11_24", node.keys().join("..data"))?;
    std::os::unix::fs::symlink("..data/pod.pem", node.keys().join("pod.pem"))?;
    allowed(&token, node.decoder(&sealed)?).run()?.is_silent_success(&sealed.plain)?;

    let node = Node::without_key()?;
    let plain = node.outside().join("plain.pem");
    fs::write(&plain, node.recipient.private_pem())?;
    fs::create_dir(node.keys().join("below"))?;
    let args = ["pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:open sesame", "-in"];
    let encrypted =
        Tool::Openssl.run(args.iter().map(|arg| arg.as_ref()).chain([plain.as_os_str()]))?;
    node.add("below/key.pem", encrypted)?;
    node.add("below/key.pem.pass", "open sesame\n")?;
    allowed(&token, node.decoder(&sealed)?).run()?.is_silent_success(&sealed.plain)?;
    // What leads out of the directory is not followed.
    let node = Node::without_key()?;
    let outside = node.outside().join("key.pem");
    fs::write(&outside, node.recipient.private_pem())?;
    std::os::unix::fs::symlink("../key.pem", node.keys().join("key.pem"))?;
    let outcome = allowed(&token, node.decoder(&sealed)?).stdin_stays_open().run()?;
    says(&outcome, &["no private key"])
}

fn allowed(token: &Token, decoder: Decoder) -> Decoder {
    decoder.env("OCICRYPT_CONFIG", token.policy())
}

/// A token with an RSA-2048 key that openssl made.
struct Token {
    dir: tempfile::TempDir,
}

impl Token {
    fn new() -> Result<Self> {
        let dir = tempfile::TempDir::with_prefix("keycell-token-")?;
        let token = Self { dir };
        fs::create_dir(token.path("tokens"))?;
        let tokens = token.path("tokens");
        fs::write(token.path("conf"), format!("directories.tokendir = {}\n", tokens.display()))?;
        let (key, public) = (token.path("key.pem"), token.path("public.pem"));
        let (key, public) = (key.to_string_lossy(), public.to_string_lossy());
        let bits = "rsa_keygen_bits:2048";
        Tool::Openssl.run(["genpkey", "-algorithm", "RSA", "-pkeyopt", bits, "-out", &key])?;
        Tool::Openssl.run(["pkey", "-in", &key, "-pubout", "-out", &public])?;
        token.util(&["--init-token", "--free", "--label", "node"])?;
        token.util(&["--import", &key, "--token", "node", "--label", "images", "--id", "01"])?;
        let policy = "pkcs11:\n  module-directories: [/usr/lib/softhsm/]\n  \
                      allowed-module-paths: [/usr/lib/softhsm/]\n";
        fs::write(token.policy(), policy)?;
        Ok(token)
    }

    /// Has the policy name the modules that clients may use.
    fn allows_clients(&self, modules: &[&str]) -> Result<()> {
        let policy = fs::read_to_string(self.policy())?;
        let modules = modules.join(", ");
        fs::write(self.policy(), format!("{policy}  client-modules: [{modules}]\n"))?;
        Ok(())
    }

    fn util(&self, args: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new(Tool::SoftHsm.find()?);
        command.env("SOFTHSM2_CONF", self.path("conf")).args(args);
        output(command.args(["--pin", PIN, "--so-pin", PIN]))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn policy(&self) -> PathBuf {
        self.path("ocicrypt.conf")
    }

    /// What an operator writes.
    fn key_file(&self, pin: &str) -> String {
        let conf = self.path("conf");
        format!(
            "pkcs11:\n  uri: pkcs11:token=node;object=images?pin-value={pin}&module-path={MODULE}\n\
             module:\n  env:\n    SOFTHSM2_CONF: {}\n",
            conf.display()
        )
    }

    /// The same, as a client would send it.
    fn given_key_file(&self) -> String {
        self.key_file(PIN).replace(&format!("module-path={MODULE}"), "module-name=softhsm2")
    }

    /// The private options, wrapped by openssl.
    fn payload(&self, sealed: &Sealed) -> Result<Payload> {
        let (options, blob) = (self.path("options"), self.path("blob"));
        fs::write(&options, sealed.private.to_string())?;
        let mut command = Command::new(Tool::Openssl.find()?);
        command.args(["pkeyutl", "-encrypt", "-pubin", "-inkey"]).arg(self.path("public.pem"));
        command.arg("-in").arg(&options).arg("-out").arg(&blob);
        for option in ["rsa_padding_mode:oaep", "rsa_oaep_md:sha1", "rsa_mgf1_md:sha1"] {
            command.args(["-pkeyopt", option]);
        }
        output(&mut command)?;
        let blob = Base64::encode_string(&fs::read(&blob)?);
        let recipients = json!([{ "version": 0, "blob": blob, "hash": "sha1" }]);
        let wrapped = json!({ "version": 0, "recipients": recipients }).to_string();
        let mut descriptor = sealed.descriptor::<&[u8]>(&[]);
        descriptor.annotations.remove(JWE_KEYS);
        let wrapped = Base64::encode_string(wrapped.as_bytes());
        descriptor.annotations.insert(PKCS11_KEYS.to_owned(), wrapped);
        Ok(Payload::new(&descriptor))
    }
}
