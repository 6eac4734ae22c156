//! From a Secret to the node's keys directory, by the container that stays: user 0 without Linux capabilities, and
//! nothing to write to but that directory.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::Decoder;
use keycell_tests::jwe::Recipient;
use keycell_tests::layout::state;
use keycell_tests::node::Node;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::root::{CONFIG, root, said, script};
use super::until;
use crate::says;

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("deploy/keys", &[], keys);
    let needs = [Tool::Root, Tool::Containerd, Tool::Unshare, Tool::Setpriv];
    suite.case("deploy/a-pod", &needs, a_pod);
}

/// What the decoder finds there after each change.
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
        let decoder = Decoder::new()?.keys(&target);
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

/// Runs the script as the container that stays does.
fn unprivileged(verb: &str, host: &Path, secret: &Path) -> Result<Command> {
    let inner = script(verb, host, secret)?;
    let mut command = Command::new(Tool::Unshare.find()?);
    command
        .args(["--mount", "--propagation", "private", "sh", "-euc"])
        .arg(
            r#"mount --bind "$1" "$1"
               mount -o remount,bind,ro /
               exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs "$2" "$3""#,
        )
        .arg("sh")
        .arg(host.join("etc/keycell/keys"))
        .arg(inner.get_program())
        .arg(verb);
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("SECONDS_BETWEEN", "0.1");
    Ok(command)
}

fn a_pod() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-host-")?;
    let host = root(dir.path(), CONFIG, "version = 2\n", "usr/bin/containerd")?;
    let (secret, target) = (dir.path().join("secret"), host.join("etc/keycell/keys"));
    fs::create_dir(&secret)?;
    let write = |name: &str, text: &str| -> Result<()> {
        let _ = fs::remove_file(secret.join(name));
        fs::write(secret.join(name), text)?;
        Ok(fs::set_permissions(secret.join(name), PermissionsExt::from_mode(0o400))?)
    };
    write("a.pem", "first")?;
    // The kubelet does.
    fs::create_dir_all(&target)?;
    output(&mut script("install", &host, &secret)?)?;
    ensure!(host.join("opt/keycell/bin/ctd-decoder").is_file(), "no decoder");
    ensure!(!target.join("a.pem").exists(), "the privileged container copies keys");

    let is_ready = |is: bool| said(&mut unprivileged("ready", &host, &secret)?, is);
    says(&is_ready(false)?, &["the keys of the Secret are not on the node yet"])?;
    let log = dir.path().join("watch.log");
    let mut pod = watch(&host, &secret, &log)?;
    let has =
        |name: &str, text: &str| fs::read_to_string(target.join(name)).is_ok_and(|key| key == text);
    until("the first key", || has("a.pem", "first"))?;
    is_ready(true)?;
    write("a.pem", "second")?;
    write("b.pem", "other")?;
    until("the second key", || has("a.pem", "second") && has("b.pem", "other"))?;
    fs::remove_file(secret.join("b.pem"))?;
    until("one key", || !target.join("b.pem").exists())?;
    is_ready(true)?;
    for file in [target.join("a.pem"), fs::canonicalize(target.join("..data"))?] {
        let found = fs::metadata(&file)?;
        ensure!(
            found.uid() == 0 && found.mode() & 0o077 == 0,
            "{}: {:o}",
            file.display(),
            found.mode()
        );
    }
    let process = fs::read_to_string(format!("/proc/{}/status", pod.id()))?;
    says(&process, &["CapEff:\t0000000000000000", "NoNewPrivs:\t1"])?;
    kill_process(Pid::from_child(&pod), Signal::TERM)?;
    let status = pod.wait()?;
    ensure!(status.success(), "{status}: {}", fs::read_to_string(&log)?);
    ensure!(has("a.pem", "second"), "the keys went with the pod");
    write("a.pem", "third")?;
    is_ready(false)?;
    output(&mut script("uninstall", &host, &secret)?)?;
    ensure!(!host.join("opt/keycell").exists() && !target.exists(), "something stays");
    Ok(())
}

fn watch(host: &Path, secret: &Path, log: &Path) -> Result<Child> {
    let log = File::create(log)?;
    let mut command = unprivileged("watch", host, secret)?;
    command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null());
    command.spawn().context("no pod")
}
