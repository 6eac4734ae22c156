//! CMS content in CBC, altered by who does not know its key. Whether the padding was right, and how far the
//! text was JSON, shows in nothing that comes of it: neither in the exit code, nor in the message, nor in
//! the length of the output, nor in the event.

use std::fs;

use anyhow::{Context, Result, ensure};
use keycell_tests::events;
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::node::{Node, withheld};
use keycell_tests::sealed::{PKCS7_KEYS, Sealed};
use keycell_tests::tools::Tool;
use serde_json::Value;

use crate::wrapped::flipped;
use keycell_tests::suite::Cases;

/// The length of a block of AES, and of the vector.
const BLOCK: usize = 16;

/// A layer that is held back altogether, and one that is not.
const LENGTHS: [usize; 2] = [1000, 200_000];

pub(crate) fn add(cases: &mut Cases) {
    for length in LENGTHS {
        for flags in [&[][..], &["--verify-first"], &["--cipher", "guest"]] {
            let name = format!("oracle/cbc/{length}{}", flags.concat());
            cases.case_with(&[Tool::Openssl], &name, move || one_outcome(length, flags));
        }
    }
    cases.case_with(&[Tool::Openssl], "oracle/two-contents-of-one-key", two_contents);
}

/// A message in CBC, and where its parts are.
struct Target {
    node: Node,
    sealed: Sealed,
    /// The private options.
    options: String,
    message: Vec<u8>,
    /// Where the wrapped key begins.
    wrapped: usize,
    /// Where the vector begins.
    vector: usize,
    /// Where the content begins: it is the end of the message.
    content: usize,
}

impl Target {
    fn new(length: usize) -> Result<Self> {
        let (node, sealed) = (Node::without_key()?, Sealed::of_length(length));
        let key = KeyPair::generate(node.outside(), "node", KeyKind::Rsa(2048))?;
        let certificate = key.certify("/CN=node", &[])?;
        node.add("node.pem", key.private(KeyForm::Pkcs8Pem)?)?;
        node.add("node.crt", fs::read(&certificate)?)?;
        let (options, certificate) =
            (node.outside().join("options"), certificate.display().to_string());
        let text = in_order(&sealed.private);
        fs::write(&options, &text)?;
        let options = options.display().to_string();
        let words =
            ["cms", "-encrypt", "-binary", "-outform", "DER", "-aes-256-cbc", "-in", &options];
        let message = Tool::Openssl.run(words.into_iter().chain(["-recip", &certificate]))?;
        let find = |bytes: &[u8]| {
            let at = message.windows(bytes.len()).position(|found| found == bytes);
            Ok::<_, anyhow::Error>(at.context("openssl wrote another message")? + bytes.len())
        };
        let wrapped = find(&[0x04, 0x82, 0x01, 0x00])?;
        // aes256-CBC, and the header of its vector.
        let vector = find(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 0x2a, 4, 16])?;
        let content = message.len() - (text.len() / BLOCK + 1) * BLOCK;
        Ok(Self { node, sealed, options: text, message, wrapped, vector, content })
    }

    /// The message with a byte of the plaintext changed, by the block before it. That becomes garbage,
    /// unless it is the vector.
    fn changed(&self, place: usize, mask: u8) -> Vec<u8> {
        let mut message = self.message.clone();
        let at = match place.checked_sub(BLOCK) {
            Some(before) => self.content + before,
            None => self.vector + place,
        };
        message[at] ^= mask;
        message
    }

    /// What an attacker would send, by what it is.
    fn crafted(&self) -> Vec<(String, Vec<u8>)> {
        let length = self.message.len() - self.content;
        let padding = (length - self.options.len()) as u8;
        let mut crafted = Vec::new();
        // One of these has the padding 1, the others none.
        for last in (0..=17).filter(|last| *last != padding) {
            let message = self.changed(length - 1, padding ^ last);
            crafted.push((format!("padding {last}"), message));
        }
        // By the vector, without garbage: broken JSON, another key, a key that is no base64.
        for (what, place, mask) in [
            ("no brace", 0, 1),
            ("a name without its quote", 1, 4),
            ("another name", 3, 0x40),
            ("another key", 12, 1),
            ("no base64", 12, 0x80),
            ("a key with a quote", 12, 0x40),
        ] {
            crafted.push((what.to_owned(), self.changed(place, mask)));
        }
        // Garbage in the key, the digest, the nonce.
        for place in (BLOCK..length).step_by(BLOCK) {
            crafted.push((format!("garbage before {place}"), self.changed(place, 0x80)));
        }
        // The wrapped key is none, or none of this length.
        for place in [0, 100, 255] {
            let message = flipped(&self.message, self.wrapped + place);
            crafted.push((format!("byte {place} of the wrapped key"), message));
        }
        crafted
    }
}

/// Private options as Go writes them: the key stands in the first block.
fn in_order(private: &Value) -> String {
    let (key, digest, options) =
        (&private["symkey"], &private["digest"], &private["cipheroptions"]);
    format!(r#"{{"symkey":{key},"digest":{digest},"cipheroptions":{options}}}"#)
}

/// What an attacker can see of a run: exit code, message, the length of the output, and the event.
fn seen(
    target: &Target,
    item: &[u8],
    flags: &[&str],
) -> Result<(Option<i32>, String, usize, Value)> {
    let log = target.node.outside().join("log");
    let _ = fs::remove_file(&log);
    let payload = target.sealed.payload_with(PKCS7_KEYS, &[item]);
    let decoder = target.node.without_payload(&target.sealed)?.payload(payload.bytes());
    let decoder = flags.iter().fold(decoder.arg("--log").arg(&log), |it, flag| it.arg(*flag));
    let outcome = decoder.run()?;
    withheld(&outcome, &target.sealed.plain)?;
    let mut event = events::of_layer(&log)?;
    for measured in ["time", "pid", "milliseconds"] {
        event.as_object_mut().context("an event is an object")?.remove(measured);
    }
    Ok((outcome.status.code(), outcome.stderr, outcome.stdout.len(), event))
}

fn one_outcome(length: usize, flags: &'static [&'static str]) -> Result<()> {
    let target = Target::new(length)?;
    // The base of all these is good.
    let payload = target.sealed.payload_with(PKCS7_KEYS, &[&target.message]);
    target.node.opens_with(&target.sealed, &payload)?;
    let crafted = target.crafted();
    ensure!(crafted.len() > 35, "{} messages", crafted.len());
    let mut first = None;
    for (what, item) in crafted {
        let seen = seen(&target, &item, flags).with_context(|| what.clone())?;
        let (of, first) = first.get_or_insert_with(|| (what.clone(), seen.clone()));
        ensure!(seen == *first, "`{what}` differs from `{of}`:\n{seen:#?}\n{first:#?}");
    }
    Ok(())
}

/// An encrypted key with another content for each question is answered by name, and not once tried.
fn two_contents() -> Result<()> {
    let target = Target::new(1000)?;
    let other = target.changed(target.message.len() - target.content - 1, 1);
    for items in [[&target.message, &other], [&other, &target.message]] {
        let payload = target.sealed.payload_with(PKCS7_KEYS, &items);
        let words = ["its encrypted key comes with another content too"];
        target.node.refuses(&target.sealed, &payload, &words)?;
    }
    // Copies of the same are one content.
    let payload = target.sealed.payload_with(PKCS7_KEYS, &[&target.message, &target.message]);
    target.node.opens_with(&target.sealed, &payload)
}
