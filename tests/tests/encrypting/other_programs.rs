//! Wrapped keys, each opened by a program that has nothing to do with containers: its output
//! must be the private options of the layer.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use base64ct::Encoding;
use keycell_tests::gpg::Gpg;
use keycell_tests::keys::{KeyKind, KeyPair};
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use ocicrypt::encrypt::{Pkcs7Form, Pkcs11Hash, Recipient, private_options};
use serde_json::Value;
use tempfile::TempDir;

use crate::{certificate, encrypt, jwe, pkcs7, private, wrapped};

pub fn add(suite: &mut Suite) {
    by_jwcrypto(suite);
    by_openssl(suite);
    by_gpg(suite);
}

fn by_jwcrypto(suite: &mut Suite) {
    let jwcrypto = [Tool::Openssl, Tool::Jwcrypto];
    for kind in KeyKind::ALL {
        suite.case(format!("jwcrypto/{kind}"), &jwcrypto, move || {
            let keys = Keys::new(&[kind])?;
            keys.read(&[jwe(&keys.pairs[0])?], 0, "jwe", jwcrypto_opens)
        });
    }
    for (kind, alg) in [
        (KeyKind::Rsa(2048), "RSA-OAEP"),
        (KeyKind::Rsa(2048), "RSA-OAEP-256"),
        (KeyKind::P256, "ECDH-ES+A128KW"),
        (KeyKind::P384, "ECDH-ES+A192KW"),
        (KeyKind::P521, "ECDH-ES+A256KW"),
    ] {
        suite.case(format!("jwcrypto/jwk/{kind}/{alg}"), &jwcrypto, move || {
            let keys = Keys::new(&[kind])?;
            let jwk = python(JWK, [keys.pairs[0].public().as_os_str(), alg.as_ref()])?;
            keys.read(&[Recipient::jwe(&jwk)?], 0, "jwe", |message, key| {
                let text = String::from_utf8(message.to_vec())?;
                let message: Value = serde_json::from_str(&text)?;
                let header = message["protected"].as_str().context("no header")?;
                let header = base64ct::Base64UrlUnpadded::decode_vec(header)?;
                let header: Value = serde_json::from_slice(&header)?;
                ensure!(header["alg"] == alg && header["kid"] == "of a test", "{header}");
                jwcrypto_opens(text.as_bytes(), key)
            })
        });
    }
    let kinds = [KeyKind::Rsa(4096), KeyKind::P256, KeyKind::P521];
    for which in 0..kinds.len() {
        suite.case(format!("jwcrypto/three-recipients/{which}"), &jwcrypto, move || {
            let keys = Keys::new(&kinds)?;
            let recipients = keys.pairs.iter().map(jwe).collect::<Result<Vec<_>>>()?;
            keys.read(&recipients, which, "jwe", jwcrypto_opens)
        });
    }
}

fn by_openssl(suite: &mut Suite) {
    for bits in [2048, 3072, 4096] {
        suite.case(format!("openssl-cms/rsa{bits}"), &[Tool::Openssl], move || {
            let keys = Keys::new(&[KeyKind::Rsa(bits)])?;
            keys.read(&[standard(&keys.pairs[0])?], 0, "pkcs7", cms_opens)
        });
    }
    for which in 0..3 {
        suite.case(format!("openssl-cms/three-recipients/{which}"), &[Tool::Openssl], move || {
            let keys = Keys::new(&[2048, 4096, 3072].map(KeyKind::Rsa))?;
            let recipients = keys.pairs.iter().map(standard).collect::<Result<Vec<_>>>()?;
            keys.read(&recipients, which, "pkcs7", cms_opens)
        });
    }

    for (bits, hash, name) in [
        (2048, Pkcs11Hash::Sha1, "sha1"),
        (3072, Pkcs11Hash::Sha256, "sha256"),
        (4096, Pkcs11Hash::Sha256, "sha256"),
    ] {
        suite.case(format!("openssl-oaep/rsa{bits}/{name}"), &[Tool::Openssl], move || {
            let keys = Keys::new(&[KeyKind::Rsa(bits), KeyKind::Rsa(bits)])?;
            let recipient = |pair: &KeyPair| -> Result<Recipient> {
                Ok(Recipient::pkcs11(&fs::read(pair.public())?, hash)?)
            };
            let recipients = keys.pairs.iter().map(recipient).collect::<Result<Vec<_>>>()?;
            for which in 0..2 {
                let opens = |message: &[u8], key: &KeyPair| oaep_opens(message, which, name, key);
                keys.read(&recipients, which, "pkcs11", opens)?;
            }
            Ok(())
        });
    }
}

