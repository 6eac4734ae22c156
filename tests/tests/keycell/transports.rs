//! Layouts and archives as sources and destinations, with skopeo at the other end.

mod refused;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use keycell_tests::archive::tar;
use keycell_tests::image::hex;
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::layout;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, fed, output};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{fails, keycell};

const TOOLS: [Tool; 2] = [Tool::Skopeo, Tool::Openssl];
/// The tag of the image in the archive of Docker.
const TAG: &str = "registry.example/team/app:1.0";

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        suite.case(format!("keycell/transports/{name}"), tools, run);
    };
    case("mixed-freely-to-skopeo", &TOOLS, mixed_to_skopeo);
    case("from-skopeo", &TOOLS, from_skopeo);
    case("standard-input-and-output", &TOOLS, pipes);
    case("names-with-colons-and-slashes", &TOOLS, names);
    case("names-that-are-double", &TOOLS, double_names);
    case("sparse-archive", &TOOLS, sparse);
    case("archive-is-there", &TOOLS, there);
    refused::cases(suite);
}

/// A directory with an archive of `docker save`, and a key pair.
pub(crate) struct Saved {
    directory: TempDir,
    key: KeyPair,
}

impl Saved {
    pub(crate) fn new() -> Result<Self> {
        let directory = TempDir::with_prefix("keycell-transports-")?;
        let key = KeyPair::generate(directory.path(), "node", KeyKind::P256)?;
        fs::create_dir(directory.path().join("keys"))?;
        key.install(KeyForm::Pkcs8Pem, &directory.path().join("keys"))?;
        fs::write(directory.path().join("docker.tar"), docker_save())?;
        Ok(Self { directory, key })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs in this directory.
    pub(crate) fn keycell(&self, args: &[&str]) -> Result<Command> {
        let mut command = keycell(args)?;
        match args.first() {
            Some(&"encrypt") => command.arg("-r").arg(self.recipient()),
            Some(&"decrypt") => command.arg("--keys").arg("keys"),
            _ => &mut command,
        };
        command.current_dir(self.directory.path());
        Ok(command)
    }

    pub(crate) fn succeeds(&self, args: &[&str]) -> Result<String> {
        Ok(String::from_utf8(output(&mut self.keycell(args)?)?)?)
    }

    fn recipient(&self) -> String {
        format!("jwe:{}", self.key.public().display())
    }

    pub(crate) fn skopeo(&self, args: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new(Tool::Skopeo.find()?);
        command.arg("--insecure-policy").args(args).current_dir(self.directory.path());
        output(&mut command)
    }

    /// skopeo decrypts the image, and it has the layers that were saved.
    fn skopeo_decrypts(&self, name: &str) -> Result<()> {
        let key = fs::read_dir(self.path("keys"))?.next().context("no key")??.path();
        self.copied(&["--decryption-key", &key.display().to_string()], name)
    }

    /// skopeo reads the image, and it has the layers that were saved.
    fn has_layers(&self, name: &str) -> Result<()> {
        self.copied(&[], name)
    }

    fn copied(&self, options: &[&str], name: &str) -> Result<()> {
        let copy = self.path("copy");
        let _ = fs::remove_dir_all(&copy);
        self.skopeo(&[&["copy", "-q"], options, &[name, "oci:copy"]].concat())?;
        let layers = layout::layers(&copy)?.into_iter().map(|layer| {
            let mut gunzip = Command::new("gzip");
            let gunzip = gunzip.arg("-dc").stdin(File::open(layout::path(&copy, &layer)?)?);
            Ok(digest(&gunzip.output()?.stdout))
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        ensure!(configuration()["rootfs"]["diff_ids"] == json!(layers), "{name} has {layers:?}");
        Ok(())
    }

    /// What is in the directory.
    pub(crate) fn files(&self) -> Result<BTreeSet<PathBuf>> {
        fs::read_dir(self.directory.path())?.map(|entry| Ok(entry?.path())).collect()
    }
}

fn layers() -> [Vec<u8>; 2] {
    ["one", "two"].map(|name| {
        let text: Vec<u8> = name.bytes().cycle().take(700_000).collect();
        tar([(name, text.as_slice())])
    })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn configuration() -> Value {
    let diff_ids = layers().map(|layer| digest(&layer));
    json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
}

/// What `docker save` of before Docker 25 writes.
fn docker_save() -> Vec<u8> {
    let [one, two] = layers();
    let config = configuration().to_string();
    let manifest = json!([{
        "Config": "config.json", "RepoTags": [TAG], "Layers": ["1/layer.tar", "2/layer.tar"],
    }]);
    tar([
        ("1/layer.tar", one.as_slice()),
        ("2/layer.tar", two.as_slice()),
        ("config.json", config.as_bytes()),
        ("manifest.json", manifest.to_string().as_bytes()),
    ])
}

fn mixed_to_skopeo() -> Result<()> {
    let saved = Saved::new()?;
    let named = format!("docker-archive:docker.tar:{TAG}");
    saved.skopeo(&["copy", "--quiet", &named, "oci:plain:team/app:1"])?;
    saved.skopeo(&["copy", "--quiet", &named, "oci-archive:plain.tar:team/app:1"])?;
    let sources = [
        "oci:plain:team/app:1",
        "oci:plain@0",
        "oci-archive:plain.tar:team/app:1",
        "oci-archive:plain.tar",
        "docker-archive:docker.tar",
        &named,
    ];
    for (number, source) in sources.into_iter().enumerate() {
        for to in [format!("oci:to{number}:{TAG}"), format!("oci-archive:to{number}.tar:{TAG}")] {
            let said = saved.succeeds(&["encrypt", source, &to])?;
            ensure!(said.starts_with("sha256:") && said.lines().count() == 1, "{said}");
            saved.skopeo_decrypts(&to).with_context(|| format!("{source} to {to}"))?;
        }
    }
    Ok(())
}

fn from_skopeo() -> Result<()> {
    let saved = Saved::new()?;
    let from = "docker-archive:docker.tar";
    for encrypted in ["oci-archive:encrypted.tar:team/app:1", "oci:encrypted:team/app:1"] {
        saved.skopeo(&["copy", "-q", "--encryption-key", &saved.recipient(), from, encrypted])?;
        let listed = saved.succeeds(&["inspect", encrypted])?;
        ensure!(listed.matches("tar+gzip+encrypted").count() == 2, "{listed}");
        let payload =
            saved.succeeds(&["payload", encrypted, "--layer", "2", "--output", "payload"]);
        ensure!(payload.is_ok() && saved.path("payload").is_file(), "{payload:?}");
        fs::remove_file(saved.path("payload"))?;
        saved.succeeds(&["decrypt", encrypted, "oci-archive:plain.tar", "--force"])?;
        saved.has_layers("oci-archive:plain.tar")?;
    }
    Ok(())
}

fn pipes() -> Result<()> {
    let saved = Saved::new()?;
    let run = |args: &[&str], input: &[u8]| -> Result<Vec<u8>> {
        let Output { status, stdout, stderr } = fed(saved.keycell(args)?, &[input])?;
        ensure!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
        ensure!(String::from_utf8(stderr)?.contains("sha256:"), "the digest is not told");
        Ok(stdout)
    };
    let docker = fs::read(saved.path("docker.tar"))?;
    let gzip = output(Command::new("gzip").arg("-c").arg(saved.path("docker.tar")))?;
    for docker in [docker, gzip] {
        let encrypted =
            run(&["encrypt", "docker-archive:-", &format!("oci-archive:-:{TAG}")], &docker)?;
        fs::write(saved.path("encrypted.tar"), &encrypted)?;
        saved.skopeo_decrypts(&format!("oci-archive:encrypted.tar:{TAG}"))?;
        let decrypted = run(&["decrypt", "oci-archive:-", "oci-archive:-"], &encrypted)?;
        fs::write(saved.path("plain.tar"), &decrypted)?;
        saved.has_layers("oci-archive:plain.tar")?;
    }
    // A name of a file is no pipe, and a pipe may have the name of a file.
    let listed = fed(
        saved.keycell(&["inspect", "oci-archive:/dev/stdin"])?,
        &[&fs::read(saved.path("encrypted.tar"))?],
    )?;
    ensure!(String::from_utf8(listed.stdout)?.contains("+encrypted"));
    Ok(())
}

fn names() -> Result<()> {
    let saved = Saved::new()?;
    for name in ["docker.io/library/app:latest", "localhost:5000/a/b", "a--b:c@d+e", "1"] {
        for transport in ["oci:to", "oci-archive:to.tar"] {
            let to = format!("{transport}:{name}");
            saved.succeeds(&["encrypt", "docker-archive:docker.tar", &to, "--force"])?;
            saved.skopeo(&["inspect", "--raw", &to])?;
            saved.succeeds(&["inspect", &to])?;
        }
    }
    let index: Value = serde_json::from_slice(&fs::read(saved.path("to/index.json"))?)?;
    ensure!(index["manifests"].as_array().is_some_and(|images| images.len() == 4), "{index}");
    let files: BTreeSet<_> = ["docker.tar", "keys", "to", "to.tar"].map(|it| saved.path(it)).into();
    ensure!(saved.files()?.is_superset(&files), "{:?}", saved.files()?);
    ensure!(!saved.files()?.iter().any(|path| path.display().to_string().contains(':')));
    Ok(())
}

fn double_names() -> Result<()> {
    let saved = Saved::new()?;
    for image in ["1", "2"] {
        saved.succeeds(&["encrypt", "docker-archive:docker.tar", &format!("oci:to:{image}")])?;
    }
    let list = saved.path("to/index.json");
    fs::write(&list, fs::read_to_string(&list)?.replace(r#"name":"2""#, r#"name":"1""#))?;
    let mut inspect = saved.keycell(&["inspect", "oci:to:1"])?;
    fails(&mut inspect, &["`oci:to:1` names 2 images", "`oci:to@0`, `oci:to@1`"])?;
    let index: Value = serde_json::from_slice(&fs::read(&list)?)?;
    let digest = index["manifests"][1]["digest"].as_str().context("no digest")?;
    let by_digest = format!("oci:to@{digest}");
    for name in ["oci:to@0", "oci:to@1", "oci:to:@1", &by_digest] {
        let listed = saved.succeeds(&["inspect", name])?;
        ensure!(listed.contains("+encrypted"), "{name}: {listed}");
    }
    for (name, words) in [
        ("oci:to@2", &["`oci:to@2` names no image", "`oci:to@0`"][..]),
        ("oci:to:3", &["`oci:to:3` names no image", "`oci:to@0`"]),
        ("oci:to", &["`oci:to` names 2 images"]),
    ] {
        fails(&mut saved.keycell(&["inspect", name])?, words)?;
    }
    Ok(())
}

/// An archive as `ctr images export --platform` and `docker save` write it: an index of two platforms, of which
/// one is there.
fn sparse() -> Result<()> {
    let saved = Saved::new()?;
    saved.skopeo(&["copy", "-q", "docker-archive:docker.tar", "oci:plain"])?;
    let plain = saved.path("plain");
    let list: Value = serde_json::from_slice(&fs::read(plain.join("index.json"))?)?;
    let mut manifest = list["manifests"][0].clone();
    manifest["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let mut absent = manifest.clone();
    absent["platform"]["architecture"] = "arm64".into();
    absent["digest"] = digest(b"absent").into();
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [manifest, absent] });
    let index = index.to_string();
    fs::write(plain.join("blobs").join(digest(index.as_bytes()).replace(':', "/")), &index)?;
    let entry = json!({
        "mediaType": kind, "digest": digest(index.as_bytes()), "size": index.len(),
        "annotations": {
            "io.containerd.image.name": "docker.io/library/app:1",
            "org.opencontainers.image.ref.name": "1",
        },
    });
    let list = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(plain.join("index.json"), list.to_string())?;
    output(
        Command::new("tar").arg("-C").arg(&plain).arg("-cf").arg(saved.path("sparse.tar")).arg("."),
    )?;
    let source = "oci-archive:sparse.tar:docker.io/library/app:1";
    fails(
        &mut saved.keycell(&["encrypt", source, "oci-archive:to.tar"])?,
        &["linux/arm64", "--platform"],
    )?;
    ensure!(!saved.path("to.tar").exists(), "something was left behind");
    let args = ["encrypt", source, "oci-archive:to.tar:1", "--platform", "linux/amd64"];
    saved.succeeds(&args)?;
    saved.skopeo_decrypts("oci-archive:to.tar:1")
}

/// An archive that is there is replaced when that is asked for, and only as a whole.
fn there() -> Result<()> {
    let saved = Saved::new()?;
    let args = ["encrypt", "docker-archive:docker.tar", "oci-archive:to.tar:1"];
    saved.succeeds(&args)?;
    let first = fs::read(saved.path("to.tar"))?;
    fails(&mut saved.keycell(&args)?, &["`oci-archive:to.tar:1` is there already", "--force"])?;
    ensure!(fs::read(saved.path("to.tar"))? == first, "it was replaced");
    saved.succeeds(&[&args[..], &["--force"]].concat())?;
    ensure!(fs::read(saved.path("to.tar"))? != first, "it was not replaced");
    // An archive may be replaced by what is made of it, and a link to it stays.
    std::os::unix::fs::symlink("to.tar", saved.path("link.tar"))?;
    saved.succeeds(&["decrypt", "oci-archive:to.tar", "oci-archive:link.tar", "--force"])?;
    ensure!(saved.path("link.tar").is_symlink(), "the link was replaced");
    saved.has_layers("oci-archive:to.tar")
}
