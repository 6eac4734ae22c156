//! The chart, by helm itself, and what it makes, by Kubernetes' schemas.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::deploy;
use super::root::said;
use crate::says;

pub(crate) fn cases(suite: &mut Suite) {
    let needs = [Tool::Helm, Tool::Python, Tool::KubernetesValidate];
    suite.case("deploy/chart", &needs, chart);
    suite.case("deploy/chart-values", &needs, values);
    suite.case("deploy/manifests", &needs, manifests);
    suite.case("deploy/privileges", &needs, privileges);
    suite.case("deploy/scripts", &[Tool::Shellcheck], scripts);
}

fn helm(verb: &str, values: &[&str]) -> Result<Command> {
    let mut command = Command::new(Tool::Helm.find()?);
    command.arg(verb).args((verb == "template").then_some("keycell")).arg(deploy("chart"));
    command.args(["--namespace", "keycell"]).args(values.iter().flat_map(|value| ["--set", value]));
    Ok(command)
}

fn python(args: &[&str], file: &Path) -> Result<Vec<u8>> {
    let modules = keycell_tests::workspace().join("target/tools/python");
    let mut command = Command::new(Tool::Python.find()?);
    output(command.env("PYTHONPATH", modules).args(args).arg(file))
}

/// Strictly: a member that the schema does not have is an error.
fn validate(file: &Path) -> Result<()> {
    python(&["-m", "kubernetes_validate", "--strict"], file).map(drop)
}

/// The documents of a rendered chart or of a manifest.
fn documents(file: &Path) -> Result<Vec<Value>> {
    let program = "import json, sys, yaml
documents = filter(None, yaml.safe_load_all(open(sys.argv[1])))
print(json.dumps(list(documents)))";
    Ok(serde_json::from_slice(&python(&["-c", program], file)?)?)
}

fn daemonset(file: &Path) -> Result<Value> {
    let found = documents(file)?.into_iter().find(|document| document["kind"] == "DaemonSet");
    found.context("no DaemonSet")
}

fn chart() -> Result<()> {
    said(helm("lint", &[])?.arg("--strict"), true)?;
    let dir = TempDir::with_prefix("keycell-chart-")?;
    let file = dir.path().join("rendered.yaml");
    let variants: [&[&str]; 6] = [
        &[],
        &["uninstall=true"],
        &["restart.enabled=false"],
        &["restart.lease=false", "createNamespace=true", "priorityClassName="],
        &["markNode=true", "seLinuxOptions.type=spc_t", "nodeSelector.pool=a"],
        &["markNode=true", "uninstall=true", "imagePullSecrets[0].name=registry", "image.tag=v2"],
    ];
    for values in variants {
        fs::write(&file, output(&mut helm("template", values)?)?)?;
        validate(&file).with_context(|| format!("{values:?}"))?;
    }
    Ok(())
}

/// Values arrive where they belong, and a value that does not exist is an error.
fn values() -> Result<()> {
    let text = said(&mut helm("template", &["keySecret=other"])?, false)?;
    says(&text, &["keySecret", "not allowed"])?;
    said(&mut helm("template", &["binDirectory=opt"])?, false)?;
    let dir = TempDir::with_prefix("keycell-chart-")?;
    let file = dir.path().join("rendered.yaml");
    let values = [
        "binDirectory=/var/lib/keycell",
        "containerd.unit=my-containerd",
        "containerd.config=/etc/c.toml",
        "containerd.program=/usr/bin/c",
        "restart.enabled=false",
        "keysSecret=mine",
        "image.repository=example.org/k",
        "image.tag=v7",
    ];
    fs::write(&file, output(&mut helm("template", &values)?)?)?;
    let pod = daemonset(&file)?["spec"]["template"]["spec"].clone();
    let install = &pod["initContainers"][0];
    ensure!(install["image"] == "example.org/k:v7", "{install}");
    let variables = install["env"].as_array().context("no variables")?;
    let has = |name: &str, value: &str| variables.contains(&json!({"name": name, "value": value}));
    ensure!(has("BIN", "/var/lib/keycell") && has("UNIT", "my-containerd"), "{install}");
    ensure!(has("CONFIG", "/etc/c.toml") && has("CONTAINERD", "/usr/bin/c"), "{install}");
    ensure!(has("RESTART", "no"), "{install}");
    ensure!(!variables.iter().any(|variable| variable["name"] == "LEASE"), "{install}");
    let volumes = pod["volumes"].as_array().context("no volumes")?;
    ensure!(volumes.iter().any(|volume| volume["secret"]["secretName"] == "mine"), "{pod}");
    Ok(())
}

