//! Each system call that the walls allow is made by some run of the decoder, in the phase in which it is
//! allowed, or names the rare case that makes it. `strace` counts them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::jwe::Recipient;
use keycell_tests::node::Node;
use keycell_tests::running::Running;
use keycell_tests::sealed::Sealed;
use keycell_tests::store::ContentStore;
use keycell_tests::suite::Suite;
use keycell_tests::swaps::Swaps;
use keycell_tests::tools::{Tool, output};
use keycell_walls::calls::{ALWAYS, Call, UNWRAPPING, WITH_LANDLOCK};
use tempfile::TempDir;

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("needed/each-call-that-is-allowed", &[Tool::Root, Tool::Strace], || {
        let mut made = Made::default();
        for run in [whole_layers, other_sources, other_guests, failures, other_kernels, providers] {
            run(&mut made)?;
        }
        let unneeded: Vec<_> = [
            (made.unneeded(ALWAYS, DECRYPT), "while the layer flows"),
            (made.unneeded(UNWRAPPING, UNWRAP), "while keys are unwrapped"),
            (made.unneeded(WITH_LANDLOCK, UNWRAP), "while keys are unwrapped, with Landlock"),
        ]
        .into_iter()
        .filter(|(calls, _)| !calls.is_empty())
        .collect();
        let made = &made.0[UNWRAP..];
        ensure!(unneeded.is_empty(), "allowed, and made by no run: {unneeded:?}; made: {made:?}");
        Ok(())
    });
}

const UNWRAP: usize = 1;
const DECRYPT: usize = 2;

/// The names of the calls that were made: before the walls, and in each phase behind them.
#[derive(Default)]
struct Made([BTreeSet<String>; 3]);

impl Made {
    fn unneeded(&self, list: &[Call], phase: usize) -> Vec<&'static str> {
        let unneeded = list.iter().filter(|call| call.rare.is_none());
        unneeded.map(Call::name).filter(|name| !self.0[phase].contains(*name)).collect()
    }

    /// Runs a decoder under `strace`, and takes down what it calls.
    fn by(&mut self, decoder: &Decoder, around: &[OsString]) -> Result<Outcome> {
        let trace = tempfile::NamedTempFile::new()?;
        let words = [strace(trace.path())?, around.to_vec()].concat();
        let outcome = decoder.clone().inside(words).run()?;
        self.read(trace.path())?;
        Ok(outcome)
    }

    fn opening(&mut self, decoder: &Decoder, sealed: &Sealed) -> Result<()> {
        self.by(decoder, &[])?.is_silent_success(&sealed.plain)
    }

    /// Reads what `strace -f` has written: a line for each call, which begins with the process.
    fn read(&mut self, trace: &Path) -> Result<()> {
        let text = fs::read_to_string(trace)?;
        let lines = || text.lines().filter_map(|line| line.split_once(' '));
        let (decoder, _) = lines().next().context("an empty trace")?;
        let is_start = |line: &str| line.trim_start().starts_with("execve(");
        let programs: BTreeSet<_> = lines().filter(|(_, line)| is_start(line)).collect();
        // A program that the decoder starts has its own walls; a child that it forks has the decoder's.
        let mut split = BTreeSet::from([decoder]);
        for (process, line) in lines().filter(|(_, line)| line.contains("clone")) {
            let child = line.rsplit(" = ").next().unwrap_or_default();
            if split.contains(process) && !programs.iter().any(|(program, _)| *program == child) {
                split.insert(child);
            }
        }
        let mut phases = BTreeMap::new();
        let mut last = 0;
        for (process, line) in lines().filter(|(process, _)| split.contains(process)) {
            // A call during which another process makes one is written in two lines.
            let call = line.trim_start().trim_start_matches("<... ");
            let call = call.split(['(', ' ']).next().unwrap_or_default();
            if is_start(line) {
                phases.clear(); // what came before has started it
                last = 0;
            } else if call.chars().all(|c| c == '_' || c.is_alphanumeric()) {
                let phase = phases.entry(process).or_insert(last);
                self.0[*phase].insert(call.to_owned());
                if call == "seccomp" && line.ends_with("= 0") {
                    *phase = (*phase + 1).min(DECRYPT);
                }
                last = *phase;
            }
        }
        ensure!(last > 0, "no walls: {text}");
        Ok(())
    }
}

/// The words before a program whose calls are written to `trace`.
fn strace(trace: &Path) -> Result<Vec<OsString>> {
    let strace = Tool::Strace.find()?.into();
    Ok(vec![strace, "-f".into(), "-qq".into(), "-o".into(), trace.into(), "--".into()])
}

