//! What is left of keys in a decoder's memory. All of its memory is read, by root, and every form
//! is looked for in which a key can be found: lines of PEM, DER, numbers byte for byte and as limbs,
//! content keys.
//!
//! Each case first looks while the keys must be there, or it would prove nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use base64ct::{Base64, Encoding};
use keycell_tests::jwe::{Jwe, Recipient, url};
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::payload::Payload;
use keycell_tests::running::Running;
use keycell_tests::sealed::{Sealed, random};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use keycell_tests::tracing::{LastMoment, Secrets};
use serde_json::json;
use tempfile::TempDir;

pub(crate) fn cases(suite: &mut Suite) {
    for from in [From::Directory, From::File, From::Payload] {
        suite.case(format!("memory/keys-of-a-{from:?}").to_lowercase(), &TOOLS, move || {
            let opened = Opened::new(from)?;
            let mut running = opened.start(from)?;
            let before = opened.secrets.found_in(running.pid())?;
            for form in opened.must_be_seen {
                let seen = before.iter().any(|found| found.starts_with(form));
                ensure!(seen, "not even while it unwraps is there a {form}: {before:?}");
            }
            running.go_on()?;
            let after = opened.secrets.found_in(running.pid())?;
            ensure!(after.is_empty(), "while the layer flows there is: {after:?}");
            running.finish()
        });
    }
    suite.case("memory/layer-key-at-the-end", &TOOLS, || {
        let opened = Opened::new(From::Directory)?;
        let mut running = opened.start(From::Directory)?;
        running.go_on()?;
        let while_it_flows = opened.layer_key.found_in(running.pid())?;
        let seen = while_it_flows.iter().any(|found| found.starts_with("layer key"));
        ensure!(seen, "not even while the layer flows is there a layer key");
        let last = LastMoment::of(running.pid())?;
        running.feed()?;
        last.wait()?;
        let at_the_end = opened.layer_key.found_in(running.pid())?;
        last.let_go()?;
        running.came_out()?;
        let ended = running.child.wait()?;
        ensure!(ended.success(), "{ended}: {}", running.said());
        ensure!(at_the_end.is_empty(), "at the end there is: {at_the_end:?}");
        Ok(())
    });
}

const TOOLS: [Tool; 2] = [Tool::Root, Tool::Openssl];

/// How the decoder comes by its private keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Directory,
    File,
    Payload,
}

/// A layer, keys that do not open it but are used, and all that could be found of them.
struct Opened {
    dir: TempDir,
    sealed: Sealed,
    payload: Payload,
    rsa: KeyPair,
    secrets: Secrets,
    layer_key: Secrets,
    must_be_seen: &'static [&'static str],
}

impl Opened {
    fn new(from: From) -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-memory-")?;
        let sealed = Sealed::of_length(1 << 20);
        let rsa = KeyPair::generate(dir.path(), "rsa", KeyKind::Rsa(2048))?;
        let curve = Recipient::generate();

        let mut secrets = Secrets::default();
        let pem = String::from_utf8(rsa.private(KeyForm::Pkcs8Pem)?)?;
        secrets.add_lines("RSA PEM", &pem);
        let der = rsa.private(KeyForm::Pkcs1Der)?;
        let numbers = integers(&der)?;
        let names = ["exponent", "prime 1", "prime 2", "exponent 1", "exponent 2", "coefficient"];
        // The first three are the version and the public key.
        for (name, number) in names.iter().zip(&numbers[3..]) {
            secrets.add_number(&format!("RSA {name}"), number);
        }
        let private_options = sealed.private.to_string();
        let symkey = sealed.private["symkey"].as_str().context("no key")?;
        secrets.add("private options", private_options.as_bytes());
        secrets.add("layer key in base64", symkey.as_bytes());

        // One key wrapped with RSA, one with a curve: both open, and then the content is no good, so
        // that the provider is asked next.
        let (item, content_key) = wrapped_with_rsa(dir.path(), &rsa)?;
        secrets.add("RSA content key", &content_key);
        let mut jwe = sealed.wrapped_for(&curve);
        secrets.add("P-256 content key", &jwe.content_key);
        secrets.add_lines("P-256 PEM", &curve.private_pem());
        jwe.tag[0] ^= 1;
        let payload = sealed.payload(&[item, jwe.flattened().to_string()]);

