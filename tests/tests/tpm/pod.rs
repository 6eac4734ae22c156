//! Pods on a real containerd, whose image only the node's TPM opens.

use std::fs;

use anyhow::{Context, Result, anyhow, ensure};
use keycell_tests::containerd::{Node, Setup};
use keycell_tests::image::Image;
use keycell_tests::registry::Registry;
use keycell_tests::release::Release;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use tempfile::TempDir;

use crate::setup::{SoftTpm, TOOLS};

/// What a node has.
const NODE: &str = include_str!("../../data/node.toml");

/// The same for containerd 2.x, with its defaults.
const NODE_OF_2: &str = include_str!("../../data/node-v3.toml");

pub(crate) fn cases(suite: &mut Suite) {
    let needs = [&Tool::NODE[..], &TOOLS].concat();
    for (name, release) in Release::all() {
        let missing = match &release {
            Ok(_) => needs.iter().find_map(|tool| tool.find().err()),
            Err(error) => Some(anyhow!("{error:#}")),
        };
        suite.case_unless(missing, format!("pod/{name}"), move || pod(&release?));
    }
}

/// From a key in the TPM to what the container prints, and not while the TPM is away.
fn pod(release: &Release) -> Result<()> {
    let mut tpm = SoftTpm::with_keys()?;
    let dir = TempDir::with_prefix("keycell-images-")?;
    let registry = Registry::start(dir.path())?;
    let plain = Image::busybox(dir.path())?;
    let pause = registry.push(&plain.pausing(dir.path())?, "pause:1")?;
    let from = registry.push(&plain, "plain:1")?;
    let host = from.split('/').next().context("a name without a host")?;
    let image = format!("{host}/encrypted:1");
    let mut encrypt = tpm.command(&keycell_tests::dist("keycell")?);
    encrypt.args(["encrypt", "--insecure", "-r"]);
    encrypt.arg(format!("pkcs11:{}", tpm.path("keys/node.yaml").display()));
    output(encrypt.args([format!("docker://{from}"), format!("docker://{image}")]))?;

    let config = if release.is_version_2() { NODE_OF_2 } else { NODE };
    let policy = fs::read(tpm.path("ocicrypt.conf"))?;
    let key_file = fs::read(tpm.path("keys/node.yaml"))?;
    let setup = Setup::new(release, config.replace("@PAUSE@", &pause)).decoder()?;
    let setup = setup.program("keycell-broker", fs::read(keycell_tests::dist("keycell-broker")?)?);
    let setup = setup.file("/etc/ocicrypt.conf", policy);
    let setup = setup.file("/etc/containerd/ocicrypt/keys/node.yaml", key_file);
    let node = Node::start(&setup)?;
    tpm.stop()?;
    let error = node.cri().pull(&image).err().context("pulled without the TPM")?;
    ensure!(format!("{error:#}").contains("gives no answer"), "{error:#}");
    tpm.start()?;
    node.cri().pull(&image)?;
    let printed = node.run_pod(&image)?;
    ensure!(printed.trim() == Image::prints(dir.path())?.trim(), "{printed}");
    Ok(())
}
