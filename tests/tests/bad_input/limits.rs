//! Limits of the service that starts the decoder. Whatever cannot be written fails with a message and
//! an event, as it does where a disk is full, and never by a signal.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::events;
use keycell_tests::node::{Node, says, withheld};
use keycell_tests::sealed::Sealed;

use keycell_tests::suite::Cases;

/// A layer longer than what is held back.
const LENGTH: usize = 300_000;

/// Less than the layer, but enough for a message and an event.
const SMALL: u64 = 64 * 1024;

pub(crate) fn add(cases: &mut Cases) {
    stderr_in_a_file(cases);
    limits_on_file_size(cases);
    other_limits(cases);
    raised(cases);
    without_write_execute(cases);
}

fn stderr_in_a_file(cases: &mut Cases) {
    // Without a limit a file is as good as a pipe: the walls have one of their own.
    cases.case("file-size/stderr-is-a-file", || {
        let (node, sealed) = node()?;
        let (stderr, log) = (node.outside().join("stderr"), node.outside().join("log"));
        for logging in ["off", &log.display().to_string()] {
            fs::write(&stderr, "")?;
            let decoder = node.decoder(&sealed)?.arg("--log").arg(logging).stderr_to(&stderr);
            decoder.run()?.is_silent_success(&sealed.plain)?;
            fs::write(&stderr, "")?;
            let explained = decoder.arg("--explain").run()?;
            ensure!(explained.status.success(), "{}: {}", explained.status, explained.stderr);
            ensure!(explained.stderr.contains("decrypt"), "cut short: {}", explained.stderr);
            fs::write(&stderr, "")?;
            let decoder = node.decoder(&altered(&sealed))?.arg("--log").arg(logging);
            let outcome = decoder.stderr_to(&stderr).run()?;
            withheld(&outcome, &sealed.plain)?;
            ensure!(outcome.stderr.contains("HMAC"), "{}", outcome.stderr);
        }
        Ok(())
    });
}

fn limits_on_file_size(cases: &mut Cases) {
    for (name, limit) in [("0", 0), ("small", SMALL)] {
        cases.case(&format!("file-size/{name}/pipes"), move || {
            let (node, sealed) = node()?;
            limited(node.decoder(&sealed)?, limit).run()?.is_silent_success(&sealed.plain)?;
            fails(&limited(node.decoder(&altered(&sealed))?, limit).run()?, "HMAC")
        });
        cases.case(&format!("file-size/{name}/stderr"), move || {
            let (node, sealed) = node()?;
            let stderr = node.outside().join("stderr");
            fs::write(&stderr, "")?;
            let genuine = limited(node.decoder(&sealed)?.stderr_to(&stderr), limit).run()?;
            genuine.is_silent_success(&sealed.plain)?;
            let decoder = node.decoder(&altered(&sealed))?.stderr_to(&stderr);
            let outcome = limited(decoder, limit).run()?;
            // Nothing can be said where nothing can be written.
            ensure!(outcome.status.code() == Some(1), "{}", outcome.status);
            ensure!(limit == 0 || outcome.stderr.contains("HMAC"), "{}", outcome.stderr);
            Ok(())
        });
        cases.case(&format!("file-size/{name}/log"), move || {
            let (node, sealed) = node()?;
            let log = node.outside().join("log");
            let logging = |decoder: Decoder| limited(decoder.arg("--log").arg(&log), limit).run();
            logging(node.decoder(&sealed)?)?.is_silent_success(&sealed.plain)?;
            fails(&logging(node.decoder(&altered(&sealed))?)?, "HMAC")?;
            let events = events::read(&log)?;
            ensure!(events.len() == if limit == 0 { 0 } else { 2 }, "{events:#?}");
            Ok(())
        });
        cases.case(&format!("file-size/{name}/stdout"), move || {
            let (node, sealed) = node()?;
            let (stdout, log) = (node.outside().join("stdout"), node.outside().join("log"));
            for sealed in [&sealed, &altered(&sealed)] {
                fs::write(&stdout, "")?;
                let decoder = node.decoder(sealed)?.stdout_to(&stdout).arg("--log").arg(&log);
                let outcome = limited(decoder, limit).run()?;
                fails(&outcome, "cannot write the plain layer: file too large")?;
                fails(&outcome, "LimitFSIZE")?;
                let came = fs::read(&stdout)?;
                ensure!(sealed.plain.starts_with(&came), "something else came out");
                ensure!(came.len() as u64 <= limit, "{} bytes came out", came.len());
            }
            let events = events::read(&log)?;
            ensure!(limit == 0 || events.iter().all(|it| it["verdict"] == "failed"), "{events:#?}");
            Ok(())
        });
        for spool in ["memory", "directory"] {
            cases.case(&format!("file-size/{name}/spool-in-{spool}"), move || {
                let (node, sealed) = node()?;
                let log = node.outside().join("log");
                let place = if spool == "memory" { spool.into() } else { node.outside().into() };
                let place: OsString = place;
                let decoder = node.decoder(&sealed)?.arg("--verify-first").arg("--spool");
                let decoder = decoder.arg(place).arg("--log").arg(&log);
                let outcome = limited(decoder, limit).run()?;
                says(&outcome, &["cannot take the layer: file too large", "`LimitFSIZE`"])?;
                ensure!(limit == 0 || events::of_layer(&log)?["verdict"] == "failed");
                Ok(())
            });
        }
    }
}