        let mut layer_key = Secrets::default();
        let raw = Base64::decode_vec(symkey).map_err(|error| anyhow!("{error}"))?;
        layer_key.add("layer key", &raw);
        layer_key.add("layer key in base64", symkey.as_bytes());
        layer_key.add("private options", private_options.as_bytes());
        // The first words of AES-256's key schedule are the key, so `raw` is that too.
        layer_key.add("layer key, second half", &raw[16..]);

        let keys = dir.path().join("keys");
        fs::create_dir(&keys)?;
        rsa.install(KeyForm::Pkcs8Pem, &keys)?;
        fs::write(keys.join("curve.pem"), curve.private_pem())?;
        let payload = match from {
            From::Payload => {
                payload.private_key(pem.as_bytes()).private_key(curve.private_pem().as_bytes())
            }
            _ => payload,
        };
        let must_be_seen: &[&str] = match from {
            From::File => &["RSA PEM", "RSA prime 1"],
            _ => &["RSA PEM", "RSA prime 1", "P-256 PEM"],
        };
        Ok(Self { dir, sealed, payload, rsa, secrets, layer_key, must_be_seen })
    }

    fn start(&self, from: From) -> Result<Running> {
        let decoder = keycell_tests::dist("ctd-decoder")?;
        let keys = match from {
            From::Directory => Some(self.dir.path().join("keys")),
            From::File => Some(self.rsa.install(KeyForm::Pkcs8Pem, self.dir.path())?),
            From::Payload => None,
        };
        let flag = PathBuf::from("--decryption-keys-path");
        let mut program = vec![decoder.as_path()];
        program.extend(keys.iter().flat_map(|keys| [flag.as_path(), keys]));
        Running::start(&program, &[], &self.sealed, self.payload.clone())
    }
}

/// A wrapped key that RSA-OAEP opens (by openssl), with content that is nothing.
fn wrapped_with_rsa(dir: &Path, rsa: &KeyPair) -> Result<(String, [u8; 32])> {
    let content_key: [u8; 32] = random();
    let (plain, wrapped) = (dir.join("content-key"), dir.join("wrapped-key"));
    fs::write(&plain, content_key)?;
    let (public, oaep) = (rsa.public(), "rsa_padding_mode:oaep");
    Tool::Openssl.run([
        "pkeyutl".as_ref(),
        "-encrypt".as_ref(),
        "-pubin".as_ref(),
        "-inkey".as_ref(),
        public.as_os_str(),
        "-pkeyopt".as_ref(),
        oaep.as_ref(),
        "-in".as_ref(),
        plain.as_os_str(),
        "-out".as_ref(),
        wrapped.as_os_str(),
    ])?;
    let jwe = Jwe {
        protected: url(json!({ "alg": "RSA-OAEP", "enc": "A256GCM" }).to_string().as_bytes()),
        encrypted_key: fs::read(&wrapped)?,
        iv: vec![0; 12],
        ciphertext: vec![0; 100],
        tag: vec![0; 16],
        content_key,
    };
    fs::remove_file(plain)?;
    Ok((jwe.flattened().to_string(), content_key))
}

/// The numbers of a PKCS#1 key in DER (RFC 8017, appendix A.1.2).
fn integers(der: &[u8]) -> Result<Vec<Vec<u8>>> {
    let (mut rest, tag) = (value(der)?.0, 2);
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        ensure!(rest[0] == tag, "not a number");
        let (number, after) = value(rest)?;
        let zeroes = number.iter().take_while(|byte| **byte == 0).count();
        numbers.push(number[zeroes..].to_vec());
        rest = after;
    }
    ensure!(numbers.len() == 9, "{} numbers", numbers.len());
    Ok(numbers)
}

/// The content of the first element of DER, and what comes after it.
fn value(der: &[u8]) -> Result<(&[u8], &[u8])> {
    let [_, first, rest @ ..] = der else { return Err(anyhow!("cut off")) };
    let bytes = if *first < 0x80 { 0 } else { usize::from(first & 0x7f) };
    let (length, rest) = rest.split_at_checked(bytes).context("cut off")?;
    let length = match bytes {
        0 => usize::from(*first),
        _ => length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
    };
    rest.split_at_checked(length).context("cut off")
}
