//! What is encrypted here, opened here with the private keys that others made: every scheme, every
//! kind of key, one recipient and three, and recipients that were added later.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};
use getrandom::SysRng;
use libtest_mimic::{Arguments, Failed, Trial};
use ocicrypt::encrypt::{self, Pkcs7Form, Recipient};
use ocicrypt::keyring::KeyRing;
use ocicrypt::layer::{Encryptor, LayerKey};
use ocicrypt::unwrap::unwrap;
use serde_json::json;

use common::{data, payload, ring};

/// One who can be encrypted for, and the keys with which that is opened again.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// A key in `keys/`, and the form of its public half.
    Jwe(&'static str, &'static str),
    /// A key in `keys/`, and the file of its certificate.
    Pkcs7(&'static str, &'static str),
    /// The same, with a message in the standard's form.
    AuthEnveloped(&'static str, &'static str),
    /// A ring in `pgp/keys/`.
    Pgp(&'static str),
}

const EVERYONE: [Who; 29] = [
    Who::Jwe("rsa-2048", "pub.pem"),
    Who::Jwe("rsa-2048", "pub.der"),
    Who::Jwe("rsa-2048", "pub.jwk"),
    Who::Jwe("rsa-2048", "pkcs1.pem"),
    Who::Jwe("rsa-3072", "pub.pem"),
    Who::Jwe("rsa-4096", "pub.pem"),
    Who::Jwe("rsa-8192", "pub.pem"),
    Who::Jwe("rsa-16384", "pub.pem"),
    Who::Jwe("p-256", "pub.pem"),
    Who::Jwe("p-256", "pub.der"),
    Who::Jwe("p-256", "pub.jwk"),
    Who::Jwe("p-384", "pub.pem"),
    Who::Jwe("p-384", "pub.jwk"),
    Who::Jwe("p-521", "pub.pem"),
    Who::Jwe("p-521", "pub.jwk"),
    Who::Pkcs7("rsa-2048", "rsa-2048.cert.pem"),
    Who::Pkcs7("rsa-2048", "rsa-2048.cert.der"),
    Who::Pkcs7("rsa-3072", "rsa-3072.cert.pem"),
    Who::Pkcs7("rsa-4096", "rsa-4096.cert.pem"),
    Who::AuthEnveloped("rsa-2048", "rsa-2048.cert.pem"),
    Who::AuthEnveloped("rsa-4096", "rsa-4096.cert.pem"),
    Who::Pgp("rsa-2048"),
    Who::Pgp("rsa-3072"),
    Who::Pgp("rsa-4096"),
    Who::Pgp("cv25519"),
    Who::Pgp("p-256"),
    Who::Pgp("p-384"),
    Who::Pgp("p-521"),
    Who::Pgp("several"),
];

/// Three of each scheme.
const GROUPS: [(&str, [Who; 3]); 4] = [
    (
        "jwe",
        [
            Who::Jwe("rsa-3072", "pub.pem"),
            Who::Jwe("p-256", "pub.pem"),
            Who::Jwe("p-521", "pub.pem"),
        ],
    ),
    (
        "pkcs7",
        [
            Who::Pkcs7("rsa-4096", "rsa-4096.cert.pem"),
            Who::Pkcs7("rsa-2048", "rsa-2048.cert.pem"),
            Who::Pkcs7("rsa-3072", "rsa-3072.cert.pem"),
        ],
    ),
    ("pgp", [Who::Pgp("cv25519"), Who::Pgp("rsa-2048"), Who::Pgp("p-384")]),
    (
        "all",
        [
            Who::Pgp("p-256"),
            Who::Jwe("p-384", "pub.pem"),
            Who::Pkcs7("rsa-2048", "rsa-2048.cert.pem"),
        ],
    ),
];

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for who in EVERYONE {
        trials.push(Trial::test(format!("one/{who}"), move || opens(&[who], who)));
    }
    for (name, group) in GROUPS {
        for who in group {
            trials.push(Trial::test(format!("three/{name}/{who}"), move || opens(&group, who)));
        }
    }
    trials.push(Trial::test("pkcs7/as-go-writes-it", as_go_writes_it));
    trials.push(Trial::test("pkcs7/both-forms", both_forms));
    for (first, _) in GROUPS {
        for (second, _) in GROUPS {
            let name = format!("added/{second}-to-{first}");
            trials.push(Trial::test(name, move || added(group(first), group(second))));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn group(name: &str) -> &'static [Who; 3] {
    &GROUPS.iter().find(|(known, _)| *known == name).unwrap().1
}

impl Who {
    fn recipient(self) -> Recipient {
        match self {
            Self::Jwe(name, form) => Recipient::jwe(&data(&format!("encrypt/{name}.{form}"))),
            Self::Pkcs7(_, file) => Recipient::pkcs7(&data(&format!("pkcs7/{file}"))),
            Self::AuthEnveloped(_, file) => Recipient::pkcs7(&data(&format!("pkcs7/{file}")))
                .map(|recipient| recipient.with_pkcs7_form(Pkcs7Form::AuthEnveloped)),
            Self::Pgp(name) => {
                let keys = data(&format!("encrypt/pgp/{name}.gpg"));
                let address = format!("{name}@example.org").parse().unwrap();
                Recipient::pgp(&keys, &address, common::pgp::at(2030)).map(|mut found| {
                    assert_eq!(found.len(), 1);
                    found.remove(0)
                })
            }
        }
        .unwrap()
    }

    fn ring(self) -> KeyRing {
        match self {
            Self::Jwe(name, _) => ring(&[&format!("{name}.pkcs8.pem")]),
            Self::Pkcs7(name, file) | Self::AuthEnveloped(name, file) => {
                common::pkcs7::ring(&[name, file])
            }
            Self::Pgp(name) => {
                common::pgp::ring_of(&common::pgp::key(&format!("{name}.gpg")), None)
            }
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Jwe(name, form) => write!(f, "jwe/{name}.{form}"),
            Self::Pkcs7(_, file) => write!(f, "pkcs7/{file}"),
            Self::AuthEnveloped(_, file) => write!(f, "pkcs7-auth-enveloped/{file}"),
            Self::Pgp(name) => write!(f, "pgp/{name}"),
        }
    }
}

fn encrypted(whom: &[Who]) -> (LayerKey, BTreeMap<String, String>) {
    let mut encryptor = Encryptor::new(&mut SysRng).unwrap();
    encryptor.update(&mut b"a layer".to_vec());
    let key = encryptor.finish();
    let recipients: Vec<_> = whom.iter().map(|who| who.recipient()).collect();
    let annotations = encrypt::annotations(&key, &recipients, &mut SysRng).unwrap();
    (key, annotations)
}

/// Whether `who` opens it, and nobody else.
fn check(annotations: &BTreeMap<String, String>, key: &LayerKey, who: Who) -> Result<(), Failed> {
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+encrypted",
        "digest": "", "size": 7, "annotations": annotations,
    });
    let opened = unwrap(&payload(&descriptor), &who.ring(), &mut SysRng)?;
    assert!(opened.is_same(key));
    let stranger = ring(&["rsa-2056.pkcs8.pem"]);
    assert!(unwrap(&payload(&descriptor), &stranger, &mut SysRng).is_err());
    Ok(())
}

