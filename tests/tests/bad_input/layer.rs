//! Standard input: layers that are cut off, altered or too long.
//!
//! containerd can lose the exit code, so what counts is what reaches stdout: at least the last
//! 64 KiB never do.

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use keycell_tests::node::{Node, WITHHELD, says, withheld};
use keycell_tests::payload::Payload;
use keycell_tests::sealed::Sealed;
use serde_json::Value;

use keycell_tests::suite::Cases;

/// Around the pieces of 64 KiB in which a layer is read, and more of them than are held back.
const LENGTHS: [usize; 7] = [1, 65_535, 65_536, 65_537, 131_072, 200_000, 1 << 20];

pub(crate) fn add(cases: &mut Cases) {
    for (name, keep) in [
        ("layer/cut-to-nothing", 0),
        ("layer/cut-to-1-byte", 1),
        ("layer/cut-to-15-bytes", 15),
        ("layer/cut-to-16-bytes", 16),
        ("layer/cut-to-40000-bytes", 40_000),
        ("layer/cut-to-65536-bytes", 65_536),
        ("layer/cut-to-100000-bytes", 100_000),
        ("layer/cut-to-131072-bytes", 131_072),
    ] {
        cases.case(name, move || altered(keep + 1, move |layer| layer.truncate(keep)));
    }
    cases.case("layer/cut-by-1-byte", || altered(1, |layer| layer.truncate(layer.len() - 1)));
    cases.case("layer/cut-by-64-kib", || {
        altered(WITHHELD, |layer| layer.truncate(layer.len() - WITHHELD))
    });
    cases.case("layer/first-bit-flipped", || altered(1, |layer| layer[0] ^= 0x80));
    cases.case("layer/middle-bit-flipped", || {
        altered(1, |layer| {
            let middle = layer.len() / 2;
            layer[middle] ^= 0x10;
        })
    });
    cases.case("layer/last-bit-flipped", || {
        altered(1, |layer| {
            let last = layer.len() - 1;
            layer[last] ^= 1;
        })
    });
    cases.case("layer/two-pieces-exchanged", || {
        altered(131_072, |layer| {
            let (first, second) = layer[..131_072].split_at_mut(65_536);
            first.swap_with_slice(second);
        })
    });
    for (name, more) in [
        ("layer/longer-by-1-byte", 1),
        ("layer/longer-by-64-kib", 65_536),
        ("layer/longer-by-1-mib", 1 << 20),
    ] {
        cases.case(name, move || longer(more));
    }
    cases.case("layer/of-another-key", || {
        altered(1, |layer| *layer = Sealed::of_length(layer.len()).encrypted)
    });
    cases.case("layer/hmac-of-another", || {
        for length in LENGTHS {
            let mut sealed = Sealed::of_length(length);
            sealed.public["hmac"] = Base64::encode_string(&[7; 32]).into();
            both_sides(&sealed, |outcome| withheld(outcome, &sealed.plain))?;
        }
        Ok(())
    });
    cases.case("layer/hmac-of-the-wrong-length", || {
        for length in [0, 1, 16, 31, 33, 64] {
            hmac(Base64::encode_string(&vec![7; length]).into())?;
        }
        // The right one, cut short: its first bytes must not be enough.
        let sealed = Sealed::of_length(1000);
        let whole = sealed.public["hmac"].as_str().context("there is no HMAC")?;
        let whole = Base64::decode_vec(whole).map_err(anyhow::Error::msg)?;
        let mut cut = sealed.clone();
        cut.public["hmac"] = Base64::encode_string(&whole[..16]).into();
        both_sides(&cut, |outcome| says(outcome, &["HMAC"]))
    });
    cases.case("layer/ended-early", ended_early);
    cases.case("layer/hmac-missing", || hmac(Value::Null));
}

