//! Wrapped keys in PKCS#7 as `openssl cms -encrypt` writes them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use keycell_tests::keys::{KeyForm, KeyKind};
use keycell_tests::sealed::PKCS7_KEYS;
use keycell_tests::tools::Tool;

use crate::Cases;
use crate::fixture::{Files, Fixture};

const NEEDS: [Tool; 1] = [Tool::Openssl];

/// As openssl's options are called. GCM makes an `AuthEnvelopedData`.
const CIPHERS: [&str; 8] = [
    "des-cbc",
    "des3",
    "aes-128-cbc",
    "aes-192-cbc",
    "aes-256-cbc",
    "aes-128-gcm",
    "aes-192-gcm",
    "aes-256-gcm",
];

/// PKCS#1 v1.5, and OAEP with each hash.
const TRANSPORTS: [&str; 6] = ["pkcs1v15", "sha1", "sha224", "sha256", "sha384", "sha512"];

const DER: [&str; 0] = [];

/// BER: indefinite lengths, and content in pieces.
const BER: [&str; 2] = ["-stream", "-indef"];

const RSA: KeyKind = KeyKind::Rsa(2048);

pub(crate) fn add(cases: &mut Cases) {
    for (encoding, options) in [("der", DER.as_slice()), ("ber", &BER)] {
        for cipher in CIPHERS {
            for transport in TRANSPORTS {
                let name = format!("cms/{encoding}/{cipher}/{transport}");
                cases.case(name, &NEEDS, move |fixture| {
                    let recipient = Recipient::of(fixture, RSA, transport)?;
                    let message = encrypt(fixture, cipher, options, &[recipient])?;
                    fixture.opens(PKCS7_KEYS, &[message], &pair(fixture, RSA)?)
                });
            }
        }
        for bits in [3072, 4096] {
            for transport in ["pkcs1v15", "sha256"] {
                let name = format!("cms/{encoding}/rsa{bits}/{transport}");
                cases.case(name, &NEEDS, move |fixture| {
                    let kind = KeyKind::Rsa(bits);
                    let recipient = Recipient::of(fixture, kind, transport)?;
                    let message = encrypt(fixture, "aes-256-gcm", options, &[recipient])?;
                    fixture.opens(PKCS7_KEYS, &[message], &pair(fixture, kind)?)
                });
            }
        }
        // The certificate by its subject key identifier in the place of issuer and number.
        cases.case(format!("cms/{encoding}/key-identifier"), &NEEDS, move |fixture| {
            let options: Vec<_> = options.iter().copied().chain(["-keyid"]).collect();
            let recipient = Recipient::of(fixture, RSA, "pkcs1v15")?;
            let message = encrypt(fixture, "aes-256-cbc", &options, &[recipient])?;
            fixture.opens(PKCS7_KEYS, &[message], &pair(fixture, RSA)?)
        });
        recipients(cases, encoding, options);
    }
    certificates(cases);
    for &form in RSA.forms() {
        cases.case(format!("cms/key/{form}"), &NEEDS, move |fixture| {
            let files = [("key", fixture.key(RSA)?.private(form)?), certificate(fixture)?];
            fixture.opens(PKCS7_KEYS, &[message(fixture)?], &files)
        });
    }
}

