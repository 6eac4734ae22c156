//! What ends in the middle of a layer.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use keycell_tests::containerd::Node;
use keycell_tests::events;
use keycell_tests::image::LayerKind;
use keycell_tests::tools::output;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::shared::{KEY, Shared, prints, snapshots};

/// The client is killed while its layer is decrypted. The decoder ends, nothing is left of the
/// layer, and the next pull works.
pub(crate) fn cancelled(shared: &Shared) -> Result<()> {
    let node = slow_node(shared)?;
    let image = shared.name(LayerKind::Gzip);
    let mut client = pull_in_the_background(&node, image)?;
    kill_process_group(Pid::from_child(&client), Signal::KILL)?;
    client.wait()?;
    waits_until("the decoder survives its client", || Ok(node.processes("decoder")?.is_empty()))?;
    let left = snapshots(&node)?;
    ensure!(left.is_empty(), "snapshots are left: {left:?}");
    node.ctr("default", &["image", "pull", "--plain-http", image])?;
    prints(&node.ctr_run_in("default", image)?, shared)
}

/// containerd itself ends, and so does the decoder. After `SIGKILL` the log says how the layer ended. At
/// `SIGTERM`, containerd kills its decoders before it ends, so that none can write.
pub(crate) fn containerd_ends(shared: &Shared, signal: &str) -> Result<()> {
    let node = slow_node(shared)?;
    let mut client = pull_in_the_background(&node, shared.name(LayerKind::Gzip))?;
    let [containerd] = node.processes("containerd")?[..] else { bail!("one containerd") };
    let mut kill = node.command("/bin/sh".as_ref())?;
    output(kill.args(["-c", &format!("kill -{signal} {containerd}")]))?;
    waits_until("containerd survives", || Ok(node.processes("containerd")?.is_empty()))?;
    waits_until("the decoder survives", || Ok(node.processes("decoder")?.is_empty()))?;
    // The client would wait for another containerd.
    kill_process_group(Pid::from_child(&client), Signal::KILL)?;
    client.wait()?;
    let events = events::parse(&String::from_utf8(node.read(LOG)?)?)?;
    let layers: Vec<_> = events.iter().filter(|event| event["event"] == "layer").collect();
    match layers[..] {
        [] if signal == "TERM" => Ok(()),
        [layer] => {
            ensure!(layer["verdict"] != "decrypted" && layer["error"].is_string(), "{layer:#}");
            Ok(())
        }
        _ => bail!("{} layers: {events:#?}", layers.len()),
    }
}

/// A node whose first layer comes slowly, and does not come to its end within a test.
fn slow_node(shared: &Shared) -> Result<Node> {
    shared.node(|setup| {
        let decoder = fs::read(keycell_tests::dist("ctd-decoder")?)?;
        let setup = setup.program("decoder", decoder).program("ctd-decoder", SLOW.into());
        let setup = setup.file("/etc/keycell/config.toml", format!("log = \"{LOG}\"\n").into());
        Ok(setup.file(KEY, shared.private()?))
    })
}

const LOG: &str = "/etc/keycell/log.json";

/// Gives the decoder the layer in small pieces, once in its life.
const SLOW: &[u8] = br#"#!/bin/sh
if mkdir /run/once 2>/dev/null; then
    mkfifo /run/layer
    exec 4<&0
    /usr/bin/python3 -c '
import os, time
while piece := os.read(4, 20000):
    os.write(1, piece)
    time.sleep(0.2)
' >/run/layer 2>/dev/null &
    exec </run/layer 4<&-
fi
exec /usr/local/bin/decoder "$@"
"#;

/// Starts the pull, and waits until a layer is being decrypted.
fn pull_in_the_background(node: &Node, image: &str) -> Result<Child> {
    let mut client = node.ctr_command("default", &["image", "pull", "--plain-http", image])?;
    // `nsenter` starts the client as another process.
    client.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    let client = client.spawn()?;
    waits_until("the decoder was never called", || Ok(!node.processes("decoder")?.is_empty()))?;
    thread::sleep(Duration::from_millis(500));
    Ok(client)
}

fn waits_until(otherwise: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !holds()? {
        ensure!(started.elapsed() < PATIENCE, "{otherwise}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Longer than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
