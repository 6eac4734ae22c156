//! Nodes where Keycell cannot be installed are told so, and left as they were.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use keycell_tests::layout::state;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use tempfile::TempDir;

use super::root::{CONFIG, root, said, script};
use crate::says;

pub(crate) fn cases(suite: &mut Suite) {
    let needs = [Tool::Root, Tool::Containerd, Tool::Unshare];
    suite.case("deploy/read-only-opt", &needs, || {
        let said = ["cannot write programs to `/opt/keycell/bin`", "Read-only file system", "BIN"];
        mounted("ro", "/opt/keycell/bin", &said)
    });
    suite.case("deploy/read-only-opt-with-another-directory", &needs, || {
        mounted("ro", "/var/lib/keycell/bin", &["containerd has to be restarted"])
    });
    suite.case("deploy/noexec", &needs, || {
        let said = ["`ctd-decoder` does not run", "Permission denied", "`noexec`", "BIN"];
        mounted("noexec", "/opt/keycell/bin", &said)
    });
    suite.case("deploy/no-glibc", &needs, no_glibc);
    suite.case("deploy/no-systemd", &needs, no_systemd);
    suite.case("deploy/configuration-that-containerd-refuses", &needs, refused_configuration);
}

/// `/opt` of the node with an option of mount(8). A directory of the node's own is needed to mount there.
fn mounted(option: &str, bin: &str, words: &[&str]) -> Result<()> {
    let dir = TempDir::with_prefix("keycell-host-")?;
    let host = root(dir.path(), CONFIG, "version = 2\n", "usr/bin/containerd")?;
    fs::create_dir(host.join("opt"))?;
    let before = state(&host)?;
    let inner = script("install", &host, dir.path())?;
    let mut command = Command::new(Tool::Unshare.find()?);
    command
        .args(["--mount", "--propagation", "private", "sh", "-euc"])
        .arg(
            r#"mount --bind "$1/opt" "$1/opt"
               mount -o "remount,bind,$2" "$1/opt"
               exec "$3" install"#,
        )
        .arg("sh")
        .arg(&host)
        .arg(option)
        .arg(inner.get_program());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let succeeds = !bin.starts_with("/opt");
    says(&said(command.env("BIN", bin), succeeds)?, words)?;
    if succeeds {
        let drop_in = fs::read_to_string(host.join("etc/containerd/conf.d/90-keycell.toml"))?;
        says(&drop_in, &["/var/lib/keycell/bin/ctd-decoder"])?;
    } else {
        is_as_before(&host, &before)?;
    }
    Ok(())
}

fn is_as_before(host: &Path, before: &[(std::path::PathBuf, Vec<u8>)]) -> Result<()> {
    let after = state(host)?;
    let names = after.iter().map(|(path, _)| path).collect::<Vec<_>>();
    ensure!(after == before, "the node is not as it was: {names:#?}");
    ensure!(!host.join("opt/keycell").exists(), "a directory is left");
    ensure!(!host.join("run/keycell").exists(), "a note is left");
    Ok(())
}

/// The decoder runs without the node's C library, `keycell` does not.
fn no_glibc() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-host-")?;
    let host = root(dir.path(), CONFIG, "version = 2\n", "usr/bin/containerd")?;
    fs::remove_dir_all(host.join("lib64"))?;
    let before = state(&host)?;
    let text = said(&mut script("install", &host, dir.path())?, false)?;
    says(&text, &["`keycell-broker` does not run on this node", "glibc 2.34"])?;
    is_as_before(&host, &before)
}

fn no_systemd() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-host-")?;
    let host = root(dir.path(), CONFIG, "version = 2\n", "usr/bin/containerd")?;
    fs::create_dir_all(host.join("sys/fs/cgroup"))?;
    let before = state(&host)?;
    let text = said(script("install", &host, dir.path())?.env("RESTART", "yes"), false)?;
    says(&text, &["does not run systemd", "RESTART=no", "cgroups v1"])?;
    is_as_before(&host, &before)?;
    // The hint.
    says(&said(&mut script("install", &host, dir.path())?, true)?, &["has to be restarted"])
}

/// The programs go again, because nothing names them.
fn refused_configuration() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-host-")?;
    let host = root(dir.path(), CONFIG, "version = \"two\"\n", "usr/bin/containerd")?;
    let before = state(&host)?;
    let text = said(&mut script("install", &host, dir.path())?, false)?;
    says(&text, &["containerd is not configured on this node"])?;
    is_as_before(&host, &before)
}