/// Layers of every length above `least`, altered.
fn altered(least: usize, alter: impl Fn(&mut Vec<u8>)) -> Result<()> {
    let lengths = LENGTHS.into_iter().filter(|length| *length >= least);
    for length in lengths {
        let mut sealed = Sealed::of_length(length);
        alter(&mut sealed.encrypted);
        ensure!(sealed.encrypted != Sealed::new(sealed.plain.clone()).encrypted, "unaltered");
        both_sides(&sealed, |outcome| {
            withheld(outcome, &sealed.plain)?;
            match sealed.encrypted.len() < length {
                true => says_that_it_ended(outcome.error()?),
                false => says_why(outcome.error()?),
            }
        })
        .with_context(|| format!("a layer of {length} bytes"))?;
    }
    Ok(())
}

/// Where the descriptor tells the length, as any registry's does, the layer ends before its last
/// 64 KiB have come out. Where the descriptor lies too, what was added hides where the layer ends:
/// then the last 64 KiB of the whole stay inside, and what came out is genuine.
fn longer(more: usize) -> Result<()> {
    for length in [0].into_iter().chain(LENGTHS) {
        let mut sealed = Sealed::of_length(length);
        sealed.encrypted.extend(vec![0; more]);
        both_sides(&sealed, |outcome| {
            // A size of zero is one that nobody filled in.
            if length > 0 {
                withheld(outcome, &sealed.plain)?;
            }
            ensure!(outcome.error()?.contains("pull"), "{}", outcome.stderr);
            Ok(())
        })
        .with_context(|| format!("a layer of {length} bytes and {more} more"))?;

        let node = Node::new()?;
        let wrapped = sealed.wrapped_for(&node.recipient).compact();
        let mut descriptor = sealed.descriptor(&[wrapped]);
        descriptor.size = sealed.encrypted.len() as u64;
        let payload = Payload::new(&descriptor).bytes();
        let outcome = node.without_payload(&sealed)?.payload(payload).run()?;
        says_why(outcome.error()?)?;
        let came = outcome.stdout.len();
        ensure!(came <= sealed.encrypted.len().saturating_sub(WITHHELD), "{came} bytes came out");
        let genuine = came.min(length);
        ensure!(outcome.stdout[..genuine] == sealed.plain[..genuine], "something else came out");
    }
    Ok(())
}

fn says_why(error: &str) -> Result<()> {
    ensure!(error.contains("HMAC") && error.contains("pull"), "{error}");
    Ok(())
}

/// A sender that stops is not somebody who alters layers.
fn says_that_it_ended(error: &str) -> Result<()> {
    ensure!(error.contains("whoever sends it stopped"), "{error}");
    ensure!(!error.contains("altered") && !error.contains("HMAC"), "{error}");
    Ok(())
}

/// The message gives the length that was read in a suitable unit.
fn ended_early() -> Result<()> {
    for (length, keep, words) in [
        (20_000_000, 17_750_000, "ended after 17.7 of 20.0 MB"),
        (20_000_000, 19_999_999, "ended after 19999999 of 20000000 bytes"),
        (1000, 999, "ended after 999 of 1000 bytes"),
    ] {
        let mut sealed = Sealed::of_length(length);
        sealed.encrypted.truncate(keep);
        let check = |outcome: &keycell_tests::decoder::Outcome| {
            let error = outcome.error()?;
            ensure!(error.contains(words), "{error}");
            says_that_it_ended(error)
        };
        both_sides(&sealed, check)?;
        check(&Node::new()?.decoder(&sealed)?.arg("--verify-first").run()?)?;
    }
    Ok(())
}

/// Not a valid HMAC at all: known before the layer is read.
fn hmac(value: Value) -> Result<()> {
    let mut sealed = Sealed::of_length(1000);
    sealed.public["hmac"] = value;
    both_sides(&sealed, |outcome| says(outcome, &["HMAC"]))
}

/// With the cipher of the host, and with the guest's own.
fn both_sides(
    sealed: &Sealed,
    check: impl Fn(&keycell_tests::decoder::Outcome) -> Result<()>,
) -> Result<()> {
    let node = Node::new()?;
    for side in ["host", "guest"] {
        let outcome = node.decoder(sealed)?.arg("--cipher").arg(side).run()?;
        check(&outcome).with_context(|| format!("with `--cipher {side}`"))?;
    }
    Ok(())
}
