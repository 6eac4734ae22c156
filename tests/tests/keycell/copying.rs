//! What all commands that rewrite images do alike: they say what they would do, choose among platforms, and
//! leave nothing behind when they are interrupted.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keycell_tests::layout::{self, TAR, layers, plain};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::recipients::Made;
use crate::{fails, keycell, says, succeeds};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| {
        suite.case(format!("keycell/copying/{name}"), &[Tool::Openssl], run);
    };
    case("dry-run", dry_run);
    case("digest", digest);
    case("json", json);
    case("many-layers-at-a-time", many_layers_at_a_time);
    case("platforms-that-are-not-there", platforms_that_are_not_there);
    case("prune", prune);
    case("interrupted/SIGINT", || interrupted(Signal::INT));
    case("interrupted/SIGTERM", || interrupted(Signal::TERM));
    case("interrupted/SIGHUP", || interrupted(Signal::HUP));
    case("interrupted/SIGQUIT", || interrupted(Signal::QUIT));
    case("interrupted/SIGALRM", || interrupted(Signal::ALARM));
    case("interrupted/SIGXCPU", || interrupted(Signal::XCPU));
    case("interrupted/SIGUSR1", || interrupted(Signal::USR1));
    case("ignored-signals", ignored_signals);
    case("standard-input-twice", standard_input_twice);
    case("full-disk", full_disk);
}

const DROP: &str = "--drop-attestations";

fn dry_run() -> Result<()> {
    let made = Made::new()?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient, "--platform", "linux/amd64", "--dry-run"];
    let (printed, said) = says(&mut keycell(&args)?)?;
    ensure!(said.starts_with("would encrypt 2 layers for `jwe:"), "{said}");
    ensure!(said.contains("not encrypted: layer 1 of linux/arm64"), "{said}");
    ensure!(printed.is_empty() && made.is_alone()?, "something was written: {printed}");
    Ok(())
}

/// What is printed is the digest of the image, as skopeo computes it.
fn digest() -> Result<()> {
    let made = Made::new()?;
    let file = made.path("digest");
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient, DROP, "--digestfile"];
    let printed = succeeds(keycell(&args)?.arg(&file))?;
    let list = fs::read(made.path("encrypted").join("index.json"))?;
    let list: Value = serde_json::from_slice(&list)?;
    let index = layout::path(&made.path("encrypted"), &list["manifests"][0])?;
    let computed = Tool::Skopeo.run(["manifest-digest".as_ref(), index.as_os_str()])?;
    ensure!(printed.as_bytes() == computed, "{printed}");
    ensure!(fs::read_to_string(file)? == printed.trim_end());
    Ok(())
}

fn json() -> Result<()> {
    let made = Made::new()?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient, DROP, "--layer", "1", "--json"];
    let said: Value = serde_json::from_str(&succeeds(&mut keycell(&args)?)?)?;
    ensure!(said["destination"] == *to, "{said}");
    ensure!(said["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{said}");
    let encrypted: Vec<_> =
        said["layers"].as_array().context("no layers")?.iter().map(|it| &it["encrypted"]).collect();
    ensure!(encrypted == [true, false, true], "{said}");
    let inspected = succeeds(&mut keycell(&["inspect", &to, "--json", "--keys", &made.keys()])?)?;
    let inspected: Value = serde_json::from_str(&inspected)?;
    ensure!(inspected["digest"] == said["digest"], "{inspected}");
    let first = &inspected["manifests"][0]["layers"][0];
    ensure!(first["digest"] == said["layers"][0]["digest"], "{inspected}");
    ensure!(first["wrappedKeys"][0]["scheme"] == "jwe", "{inspected}");
    ensure!(first["openedBy"].as_array().is_some_and(|keys| keys.len() == 1), "{inspected}");
    Ok(())
}

/// More layers than jobs, some of them twice: each stays in its place.
fn many_layers_at_a_time() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let names = ["a", "b", "c", "d", "e", "a", "f", "g", "b"];
    let blobs = names.iter().map(|name| layout::blob(&root, TAR, plain(name)));
    let manifest = layout::manifest(&root, "linux", "amd64", blobs.collect::<Result<_>>()?)?;
    layout::list(&root, vec![layout::named(manifest, "demo")])?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    succeeds(&mut keycell(&["encrypt", &from, &to, "-r", &recipient, "--jobs", "4"])?)?;
    let found = layers(&made.path("encrypted"))?;
    let mut digests: Vec<_> = found.iter().map(|layer| layer["digest"].to_string()).collect();
    digests.sort();
    digests.dedup();
    ensure!(digests.len() == names.len(), "two layers share a key: {digests:?}");
    made.decrypts()?;
    let root = made.path("decrypted");
    for (layer, name) in layers(&root)?.iter().zip(names) {
        ensure!(layout::read(&root, layer)? == plain(name), "{name} is another");
    }
    Ok(())
}

/// An index lists both platforms, and the layout has one, as an archive of `docker save`.
fn sparse() -> Result<Made> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let platform = |architecture: &str| -> Result<Value> {
        let layer = layout::blob(&root, TAR, plain(architecture))?;
        layout::manifest(&root, "linux", architecture, vec![layer])
    };
    let (amd64, arm64) = (platform("amd64")?, platform("arm64")?);
    fs::remove_file(layout::path(&root, &arm64)?)?;
    let index = layout::index(&root, vec![amd64, arm64])?;
    layout::list(&root, vec![layout::named(index, "demo")])?;
    Ok(made)
}

