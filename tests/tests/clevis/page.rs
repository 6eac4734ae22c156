//! What stands in docs/clevis.md works when it is pasted.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::layout;
use keycell_tests::tools::output;
use keycell_tests::workspace;
use tempfile::TempDir;

use crate::setup::Tang;

/// Runs the page's commands with a server of the test in the place of the page's, and a directory of the
/// test in the place of `/etc/keycell`.
pub(crate) fn commands_of_the_page() -> Result<()> {
    let page = fs::read_to_string(workspace().join("docs/clevis.md"))?;
    let blocks = page.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    ensure!(blocks.len() == 3, "the page has {} blocks of commands", blocks.len());
    let tang = Tang::new()?;
    let dir = TempDir::with_prefix("keycell-clevis-page-")?;
    let etc = dir.path().join("etc");
    fs::create_dir(dir.path().join("bin"))?;
    layout::make(&dir.path().join("plain"))?;
    let program = keycell_tests::dist("keycell")?;
    symlink(&program, dir.path().join("bin/keycell"))?;
    let script = blocks
        .concat()
        .replace("http://tang.example", &tang.url())
        .replace("/etc/keycell", &etc.display().to_string())
        .replace("/usr/bin/keycell", &program.display().to_string());
    let path = std::env::var_os("PATH").context("no PATH")?;
    let path = std::iter::once(dir.path().join("bin")).chain(std::env::split_paths(&path));
    let mut command = Command::new("sh");
    command.args(["-euc", &script]).current_dir(dir.path());
    output(command.env("PATH", std::env::join_paths(path)?))?;
    let root = dir.path().join("decrypted");
    for (layer, name) in layout::layers(&root)?.iter().zip(["one", "two", "three"]) {
        ensure!(layout::read(&root, layer)? == layout::plain(name), "layer `{name}`");
    }
    Ok(())
}
