//! Keys as people have them: in OpenSSH's form, with curves that are written out, and in texts that
//! editors, shells and secret stores have changed.

#![allow(clippy::unwrap_used)]

mod common;

use base64ct::{Base64, Encoding as _};
use common::{data, key_file};
use ocicrypt::keys::{Foreign, NotAKey, PrivateKey};
use serde_json::json;

fn form(name: &str) -> Vec<u8> {
    data(&format!("forms/{name}"))
}

/// Asserts that `bytes` hold the key of the file `name` and nothing else.
fn is_key(bytes: &[u8], name: &str, what: &str) {
    let parsed = PrivateKey::parse(bytes, None);
    assert_eq!(parsed.refused, [], "{what}");
    let expected = PrivateKey::parse(&key_file(name), None).keys.remove(0);
    assert_eq!(parsed.keys.len(), 1, "{what}");
    assert!(parsed.keys[0].is_same(&expected), "{what}");
    assert_eq!(parsed.keys[0].fingerprint(), expected.fingerprint(), "{what}");
}

fn refused(bytes: &[u8]) -> NotAKey {
    let mut parsed = PrivateKey::parse(bytes, None);
    assert!(parsed.keys.is_empty(), "a key was found");
    assert_eq!(parsed.refused.len(), 1, "{:?}", parsed.refused);
    parsed.refused.remove(0)
}

#[test]
fn keys_of_openssh_are_read() {
    for name in ["p-256", "p-384", "p-521", "rsa-2048"] {
        is_key(&form(&format!("openssh-{name}")), &format!("{name}.pkcs8.der"), name);
    }
    assert_eq!(refused(&form("openssh-locked")), NotAKey::OpenSshWithPassphrase);
    assert_eq!(refused(&form("openssh-ed25519")), NotAKey::OtherKind("Ed25519".to_owned()));
}

#[test]
fn a_damaged_key_of_openssh_is_refused() {
    let pem = String::from_utf8(form("openssh-p-256")).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let bytes = Base64::decode_vec(&body).unwrap();
    let parse = |bytes: &[u8]| {
        let body = Base64::encode_string(bytes);
        let pem = format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n"
        );
        PrivateKey::parse(pem.as_bytes(), None)
    };
    assert_eq!(parse(&bytes).keys.len(), 1);
    // The comment and the padding at the end are not read.
    for length in 0..bytes.len() - 64 {
        assert!(parse(&bytes[..length]).keys.is_empty(), "{length} bytes");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x80;
        let _ = parse(&damaged); // it must not panic
    }
}

#[test]
fn curves_that_are_written_out_are_recognized() {
    for size in ["256", "384", "521"] {
        for kind in ["sec1", "pkcs8"] {
            let file = format!("p-{size}.explicit.{kind}.pem");
            is_key(&form(&file), &format!("p-{size}.pkcs8.der"), &file);
        }
    }
    is_key(&form("p-256.compressed.sec1.pem"), "p-256.pkcs8.der", "compressed generator");
}

