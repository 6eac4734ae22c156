//! What of a keys directory is handed to the guest, where a file may hold a PIN.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use keycell_broker::key_files::Sorted;
use keycell_broker_protocol::Found;

use crate::setup::{PIN, Suite};

const PEM: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIA==\n-----END PRIVATE KEY-----\n";

/// A key file that can be read.
fn token() -> String {
    format!(
        "pkcs11:\n  uri: pkcs11:token=node;object=images?module-name=softhsm2&pin-value={PIN}\n"
    )
}

/// What became of each file of a directory: its bytes for the guest, or why it gets none.
fn sorted(files: &[(&str, Vec<u8>)]) -> Result<BTreeMap<String, Result<Vec<u8>, String>>> {
    let dir = tempfile::tempdir()?;
    for (name, content) in files {
        fs::write(dir.path().join(name), content)?;
    }
    let found = Sorted::read(dir.path())?.found.into_iter().filter_map(|found| match found {
        Found::File { name, content } => Some((name, Ok(content.to_vec()))),
        Found::Skipped { name, reason } => Some((name, Err(reason))),
        Found::Token(_) => None,
    });
    Ok(found.collect())
}

/// Asserts that a file is withheld, and that its reason has `expected` and no PIN in it.
fn is_withheld(name: &str, content: Vec<u8>, expected: &str) -> Result<()> {
    let found = sorted(&[(name, content)])?;
    let Some(Err(why)) = found.get(name) else { anyhow::bail!("`{name}`: {found:?}") };
    ensure!(why.contains(expected), "`{name}`: {why}");
    ensure!(!why.contains(PIN) && !why.contains("Pin"), "`{name}`: {why}");
    Ok(())
}

fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(order).collect()
}

pub(crate) fn cases(suite: &mut Suite) {
    withheld_key_files(suite);
    withheld_other_files(suite);
    withheld_pins(suite);
    other_keys(suite);
}

fn withheld_key_files(suite: &mut Suite) {
    suite.case("a_key_file_that_cannot_be_read_is_withheld", || {
        let token = token();
        let bytes = |text: &str| text.as_bytes().to_vec();
        let not_yaml = "it is not YAML";
        let no_pkcs11 = "it has no `pkcs11` at the top of its first YAML document";
        for (name, content, expected) in [
            ("latin-1", [b"# Schl\xfcssel\n", token.as_bytes()].concat(), "it is not UTF-8"),
            ("nul", [token.as_bytes(), b"\0"].concat(), "YAML"),
            (
                "brace",
                format!("{{\"pkcs11\": {{\"uri\": \"pkcs11:token=a?pin-value={PIN}\"}}").into(),
                not_yaml,
            ),
            ("tab", [b"module:\n\tenv: {}\n", token.as_bytes()].concat(), "not YAML"),
            ("mistyped", bytes(&token.replace("pkcs11:\n", "pkcs-11:\n")), no_pkcs11),
            (
                "upper-case",
                bytes(&token.to_uppercase().replace(&PIN.to_uppercase(), PIN)),
                no_pkcs11,
            ),
            (
                "quoted",
                bytes(&format!("\"pkcs11\":\n  uri: \"pkcs11:object=a?pin-value={PIN}\n")),
                not_yaml,
            ),
            ("empty-first", bytes(&format!("---\n---\n{token}")), no_pkcs11),
            ("second", bytes(&format!("a: 1\n---\n{token}")), no_pkcs11),
            ("list", bytes(&format!("- uri: pkcs11:object=a?pin-value={PIN}\n")), no_pkcs11),
            ("text", bytes(&format!("PIN-VALUE = {PIN}")), no_pkcs11),
            ("utf-16-le", utf16(&format!("\u{feff}{token}"), u16::to_le_bytes), "not UTF-8"),
            ("utf-16-be", utf16(&format!("\u{feff}{token}"), u16::to_be_bytes), "not UTF-8"),
            ("utf-16-bare", utf16(&token, u16::to_le_bytes), "because it"),
            (
                "escaped",
                bytes(&format!(
                    r#""pkcs\u00311": {{"uri": "pkcs\x31\x31:a=b?pin\u002dvalue={PIN}"}}"#
                )),
                no_pkcs11,
            ),
            ("percent", bytes(&format!("uri: PKCS11%3Atoken=a?pin%2Dvalue={PIN}\n")), no_pkcs11),
            (
                "folded",
                bytes(&format!("uri: \"pkcs1\\\n  1:a=b?pin-\\\n  value={PIN}\"\n")),
                no_pkcs11,
            ),
            ("tag", bytes(&format!("pkcs11: !!binary {PIN}\n")), "has no `uri`"),
            ("alias", bytes(&format!("a: &a {PIN}\npkcs11: *a\n")), "alias"),
        ] {
            is_withheld(name, content, expected)?;
        }
        Ok(())
    });
}

