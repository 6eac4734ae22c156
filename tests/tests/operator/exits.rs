//! Every way in which a decoder can end, except `SIGKILL`: one message, one event, exit code 1, and
//! standard output held for a moment, so that containerd does not lose what it was.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::{Decoder, Moment};
use keycell_tests::events;
use keycell_tests::jwe::Recipient;
use keycell_tests::node::Node;
use keycell_tests::running::Running;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use rustix::process::Signal;
use serde_json::Value;

use crate::journal::{self, Journal};

/// Those by which somebody asks a process to end.
const POLITE: [Signal; 8] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::VTALARM,
    Signal::PROF,
];

/// Those that a crash raises, and the limit on processor time.
const CRASHES: [Signal; 7] = [
    Signal::SEGV,
    Signal::BUS,
    Signal::ILL,
    Signal::FPE,
    Signal::ABORT,
    Signal::TRAP,
    Signal::XCPU,
];

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| {
        suite.case(format!("ending/{name}"), &[], run);
    };
    case("terminated-while-the-layer-flows", || {
        POLITE.into_iter().try_for_each(|signal| {
            let event = ends(signal, Moment::Flows, "abandoned", |decoder| {
                // These tests may run under `nohup`, which the decoder heeds.
                decoder.inside(words(&["env", "--default-signal"]))
            })?;
            ensure!(event["layer"].is_string() && event["key"].is_string(), "{event}");
            Ok(())
        })
    });
    case("terminated-while-the-payload-is-awaited", || {
        ends(Signal::TERM, Moment::Begun, "abandoned", Decoder::payload_stays_open).map(drop)
    });
    case("crashed-while-the-layer-flows", || {
        CRASHES.into_iter().try_for_each(|signal| {
            ends(signal, Moment::Flows, "failed", |decoder| decoder).map(drop)
        })
    });
    // A caller may leave all signals blocked, or ignored.
    case("crashed-where-the-caller-ignores-signals", || {
        ends(Signal::SEGV, Moment::Flows, "failed", |decoder| {
            decoder.inside(words(&["env", "--ignore-signal"]))
        })
        .map(drop)
    });
    case("terminated-where-the-caller-blocks-signals", || {
        ends(Signal::TERM, Moment::Flows, "abandoned", |decoder| {
            decoder.inside(words(&["env", "--block-signal"]))
        })
        .map(drop)
    });
    case("a-layer-where-the-caller-blocks-and-ignores-signals", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1 << 20));
        let words = words(&["env", "--block-signal", "--ignore-signal"]);
        node.decoder(&sealed)?.inside(words).run()?.is_silent_success(&sealed.plain)
    });
    // `SIGCHLD` among them: the kernel would not tell how the broker ended.
    case("a-provider-where-the-caller-blocks-and-ignores-signals", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1 << 20));
        let decoder = keycell_tests::dist("ctd-decoder")?;
        let env = ["env", "--block-signal", "--ignore-signal"].map(Path::new);
        let keys = node.keys();
        let program = [&env[..], &[&decoder, "--decryption-keys-path".as_ref(), &keys]].concat();
        let payload = sealed.payload_for(&Recipient::generate());
        let mut running = Running::start(&program, &[], &sealed, payload)?;
        running.go_on()?;
        running.finish()
    });
    case("out-of-memory", out_of_memory);
    case("standard-output-is-held", standard_output_is_held);
    let name = "ending/wrong-flags-and-configuration-are-logged";
    suite.case(name, &journal::TOOLS, wrong_flags_and_configuration_are_logged);
}

fn words(words: &[&str]) -> Vec<std::ffi::OsString> {
    words.iter().map(Into::into).collect()
}