/// The static manifests are those of the chart, and are valid.
fn manifests() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-deploy-")?;
    output(Command::new(deploy("manifests.sh")).arg(dir.path()).env("HELM", Tool::Helm.find()?))?;
    for name in ["daemonset.yaml", "uninstall.yaml"] {
        let same = fs::read(dir.path().join(name))? == fs::read(deploy(name))?;
        ensure!(same, "`{name}` is not what the chart makes: `make manifests`");
        validate(&deploy(name))?;
    }
    // That it finds something, where there is something.
    let wrong = dir.path().join("wrong.yaml");
    let text = fs::read_to_string(deploy("daemonset.yaml"))?;
    fs::write(&wrong, text.replace("readinessProbe:", "readynessProbe:"))?;
    ensure!(validate(&wrong).is_err(), "a member that does not exist is accepted");
    Ok(())
}

/// What is privileged ends, and what stays has the keys and nothing else.
fn privileges() -> Result<()> {
    for (name, stays) in [("daemonset.yaml", true), ("uninstall.yaml", false)] {
        let pod = daemonset(&deploy(name))?["spec"]["template"]["spec"].clone();
        for shared in ["hostPID", "hostNetwork", "hostIPC"] {
            ensure!(pod.get(shared).is_none(), "{name}: {shared}");
        }
        ensure!(pod["automountServiceAccountToken"] == false, "{name}: a token everywhere");
        let containers = pod["containers"].as_array().context("no containers")?;
        ensure!(containers.len() == 1, "{name}: {containers:?}");
        let security = json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "privileged": false,
            "readOnlyRootFilesystem": true, "runAsGroup": 0, "runAsUser": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        ensure!(containers[0]["securityContext"] == security, "{name}: {}", containers[0]);
        let mounts = containers[0].get("volumeMounts").cloned().unwrap_or_else(|| json!([]));
        let expected = json!([
            {"name": "node-keys", "mountPath": "/host/etc/keycell/keys"},
            {"name": "keys", "mountPath": "/keys", "readOnly": true},
        ]);
        ensure!(mounts == if stays { expected } else { json!([]) }, "{name}: {mounts}");
        ensure!(
            containers[0].get("readinessProbe").is_some() == stays,
            "{name}: {}",
            containers[0]
        );
    }
    let documents = documents(&deploy("daemonset.yaml"))?;
    let role = documents.iter().find(|document| document["kind"] == "Role").context("no Role")?;
    let rules = json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
        "resourceNames": ["keycell-restart"], "verbs": ["get", "update"]}]);
    ensure!(role["rules"] == rules, "{role}");
    ensure!(!documents.iter().any(|it| it["kind"] == "ClusterRole"), "rights on nodes by default");
    Ok(())
}

fn scripts() -> Result<()> {
    let folder = keycell_tests::workspace().join("tests/tests/operator/deploy");
    let scripts = [deploy("node.sh"), deploy("kubernetes.sh"), deploy("manifests.sh")];
    let all = scripts.into_iter().chain([folder.join("systemctl.sh")]);
    Tool::Shellcheck.run(["-x".into()].into_iter().chain(all)).map(drop)
}