fn platforms_that_are_not_there() -> Result<()> {
    let made = sparse()?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient];
    let words = ["the index lists `linux/arm64`", "does not have it", "`--platform`"];
    fails(&mut keycell(&args)?, &words)?;
    fails(keycell(&args)?.args(["--platform", "linux/arm64"]), &words)?;
    ensure!(made.is_alone()?, "something was written");
    let (_, said) = says(keycell(&args)?.args(["--platform", "linux/amd64"]))?;
    ensure!(said.contains("`linux/arm64` stays in the index"), "{said}");
    let said = succeeds(&mut keycell(&["inspect", &to])?)?;
    ensure!(said.contains("+encrypted") && said.contains("linux/arm64: not there"), "{said}");
    Ok(())
}

fn prune() -> Result<()> {
    let made = sparse()?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let (_, said) = says(&mut keycell(&["encrypt", &from, &to, "-r", &recipient, "--prune"])?)?;
    ensure!(!said.contains("arm64"), "{said}");
    let said = succeeds(&mut keycell(&["inspect", &to])?)?;
    ensure!(said.contains("+encrypted") && !said.contains("arm64"), "{said}");
    Ok(())
}

/// In the middle of the second layer of `decrypt`, when the first is complete: no byte of either stays.
fn interrupted(signal: Signal) -> Result<()> {
    let made = Made::new()?;
    made.encrypt(&["--platform", "linux/amd64"])?;
    let root = made.path("encrypted");
    let blob = layout::path(&root, &layers(&root)?[1])?;
    let kept = made.path("node.kept");
    fs::rename(&blob, &kept)?;
    mknodat(CWD, &blob, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    fs::remove_dir_all(made.path("plain"))?;

    let (from, to) = (made.name("encrypted"), made.name("new"));
    let mut command = keycell(&["decrypt", &from, &to, "--jobs", "2", "--keys", &made.keys()])?;
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut pipe = File::options().read(true).write(true).open(&blob)?;
    std::io::Write::write_all(&mut pipe, &fs::read(&kept)?[..300_000])?;
    wait_for(&mut child, || has_plain(made.dir.path()).or(Ok(false)))?;
    kill_process(Pid::from_child(&child), signal)?;
    let status = child.wait()?;
    let ended_by = std::os::unix::process::ExitStatusExt::signal(&status);
    ensure!(ended_by == Some(signal.as_raw()), "{status}");
    drop(pipe);
    fs::remove_file(&blob)?;
    for entry in fs::read_dir(made.dir.path())? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let known = name == "encrypted" || name == "keys" || name.starts_with("node");
        ensure!(known, "`{name}` was left behind");
    }
    Ok(())
}

/// Whether the first layer lies in a directory that is not complete yet, in clear.
fn has_plain(directory: &Path) -> Result<bool> {
    let expected = plain("one");
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_staging =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_staging && layout::state(&path)?.iter().any(|(_, bytes)| *bytes == expected) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn wait_for(child: &mut Child, condition: impl Fn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !condition()? {
        ensure!(child.try_wait()?.is_none(), "it has ended");
        ensure!(started.elapsed() < Duration::from_secs(20), "nothing happens");
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// `nohup` starts a program so that it outlives its terminal.
fn ignored_signals() -> Result<()> {
    let made = Made::new()?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let keycell = keycell_tests::dist("keycell")?.display().to_string();
    let blob = layout::path(&made.path("plain"), &layers(&made.path("plain"))?[0])?;
    let kept = fs::read(&blob)?;
    fs::remove_file(&blob)?;
    mknodat(CWD, &blob, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let script = format!("trap '' HUP; exec {keycell} encrypt {from} {to} -r {recipient} {DROP}");
    let mut command = std::process::Command::new("sh");
    let mut child =
        command.args(["-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // This fails until the layer is read.
    let open = || rustix::fs::open(&blob, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
    let opened = std::cell::RefCell::new(None);
    wait_for(&mut child, || {
        *opened.borrow_mut() = open().ok();
        Ok(opened.borrow().is_some())
    })?;
    let pipe = opened.take().context("no pipe")?;
    fcntl_setfl(&pipe, OFlags::empty())?;
    kill_process(Pid::from_child(&child), Signal::HUP)?;
    std::io::Write::write_all(&mut File::from(pipe), &kept)?;
    ensure!(child.wait()?.success(), "the signal has ended it");
    Ok(())
}

fn standard_input_twice() -> Result<()> {
    let made = Made::new()?;
    let to = "docker://registry.invalid/app:1";
    let args = ["encrypt", "oci-archive:-", to, "-r", &made.recipient(), "--username", "me"];
    let words = ["standard input cannot have both", "`--authfile`"];
    fails(keycell(&args)?.arg("--password-stdin").stdin(Stdio::null()), &words)
}

fn full_disk() -> Result<()> {
    let made = Made::new()?;
    let disk = made.path("node.disk");
    fs::create_dir(&disk)?;
    let small = ["-t", "tmpfs", "-o", "size=1m", "tmpfs"].map(AsRef::as_ref);
    keycell_tests::tools::output(
        std::process::Command::new("mount").args(small.into_iter().chain([disk.as_os_str()])),
    )?;
    let full = || -> Result<()> {
        let (from, recipient) = (made.name("plain"), made.recipient());
        let to = format!("oci:{}:demo", disk.join("new").display());
        let args = ["encrypt", &from, &to, "-r", &recipient, DROP];
        fails(&mut keycell(&args)?, &["cannot write", "no space left on device"])?;
        ensure!(fs::read_dir(&disk)?.next().is_none(), "something was left behind");
        Ok(())
    };
    let outcome = full();
    keycell_tests::tools::output(std::process::Command::new("umount").arg(&disk))?;
    outcome
}