fn by_gpg(suite: &mut Suite) {
    for (primary, subkey) in [
        ("rsa2048", "rsa2048"),
        ("rsa4096", "rsa4096"),
        ("ed25519", "cv25519"),
        ("nistp256", "nistp256"),
        ("nistp384", "nistp384"),
        ("nistp521", "nistp521"),
    ] {
        suite.case(format!("gpg/{primary}-{subkey}"), &[Tool::Gpg], move || gpg(primary, subkey));
    }
    suite.case("gpg/two-recipients", &[Tool::Gpg], gpg_two);
}

/// A recipient by CMS in the form of the standard: openssl does not read that of Go.
fn standard(key: &KeyPair) -> Result<Recipient> {
    Ok(pkcs7(key)?.with_pkcs7_form(Pkcs7Form::AuthEnveloped))
}

/// Keys in a directory of their own.
struct Keys {
    pairs: Vec<KeyPair>,
    _dir: TempDir,
}

impl Keys {
    fn new(kinds: &[KeyKind]) -> Result<Self> {
        let dir = TempDir::new()?;
        let make = |(index, kind): (usize, &KeyKind)| {
            KeyPair::generate(dir.path(), &format!("key-{index}"), *kind)
        };
        let pairs = kinds.iter().enumerate().map(make).collect::<Result<_>>()?;
        Ok(Self { pairs, _dir: dir })
    }

    /// Encrypts a layer for `recipients`, and checks what the program behind `opens` makes of the
    /// wrapped key with the private key number `which`.
    fn read(
        &self,
        recipients: &[Recipient],
        which: usize,
        scheme: &str,
        opens: impl Fn(&[u8], &KeyPair) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let (key, annotations) = encrypt(&mut b"a layer".to_vec(), recipients)?;
        let opened = opens(&wrapped(&annotations, scheme)?, &self.pairs[which])?;
        ensure!(opened == *private_options(&key), "something else came out");
        Ok(())
    }
}

/// Prints the content of the JWE in one file, with the private key in the other.
const OPEN_JWE: &str = "
import sys
from jwcrypto import jwe, jwk
message = jwe.JWE()
message.deserialize(open(sys.argv[1]).read(), jwk.JWK.from_pem(open(sys.argv[2], 'rb').read()))
sys.stdout.buffer.write(message.payload)
";

/// Prints a public key as a JSON Web Key with an algorithm and a name.
const JWK: &str = "
import json, sys
from jwcrypto import jwk
key = jwk.JWK.from_pem(open(sys.argv[1], 'rb').read()).export_public(as_dict=True)
print(json.dumps(key | {'alg': sys.argv[2], 'kid': 'of a test'}))
";

fn python<'a>(script: &'a str, args: impl IntoIterator<Item = &'a OsStr>) -> Result<Vec<u8>> {
    Tool::Jwcrypto.run(["-c".as_ref(), script.as_ref()].into_iter().chain(args))
}

fn jwcrypto_opens(message: &[u8], key: &KeyPair) -> Result<Vec<u8>> {
    let file = key.public().with_extension("jwe");
    fs::write(&file, message)?;
    python(OPEN_JWE, [file.as_os_str(), private(key)?.as_os_str()])
}