/// A decoder that gets `signal` ends with one message and one event, which is returned.
fn ends(
    signal: Signal,
    moment: Moment,
    verdict: &str,
    change: fn(Decoder) -> Decoder,
) -> Result<Value> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1 << 20));
    let log = node.outside().join("log");
    let decoder = change(node.decoder(&sealed)?.arg("--log").arg(&log));
    let decoder = decoder.stdin_stays_open().signalled(signal, moment);
    let outcome = decoder.run()?;
    let number = format!("signal {:>2}", signal.as_raw());
    let error = outcome.error().with_context(|| number.clone())?;
    ensure!(error.contains(&number), "nothing of {number}: {error}");
    ensure!(outcome.stdout.len() < sealed.plain.len(), "the whole layer came out");
    let event = events::of_layer(&log).with_context(|| number.clone())?;
    ensure!(event["verdict"] == verdict, "{number}: {event}");
    let told = event["error"].as_str().unwrap_or_default();
    ensure!(told.contains(&number) && error.contains(told), "{told}, and on stderr {error}");
    Ok(event)
}

/// So little that it begins, and cannot go on.
fn out_of_memory() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1 << 20));
    let mut told = 0;
    for mebibytes in [2, 3, 4, 6, 8, 12, 16] {
        let log = node.outside().join(format!("log-{mebibytes}"));
        let words = words(&["prlimit", &format!("--data={}", mebibytes << 20)]);
        let decoder = node.decoder(&sealed)?.arg("--log").arg(&log).inside(words);
        let outcome = decoder.run()?;
        if outcome.status.success() {
            break;
        }
        let error = outcome.error().with_context(|| format!("{mebibytes} MiB"))?;
        ensure!(error.lines().filter(|line| !line.starts_with("hint: ")).count() == 1, "{error}");
        if log.exists() {
            let event = events::of_layer(&log).with_context(|| format!("{mebibytes} MiB"))?;
            ensure!(event["verdict"] == "failed", "{event}");
            told += 1;
        }
    }
    ensure!(told > 0, "no run ended for lack of memory after it had opened its log");
    Ok(())
}

/// Until a moment after the process has ended: containerd asks for its exit code when it closes.
fn standard_output_is_held() -> Result<()> {
    let held = |args: &[&str]| -> Result<Duration> {
        let mut child = Command::new(keycell_tests::dist("ctd-decoder")?)
            .args(["--content-store", "off"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdout = child.stdout.take().context("stdout is piped")?;
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).map(|_| Instant::now())
        });
        ensure!(!child.wait()?.success(), "{args:?} succeeded");
        let ended = Instant::now();
        let closed = reader.join().map_err(|_| anyhow::anyhow!("a panic"))??;
        Ok(closed.saturating_duration_since(ended))
    };
    for args in [
        &["--no-such-flag"][..],
        &["--cipher", "neither"],
        &["--config", "/nonexistent/config.toml"],
        &["--decryption-keys-path", "/dev/null"],
    ] {
        let held = held(args)?;
        ensure!(held > Duration::from_millis(100), "{args:?}: held for {held:?}");
    }
    Ok(())
}

/// To the log that there is without any configuration, since the one that was meant is not known.
fn wrong_flags_and_configuration_are_logged() -> Result<()> {
    let node = Node::new()?;
    let journal = Journal::new(node.outside())?;
    let config = node.outside().join("config.toml");
    fs::write(&config, "cipher = \"host\"\nchipher = \"guest\"\n")?;
    let config = config.display().to_string();
    for (args, word) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--cipher", "neither"], "neither"),
        (&["--verify-first", "--cipher", "guest"], "exclude each other"),
        (&["--config", "/nonexistent/config.toml"], "/nonexistent/config.toml"),
        (&["--config", &config], "there is no key `chipher`"),
    ] {
        let output = journal.decoder(args)?.stdin(Stdio::null()).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{args:?}: {}, {stderr}", output.status);
        let entry = journal.entry().with_context(|| format!("{args:?}: {stderr}"))?;
        ensure!(entry.contains("KEYCELL_VERDICT=failed\n"), "{args:?}: {entry}");
        ensure!(entry.contains(word) && stderr.contains(word), "{args:?}: {entry}, {stderr}");
    }
    Ok(())
}