fn withheld_other_files(suite: &mut Suite) {
    suite.case("a_file_that_may_hold_a_pin_is_withheld", || {
        let token = token();
        let bytes = |text: &str| text.as_bytes().to_vec();
        for (name, content, expected) in [
            // Nothing in these files says what they are.
            ("pin", bytes(PIN), "not a key"),
            ("empty", Vec::new(), "not a key"),
            ("notes.txt", bytes(&format!("the HSM's: {PIN}\n")), "not a key"),
            ("token.yaml~", bytes(&format!("uri: x\npin: {PIN}\n")), "not a key"),
            (".token.yaml.swp", [b"b0VIM 9.0\0\0", PIN.as_bytes()].concat(), "not a key"),
            ("token.yaml.gz", [b"\x1f\x8b\x08\x00", PIN.as_bytes()].concat(), "not a key"),
            ("config.json", bytes(&format!("{{\"user\": \"{PIN}\"}}")), "not a key"),
            ("0-text", bytes(&format!("0: {} {PIN}", "a long line ".repeat(20))), "not a key"),
            ("other.pass", bytes(PIN), "the password of `other`, and no such key"),
            // These look like keys.
            (
                "comment.pem",
                bytes(&format!("# pkcs11:a=b?pin-value={PIN}\n{PEM}")),
                "holds a key but",
            ),
            (
                "commented",
                bytes(&format!("{}{token}", PEM.replace("----", "# ---"))),
                "it mentions a",
            ),
            (
                "key.jwk",
                bytes(&format!(r#"{{"kty":"EC","d":"AA","kid":"pin-value={PIN}"}}"#)),
                "holds a key but",
            ),
            (
                "damaged.pem",
                bytes(&format!(
                    "-----BEGIN PRIVATE KEY-----\n{PIN} is it\n-----END PRIVATE KEY-----"
                )),
                "not a key",
            ),
        ] {
            is_withheld(name, content, expected)?;
        }
        Ok(())
    });
}

fn withheld_pins(suite: &mut Suite) {
    suite.case("the_file_of_a_pin_is_withheld", || {
        let dir = tempfile::tempdir()?;
        let path = |name: &str| dir.path().join(name);
        // The PIN is the password of a key, as far as its name tells.
        fs::write(path("key.pem"), PEM)?;
        fs::write(path("key.pem.pass"), format!("{PIN}\n"))?;
        fs::hard_link(path("key.pem.pass"), path("linked.pem.pass"))?;
        fs::write(path("linked.pem"), PEM)?;
        fs::write(path("copied.pem"), PEM)?;
        fs::write(path("copied.pem.password"), PIN)?;
        fs::write(path("other.pem"), PEM)?;
        fs::write(path("other.pem.pass"), "another")?;
        let source = path("key.pem.pass").display().to_string();
        let uri = format!("pkcs11:token=node;object=images?module-name=a&pin-source={source}");
        fs::write(path("token.yaml"), format!("pkcs11: {{uri: '{uri}'}}"))?;
        let found = Sorted::read(dir.path())?.found;
        let handed = found.iter().filter_map(|found| match found {
            Found::File { name, .. } => Some(name.as_str()),
            _ => None,
        });
        let handed: Vec<_> = handed.collect();
        let keys = ["copied.pem", "key.pem", "linked.pem", "other.pem", "other.pem.pass"];
        ensure!(handed == keys, "{handed:?}");
        let withheld = found.iter().filter(|found| match found {
            Found::Skipped { reason, .. } => {
                reason == "it holds the PIN of `pkcs11:token=node;object=images`"
            }
            _ => false,
        });
        ensure!(withheld.count() == 3);
        Ok(())
    });
}

fn other_keys(suite: &mut Suite) {
    suite.case("keys_of_other_kinds_are_handed_over", || {
        let key = |text: &str| -> Result<Vec<u8>> {
            let found = sorted(&[("key", text.as_bytes().to_vec())])?;
            found.into_values().next().context("nothing")?.map_err(anyhow::Error::msg)
        };
        let crlf = PEM.replace('\n', "\r\n");
        for text in [
            PEM.to_owned(),
            crlf,
            format!("Bag Attributes\n  friendlyName: node\nKey Attributes: <No Attributes>\n{PEM}"),
            format!("\u{feff}# the key of node 7, not of the token in slot 1\n\n{PEM}\nend\n"),
            format!("-----BEGIN X-----\nnot ended\n{PEM}"),
        ] {
            ensure!(key(&text)? == PEM.as_bytes(), "{text}");
        }
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ocicrypt/tests/data");
        let mut seen = 0;
        for directory in ["keys", "encrypted-keys", "encrypt", "pgp/keys", "pkcs7"] {
            for entry in fs::read_dir(data.join(directory))? {
                let path = entry?.path();
                let name = path.file_name().context("no name")?.to_string_lossy().into_owned();
                let kinds = ["pem", "der", "jwk", "gpg", "asc"];
                if !path.extension().is_some_and(|kind| kinds.iter().any(|known| kind == *known)) {
                    continue;
                }
                let content = fs::read(&path)?;
                let found = sorted(&[(&name, content)])?;
                ensure!(matches!(found.get(&name), Some(Ok(_))), "`{name}`: {found:?}");
                seen += 1;
            }
        }
        ensure!(seen > 100, "only {seen} keys were there to be tried");
        Ok(())
    });
}
