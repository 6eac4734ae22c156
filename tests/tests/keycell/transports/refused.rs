//! What is refused, or fails half-way: one error, and nothing is left behind.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use keycell_tests::archive::tar;
use keycell_tests::layout;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, fed};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use super::{Saved, TOOLS};
use crate::fails;

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        suite.case(format!("keycell/transports/{name}"), tools, run);
    };
    case("destination-is-refused", &TOOLS, destinations);
    case("source-is-refused", &TOOLS, sources);
    case("hostile-archives", &TOOLS, hostile);
    case("interrupted", &TOOLS, interrupted);
    case("full-disk", &[Tool::Root, Tool::Openssl], full_disk);
}

/// Fails with these words, and leaves the directory as it is.
fn refused(saved: &Saved, args: &[&str], words: &[&str]) -> Result<()> {
    let before = saved.files()?;
    let mut command = saved.keycell(args)?;
    fails(command.stdin(Stdio::null()), words)?;
    let after = saved.files()?;
    ensure!(before == after, "{args:?} left something behind: {after:?}");
    Ok(())
}

fn destinations() -> Result<()> {
    let saved = Saved::new()?;
    fs::create_dir(saved.path("directory"))?;
    for (name, words) in [
        ("docker-archive:app.tar:app:1", &["can only be read", "oci-archive:FILE"][..]),
        ("docker-archive:-", &["can only be read"]),
        ("dir:app", &["`dir:` is not supported", "skopeo copy"]),
        ("containers-storage:app:1", &["`containers-storage:` is not supported"]),
        ("docker-daemon:app:1", &["`docker-daemon:` is not supported", "docker save"]),
        ("ostree:app", &["`ostree:` is not supported"]),
        ("sif:app", &["`sif:` is not supported"]),
        ("oci:to@0", &["an index or a digest"]),
        ("oci-archive:to.tar@0", &["an index or a digest"]),
        ("oci:-", &["which is a directory", "oci-archive:-"]),
        ("oci:to:not valid", &["`not valid` is not a valid name"]),
        ("oci-archiv:to.tar", &["did you mean `oci-archive:to.tar`?"]),
        ("http://registry.example/app", &["did you mean `docker://registry.example/app`?"]),
        ("to", &["does not begin with a transport", "oci-archive:"]),
        ("", &["is empty"]),
        ("oci:", &["names no directory"]),
        ("oci-archive:directory", &["is a directory", "`oci:directory`"]),
        ("oci-archive:/dev/null", &["not a regular file"]),
        ("oci-archive:nowhere/to.tar", &["cannot write to `nowhere/to.tar`"]),
    ] {
        refused(&saved, &["encrypt", "docker-archive:docker.tar", name], words)?;
    }
    Ok(())
}

fn sources() -> Result<()> {
    let saved = Saved::new()?;
    saved.skopeo(&["copy", "-q", "docker-archive:docker.tar", "oci:plain"])?;
    for (name, words) in [
        ("plain", &["did you mean `oci:plain`?"][..]),
        ("docker.tar", &["did you mean `docker-archive:docker.tar`?"]),
        (
            "oci-archive:docker.tar",
            &["no `index.json`", "did you mean `docker-archive:docker.tar`?"],
        ),
        ("docker-archive:docker.tar:app:2", &["names no image", super::TAG]),
        ("docker-archive:docker.tar@1", &["names no image", super::TAG]),
        ("oci-archive:nowhere.tar", &["cannot read `nowhere.tar`"]),
        ("oci-archive:keys", &["`keys` is a directory", "`oci:keys`"]),
        ("oci-archive:-", &["`-` is not a tar archive"]),
    ] {
        refused(&saved, &["inspect", name], words)?;
        refused(&saved, &["encrypt", name, "oci:to"], words)?;
    }
    Ok(())
}

