//! `cmd-wrapped DIR`: writes the payloads, the layer and the keys of `tests/cmd/fixtures/wrapped`:
//! one layer whose key openssl and gpg have wrapped, in good order and not.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use keycell_tests::gpg::{Gpg, Source};
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::sealed::{PGP_KEYS, PKCS7_KEYS, Sealed};
use keycell_tests::tools::Tool;
use tempfile::TempDir;

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).context("usage: cmd-wrapped DIR")?;
    let fixtures = Fixtures {
        dir: dir.into(),
        made: TempDir::new()?,
        sealed: Sealed::new(b"the plain layer\n".to_vec()),
    };
    fixtures.write("layer", &fixtures.sealed.encrypted)?;
    fs::write(fixtures.made.path().join("options"), fixtures.sealed.private.to_string())?;
    fixtures.pkcs7()?;
    fixtures.pgp()
}

struct Fixtures {
    dir: PathBuf,
    made: TempDir,
    sealed: Sealed,
}

impl Fixtures {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        Ok(fs::write(path, bytes)?)
    }

    fn payload(&self, name: &str, scheme: &str, item: &[u8]) -> Result<()> {
        let payload = self.sealed.payload_with(scheme, &[item]);
        self.write(&format!("payloads/{name}"), &payload.bytes())
    }

    fn pkcs7(&self) -> Result<()> {
        let generate = |name: &str, kind| -> Result<_> {
            let key = KeyPair::generate(self.made.path(), name, kind)?;
            let certificate = key.certify(&format!("/CN={name}"), &[])?;
            Ok((key, certificate))
        };
        for name in ["node", "other"] {
            let (key, certificate) = generate(name, KeyKind::Rsa(2048))?;
            let dir = if name == "node" { "rsa" } else { "other-rsa" };
            self.write(&format!("{dir}/{name}.pem"), &key.private(KeyForm::Pkcs8Pem)?)?;
            self.write(&format!("{dir}/{name}.crt"), &fs::read(certificate)?)?;
        }
        generate("agreeing", KeyKind::P256)?;
        let good = self.cms(&["-encrypt", "-aes-256-gcm"], "node")?;
        let mut altered = good.clone();
        // The last byte is one of the authentication tag.
        *altered.last_mut().context("a message has bytes")? ^= 1;
        let signer = self.made.path().join("node.crt.pem").display().to_string();
        let key = self.made.path().join("node.pem").display().to_string();
        for (name, message) in [
            ("pkcs7-altered", altered),
            ("pkcs7-cut-off", good[..good.len() / 2].to_vec()),
            ("pkcs7-other-cipher", self.cms(&["-encrypt", "-camellia-128-cbc"], "node")?),
            ("pkcs7-key-agreement", self.cms(&["-encrypt", "-aes-256-cbc"], "agreeing")?),
            ("pkcs7-signed", self.cms(&["-sign", "-signer", &signer, "-inkey", &key], "")?),
            ("pkcs7", good),
        ] {
            self.payload(name, PKCS7_KEYS, &message)?;
        }
        Ok(())
    }

    /// `openssl cms` of the private options, for this recipient if there is one.
    fn cms(&self, args: &[&str], recipient: &str) -> Result<Vec<u8>> {
        let options = self.made.path().join("options");
        let fixed = ["cms", "-binary", "-nodetach", "-outform", "DER", "-in"];
        let mut words: Vec<_> = fixed.iter().map(OsStr::new).collect();
        words.push(options.as_os_str());
        words.extend(args.iter().map(OsStr::new));
        let certificate = self.made.path().join(format!("{recipient}.crt.pem"));
        if !recipient.is_empty() {
            words.extend(["-recip".as_ref(), certificate.as_os_str()]);
        }
        Tool::Openssl.run(words)
    }

    fn pgp(&self) -> Result<()> {
        let gpg = Gpg::new()?;
        for user in ["node", "other"] {
            gpg.generate(user, "ed25519", "cv25519")?;
        }
        self.write("pgp/node.gpg", &gpg.secret("node")?)?;
        self.write("other-pgp/other.gpg", &gpg.secret("other")?)?;
        let locked = Gpg::new()?;
        locked.generate_all(
            "Key-Type: EDDSA\nKey-Curve: ed25519\nSubkey-Type: ECDH\nSubkey-Curve: cv25519\n\
             Name-Real: locked\nPassphrase: secret\nExpire-Date: 0\n",
        )?;
        let ring = locked.run(&["--passphrase", "secret", "--export-secret-keys", "locked"])?;
        self.write("locked-pgp/locked.gpg", &ring)?;
        self.write("wrong-password/locked.gpg", &ring)?;
        self.write("wrong-password/locked.gpg.pass", b"guess\n")?;

        let options = self.made.path().join("options");
        let encrypt = |gpg: &Gpg, args: &[&str]| gpg.encrypt(args, Source::File(&options));
        let good = encrypt(&gpg, &["-r", "node"])?;
        let mut altered = good.clone();
        *altered.last_mut().context("a message has bytes")? ^= 1;
        let path = options.display().to_string();
        for (name, message) in [
            ("pgp-altered", altered),
            ("pgp-cut-off", good[..good.len() / 2].to_vec()),
            ("pgp-hidden", encrypt(&gpg, &["--throw-keyids", "-r", "node"])?),
            ("pgp-locked", encrypt(&locked, &["-r", "locked"])?),
            ("pgp-other-cipher", encrypt(&gpg, &["--cipher-algo", "TWOFISH", "-r", "node"])?),
            ("pgp-not-encrypted", gpg.run(&["--output", "-", "--store", &path])?),
            ("pgp", good),
        ] {
            self.payload(name, PGP_KEYS, &message)?;
        }
        Ok(())
    }
}