/// With one other parameter the group is another one, in which the key may be found out.
#[test]
fn a_curve_with_any_other_parameter_is_not_taken() {
    let pem = String::from_utf8(form("p-256.explicit.pkcs8.pem")).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = Base64::decode_vec(&body).unwrap();
    let starts = [
        ("p", "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"),
        ("a", "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc"),
        ("b", "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"),
        ("x", "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
        ("y", "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
        ("n", "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    ];
    for (name, number) in starts {
        let number: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&number[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let at = der.windows(32).position(|window| window == number).unwrap();
        for byte in [at, at + 17, at + 31] {
            let mut other = der.clone();
            other[byte] ^= 1;
            assert_eq!(refused(&other), NotAKey::OtherCurve, "{name}");
        }
    }
}

#[test]
fn texts_are_read_whatever_was_done_to_them() {
    let pem = String::from_utf8(key_file("p-256.pkcs8.pem")).unwrap();
    let utf16 = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    };
    let marked = format!("\u{feff}{pem}");
    let base64 = Base64::encode_string(pem.as_bytes());
    let folded: Vec<_> = base64.as_bytes().chunks(76).collect();
    let written_out = pem.replace('\n', "\\n");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("UTF-8 with a mark", marked.clone().into()),
        ("UTF-16 with a mark", utf16(&marked, u16::to_le_bytes)),
        ("UTF-16, the other way round", utf16(&marked, u16::to_be_bytes)),
        ("UTF-16 without a mark", utf16(&pem, u16::to_le_bytes)),
        ("UTF-16 without a mark, the other way round", utf16(&pem, u16::to_be_bytes)),
        ("carriage returns too", pem.replace('\n', "\r\n").into()),
        ("carriage returns instead", pem.replace('\n', "\r").into()),
        ("base64", base64.clone().into()),
        ("base64 in lines", folded.join(&b'\n')),
        ("\\n written out", written_out.clone().into()),
        ("\\n written out, in quotes", format!("\"{written_out}\"").into()),
        ("spaces instead of ends of lines", pem.replace('\n', " ").into()),
        ("nothing instead of ends of lines", pem.replace('\n', "").into()),
        ("a shell's variable", format!("KEY='{pem}'").into()),
        ("Vault", json!({"data": {"data": {"private_key": pem}}}).to_string().into()),
        (
            "a service account",
            json!({"type": "service_account", "private_key": pem, "client_id": "1"})
                .to_string()
                .into(),
        ),
        ("a Secret in JSON", json!({"kind": "Secret", "data": {"key": base64}}).to_string().into()),
        ("a Secret in YAML", format!("kind: Secret\ndata:\n  node.pem: {base64}\n").into()),
        (
            "a block in YAML",
            format!(
                "key: |\n{}",
                pem.lines().map(|line| format!("  {line}\n")).collect::<String>()
            )
            .into(),
        ),
    ];
    for (what, bytes) in cases {
        is_key(&bytes, "p-256.pkcs8.pem", what);
    }
}

#[test]
fn blocks_without_an_end_of_line_between_them_are_both_read() {
    let [one, two] = ["p-256.pkcs8.pem", "p-384.pkcs8.pem"].map(key_file);
    let parsed = PrivateKey::parse(&[one.trim_ascii_end(), &two].concat(), None);
    let kinds: Vec<_> = parsed.keys.iter().map(|key| key.kind().to_string()).collect();
    assert_eq!((kinds, parsed.refused), (vec!["P-256".to_owned(), "P-384".to_owned()], vec![]));
}

/// Go tries every form, whatever a label says.
#[test]
fn the_label_does_not_decide() {
    let pem = String::from_utf8(key_file("p-256.pkcs8.pem")).unwrap();
    for label in ["KEY", "private key", "RSA PRIVATE KEY", "ANY PRIVATE KEY", "X"] {
        let text = pem.replace("PRIVATE KEY", label);
        is_key(text.as_bytes(), "p-256.pkcs8.pem", label);
    }
}

#[test]
fn a_json_web_key_with_pem_in_it_is_a_json_web_key() {
    let mut key: serde_json::Value = serde_json::from_slice(&key_file("p-256.jwk")).unwrap();
    key["pem"] = String::from_utf8(key_file("public.pem")).unwrap().into();
    is_key(key.to_string().as_bytes(), "p-256.jwk", "a public key");
    key["pem"] = String::from_utf8(key_file("p-384.pkcs8.pem")).unwrap().into();
    is_key(key.to_string().as_bytes(), "p-256.jwk", "another private key");
}

#[test]
fn what_others_read_is_named() {
    for (bytes, foreign) in [
        (&b"\xfe\xed\xfe\xed\0\0\0\x02"[..], Foreign::JavaKeystore),
        (b"PuTTY-User-Key-File-3: ssh-rsa\n", Foreign::Putty),
        (b"AGE-SECRET-KEY-1QQQ\n", Foreign::Age),
        (b"untrusted comment: minisign encrypted secret key\n", Foreign::Minisign),
        (b"\x1f\x8b\x08\0", Foreign::Gzip),
        (b"PK\x03\x04", Foreign::Zip),
        (b"\n<!DOCTYPE html>", Foreign::Markup),
        (b"ssh-ed25519 AAAA node\n", Foreign::OpenSshPublic),
        (b"{\"auth\": 1}", Foreign::Json),
    ] {
        assert_eq!(refused(bytes), NotAKey::Foreign(foreign));
    }
    // Several commands are in the texts: each is whole.
    for reason in [NotAKey::Foreign(Foreign::JavaKeystore), NotAKey::Pkcs12] {
        assert_eq!(reason.to_string().matches('`').count() % 2, 0, "{reason}");
    }
}

#[test]
fn nothing_is_made_up() {
    let pem = String::from_utf8(key_file("p-256.pkcs8.pem")).unwrap();
    let begin = "-----BEGIN PRIVATE KEY-----";
    for text in [
        begin.to_owned(),
        format!("{begin}{begin}"),
        pem.replace("END", "BEGIN"),
        pem[..pem.len() - 30].to_owned(),
        Base64::encode_string(Base64::encode_string(pem.as_bytes()).as_bytes()),
        "LS0tLS1CRUdJTi".to_owned(),
        format!("{begin}-----END "),
        "-----BEGIN -----END -----".to_owned(),
        "-----END PRIVATE KEY----------BEGIN PRIVATE KEY-----".to_owned(),
    ] {
        assert!(PrivateKey::parse(text.as_bytes(), None).keys.is_empty(), "{text}");
    }
}
