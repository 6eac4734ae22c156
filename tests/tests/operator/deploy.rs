//! `deploy/`: the manifests against Kubernetes' schemas, and the script that they run, for real, on
//! a root that stands for a node's.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use keycell_tests::jwe::Recipient;
use keycell_tests::layout::state;
use keycell_tests::node::Node;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::says;

/// containerd's configuration, from the root of the node.
const CONFIG: &str = "etc/containerd/config.toml";

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("deploy/manifests", &[Tool::Python, Tool::KubernetesValidate], manifests);
    suite.case("deploy/keys", &[], keys);
    suite.case("deploy/a-pod", &[Tool::Root, Tool::Containerd], a_pod);
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

/// What a pod does: it installs, follows the Secret, and ends at once on a signal. The pod
/// that takes everything away waits then.
fn a_pod() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-host-")?;
    let host = host(dir.path(), CONFIG, "version = 2\n", "usr/bin/containerd")?;
    let (secret, target) = (dir.path().join("secret"), host.join("etc/keycell/keys"));
    fs::create_dir(&secret)?;
    fs::write(secret.join("a.pem"), "first")?;
    let start = |verb: &str| -> Result<Child> {
        Ok(script(verb, &host, &secret)?
            .env("SECONDS_BETWEEN", "0.1")
            .stdout(Stdio::null())
            .spawn()?)
    };
    let stop = |mut pod: Child| -> Result<()> {
        kill_process(Pid::from_child(&pod), Signal::TERM)?;
        let status = pod.wait()?;
        ensure!(status.success(), "{status}");
        Ok(())
    };
    let pod = start("run")?;
    until("the first key", || fs::read(target.join("a.pem")).is_ok_and(|key| key == b"first"))?;
    ensure!(host.join("opt/keycell/bin/ctd-decoder").is_file(), "no decoder");
    fs::write(secret.join("a.pem"), "second")?;
    until("the second key", || fs::read(target.join("a.pem")).is_ok_and(|key| key == b"second"))?;
    stop(pod)?;
    ensure!(target.join("a.pem").is_file(), "the keys went with the pod");
    let pod = start("gone")?;
    until("the end", || !host.join("opt/keycell").exists() && !target.exists())?;
    stop(pod)
}

/// A pod that gets the signal to stop while it installs does both. Its first program comes from a pipe, so
/// that it installs until the pipe's other end has been closed.
fn ends_early() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-host-")?;
    let host = host(dir.path(), CONFIG, "version = 2\n", "usr/bin/containerd")?;
    let source = dir.path().join("source");
    fs::create_dir(&source)?;
    let pipe = source.join("ctd-decoder");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    for program in ["keycell-broker", "keycell"] {
        fs::copy(keycell_tests::dist(program)?, source.join(program))?;
    }
    let mut pod = script("run", &host, dir.path())?.env("SOURCE", &source).spawn()?;
    let mut program = None;
    until("somebody who reads", || {
        let mut options = OpenOptions::new();
        program = options.write(true).custom_flags(libc::O_NONBLOCK).open(&pipe).ok();
        program.is_some()
    })?;
    kill_process(Pid::from_child(&pod), Signal::TERM)?;
    program.take().context("not opened")?.write_all(b"a decoder")?;
    let status = pod.wait()?;
    ensure!(status.success(), "{status}");
    ensure!(host.join("opt/keycell/bin/keycell").is_file(), "it stopped half way");
    ensure!(!host.join("etc/keycell/keys").exists(), "it went on");
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

/// Strictly: a member that the schema does not have is an error.
fn manifests() -> Result<()> {
    let validate = |file: &Path| -> Result<String> {
        let modules = keycell_tests::workspace().join("target/tools/python");
        let mut command = Command::new(Tool::Python.find()?);
        command
            .env("PYTHONPATH", modules)
            .args(["-m", "kubernetes_validate", "--strict"])
            .arg(file);
        Ok(String::from_utf8(output(&mut command)?)?)
    };
    for name in ["daemonset.yaml", "uninstall.yaml"] {
        validate(&deploy(name))?;
    }
    // That it finds something, where there is something.
    let dir = TempDir::with_prefix("keycell-deploy-")?;
    let wrong = dir.path().join("wrong.yaml");
    let text = fs::read_to_string(deploy("daemonset.yaml"))?;
    fs::write(&wrong, text.replace("hostPID:", "hostPid:"))?;
    ensure!(validate(&wrong).is_err(), "a member that does not exist is accepted");
    Ok(())
}