/// Layers as containerd gives them, to all that may be behind the descriptors.
fn whole_layers(made: &mut Made) -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1 << 20));
    let decoder = node.decoder(&sealed)?;
    let log = node.outside().join("log");
    made.opening(&decoder.clone().arg("--log").arg(&log), &sealed)?;
    let slow = decoder.clone().in_pieces(300_000, Duration::from_millis(500));
    made.opening(&slow.clone().nonblocking(), &sealed)?;
    made.opening(&slow, &sealed)?;
    made.opening(&decoder.clone().arg("--user").arg("65534"), &sealed)?;
    let explained = made.by(&decoder.clone().arg("--explain"), &[])?;
    ensure!(explained.status.success(), "{}", explained.stderr);
    for spool in ["--spool=/var/tmp", "--spool=memory"] {
        made.opening(&decoder.clone().arg("--verify-first").arg(spool), &sealed)?;
    }
    let plain = node.outside().join("plain");
    fs::write(&plain, "")?;
    made.by(&decoder.stdout_to(&plain), &[])?;
    ensure!(fs::read(plain)? == sealed.plain, "another layer came out");
    Ok(())
}

/// Keys and layers from elsewhere.
fn other_sources(made: &mut Made) -> Result<()> {
    let (node, sealed) = (Node::without_key()?, Sealed::of_length(100_000));
    let pem = node.recipient.private_pem();
    node.add("first/of/all", "no key")?;
    node.add("second.pem", Recipient::generate().private_pem())?;
    fs::write(node.outside().join("third.pem"), &pem)?;
    let key = node.add("z/key.pem", &pem)?;
    symlink("z/key.pem", node.keys().join("link.pem"))?;
    symlink("../third.pem", node.keys().join("leads-out.pem"))?;
    made.opening(&node.decoder(&sealed)?, &sealed)?;
    let payload = sealed.payload_for(&node.recipient);
    let layer = || Decoder::new().map(|decoder| decoder.layer(sealed.encrypted.clone()));
    made.opening(&layer()?.keys(&key).payload(payload.bytes()), &sealed)?;
    let with_key = payload.private_key(pem.as_bytes());
    made.opening(&layer()?.payload(with_key.bytes()), &sealed)?;
    let store = ContentStore::of(&sealed, &node.recipient)?;
    let decoder = node.without_payload(&sealed)?.arg("--content-store").arg(store.root());
    made.opening(&decoder, &sealed)?;
    made.opening(&decoder.arg("--verify-first"), &sealed)
}

/// The guest that decrypts by itself, and a command.
fn other_guests(made: &mut Made) -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1 << 20));
    let decoder = node.decoder(&sealed)?;
    made.opening(&decoder.clone().arg("--cipher").arg("guest"), &sealed)?;

    let dir = TempDir::with_prefix("keycell-needed-")?;
    let (store, command) = (dir.path(), keycell_tests::dist("decoder-portable.wasm")?);
    let mut keycell = Command::new(keycell_tests::dist("keycell")?);
    output(keycell.args(["guest", "install", "--store"]).arg(store).arg(command))?;
    let decoder = decoder.arg("--guest-store").arg(store).arg("--guest");
    made.opening(&decoder.arg("decoder-portable"), &sealed)
}

/// Layers that do not open, before and after their first byte.
fn failures(made: &mut Made) -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1 << 20));
    let stranger = sealed.payload_for(&Recipient::generate());
    let decoder = node.without_payload(&sealed)?;
    made.by(&decoder.clone().payload(stranger.bytes()).stdin_stays_open(), &[])?
        .error_without_output()?;
    let mut forged = sealed.encrypted.clone();
    forged[1 << 19] ^= 1;
    let decoder = node.decoder(&sealed)?;
    made.by(&decoder.clone().layer(forged.clone()), &[])?.error()?;
    made.by(&decoder.clone().layer(forged).arg("--verify-first"), &[])?.error_without_output()?;
    made.by(&decoder.reader_closes_after(10_000), &[])?;
    Ok(())
}

/// Kernels without Landlock, and machines with swap.
fn other_kernels(made: &mut Made) -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(100_000));
    let key = node.keys().join("node.pem");
    let aside = node.keys().join("aside");
    fs::create_dir(&aside)?;
    fs::rename(&key, aside.join("node.pem"))?;
    symlink("aside/node.pem", key)?;
    let decoder = node.decoder(&sealed)?;
    let without: [OsString; 2] = [env!("CARGO_BIN_EXE_without").into(), "landlock".into()];
    made.by(&decoder, &without)?.is_silent_success(&sealed.plain)?;
    let swaps = Swaps::new(true)?;
    made.by(&decoder, &swaps.inside())?.is_silent_success(&sealed.plain)
}

/// A key provider, which the broker asks.
fn providers(made: &mut Made) -> Result<()> {
    let sealed = Sealed::of_length(1 << 20);
    let trace = tempfile::NamedTempFile::new()?;
    let (strace, decoder) = (strace(trace.path())?, keycell_tests::dist("ctd-decoder")?);
    let strace = strace.iter().map(Path::new);
    let program: Vec<_> = strace.chain([decoder.as_path()]).collect();
    let payload = sealed.payload_for(&Recipient::generate());
    let mut running = Running::start(&program, &[], &sealed, payload)?;
    running.answer()?;
    running.finish()?;
    made.read(trace.path())
}
