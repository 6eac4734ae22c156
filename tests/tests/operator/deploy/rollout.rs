//! Several nodes at once: one restarts its containerd after the other, and none goes on after a failure. The API
//! server is small, but its versions conflict as those of Kubernetes do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Service, Tool, output};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::root::{Node, said};
use super::until;
use crate::says;

const NEEDS: [Tool; 9] = [
    Tool::Root,
    Tool::Containerd,
    Tool::Busybox,
    Tool::Unshare,
    Tool::Nsenter,
    Tool::Python,
    Tool::Openssl,
    Tool::Curl,
    Tool::Jq,
];

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/keycell/leases/keycell-restart";
const NODE: &str = "/api/v1/nodes/node-1";

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("deploy/one-after-the-other", &NEEDS, one_after_the_other);
    suite.case("deploy/holder-that-ended", &NEEDS, holder_that_ended);
    suite.case("deploy/failed-restart", &NEEDS, failed_restart);
    suite.case("deploy/ended-before-the-restart", &NEEDS, ended_before_the_restart);
    suite.case("deploy/killed-in-the-restart", &NEEDS, killed_in_the_restart);
    suite.case("deploy/found-where-it-runs", &NEEDS, found_where_it_runs);
    suite.case("deploy/restart-fails-without-keycell-too", &NEEDS, fails_anyway);
    suite.case("deploy/mark", &NEEDS, mark);
}

struct Api {
    _service: Service,
    dir: PathBuf,
    url: String,
}

impl Api {
    /// The first `meet` reads of the Lease wait for each other.
    fn start(dir: &Path, meet: u32) -> Result<Self> {
        let dir = dir.join("api");
        fs::create_dir(&dir)?;
        let certificate = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout tls.key -out tls.crt";
        let mut openssl = Command::new(Tool::Openssl.find()?);
        output(openssl.current_dir(&dir).args(certificate.split_whitespace()))?;
        fs::copy(dir.join("tls.crt"), dir.join("ca.crt"))?;
        fs::write(dir.join("token"), "a token\n")?;
        fs::write(dir.join("meet"), meet.to_string())?;
        let mut command = Command::new(Tool::Python.find()?);
        let program = "tests/tests/operator/deploy/api_server.py";
        command.arg(keycell_tests::workspace().join(program)).arg(&dir);
        let service = Service::start(&mut command, &dir.join("log"))?;
        until("an API server", || dir.join("port").exists())?;
        let url = format!("https://127.0.0.1:{}", fs::read_to_string(dir.join("port"))?);
        Ok(Self { _service: service, dir, url })
    }

    fn object(&self, path: &str) -> Result<Value> {
        let name = path.rsplit('/').next().context("no name")?;
        Ok(serde_json::from_slice(&fs::read(self.dir.join(format!("{name}.json")))?)?)
    }

    /// As an operator does with `kubectl`.
    fn patch(&self, path: &str, patch: &Value) -> Result<()> {
        let mut patch = patch.clone();
        patch["metadata"]["resourceVersion"] =
            self.object(path)?["metadata"]["resourceVersion"].clone();
        Tool::Curl.run([
            "--fail",
            "--silent",
            "--cacert",
            &self.dir.join("ca.crt").to_string_lossy(),
            "--header",
            "Authorization: Bearer a token",
            "--header",
            "Content-Type: application/merge-patch+json",
            "--request",
            "PATCH",
            "--data",
            &patch.to_string(),
            &format!("{}{path}", self.url),
        ])?;
        Ok(())
    }

    fn answers(&self, answer: &str) -> usize {
        let log = fs::read_to_string(self.dir.join("requests")).unwrap_or_default();
        log.lines().filter(|line| line.starts_with(answer)).count()
    }

    fn script(&self, node: &Node, verb: &str) -> Result<Command> {
        let mut command = node.script(verb)?;
        command.env("LEASE", "keycell-restart").env("API", &self.url).env("ACCOUNT", &self.dir);
        command.env("POLL_SECONDS", "0.2");
        Ok(command)
    }
}