/// Several recipients, ours the last.
fn recipients(cases: &mut Cases, encoding: &'static str, options: &'static [&'static str]) {
    let mut case = |name: &str, run: fn(&Fixture, &[&str]) -> Result<Vec<u8>>| {
        cases.case(format!("cms/{encoding}/recipients/{name}"), &NEEDS, move |fixture| {
            let message = run(fixture, options)?;
            fixture.opens(PKCS7_KEYS, &[message], &pair(fixture, RSA)?)
        });
    };
    case("third-of-three", |fixture, options| {
        let recipients = [
            Recipient::of(fixture, KeyKind::Rsa(3072), "pkcs1v15")?,
            Recipient::of(fixture, KeyKind::Rsa(4096), "sha384")?,
            Recipient::of(fixture, RSA, "sha1")?,
        ];
        encrypt(fixture, "aes-256-cbc", options, &recipients)
    });
    // Key agreement, a symmetric key and a password: none of them is of the format.
    case("others-are-of-other-kinds", |fixture, options| {
        const KEY: &str = "00112233445566778899aabbccddeeff";
        let others = ["-secretkey", KEY, "-secretkeyid", "01", "-pwri_password", "secret"];
        let options: Vec<_> = options.iter().copied().chain(others).collect();
        let recipients = [
            Recipient::of(fixture, KeyKind::P256, "pkcs1v15")?,
            Recipient::of(fixture, RSA, "pkcs1v15")?,
        ];
        encrypt(fixture, "aes-256-cbc", &options, &recipients)
    });
    // Its issuer and number are those of our certificate, but its key is not ours: what comes out
    // of our key is rubbish, in which PKCS#1 v1.5 must not see anything special.
    for (name, transport) in [("pkcs1v15", "pkcs1v15"), ("oaep", "sha256")] {
        cases.case(
            format!("cms/{encoding}/recipients/first-is-an-impostor-{name}"),
            &NEEDS,
            move |fixture| {
                let impostor = Recipient { certificate: impostor(fixture)?, transport };
                let ours = Recipient::of(fixture, RSA, "pkcs1v15")?;
                let message = encrypt(fixture, "aes-128-cbc", options, &[impostor, ours])?;
                fixture.opens(PKCS7_KEYS, &[message], &pair(fixture, RSA)?)
            },
        );
    }
}

/// Where the certificate is, or is not.
fn certificates(cases: &mut Cases) {
    let mut case = |name: &str, files: fn(&Fixture) -> Result<Files>| {
        cases.case(format!("cms/certificate/{name}"), &NEEDS, move |fixture| {
            fixture.opens(PKCS7_KEYS, &[message(fixture)?], &files(fixture)?)
        });
    };
    case("none", |fixture| Ok(vec![key(fixture)?]));
    case("binary", |fixture| {
        let path = fixture.certificate(RSA)?;
        let args = ["x509", "-outform", "DER", "-in"].map(AsRef::as_ref);
        let der = Tool::Openssl.run(args.into_iter().chain([path.as_os_str()]))?;
        Ok(vec![key(fixture)?, ("node.cer", der)])
    });
    case("last-of-a-bundle", |fixture| {
        let others = [KeyKind::P256, KeyKind::Rsa(3072)];
        let mut bundle = b"The certificates of this node.\n".to_vec();
        for kind in others.into_iter().chain([RSA]) {
            bundle.extend(fs::read(&*fixture.certificate(kind)?)?);
        }
        Ok(vec![key(fixture)?, ("bundle.pem", bundle)])
    });
    case("in-the-file-of-the-key", |fixture| {
        Ok(vec![("node.pem", [certificate(fixture)?.1, key(fixture)?.1].concat())])
    });
    case("of-another-key", |fixture| {
        Ok(vec![key(fixture)?, ("ca.pem", fs::read(&*fixture.certificate(KeyKind::Rsa(3072))?)?)])
    });
    cases.case("cms/certificate/in-the-payload", &NEEDS, |fixture| {
        let payload = fixture.sealed.payload_with(PKCS7_KEYS, &[message(fixture)?]);
        let payload = payload.private_key(&key(fixture)?.1);
        let payload = payload.parameter("x509s", Some(&certificate(fixture)?.1));
        fixture.opens_with(&payload, &[])
    });
    cases.case("cms/item/after-one-that-is-cut-off", &NEEDS, |fixture| {
        let good = message(fixture)?;
        let cut = good[..good.len() / 2].to_vec();
        fixture.opens(PKCS7_KEYS, &[b"hello".to_vec(), cut, good], &pair(fixture, RSA)?)
    });
}

struct Recipient {
    certificate: PathBuf,
    transport: &'static str,
}

impl Recipient {
    fn of(fixture: &Fixture, kind: KeyKind, transport: &'static str) -> Result<Self> {
        let certificate = fixture.certificate(kind)?.to_path_buf();
        Ok(Self { certificate, transport })
    }
}

/// The private options, encrypted.
fn encrypt(
    fixture: &Fixture,
    cipher: &str,
    options: &[&str],
    recipients: &[Recipient],
) -> Result<Vec<u8>> {
    let mut args: Vec<String> =
        ["cms", "-encrypt", "-binary", "-outform", "DER"].map(String::from).to_vec();
    if cipher == "des-cbc" {
        args.extend(["-provider", "legacy", "-provider", "default"].map(String::from));
    }
    args.push(format!("-{cipher}"));
    args.extend(options.iter().copied().map(String::from));
    args.extend(["-in".to_owned(), fixture.options()?.display().to_string()]);
    for recipient in recipients {
        args.extend(["-recip".to_owned(), recipient.certificate.display().to_string()]);
        if recipient.transport != "pkcs1v15" {
            let hash = format!("rsa_oaep_md:{}", recipient.transport);
            args.extend(["-keyopt", "rsa_padding_mode:oaep", "-keyopt", &hash].map(String::from));
        }
    }
    Tool::Openssl.run(args)
}

/// One that every case may read.
fn message(fixture: &Fixture) -> Result<Vec<u8>> {
    let make = || {
        let recipient = Recipient::of(fixture, RSA, "sha256")?;
        encrypt(fixture, "aes-256-gcm", &DER, &[recipient])
    };
    Ok(fixture.files.get_or_make("message.p7m".into(), make)?.to_vec())
}

/// Another key's certificate with the issuer and the number of ours.
fn impostor(fixture: &Fixture) -> Result<PathBuf> {
    let ours = fixture.certificate(RSA)?;
    let make = || {
        let show = ["x509", "-noout", "-serial", "-in"].map(AsRef::as_ref);
        let shown = Tool::Openssl.run(show.into_iter().chain([ours.as_os_str()]))?;
        let shown = String::from_utf8(shown)?;
        let serial = shown.trim().strip_prefix("serial=").context("openssl shows no serial")?;
        let serial = format!("0x{serial}");
        let key = fixture.stranger(RSA)?;
        let path = key.certify(&format!("/O=Keycell/CN={RSA}"), &["-set_serial", &serial])?;
        Ok(path.display().to_string().into_bytes())
    };
    let path = fixture.files.get_or_make("impostor".into(), make)?;
    Ok(PathBuf::from(std::str::from_utf8(&path)?))
}

fn key(fixture: &Fixture) -> Result<(&'static str, Vec<u8>)> {
    Ok(("key.pem", fixture.key(RSA)?.private(KeyForm::Pkcs8Pem)?))
}

fn certificate(fixture: &Fixture) -> Result<(&'static str, Vec<u8>)> {
    Ok(("node.crt", fs::read(&*fixture.certificate(RSA)?)?))
}

fn pair(fixture: &Fixture, kind: KeyKind) -> Result<[(&'static str, Vec<u8>); 2]> {
    let key = fixture.key(kind)?.private(KeyForm::Pkcs8Pem)?;
    Ok([("key.pem", key), ("node.crt", fs::read(&*fixture.certificate(kind)?)?)])
}
