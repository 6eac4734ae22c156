//! What ends in the middle of a layer.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use keycell_tests::image::LayerKind;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::shared::{KEY, Shared, prints, snapshots};

/// The client is killed while its layer is decrypted. The decoder ends, nothing is left of the
/// layer, and the next pull works.
pub(crate) fn cancelled(shared: &Shared) -> Result<()> {
    // Gives the decoder the beginning of the layer, and once in its life nothing more for long.
    let slow = r#"#!/bin/sh
if mkdir /run/once 2>/dev/null; then
    mkfifo /run/layer
    exec 4<&0
    { head -c 100000 <&4; sleep 600; } >/run/layer 2>/dev/null &
    exec </run/layer 4<&-
fi
exec /usr/local/bin/decoder "$@"
"#;
    let node = shared.node(|setup| {
        let decoder = fs::read(keycell_tests::dist("ctd-decoder")?)?;
        let setup = setup.program("decoder", decoder).program("ctd-decoder", slow.into());
        Ok(setup.file(KEY, shared.private()?))
    })?;
    let image = shared.name(LayerKind::Gzip);
    let mut client = node.ctr_command("default", &["image", "pull", "--plain-http", image])?;
    // `nsenter` starts the client as another process.
    client.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = client.spawn()?;
    let waits = Instant::now();
    while node.processes("decoder")? == 0 {
        ensure!(waits.elapsed() < PATIENCE, "the decoder was never called");
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(100));
    kill_process_group(Pid::from_child(&client), Signal::KILL)?;
    client.wait()?;
    let waits = Instant::now();
    while node.processes("decoder")? > 0 {
        ensure!(waits.elapsed() < PATIENCE, "the decoder survives its client");
        thread::sleep(Duration::from_millis(10));
    }
    let left = snapshots(&node)?;
    ensure!(left.is_empty(), "snapshots are left: {left:?}");
    node.ctr("default", &["image", "pull", "--plain-http", image])?;
    prints(&node.ctr_run_in("default", image)?, shared)
}

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