/// Everything that a call says goes to a file, so that it can be read meanwhile.
fn started(mut command: Command, log: &Path) -> Result<Child> {
    let file = fs::File::create(log)?;
    Ok(command.stdout(file.try_clone()?).stderr(file).stdin(Stdio::null()).spawn()?)
}

/// The script, below the `timeout` below the `nsenter` that was started.
fn script_of(pod: &Child) -> Result<Pid> {
    let child = |process: &str| -> Result<String> {
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
        Ok(children.trim().to_owned())
    };
    let script = child(&child(&pod.id().to_string())?)?;
    script.parse().ok().and_then(Pid::from_raw).context("no script")
}

/// All read the free Lease before any takes it, so all but one are refused, and wait.
fn one_after_the_other() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-nodes-")?;
    let api = Api::start(dir.path(), 3)?;
    let names = ["node-1", "node-2", "node-3"];
    let nodes: Vec<_> =
        names.iter().map(|name| Node::start(dir.path(), name)).collect::<Result<_>>()?;
    let log = |node: &Node| dir.path().join(node.name).join("install.log");
    let pods: Vec<_> = nodes
        .iter()
        .map(|node| started(api.script(node, "install")?, &log(node)))
        .collect::<Result<_>>()?;
    for (mut pod, node) in pods.into_iter().zip(&nodes) {
        let status = pod.wait()?;
        ensure!(status.success(), "{status}: {}", fs::read_to_string(log(node))?);
        ensure!(node.has_configuration(), "{} is not installed", node.name);
    }
    let mut restarts = Vec::new();
    for node in &nodes {
        ensure!(node.restarts()?.len() == 1, "{}: {:?}", node.name, node.restarts()?);
        restarts.extend(node.restarts()?);
    }
    restarts.sort_unstable();
    ensure!(restarts.windows(2).all(|two| two[0].1 <= two[1].0), "at once: {restarts:?}");
    ensure!(api.answers(&format!("PUT {LEASE} 409")) >= 2, "nobody was refused");
    let lease = api.object(LEASE)?;
    ensure!(lease["spec"] == json!({"leaseTransitions": 3}), "not released: {lease}");
    // Nothing changes, so nothing restarts, and nobody asks for the Lease.
    let before = api.object(LEASE)?;
    said(&mut api.script(&nodes[0], "install")?, true)?;
    ensure!(nodes[0].restarts()?.len() == 1, "it restarts without a change");
    ensure!(api.object(LEASE)? == before, "it takes the Lease without a change");
    said(&mut api.script(&nodes[0], "uninstall")?, true)?;
    ensure!(nodes[0].restarts()?.len() == 2 && !nodes[0].has_configuration(), "it is still there");
    Ok(())
}

/// A holder that does not change its Lease for as long as it may hold it has ended.
fn holder_that_ended() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-nodes-")?;
    let api = Api::start(dir.path(), 0)?;
    let node = Node::start(dir.path(), "node-1")?;
    // By the clock of another machine it has just been taken.
    let taken = json!({"spec": {"holderIdentity": "node-2", "leaseDurationSeconds": 3,
        "acquireTime": "2099-01-01T00:00:00.000000Z", "renewTime": "2099-01-01T00:00:00.000000Z"}});
    api.patch(LEASE, &taken)?;
    let begin = Instant::now();
    let text = said(api.script(&node, "install")?.env("LEASE_SECONDS", "3"), true)?;
    says(&text, &["waiting for node-2, which restarts containerd", "restarting containerd"])?;
    ensure!(begin.elapsed().as_secs_f32() > 2.0, "it did not wait");
    ensure!(api.object(LEASE)?["spec"].get("holderIdentity").is_none(), "not released");
    // Its own Lease, from a pod that ended, it takes at once.
    fs::remove_dir_all(node.root.join("etc/containerd/conf.d"))?;
    let restarts = node.restarts()?.len();
    api.patch(LEASE, &json!({"spec": {"holderIdentity": "node-1"}}))?;
    let begin = Instant::now();
    said(api.script(&node, "install")?.env("LEASE_SECONDS", "60"), true)?;
    ensure!(begin.elapsed().as_secs() < 30, "it waited for itself");
    ensure!(
        node.has_configuration() && node.restarts()?.len() == restarts + 1,
        "not installed again"
    );
    Ok(())
}

