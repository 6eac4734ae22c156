//! Docker with its containerd image store, on a node whose containerd has the decoder.

use std::fs::File;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keycell_tests::containerd::Node;
use keycell_tests::image::LayerKind;
use keycell_tests::tools::{Tool, output};

use crate::ended::PATIENCE;
use crate::shared::{KEY, Shared, prints};

/// `docker pull`, which passes no payload, and a container of what was pulled.
pub(crate) fn pull(shared: &Shared) -> Result<()> {
    let node = shared.node(|setup| {
        let setup = setup.file("/etc/docker/daemon.json", CONFIG.into());
        Ok(setup.file(KEY, shared.private()?))
    })?;
    let path = |name: &str| node.dir().join(name).display().to_string();
    let mut dockerd = node.command(&Tool::Dockerd.find()?)?;
    let host = format!("unix://{}", path("docker.sock"));
    dockerd.args(["--containerd", &path("containerd.sock"), "--host", &host]);
    dockerd.args(["--pidfile", &path("docker.pid"), "--exec-root", &path("docker")]);
    let log = File::create(path("docker.log"))?;
    // It ends when the node does.
    let mut dockerd = dockerd.stdout(Stdio::null()).stderr(log).spawn()?;
    let pulled = pull_with(&node, shared);
    let log = std::fs::read_to_string(path("docker.log"))?;
    drop(node);
    dockerd.wait()?;
    pulled.with_context(|| log)
}

fn pull_with(node: &Node, shared: &Shared) -> Result<()> {
    let started = Instant::now();
    while let Err(error) = docker(node, "GET", "_ping") {
        ensure!(started.elapsed() < PATIENCE, "dockerd does not answer: {error:#}");
        thread::sleep(Duration::from_millis(50));
    }
    for kind in LayerKind::ALL {
        let name = shared.name(kind);
        let said = docker(node, "POST", &format!("images/create?fromImage={name}"))?;
        ensure!(said.contains("Downloaded newer image"), "{said}");
        prints(&node.ctr_run_in("moby", name)?, shared)?;
    }
    Ok(())
}

/// A call of Docker's interface.
fn docker(node: &Node, method: &str, call: &str) -> Result<String> {
    let mut curl = std::process::Command::new(Tool::Curl.find()?);
    curl.args(["--silent", "--show-error", "--fail-with-body", "--request", method]);
    curl.arg("--unix-socket").arg(node.dir().join("docker.sock"));
    Ok(String::from_utf8(output(curl.arg(format!("http://docker/{call}")))?)?)
}

/// Nothing that changes the machine's network.
const CONFIG: &[u8] = br#"{
    "features": { "containerd-snapshotter": true },
    "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "userland-proxy": false
}"#;