fn opens(whom: &[Who], who: Who) -> Result<(), Failed> {
    let (key, annotations) = encrypted(whom);
    check(&annotations, &key, who)
}

/// Element for element what skopeo wrote for the same certificate: only what is random differs, and that the
/// content was an OCTET STRING in `[0]` there. Since smallstep/pkcs7, Go writes it as `[0]` itself.
fn as_go_writes_it() -> Result<(), Failed> {
    let layers = common::json_data("pkcs7/layers.json");
    let theirs = layers["rsa-2048"]["annotations"][PKCS7].as_str().unwrap();
    let (_, annotations) = encrypted(&[Who::Pkcs7("rsa-2048", "rsa-2048.cert.pem")]);
    let [ours, theirs] =
        [&annotations[PKCS7], theirs].map(|text| Base64::decode_vec(text).unwrap());
    let (ours, mut theirs) = (outline(&ours), outline(&theirs));
    let content = theirs.split_off(theirs.len() - 2);
    assert_eq!(content[0].0, 0xa0);
    theirs.push((0x80, content[1].1, Vec::new()));
    assert_eq!(ours, theirs);
    Ok(())
}

const PKCS7: &str = "org.opencontainers.image.enc.keys.pkcs7";

/// The tags of all elements, the lengths of those that are not made of others, and the contents of those that
/// are not random: the wrapped key, the nonce and the content.
fn outline(der: &[u8]) -> Vec<(u8, usize, Vec<u8>)> {
    let (mut rest, mut found) = (der, Vec::new());
    while let [tag, first, ..] = *rest {
        let (start, length) = match first {
            0x81 => (3, usize::from(rest[2])),
            0x82 => (4, usize::from(rest[2]) << 8 | usize::from(rest[3])),
            short => (2, usize::from(short)),
        };
        // Go's parameters of GCM are a SEQUENCE without the bit for elements.
        let has_elements = tag & 0x20 != 0 || tag == 0x10;
        let is_random = [0x04, 0x80, 0x84].contains(&tag);
        let content = &rest[start..start + length];
        let kept = if has_elements || is_random { Vec::new() } else { content.to_vec() };
        found.push((tag, if has_elements { 0 } else { length }, kept));
        rest = if has_elements { &rest[start..] } else { &rest[start + length..] };
    }
    found
}

/// One message for each form, and each opens.
fn both_forms() -> Result<(), Failed> {
    let both = [
        Who::AuthEnveloped("rsa-4096", "rsa-4096.cert.pem"),
        Who::Pkcs7("rsa-2048", "rsa-2048.cert.pem"),
    ];
    let (key, annotations) = encrypted(&both);
    assert_eq!(annotations[PKCS7].split(',').count(), 2);
    both.iter().try_for_each(|who| check(&annotations, &key, *who))
}

fn added(first: &[Who; 3], second: &[Who; 3]) -> Result<(), Failed> {
    let (key, mut before) = encrypted(first);
    before.insert("org.example.other".to_owned(), "stays".to_owned());
    let recipients = second.map(Who::recipient);
    let after = encrypt::add_recipients(&before, &key, &recipients, &mut SysRng)?;
    for (name, value) in &before {
        let kept = after[name].strip_prefix(value.as_str()).unwrap();
        assert!(kept.is_empty() || kept.starts_with(','), "{name}");
    }
    first.iter().chain(second).try_for_each(|who| check(&after, &key, *who))
}