/// The node is as it was before, its pod says so and does not try again, and the other nodes wait for an operator.
fn failed_restart() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-nodes-")?;
    let api = Api::start(dir.path(), 0)?;
    let broken = Node::start(dir.path(), "node-1")?;
    let other = Node::start(dir.path(), "node-2")?;
    broken.breaks(true)?;
    let text = said(&mut api.script(&broken, "install")?, false)?;
    let failure = "containerd did not start with Keycell's configuration; it runs again without it";
    says(&text, &[failure, "journalctl --unit containerd"])?;
    ensure!(!broken.has_configuration(), "the configuration is still there");
    ensure!(!broken.root.join("stopped").exists(), "containerd does not run");
    ensure!(broken.restarts()?.len() == 2, "{:?}", broken.restarts()?);

    let log = dir.path().join("other.log");
    let mut pod = started(api.script(&other, "install")?, &log)?;
    let waits =
        || fs::read_to_string(&log).is_ok_and(|text| text.contains("no other node goes on"));
    until("the other node, which waits", waits)?;
    says(&fs::read_to_string(&log)?, &["because node-1: containerd did not start"])?;
    let text = said(&mut api.script(&broken, "install")?, false)?;
    says(
        &text,
        &["this node has failed before", "annotate lease keycell-restart keycell.dev/failed-"],
    )?;
    ensure!(broken.restarts()?.len() == 2 && other.restarts()?.is_empty(), "somebody restarts");
    // A reboot of either is harmless.
    ensure!(
        !broken.has_configuration() && !other.has_configuration(),
        "configured without a restart"
    );

    broken.breaks(false)?;
    api.patch(LEASE, &json!({"metadata": {"annotations": {"keycell.dev/failed": null}}}))?;
    ensure!(pod.wait()?.success(), "{}", fs::read_to_string(&log)?);
    said(&mut api.script(&broken, "install")?, true)?;
    for node in [&broken, &other] {
        ensure!(node.has_configuration(), "{} is not installed", node.name);
    }
    ensure!(broken.restarts()?.len() == 3 && other.restarts()?.len() == 1, "not one restart each");
    Ok(())
}

/// A pod that waits for the Lease ends on a signal, and has not configured containerd yet, so that a reboot meanwhile
/// is harmless.
fn ended_before_the_restart() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-nodes-")?;
    let api = Api::start(dir.path(), 0)?;
    let node = Node::start(dir.path(), "node-1")?;
    api.patch(LEASE, &json!({"spec": {"holderIdentity": "node-2"}}))?;
    let log = dir.path().join("install.log");
    let mut pod = started(api.script(&node, "install")?, &log)?;
    until("a pod that waits", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("waiting"))
    })?;
    kill_process(script_of(&pod)?, Signal::TERM)?;
    ensure!(!pod.wait()?.success(), "it succeeds before the restart");
    says(&fs::read_to_string(&log)?, &["a signal came before containerd was configured"])?;
    ensure!(!node.has_configuration() && node.restarts()?.is_empty(), "it does not wait");
    api.patch(LEASE, &json!({"spec": {"holderIdentity": null}}))?;
    said(&mut api.script(&node, "install")?, true)?;
    ensure!(node.has_configuration() && node.restarts()?.len() == 1, "it is not installed");
    Ok(())
}