fn hostile() -> Result<()> {
    let saved = Saved::new()?;
    let whole = fs::read(saved.path("docker.tar"))?;
    let altered = {
        let mut bytes = whole.clone();
        bytes[300_000] ^= 1;
        bytes
    };
    let list = br#"[{"Config":"c","Layers":["l"]}]"#;
    let config = br#"{"rootfs":{"diff_ids":["sha256:0"]}}"#;
    for (name, bytes, words) in [
        ("text", b"no archive".to_vec(), &["not a tar archive"][..]),
        ("empty", Vec::new(), &["not a tar archive"]),
        ("cut-off", whole[..900_000].to_vec(), &["is cut off", "save the image again"]),
        ("altered", altered, &["`1/layer.tar` was altered"]),
        ("zstd", b"\x28\xb5\x2f\xfd\0\0".to_vec(), &["compressed with zstd", "zstd -d"]),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\0\0".to_vec(), &["cannot read"]),
        ("above", tar([("../../etc/cron.d/x", &b"x"[..])]), &["leaves the archive"]),
        ("absolute", tar([("/etc/cron.d/x", &b"x"[..])]), &["leaves the archive"]),
        ("no-layer", tar([("manifest.json", &list[..]), ("c", config)]), &["has no `l`"]),
        (
            "twice",
            tar([("manifest.json", &list[..]), ("manifest.json", list)]),
            &["more than once"],
        ),
        ("no-list", tar([("a", &b"a"[..])]), &["has no `manifest.json`"]),
        ("no-json", tar([("manifest.json", &b"x"[..])]), &["`manifest.json` is not JSON"]),
    ] {
        fs::write(saved.path(name), &bytes)?;
        refused(&saved, &["inspect", &format!("docker-archive:{name}")], words)?;
        let from = format!("docker-archive:{name}");
        refused(&saved, &["encrypt", &from, "oci-archive:to.tar"], words)?;
        let piped = fed(saved.keycell(&["inspect", "docker-archive:-"])?, &[&bytes])?;
        ensure!(piped.status.code() == Some(1), "{name} by a pipe: {piped:?}");
    }
    Ok(())
}

/// In the middle of a layer: the signal ends the program, and nothing is left.
fn interrupted() -> Result<()> {
    for (signal, to, within) in [
        (Signal::INT, "oci-archive:to.tar", ""),
        (Signal::TERM, "oci-archive:to.tar:1", ""),
        (Signal::INT, "oci-archive:-", "temporary"),
        (Signal::TERM, "oci:to", ""),
    ] {
        let saved = Saved::new()?;
        let directory = saved.path("temporary");
        fs::create_dir(&directory)?;
        saved.skopeo(&["copy", "-q", "docker-archive:docker.tar", "oci:plain"])?;
        // The second layer is a pipe that stays open.
        let layer = layout::layers(&saved.path("plain"))?.swap_remove(1);
        let blob = layout::path(&saved.path("plain"), &layer)?;
        let bytes = fs::read(&blob)?;
        fs::remove_file(&blob)?;
        mknodat(CWD, &blob, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let before = saved.files()?;
        let mut command = saved.keycell(&["encrypt", "oci:plain", to])?;
        command.env("TMPDIR", &directory).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn()?;
        let mut pipe = fs::File::options().write(true).open(&blob)?;
        pipe.write_all(&bytes[..bytes.len() - 1])?;
        let staged = || -> Result<bool> {
            let within = fs::read_dir(saved.path(within))?;
            Ok(within.flatten().any(|it| it.file_name().to_string_lossy().starts_with(".keycell-")))
        };
        let started = Instant::now();
        while !staged()? {
            ensure!(started.elapsed() < Duration::from_secs(10), "{to}: nothing is staged");
            sleep(Duration::from_millis(10));
        }
        kill_process(Pid::from_child(&child), signal)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.signal() == Some(signal.as_raw()), "{to}: {}", output.status);
        ensure!(output.stdout.is_empty(), "half an archive was written");
        ensure!(saved.files()? == before && !staged()?, "{to}: something was left behind");
    }
    Ok(())
}

/// A disk that has room for the layers, but not for the archive, and one that has no room at all.
fn full_disk() -> Result<()> {
    let saved = Saved::new()?;
    fs::create_dir(saved.path("disk"))?;
    let script =
        "mount -t tmpfs -o size=$0 keycell disk && { \"$@\"; code=$?; ls -A disk; exit $code; }";
    for (size, args) in [
        ("4k", ["encrypt", "docker-archive:docker.tar", "oci-archive:disk/to.tar"]),
        ("28k", ["encrypt", "docker-archive:docker.tar", "oci-archive:disk/to.tar"]),
        ("256k", ["encrypt", "docker-archive:-", "oci-archive:to.tar"]),
    ] {
        let command = saved.keycell(&args)?;
        let mut mounted = Command::new("unshare");
        mounted.args(["--mount", "sh", "-c", script, size]);
        mounted.arg(command.get_program()).args(command.get_args());
        mounted.current_dir(saved.path("")).env("TMPDIR", saved.path("disk"));
        let input = fs::read(saved.path("docker.tar"))?;
        let output = fed(mounted, &[&input])?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{size}: {}: {said}", output.status);
        ensure!(said.contains("no space left on device\n"), "{size}: {said}");
        ensure!(said.matches("error: ").count() == 1, "{size}: {said}");
        let left = String::from_utf8(output.stdout)?;
        ensure!(left.is_empty() && !saved.path("to.tar").exists(), "{size}: `{left}` is left");
    }
    Ok(())
}