fn script(verb: &str, host: &Path, keys: &Path) -> Result<Command> {
    let mut command = Command::new(deploy("node.sh"));
    command.arg(verb).env("HOST", host).env("KEYS", keys).env("RESTART", "no");
    command.env("SOURCE", keycell_tests::dist("keycell")?.parent().context("no directory")?);
    Ok(command)
}

/// From a Secret to the node's directory: what the decoder finds there after each change.
fn keys() -> Result<()> {
    let node = Node::without_key()?;
    let (host, secret) = (node.outside().join("host"), node.outside().join("secret"));
    let target = host.join("etc/keycell/keys");
    fs::create_dir_all(&secret)?;
    let sync = || -> Result<String> {
        Ok(String::from_utf8(output(&mut script("sync", &host, &secret)?)?)?)
    };
    let opens = |key: &Recipient| -> Result<bool> {
        let sealed = Sealed::of_length(1000);
        let decoder = keycell_tests::decoder::Decoder::new()?.keys(&target);
        let decoder =
            decoder.payload(sealed.payload_for(key).bytes()).layer(sealed.encrypted.clone());
        Ok(decoder.run()?.is_silent_success(&sealed.plain).is_ok())
    };
    let (first, second) = (Recipient::generate(), Recipient::generate());
    fs::write(secret.join("a.pem"), first.private_pem())?;
    says(&sync()?, &["the keys have changed"])?;
    ensure!(opens(&first)? && !opens(&second)?, "the first key");
    let before = state(&target)?;
    ensure!(sync()?.is_empty() && state(&target)? == before, "nothing has changed");
    fs::write(secret.join("b.pem"), second.private_pem())?;
    sync()?;
    ensure!(opens(&first)? && opens(&second)?, "both keys");
    fs::remove_file(secret.join("a.pem"))?;
    sync()?;
    ensure!(!opens(&first)? && opens(&second)?, "the second key");
    let names = fs::read_dir(&target)?
        .map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.retain(|name| !name.starts_with(".."));
    ensure!(names == ["b.pem"], "{names:?}");
    let directories = fs::read_dir(&target)?
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir()));
    ensure!(directories.count() == 2, "an old directory stays");
    Ok(())
}

/// A root with the machine's programs in it.
fn host(dir: &Path, config: &str, text: &str, program: &str) -> Result<PathBuf> {
    let host = dir.join("host");
    let config = host.join(config);
    fs::create_dir_all(config.parent().context("no directory")?)?;
    fs::write(&config, text)?;
    for program in [Tool::Containerd.find()?, keycell_tests::dist("keycell")?, "/bin/true".into()] {
        borrow(&program, &host)?;
    }
    let program = host.join(program);
    fs::create_dir_all(program.parent().context("no directory")?)?;
    fs::copy(Tool::Containerd.find()?, program)?;
    // Every node has it: the standard input of programs that get none.
    fs::create_dir_all(host.join("dev"))?;
    let (null, mode) = (host.join("dev/null"), Mode::from_raw_mode(0o666));
    mknodat(CWD, null, FileType::CharacterDevice, mode, makedev(1, 3))?;
    Ok(host)
}

/// Installs on a node, twice, and takes it away again.
fn on_a_node(config: &str, text: &str, program: &str, written: &str) -> Result<()> {
    let dir = TempDir::with_prefix("keycell-host-")?;
    let host = host(dir.path(), config, text, program)?;
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

/// The libraries of a program, so that it runs in `root`.
fn borrow(program: &Path, root: &Path) -> Result<()> {
    let Ok(listed) = output(Command::new("ldd").arg(program)) else { return Ok(()) };
    for word in String::from_utf8(listed)?.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(word.trim_start_matches('/'));
        fs::create_dir_all(to.parent().context("no directory")?)?;
        fs::copy(word, to)?;
    }
    Ok(())
}
