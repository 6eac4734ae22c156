//! Bugs of the host, at many moments of a run: each ends in one message, exit code 1 and, as soon as
//! there is a log, one event.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use keycell_hostile::accident::{ACCIDENT, KINDS};
use keycell_hostile::guest;
use keycell_tests::decoder::Decoder;
use keycell_tests::events;
use keycell_tests::jwe::Recipient;
use keycell_tests::sealed::Sealed;
use tempfile::TempDir;

/// How many moments are tried; each is a tenth later than the one before.
const MOMENTS: usize = 100;

fn all_moments(kind: &str) -> Result<()> {
    let dir = TempDir::with_prefix("keycell-accidents-")?;
    let recipient = Recipient::generate();
    fs::create_dir(dir.path().join("keys"))?;
    fs::write(dir.path().join("keys/key.pem"), recipient.private_pem())?;
    let layer = Sealed::of_length(200_000);
    let log = dir.path().join("log");
    let (mut moment, mut told) = (1, 0);
    for _ in 0..MOMENTS {
        let decoder = Decoder::at(Path::new(env!("CARGO_BIN_EXE_hostile-decoder")))
            .env(guest::GUEST, guest::EMBEDDED)
            .env(ACCIDENT, format!("{kind}:{moment}"))
            .keys(&dir.path().join("keys"))
            .arg("--log")
            .arg(&log)
            .payload(layer.payload_for(&recipient).bytes())
            .layer(layer.encrypted.clone());
        let outcome = decoder.run()?;
        if outcome.stdout == layer.plain {
            break; // it is over, or the run has fewer allocations
        }
        let at = || format!("{kind} at allocation {moment}: {}", outcome.stderr);
        outcome.error().with_context(at)?;
        ensure!(layer.plain.starts_with(&outcome.stdout), "something else came out");
        // Before the first event there is the moment in which the log is opened.
        if told > 0 || fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            let event = events::of_layer(&log).with_context(at)?;
            ensure!(event["verdict"] == "failed", "{event}");
            told += 1;
        }
        let _ = fs::remove_file(&log);
        moment += moment / 10 + 1;
    }
    ensure!(told > 20, "only {told} moments after the log was opened");
    Ok(())
}

#[test]
fn a_panic_at_any_moment() -> Result<()> {
    all_moments(KINDS[0])
}

#[test]
fn an_abort_at_any_moment() -> Result<()> {
    all_moments(KINDS[1])
}

#[test]
fn a_segmentation_fault_at_any_moment() -> Result<()> {
    all_moments(KINDS[2])
}

#[test]
fn a_stack_overflow_at_any_moment() -> Result<()> {
    all_moments(KINDS[3])
}
