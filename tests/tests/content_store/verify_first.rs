//! `--verify-first`: not a byte of a layer that is not genuine.

use std::fs;

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::node::{Node, says, withheld};
use keycell_tests::sealed::Sealed;
use keycell_tests::tools::Tool;

use crate::{Case, LONG};
use keycell_tests::suite::Cases;

pub(crate) fn add(cases: &mut Cases) {
    for length in [0, 1, 65_535, 65_536, 65_537, 3 * 65_536, LONG] {
        cases.case(&format!("verify-first/layer-of-{length}"), move || {
            let (node, sealed) = (Node::new()?, Sealed::of_length(length));
            for spool in ["--spool=/var/tmp", "--spool=memory"] {
                let decoder = node.decoder(&sealed)?.arg("--verify-first").arg(spool);
                decoder.run()?.is_silent_success(&sealed.plain)?;
            }
            Ok(())
        });
    }
    for (name, change) in CHANGES {
        cases.case(&format!("verify-first/{name}"), move || {
            let (node, mut sealed) = (Node::new()?, Sealed::of_length(LONG));
            let decoder = node.decoder(&sealed)?;
            change(&mut sealed.encrypted);
            let decoder = decoder.layer(sealed.encrypted.clone());
            // Without the flag part of the layer is written before the end is read.
            let outcome = decoder.run()?;
            withheld(&outcome, &sealed.plain)?;
            ensure!(!outcome.stdout.is_empty(), "nothing to show");
            for spool in ["--spool=/var/tmp", "--spool=memory"] {
                let outcome = decoder.clone().arg("--verify-first").arg(spool).run()?;
                outcome.error_without_output()?;
            }
            Ok(())
        });
    }
    cases.case("verify-first/digest-of-another-layer", || {
        let (node, mut sealed) = (Node::new()?, Sealed::of_length(LONG));
        sealed.private["digest"] = format!("sha256:{}", "0".repeat(64)).into();
        let outcome = node.decoder(&sealed)?.arg("--verify-first").run()?;
        says(&outcome, &["does not match the digest"])
    });
    cases.case("verify-first/without-a-payload", || {
        let case = Case::new(LONG)?;
        case.decoder()?.arg("--verify-first").run()?.is_silent_success(&case.sealed.plain)?;
        let mut layer = case.sealed.encrypted.clone();
        layer[LONG - 1] ^= 1;
        let outcome = case.decoder()?.arg("--verify-first").layer(layer).run()?;
        says(&outcome, &["does not match its HMAC"])
    });
    cases.case("verify-first/leaves-nothing-behind", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(LONG));
        let spool = node.outside().join("spool");
        fs::create_dir(&spool)?;
        let decoder = node.decoder(&sealed)?.arg("--verify-first").arg("--spool").arg(&spool);
        decoder.run()?.is_silent_success(&sealed.plain)?;
        decoder.clone().layer(vec![1; 100]).run()?.error_without_output()?;
        let left = fs::read_dir(&spool)?.count();
        ensure!(left == 0, "{left} files are left");
        Ok(())
    });
    cases.case("verify-first/memory-does-not-grow-with-the-layer", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(64 << 20));
        let spool = format!("--spool={}", workspace_disk().display());
        let decoder = node.decoder(&sealed)?.arg("--verify-first").arg(spool);
        let outcome = decoder.measured(env!("CARGO_BIN_EXE_meter")).run()?;
        outcome.is_silent_success(&sealed.plain)?;
        ensure!(outcome.peak < 24 * 1024, "{} KiB of memory", outcome.peak);
        Ok(())
    });
    cases.case("verify-first/limit", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(LONG + 1));
        let decoder = node.decoder(&sealed)?.arg("--verify-first");
        let small = decoder.clone().arg("--spool-limit=1").stdin_stays_open();
        says(&small.run()?, &["longer than the 1 MiB that the spool takes", "`--spool-limit`"])?;
        decoder.arg("--spool-limit=2").run()?.is_silent_success(&sealed.plain)
    });
    cases.case_with(&[Tool::Root, Tool::Unshare], "verify-first/disk-is-full", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(LONG));
        says(&on_small_disk(&node, &sealed, "512k")?, &["no space left on device", "`--spool`"])?;
        on_small_disk(&node, &sealed, "2m")?.is_silent_success(&sealed.plain)
    });
}

type Change = fn(&mut Vec<u8>);

/// Every way in which a layer can be wrong that its beginning does not show.
const CHANGES: [(&str, Change); 5] = [
    ("bit-in-the-middle", |layer| layer[LONG / 2] ^= 1),
    ("bit-at-the-end", |layer| layer[LONG - 1] ^= 1),
    ("cut-off", |layer| layer.truncate(LONG - 1)),
    ("cut-off-at-a-chunk", |layer| layer.truncate(LONG - 65_536)),
    ("appended", |layer| layer.extend([0; 100])),
];

/// Runs it where `/var/tmp` has this size.
fn on_small_disk(node: &Node, sealed: &Sealed, size: &str) -> Result<Outcome> {
    let script = r#"mount -t tmpfs -o size="$1" none /var/tmp || exit 9; shift; exec "$@""#;
    let words = ["--mount", "--propagation", "private", "sh", "-c", script, "sh", size];
    let decoder = Decoder::at(&Tool::Unshare.find()?);
    let decoder = words.iter().fold(decoder, |decoder, word| decoder.arg(word));
    let decoder = decoder.arg(keycell_tests::dist("ctd-decoder")?).keys(&node.keys());
    let decoder = decoder.payload(sealed.payload_for(&node.recipient).bytes());
    decoder.arg("--verify-first").layer(sealed.encrypted.clone()).run().context("unshare")
}

/// A directory that is surely no memory.
fn workspace_disk() -> std::path::PathBuf {
    keycell_tests::workspace().join("target")
}
