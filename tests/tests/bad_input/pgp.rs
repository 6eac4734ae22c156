//! Wrapped keys of the scheme OpenPGP, as gpg writes them and as it never would.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use keycell_tests::gpg::{Gpg, Source};
use keycell_tests::node::Node;
use keycell_tests::sealed::{PGP_KEYS, Sealed};
use keycell_tests::tools::Tool;

use crate::wrapped::{Wrapped, beginnings, changed, flipped};
use keycell_tests::suite::Cases;

pub(crate) fn add(cases: &mut Cases) {
    // Dropped with the last case, and what it started with it.
    let made = Arc::new(OnceLock::new());
    let mut case = |name: &str, run: fn(&Made) -> Result<()>| {
        let made = made.clone();
        cases.case_with(&[Tool::Gpg], &format!("pgp/{name}"), move || {
            let made = made.get_or_init(Made::new);
            run(made.as_ref().map_err(|error| anyhow!("{error:#}"))?)
        });
    };
    altered_messages(&mut case);
    forged_packets(&mut case);
}

fn altered_messages(case: &mut impl FnMut(&str, fn(&Made) -> Result<()>)) {
    case("not-openpgp", |made| {
        for item in [&b"hello"[..], &[0], &[0x80; 64], &[0xff; 64], b"-----BEGIN PGP MESSAGE-----"]
        {
            made.wrapped.refuses(&[item], &["pgp: 1 wrapped key", "item 1"])?;
        }
        Ok(())
    });
    case("every-beginning", |made| {
        for message in [&made.wrapped.good, &made.partial] {
            let items = beginnings(message);
            ensure!(items.len() > 100, "{} beginnings", items.len());
            made.wrapped.refuses(&items, &["item"])?;
        }
        Ok(())
    });
    // The ephemeral key, the wrapped key, the prefix of the data, its middle, its code.
    case("flipped-bits", |made| {
        let (message, [_, data]) = (&made.wrapped.good, made.packets()?);
        let end = message.len();
        for place in [20, data - 3, data + 4, data + 20, (data + end) / 2, end - 20, end - 1] {
            made.wrapped.refuses(&[flipped(message, place)], &["wrong key"]).context(place)?;
        }
        Ok(())
    });
    case("every-flipped-byte-before-a-good-one", |made| {
        let message = &made.wrapped.good;
        let items: Vec<_> = (0..message.len()).map(|place| flipped(message, place)).collect();
        made.wrapped.opens_after(&items)
    });
}

fn forged_packets(case: &mut impl FnMut(&str, fn(&Made) -> Result<()>)) {
    // Go ctd-decoder takes these for keys of any ring.
    case("not-encrypted", |made| {
        let path = made.options.display().to_string();
        for compression in ["none", "zip"] {
            let args = ["--compress-algo", compression, "--output", "-", "--store", &path];
            made.wrapped.refuses(&[made.gpg.run(&args)?], &["not encrypted"])?;
        }
        Ok(())
    });
    case("not-protected", |made| {
        let [_, data] = made.packets()?;
        let mut message = made.wrapped.good.clone();
        // The packet of the time before there was an integrity check.
        message[data] = 0xc0 | 9;
        made.wrapped.refuses(&[message], &["does not protect it"])
    });
    case("lengths", |made| {
        let [_, data] = made.packets()?;
        let recipient = &made.wrapped.good[..data];
        for header in [
            &[0xd2, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..],
            &[0xd2, 0xff, 0x7f, 0xff, 0xff, 0xff, 1],
            &[0xd2, 0xfe, 1],
            &[0xd2, 0xe0, 1],
            &[0xd2, 0xdf],
            &[0xca, 0xff, 0x7f],
            &[0xc1, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            made.wrapped.refuses(&[header], &["malformed"])?;
            made.wrapped.refuses(&[[recipient, header].concat()], &["item 1"])?;
        }
        Ok(())
    });
    case("half-a-million-pieces", |made| {
        let [_, data] = made.packets()?;
        let pieces = [&[0xd2][..], &[0xe0, 1].repeat(500_000), &[0]].concat();
        made.wrapped.refuses(&[[&made.wrapped.good[..data], &pieces].concat()], &["item 1"])
    });
    case("200000-packets", |made| {
        made.wrapped.refuses(&[b"\xca\x03PGP".repeat(200_000)], &["malformed"])
    });
    // 64 MiB in 64 KiB.
    case("compression", |made| {
        let zeroes = made.wrapped.node.outside().join("zeroes");
        fs::write(&zeroes, vec![0; 64 << 20])?;
        for algorithm in ["zip", "zlib"] {
            let args = ["--recipient", "node", "--compress-algo", algorithm];
            let item = made.gpg.encrypt(&args, Source::File(&zeroes))?;
            ensure!(item.len() < 1 << 20, "{} bytes", item.len());
            made.wrapped.refuses(&[item], &["cannot be decompressed"])?;
        }
        Ok(())
    });
    // Any recipient can call itself by our key's name.
    case("2000-recipients-that-are-not-ours", |made| {
        let [_, data] = made.packets()?;
        let (recipient, rest) = made.wrapped.good.split_at(data);
        let other = |number| changed(recipient, recipient.len() - 2, number);
        let message: Vec<_> = (0..2000).flat_map(other).collect();
        made.wrapped.refuses(&[[&message, rest].concat()], &["wrong key"])?;
        made.wrapped.opens(&[&message, recipient, rest].concat())
    });
}

/// What gpg made: slow enough to be done once.
struct Made {
    wrapped: Wrapped,
    /// The same options, of which the length was not known before.
    partial: Vec<u8>,
    options: PathBuf,
    gpg: Gpg,
}

impl Made {
    fn new() -> Result<Self> {
        let (node, sealed) = (Node::without_key()?, Sealed::of_length(1000));
        let gpg = Gpg::new()?;
        gpg.generate("node", "ed25519", "cv25519")?;
        node.add("node.gpg", gpg.secret("node")?)?;
        let options = node.outside().join("options");
        let text = sealed.private.to_string();
        fs::write(&options, &text)?;
        let args = ["--recipient", "node", "--compress-algo", "none"];
        let good = gpg.encrypt(&args, Source::File(&options))?;
        let partial = gpg.encrypt(&args, Source::Pipe(text.as_bytes()))?;
        let wrapped = Wrapped { node, sealed, scheme: PGP_KEYS, good };
        Ok(Self { wrapped, partial, options, gpg })
    }

    /// Where the two packets of the good message begin: the wrapped session key, then the data.
    fn packets(&self) -> Result<[usize; 2]> {
        let message = &self.wrapped.good;
        ensure!(message[0] == 0x84, "gpg wrote another packet first");
        let data = 2 + usize::from(message[1]);
        ensure!(message[data] == 0xd2, "gpg wrote another packet second");
        Ok([0, data])
    }
}
