//! `deploy/`: the chart and the manifests, and the script that they run, for real, on roots that stand for nodes.

mod chart;
mod keys;
mod refusals;
mod rollout;
mod root;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use keycell_tests::layout::state;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use self::root::{CONFIG, root, script};
use crate::says;

pub(crate) fn cases(suite: &mut Suite) {
    chart::cases(suite);
    keys::cases(suite);
    refusals::cases(suite);
    rollout::cases(suite);
    suite.case("deploy/a-pod-ends-early", &[Tool::Root, Tool::Containerd], ends_early);
    suite.case("deploy/containerd", &[Tool::Root, Tool::Containerd], || {
        on_a_node(CONFIG, "version = 2\n", "usr/bin/containerd", "90-keycell.toml")
    });
    suite.case("deploy/k3s", &[Tool::Root, Tool::Containerd], || {
        let config = "var/lib/rancher/k3s/agent/etc/containerd/config.toml";
        let program = "var/lib/rancher/k3s/data/current/bin/containerd";
        on_a_node(config, "version = 2\n", program, "config.toml.tmpl")
    });
    suite.case("deploy/rke2", &[Tool::Root, Tool::Containerd], || {
        let config = "var/lib/rancher/rke2/agent/etc/containerd/config.toml";
        let imports = format!("imports = [\"/{config}.d/*.toml\"]\n");
        let program = "var/lib/rancher/rke2/bin/containerd";
        on_a_node(config, &format!("version = 2\n{imports}"), program, "90-keycell.toml")
    });
}

/// A pod that gets the signal to stop while it installs finishes that. Its first program comes from a pipe, so
/// that it installs until the pipe's other end has been closed.
fn ends_early() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-host-")?;
    let host = root(dir.path(), CONFIG, "version = 2\n", "usr/bin/containerd")?;
    let source = dir.path().join("source");
    fs::create_dir(&source)?;
    let pipe = source.join("ctd-decoder");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    for program in ["keycell-broker", "keycell"] {
        fs::copy(keycell_tests::dist(program)?, source.join(program))?;
    }
    let mut pod = script("install", &host, dir.path())?.env("SOURCE", &source).spawn()?;
    let mut program = None;
    until("somebody who reads", || {
        let mut options = OpenOptions::new();
        program = options.write(true).custom_flags(libc::O_NONBLOCK).open(&pipe).ok();
        program.is_some()
    })?;
    kill_process(Pid::from_child(&pod), Signal::TERM)?;
    // A pipe does not take a whole decoder at once, and the node only has to run it.
    let small = fs::read("/bin/true")?;
    program.take().context("not opened")?.write_all(&small)?;
    let status = pod.wait()?;
    ensure!(status.success(), "{status}");
    ensure!(host.join("opt/keycell/bin/keycell").is_file(), "it stopped half way");
    ensure!(host.join("etc/containerd/conf.d/90-keycell.toml").is_file(), "not configured");
    Ok(())
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    for _ in 0..600 {
        if is_so() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("nothing of {what}")
}

fn deploy(name: &str) -> PathBuf {
    keycell_tests::workspace().join("deploy").join(name)
}

/// Installs on a node, twice, and takes it away again.
fn on_a_node(config: &str, text: &str, program: &str, written: &str) -> Result<()> {
    let dir = TempDir::with_prefix("keycell-host-")?;
    let host = root(dir.path(), config, text, program)?;
    let before = state(&host)?;
    let run = |verb: &str| -> Result<String> {
        Ok(String::from_utf8(output(&mut script(verb, &host, dir.path())?)?)?)
    };
    says(&run("install")?, &[written, "containerd has to be restarted"])?;
    let installed = state(&host)?;
    let path = installed.iter().find(|(path, _)| path.ends_with(written));
    let (_, bytes) = path.with_context(|| format!("no {written}"))?;
    says(&String::from_utf8_lossy(bytes), &["/opt/keycell/bin/ctd-decoder", "/etc/keycell/keys"])?;
    let again = run("install")?;
    ensure!(!again.contains("containerd has to be restarted"), "{again}");
    ensure!(state(&host)? == installed, "the second time changes something");
    says(&run("uninstall")?, &["containerd has to be restarted"])?;
    let mut after = state(&host)?;
    after.retain(|(path, _)| !path.to_string_lossy().ends_with(".before-keycell"));
    let names = |state: &[(PathBuf, Vec<u8>)]| {
        state.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    ensure!(after == before, "left: {:#?}\nbefore: {:#?}", names(&after), names(&before));
    Ok(())
}
