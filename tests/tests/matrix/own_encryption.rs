//! What the crate `ocicrypt` encrypts, in all three schemes.

use std::ffi::OsStr;
use std::fs;
use std::time::SystemTime;

use anyhow::{Result, ensure};
use getrandom::SysRng;
use keycell_tests::gpg::Gpg;
use keycell_tests::image::{Descriptor, LayerKind};
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::node::Node;
use keycell_tests::payload::Payload;
use keycell_tests::sealed::Sealed;
use keycell_tests::tools::Tool;
use ocicrypt::encrypt::{self, Pkcs7Form, Recipient};
use ocicrypt::layer::Encryptor;
use tempfile::TempDir;

use crate::Cases;

/// More than the decoder holds back.
const LAYER: usize = 100_000;

pub fn add(cases: &mut Cases) {
    let mut case =
        |name: String, tools: &[Tool], ours: fn(&str) -> Result<Ours>, kind: &'static str| {
            cases.case(format!("ours/{name}/{kind}"), tools, move |_| ours(kind)?.opens());
        };
    for kind in ["rsa2048", "rsa3072", "rsa4096"] {
        case("jwe".into(), &[Tool::Openssl], jwe, kind);
        case("pkcs7".into(), &[Tool::Openssl], pkcs7, kind);
        case("pkcs7-auth-enveloped".into(), &[Tool::Openssl], auth_enveloped, kind);
        case("pgp".into(), &[Tool::Gpg], pgp, kind);
    }
    for kind in ["p256", "p384", "p521"] {
        case("jwe".into(), &[Tool::Openssl], jwe, kind);
    }
    for kind in ["cv25519", "nistp256", "nistp384", "nistp521"] {
        case("pgp".into(), &[Tool::Gpg], pgp, kind);
    }
    cases.case("ours/several-schemes", &[Tool::Openssl, Tool::Gpg], |_| {
        let all = [jwe("p384")?, pkcs7("rsa2048")?, pgp("cv25519")?];
        let recipients: Vec<_> = all.iter().flat_map(|one| one.recipients.clone()).collect();
        all.into_iter().try_for_each(|one| Ours { recipients: recipients.clone(), ..one }.opens())
    });
}

fn key_kind(name: &str) -> KeyKind {
    match name {
        "p256" => KeyKind::P256,
        "p384" => KeyKind::P384,
        "p521" => KeyKind::P521,
        rsa => KeyKind::Rsa(rsa.trim_start_matches("rsa").parse().expect("a number of bits")),
    }
}

/// Whom to encrypt for, and the files that open what was encrypted.
struct Ours {
    recipients: Vec<Recipient>,
    files: Vec<(String, Vec<u8>)>,
}

impl Ours {
    fn opens(&self) -> Result<()> {
        let plain = Sealed::of_length(LAYER).plain;
        let mut encrypted = plain.clone();
        let mut encryptor = Encryptor::new(&mut SysRng)?;
        encryptor.update(&mut encrypted);
        let key = encryptor.finish();
        ensure!(encrypted != plain, "not encrypted");
        let annotations = encrypt::annotations(&key, &self.recipients, &mut SysRng)?;
        let media_type = format!("{}+encrypted", LayerKind::Tar.media_type());
        let (digest, size) = (key.digest().unwrap_or_default(), encrypted.len() as u64);
        let payload = Payload::new(&Descriptor { media_type, digest, size, annotations });
        // Only `encrypted` and `plain` matter to the node.
        let sealed = Sealed { encrypted, ..Sealed::new(plain) };
        let node = Node::without_key()?;
        for (name, bytes) in &self.files {
            node.add(name, bytes)?;
        }
        node.opens_with(&sealed, &payload)
    }
}

fn jwe(kind: &str) -> Result<Ours> {
    let dir = TempDir::new()?;
    let key = KeyPair::generate(dir.path(), "key", key_kind(kind))?;
    Ok(Ours {
        recipients: vec![Recipient::jwe(&fs::read(key.public())?)?],
        files: vec![("node.pem".into(), key.private(KeyForm::Pkcs8Pem)?)],
    })
}

fn pkcs7(kind: &str) -> Result<Ours> {
    let dir = TempDir::new()?;
    let key = KeyPair::generate(dir.path(), "key", key_kind(kind))?;
    let command = ["req", "-x509", "-days", "36500", "-subj", "/CN=node", "-key"];
    let private = dir.path().join("key.pem");
    let certificate =
        Tool::Openssl.run(command.map(OsStr::new).into_iter().chain([private.as_os_str()]))?;
    Ok(Ours {
        recipients: vec![Recipient::pkcs7(&certificate)?],
        files: vec![
            ("node.cert.pem".into(), certificate),
            ("node.pem".into(), key.private(KeyForm::Pkcs8Pem)?),
        ],
    })
}

fn auth_enveloped(kind: &str) -> Result<Ours> {
    let Ours { recipients, files } = pkcs7(kind)?;
    let recipients = recipients.into_iter();
    let recipients = recipients.map(|one| one.with_pkcs7_form(Pkcs7Form::AuthEnveloped)).collect();
    Ok(Ours { recipients, files })
}

fn pgp(subkey: &str) -> Result<Ours> {
    let (gpg, address) = (Gpg::new()?, "node@example.org");
    gpg.generate(address, "rsa2048", subkey)?;
    Ok(Ours {
        recipients: Recipient::pgp(&gpg.public(address)?, &address.parse()?, SystemTime::now())?,
        files: vec![("node.gpg".into(), gpg.secret(address)?)],
    })
}