fn cms_opens(message: &[u8], key: &KeyPair) -> Result<Vec<u8>> {
    let file = key.public().with_extension("cms");
    fs::write(&file, message)?;
    openssl(
        &["cms", "-decrypt", "-binary", "-inform", "DER", "-in"],
        &[&file, Path::new("-inkey"), &private(key)?, Path::new("-recip"), &certificate(key)?],
    )
}

/// Opens recipient number `which` of the JSON that the format puts around RSAES-OAEP.
fn oaep_opens(message: &[u8], which: usize, hash: &str, key: &KeyPair) -> Result<Vec<u8>> {
    let message: Value = serde_json::from_slice(message)?;
    ensure!(message["version"] == 0, "{message}");
    let recipient = &message["recipients"][which];
    ensure!(recipient["version"] == 0 && recipient["hash"] == hash, "{recipient}");
    let blob = recipient["blob"].as_str().context("no blob")?;
    let file = key.public().with_extension("oaep");
    fs::write(&file, base64ct::Base64::decode_vec(blob)?)?;
    let options = format!("rsa_oaep_md:{hash}");
    let mask = format!("rsa_mgf1_md:{hash}");
    openssl(
        &["pkeyutl", "-decrypt", "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", &options]
            .iter()
            .copied()
            .chain(["-pkeyopt", &mask, "-in"])
            .collect::<Vec<_>>(),
        &[&file, Path::new("-inkey"), &private(key)?],
    )
}

fn openssl(options: &[&str], rest: &[&Path]) -> Result<Vec<u8>> {
    let rest = rest.iter().map(|path| path.as_os_str());
    Tool::Openssl.run(options.iter().map(OsStr::new).chain(rest))
}

/// One user, found by each of the ways there are.
fn gpg(primary: &str, subkey: &str) -> Result<()> {
    let gpg = Gpg::new()?;
    let fingerprint = gpg.generate("Alice (of tests) <alice@example.org>", primary, subkey)?;
    let ring = gpg.public("alice@example.org")?;
    let armored = gpg.run(&["--armor", "--export", "alice@example.org"])?;
    for (ring, whom) in [
        (&ring, "alice@example.org"),
        (&ring, "Alice"),
        (&ring, fingerprint.as_str()),
        (&armored, &fingerprint[24..]),
    ] {
        let recipients = Recipient::pgp(ring, &whom.parse()?, SystemTime::now())
            .with_context(|| format!("as {whom}"))?;
        gpg_opens(&gpg, &recipients).with_context(|| format!("as {whom}"))?;
    }
    let nobody = Recipient::pgp(&ring, &"bob@example.org".parse()?, SystemTime::now());
    ensure!(nobody.is_err());
    Ok(())
}

fn gpg_two() -> Result<()> {
    let users = [("alice@example.org", "rsa2048"), ("bob@example.org", "nistp256")];
    let homes = [Gpg::new()?, Gpg::new()?];
    let mut recipients = Vec::new();
    for (gpg, (address, kind)) in homes.iter().zip(users) {
        gpg.generate(address, kind, kind)?;
        let ring = gpg.public(address)?;
        recipients.extend(Recipient::pgp(&ring, &address.parse()?, SystemTime::now())?);
    }
    homes.iter().try_for_each(|gpg| gpg_opens(gpg, &recipients))
}

/// Whether gpg, which warns of all that is unusual, reads it without a word.
fn gpg_opens(gpg: &Gpg, recipients: &[Recipient]) -> Result<()> {
    let (key, annotations) = encrypt(&mut [7; 100], recipients)?;
    let file = gpg.home().join("message");
    fs::write(&file, wrapped(&annotations, "pgp")?)?;
    let file = file.to_str().context("a path that is not UTF-8")?;
    ensure!(gpg.run(&["--decrypt", file])? == *private_options(&key), "something else came out");
    let mut listing = Command::new(Tool::Gpg.find()?);
    let listing = listing.args(["--batch", "--list-packets", file]).env("GNUPGHOME", gpg.home());
    let listing = String::from_utf8_lossy(&output(listing)?).into_owned();
    ensure!(listing.contains("mdc_method: 2"), "{listing}");
    Ok(())
}