/// The next pod restarts containerd, although it finds the configuration as it should be. The one after it does not.
fn killed_in_the_restart() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-nodes-")?;
    let api = Api::start(dir.path(), 0)?;
    let node = Node::start(dir.path(), "node-1")?;
    fs::write(node.root.join("hangs"), "")?;
    let mut pod = started(api.script(&node, "install")?, &dir.path().join("install.log"))?;
    until("a restart", || node.root.join("restarting").exists())?;
    kill_process(script_of(&pod)?, Signal::KILL)?;
    ensure!(!pod.wait()?.success(), "it was not killed");
    fs::remove_file(node.root.join("hangs"))?;
    ensure!(node.has_configuration() && node.restarts()?.is_empty(), "not before the restart");
    said(&mut api.script(&node, "install")?, true)?;
    ensure!(node.restarts()?.len() == 1, "the restart is forgotten");
    said(&mut api.script(&node, "install")?, true)?;
    ensure!(node.restarts()?.len() == 1, "it restarts again");
    Ok(())
}

/// A containerd that runs with another configuration file than the usual is the one that is configured, and restarted
/// with it. That it is there, and not its file, is what names it.
fn found_where_it_runs() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-nodes-")?;
    let node = Node::start(dir.path(), "node-1")?;
    fs::create_dir(node.root.join("srv"))?;
    fs::write(node.root.join("srv/c.toml"), "version = 2\nroot = \"/data\"\nstate = \"/state\"\n")?;
    fs::write(node.root.join("containerd-config"), "/srv/c.toml\n")?;
    node.restart()?;
    let first = fs::read_to_string(node.root.join("containerd-pid"))?;
    said(&mut node.script("install")?, true)?;
    ensure!(node.root.join("srv/conf.d/90-keycell.toml").is_file(), "configured somewhere else");
    ensure!(!node.has_configuration(), "the usual file is configured as well");
    ensure!(node.restarts()?.len() == 2, "{:?}", node.restarts()?);
    ensure!(fs::read_to_string(node.root.join("containerd-pid"))? != first, "the old one runs");
    said(&mut node.script("install")?, true)?;
    ensure!(node.restarts()?.len() == 2, "it restarts again");
    said(&mut node.script("uninstall")?, true)?;
    ensure!(node.restarts()?.len() == 3, "{:?}", node.restarts()?);
    ensure!(!node.root.join("srv/conf.d/90-keycell.toml").exists(), "still configured");
    Ok(())
}

/// The message does not promise that containerd runs.
fn fails_anyway() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-nodes-")?;
    let node = Node::start(dir.path(), "node-1")?;
    node.breaks(true)?;
    fs::write(node.root.join("etc/containerd/other.txt"), "ctd-decoder")?;
    let text = said(&mut node.script("install")?, false)?;
    says(&text, &["did not start with Keycell's configuration, nor after that was removed"])?;
    ensure!(!node.has_configuration(), "the configuration is still there");
    Ok(())
}

/// The label comes, Keycell's taint goes, and everything else stays.
fn mark() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-nodes-")?;
    let api = Api::start(dir.path(), 0)?;
    let node = Node::start(dir.path(), "node-1")?;
    api.patch(NODE, &json!({"metadata": {"labels": {"zone": "a"}}}))?;
    said(&mut api.script(&node, "mark")?, true)?;
    let object = api.object(NODE)?;
    let labels = json!({"zone": "a", "keycell.dev/ready": "true"});
    ensure!(object["metadata"]["labels"] == labels, "{object}");
    let taints = json!([{"key": "example.org/gpu", "effect": "NoSchedule"}]);
    ensure!(object["spec"]["taints"] == taints, "{object}");
    said(&mut api.script(&node, "unmark")?, true)?;
    let object = api.object(NODE)?;
    ensure!(object["metadata"]["labels"] == json!({"zone": "a"}), "{object}");
    ensure!(object["spec"]["taints"] == taints, "{object}");
    Ok(())
}