fn other_limits(cases: &mut Cases) {
    // Others than the size of files: a message and an event, or the layer.
    for limit in [
        "--nofile=3",
        "--nofile=4",
        "--nofile=6",
        "--nofile=8",
        "--nofile=16",
        "--nproc=0",
        "--stack=16384",
        "--stack=65536",
        "--stack=262144",
        "--as=1048576",
        "--as=16777216",
        "--as=268435456",
        "--as=1073741824",
        "--as=4294967296",
        "--cpu=1",
        "--memlock=0",
        "--data=1048576",
        "--rtprio=0",
        "--sigpending=0",
        "--core=0",
        "--locks=0",
    ] {
        cases.case(&format!("limit/{}", &limit[2..]), move || {
            let (node, sealed) = node()?;
            let log = node.outside().join("log");
            let decoder = node.decoder(&sealed)?.arg("--log").arg(&log);
            let outcome = decoder.inside(vec!["prlimit".into(), limit.into()]).run()?;
            if outcome.status.success() {
                return outcome.is_silent_success(&sealed.plain);
            }
            // A program that the kernel cannot even load says nothing.
            if outcome.signal().is_some() && !log.exists() && limit.starts_with("--as=") {
                return Ok(());
            }
            withheld(&outcome, &sealed.plain)?;
            ensure!(!outcome.stderr.contains("(os error"), "{}", outcome.stderr);
            ensure!(!outcome.stderr.contains("bug"), "a limit is no bug: {}", outcome.stderr);
            let named = match limit.split('=').next() {
                Some("--nofile") => "LimitNOFILE",
                Some("--stack") => "LimitSTACK",
                Some("--as") => "LimitAS",
                _ => "hint",
            };
            ensure!(outcome.stderr.contains(named), "nothing of {named}: {}", outcome.stderr);
            if log.exists() {
                let event = events::of_layer(&log).with_context(|| outcome.stderr.clone())?;
                ensure!(event["verdict"] == "failed", "{event}");
            }
            Ok(())
        });
    }
}

/// Limits that are lower than a run needs are raised where the hard limit is higher.
fn raised(cases: &mut Cases) {
    for limit in ["--as=1073741824:", "--as=268435456:", "--stack=16384:", "--nofile=5:"] {
        cases.case(&format!("raised/{}", &limit[2..]), move || {
            let (node, sealed) = node()?;
            let words = vec!["prlimit".into(), limit.into()];
            node.decoder(&sealed)?.inside(words).run()?.is_silent_success(&sealed.plain)
        });
    }
}

/// The embedded guest is code from the start; an installed one has to become it.
fn without_write_execute(cases: &mut Cases) {
    cases.case("denied/write-execute", || {
        let (node, sealed) = node()?;
        let store = node.outside().join("guests");
        let guest = Command::new(keycell_tests::dist("keycell")?)
            .args(["guest", "install", "--name", "ours", "--store"])
            .args([&store, &keycell_tests::dist("decoder.wasm")?])
            .output()?;
        ensure!(guest.status.success(), "{}", String::from_utf8_lossy(&guest.stderr));
        let installed = node.decoder(&sealed)?.arg("--guest=ours").arg("--guest-store").arg(&store);
        installed.run()?.is_silent_success(&sealed.plain)?;
        for way in ["write-execute-by-prctl", "write-execute-by-filter"] {
            let without: Vec<OsString> = vec![env!("CARGO_BIN_EXE_without").into(), way.into()];
            let outcome = node.decoder(&sealed)?.inside(without.clone()).run()?;
            if outcome.status.code() == Some(77) {
                continue; // this kernel does not know it
            }
            outcome.is_silent_success(&sealed.plain)?;
            let outcome = installed.clone().inside(without).run()?;
            says(&outcome, &["executable", "`MemoryDenyWriteExecute`"])?;
        }
        Ok(())
    });
}

fn node() -> Result<(Node, Sealed)> {
    Ok((Node::new()?, Sealed::of_length(LENGTH)))
}

/// Its last byte is another.
fn altered(sealed: &Sealed) -> Sealed {
    let mut altered = sealed.clone();
    if let Some(last) = altered.encrypted.last_mut() {
        *last ^= 1;
    }
    altered
}

/// With a limit on the size of files, as `LimitFSIZE` of a service.
fn limited(decoder: Decoder, bytes: u64) -> Decoder {
    decoder.inside(vec!["prlimit".into(), format!("--fsize={bytes}").into()])
}

fn fails(outcome: &Outcome, word: &str) -> Result<()> {
    let error = outcome.error()?;
    ensure!(error.contains(word), "nothing of {word}: {error}");
    Ok(())
}
