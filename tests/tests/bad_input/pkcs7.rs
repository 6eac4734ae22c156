//! Wrapped keys of the scheme PKCS#7, as openssl writes them and as it never would.

use std::ffi::OsStr;
use std::fs;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::node::Node;
use keycell_tests::sealed::{PKCS7_KEYS, Sealed};
use keycell_tests::tools::Tool;

use crate::wrapped::{Wrapped, beginnings, changed, flipped};
use keycell_tests::suite::Cases;

/// Bytes of an RSA-2048 key's modulus, and of what is wrapped for it.
const MODULUS: usize = 256;

pub(crate) fn add(cases: &mut Cases) {
    // Dropped with the last case, and what it started with it.
    let made = Arc::new(OnceLock::new());
    let mut case = |name: &str, run: fn(&Made) -> Result<()>| {
        let made = made.clone();
        cases.case_with(&[Tool::Openssl], &format!("pkcs7/{name}"), move || {
            let made = made.get_or_init(Made::new);
            run(made.as_ref().map_err(|error| anyhow!("{error:#}"))?)
        });
    };
    altered_messages(&mut case);
    forged_structures(&mut case);
}

fn altered_messages(case: &mut impl FnMut(&str, fn(&Made) -> Result<()>)) {
    case("not-cms", |made| {
        for item in [&b"hello"[..], &[0], b"\x30\x03\x02\x01\x00", &[0x30; 64], &[0xff; 64]] {
            made.wrapped.refuses(&[item], &["pkcs7: 1 wrapped key", "item 1"])?;
        }
        Ok(())
    });
    case("every-beginning", |made| {
        for message in [&made.wrapped.good, &made.ber] {
            let items = beginnings(message);
            ensure!(items.len() > 100, "{} beginnings", items.len());
            made.wrapped.refuses(&items, &["malformed"])?;
        }
        Ok(())
    });
    // A byte of each sort: first and last ones of the wrapped key, the content and its tag.
    case("flipped-bits", |made| {
        let (message, key) = (&made.wrapped.good, made.wrapped_key()?);
        let end = message.len();
        let places = [key, key + 7, key + MODULUS - 1, end - 16, end - 1, end - 17 - 2, end - 100];
        for place in places {
            let item = flipped(message, place);
            made.wrapped.refuses(&[item], &["wrong key, or altered"]).context(place)?;
        }
        Ok(())
    });
    // Some of them change nothing that matters; none may stop the good one.
    case("every-flipped-byte-before-a-good-one", |made| {
        let message = &made.wrapped.good;
        let items: Vec<_> = (0..message.len()).map(|place| flipped(message, place)).collect();
        made.wrapped.opens_after(&items)
    });
    case("300-altered-wrapped-keys", |made| {
        let key = made.wrapped_key()?;
        let item = |number| changed(&made.wrapped.good, key + 100, number);
        let items: Vec<_> = (0..300).map(item).collect();
        made.wrapped.refuses(&items, &["300 wrapped keys", "wrong key, or altered"])
    });
    case("altered-in-cbc-before-a-good-one", |made| {
        let end = made.cbc.len();
        // The last blocks: padding and the end of the options.
        for place in [end - 1, end - 16, end - 17, end - 33] {
            made.wrapped.opens_after(&[flipped(&made.cbc, place)]).context(place)?;
        }
        Ok(())
    });
}

fn forged_structures(case: &mut impl FnMut(&str, fn(&Made) -> Result<()>)) {
    case("recursion", |made| {
        const LEVELS: usize = 500_000;
        for open in [&[0x30, 0x80][..], &[0x24, 0x80], &[0xa0, 0x80], &[0x31, 0x80]] {
            made.wrapped.refuses(&[open.repeat(LEVELS)], &["malformed"])?;
            let closed = [open.repeat(LEVELS), vec![0; 2 * LEVELS]].concat();
            made.wrapped.refuses(&[closed], &["malformed"])?;
        }
        // Octet strings in octet strings, where the content is.
        let content = [[0x24, 0x80].repeat(LEVELS), vec![4, 1, 7], vec![0; 2 * LEVELS]].concat();
        let at = made.ber.windows(4).rposition(|bytes| bytes[..3] == [0xa0, 0x80, 0x04]);
        let at = at.context("openssl wrote another content")? + 2;
        // The ends of all that is around it; what follows the message is not looked at.
        let message = [&made.ber[..at], &content, &[0; 64]].concat();
        made.wrapped.refuses(&[message], &["malformed"])
    });
    case("lengths", |made| {
        for length in [
            &[0x84, 0xff, 0xff, 0xff, 0xff][..],
            &[0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xfe],
            &[0xff],
        ] {
            let item = [&[0x30], length, &made.wrapped.good[4..]].concat();
            made.wrapped.refuses(&[item], &["malformed"])?;
        }
        Ok(())
    });
    case("a-million-elements", |made| {
        let elements = [0x30, 0x00].repeat(1_000_000);
        let item = [&[0x30, 0x83, 0x1e, 0x84, 0x80][..], &elements].concat();
        made.wrapped.refuses(&[item], &["malformed"])
    });
}

/// What openssl made: slow enough to be done once.
struct Made {
    wrapped: Wrapped,
    /// The same options in BER.
    ber: Vec<u8>,
    /// The same in DER, in CBC.
    cbc: Vec<u8>,
}

impl Made {
    fn new() -> Result<Self> {
        let (node, sealed) = (Node::without_key()?, Sealed::of_length(1000));
        let key = KeyPair::generate(node.outside(), "node", KeyKind::Rsa(2048))?;
        let certificate = key.certify("/CN=node", &[])?;
        node.add("node.pem", key.private(KeyForm::Pkcs8Pem)?)?;
        node.add("node.crt", fs::read(&certificate)?)?;
        let options = node.outside().join("options");
        fs::write(&options, sealed.private.to_string())?;
        let encrypt = |args: &[&str]| {
            let fixed = ["cms", "-encrypt", "-binary", "-outform", "DER", "-in"].map(OsStr::new);
            let more = args.iter().map(OsStr::new).chain(["-recip".as_ref()]);
            let words = fixed.into_iter().chain([options.as_os_str()]).chain(more);
            Tool::Openssl.run(words.chain([certificate.as_os_str()]))
        };
        // Authenticated, so that nothing of the content can be changed unseen.
        let good = encrypt(&["-aes-256-gcm"])?;
        let ber = encrypt(&["-aes-256-cbc", "-stream", "-indef"])?;
        let cbc = encrypt(&["-aes-256-cbc"])?;
        let wrapped = Wrapped { node, sealed, scheme: PKCS7_KEYS, good };
        Ok(Self { wrapped, ber, cbc })
    }

    /// Where the wrapped key begins in the good message.
    fn wrapped_key(&self) -> Result<usize> {
        let header = [0x04, 0x82, 0x01, 0x00];
        let at = self.wrapped.good.windows(4).position(|bytes| bytes == header);
        Ok(at.context("openssl wrote another recipient")? + 4)
    }
}
