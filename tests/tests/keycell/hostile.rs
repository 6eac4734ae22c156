//! Images that nobody's tool writes, and what is unusual about real ones.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::layout::{self, TAR, layers, plain};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use serde_json::{Value, json};

use crate::recipients::Made;
use crate::{fails, keycell, says, succeeds};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| {
        suite.case(format!("keycell/hostile/{name}"), &[Tool::Openssl], run);
    };
    case("a-layer-that-is-a-configuration", layer_and_configuration);
    case("a-plain-layer-that-is-said-to-be-encrypted", plain_bytes_with_wrapped_keys);
    case("encrypted-without-a-wrapped-key", encrypted_without_a_wrapped_key);
    case("layers-that-are-elsewhere", layers_that_are_elsewhere);
    case("index-and-manifest-at-once", index_and_manifest);
    case("members-in-another-case", members_in_another_case);
    case("an-artifact-in-the-index", artifact_in_the_index);
    case("platform-in-the-configuration", platform_in_the_configuration);
    case("choices-that-fit-nothing", choices_that_fit_nothing);
    case("blobs-that-are-not-there", blobs_that_are_not_there);
    case("attestation-before-its-image", attestation_before_its_image);
    case("referrer-beside-the-image", referrer_beside_the_image);
    case("file-size-limit", file_size_limit);
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image `plain:demo` with this manifest.
fn image(document: impl FnOnce(&Made) -> Result<Value>) -> Result<Made> {
    let made = Made::without_image()?;
    let document = document(&made)?.to_string().into_bytes();
    let entry = layout::blob(&made.path("plain"), MANIFEST, document)?;
    layout::list(&made.path("plain"), vec![layout::named(entry, "demo")])?;
    Ok(made)
}

fn layer(made: &Made, name: &str) -> Result<Value> {
    layout::blob(&made.path("plain"), TAR, plain(name))
}

fn encrypt(made: &Made) -> Result<Command> {
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    keycell(&["encrypt", &from, &to, "-r", &recipient])
}

fn layer_and_configuration() -> Result<()> {
    let made = image(|made| {
        let layer = layer(made, "first")?;
        Ok(json!({ "schemaVersion": 2, "config": layer, "layers": [layer] }))
    })?;
    fails(&mut encrypt(&made)?, &["cannot encrypt layer 1", "also a configuration"])?;
    ensure!(made.is_alone()?, "something was written");
    Ok(())
}

/// The wrapped key is that of another layer: no new recipient could open this one.
fn plain_bytes_with_wrapped_keys() -> Result<()> {
    let made = image(|made| Ok(json!({ "schemaVersion": 2, "layers": [layer(made, "first")?] })))?;
    made.encrypt_plain()?;
    let mut forged = layers(&made.path("encrypted"))?.remove(0);
    let bytes = layout::blob(&made.path("forged"), TAR, plain("second"))?;
    (forged["digest"], forged["size"]) = (bytes["digest"].clone(), bytes["size"].clone());
    let manifest = layout::manifest(&made.path("forged"), "linux", "amd64", vec![forged])?;
    layout::list(&made.path("forged"), vec![layout::named(manifest, "demo")])?;
    let (from, to, recipient) = (made.name("forged"), made.name("more"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient, "--keys", &made.keys()];
    fails(&mut keycell(&args)?, &["layer 1", "the key of this layer does not open it"])?;
    ensure!(!made.path("more").exists(), "something was written");
    Ok(())
}

fn encrypted_without_a_wrapped_key() -> Result<()> {
    let made = image(|made| {
        let mut layer = layer(made, "first")?;
        layer["mediaType"] = json!(format!("{TAR}+encrypted"));
        Ok(json!({ "schemaVersion": 2, "layers": [layer] }))
    })?;
    fails(&mut encrypt(&made)?, &["cannot encrypt layer 1", "without a wrapped key"])
}

/// Only a foreign layer may be missing, and that is told.
fn layers_that_are_elsewhere() -> Result<()> {
    const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    for (kind, urls, is_fine) in [
        (FOREIGN, json!(["https://example.org/layer"]), true),
        (FOREIGN, json!([]), false),
        (TAR, json!(["https://example.org/layer"]), false),
    ] {
        let made = image(|made| {
            let mut missing = layer(made, "second")?;
            fs::remove_file(layout::path(&made.path("plain"), &missing)?)?;
            (missing["mediaType"], missing["urls"]) = (json!(kind), urls.clone());
            Ok(json!({ "schemaVersion": 2, "layers": [layer(made, "first")?, missing] }))
        })?;
        let mut command = encrypt(&made)?;
        command.args(["--layer", "1"]);
        if is_fine {
            let (_, said) = says(&mut command)?;
            ensure!(said.contains("and it is not copied: its `urls` say where it is"), "{said}");
        } else {
            fails(&mut command, &["layer 2", "cannot read"])?;
            ensure!(made.is_alone()?, "something was written");
        }
    }
    Ok(())
}

fn index_and_manifest() -> Result<()> {
    let made = image(|made| {
        let layer = layer(made, "first")?;
        Ok(json!({ "schemaVersion": 2, "manifests": [], "layers": [layer] }))
    })?;
    fails(&mut encrypt(&made)?, &["is malformed", "both an index and a manifest"])
}

/// Programs in Go read `Layers` as `layers`.
fn members_in_another_case() -> Result<()> {
    for member in ["Layers", "LAYERS"] {
        let made = image(|made| {
            let layer = layer(made, "first")?;
            Ok(json!({ "schemaVersion": 2, "layers": [layer], member: [layer] }))
        })?;
        let named = format!("`{member}` is read as `layers` by some");
        fails(&mut encrypt(&made)?, &["is malformed", &named])?;
    }
    Ok(())
}

/// It has no platform, so that the choice of one does not concern it.
fn artifact_in_the_index() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let image = layout::manifest(&root, "linux", "amd64", vec![layer(&made, "first")?])?;
    let config = layout::blob(&root, "application/vnd.example.config", b"not JSON".to_vec())?;
    let artifact =
        json!({ "schemaVersion": 2, "config": config, "layers": [layer(&made, "second")?] });
    let artifact = layout::blob(&root, MANIFEST, artifact.to_string().into_bytes())?;
    let former = layout::blob(&root, MANIFEST, br#"{"blobs":[]}"#.to_vec())?;
    let index = layout::index(&root, vec![image, artifact, former])?;
    layout::list(&root, vec![layout::named(index, "demo")])?;
    let (_, said) = says(encrypt(&made)?.args(["--platform", "linux/amd64"]))?;
    ensure!(said.starts_with("encrypted 1 layer for"), "{said}");
    ensure!(said.matches("not encrypted: ").count() == 1, "{said}");
    Ok(())
}

/// An index need not name it. `--prune` leaves such manifests out as well.
fn platform_in_the_configuration() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let manifests = [("amd64", "first"), ("arm64", "second")].map(|(architecture, name)| {
        let mut entry = layout::manifest(&root, "linux", architecture, vec![layer(&made, name)?])?;
        entry.as_object_mut().context("no object")?.remove("platform");
        Ok(entry)
    });
    let manifests = manifests.into_iter().collect::<Result<Vec<_>>>()?;
    layout::list(&root, vec![layout::named(layout::index(&root, manifests)?, "demo")])?;
    let (_, said) = says(encrypt(&made)?.args(["--platform", "linux/amd64", "--prune"]))?;
    ensure!(said.starts_with("encrypted 1 layer for") && !said.contains("not encrypted"), "{said}");
    let states = layout::state(&made.path("encrypted"))?;
    ensure!(states.iter().all(|(_, bytes)| *bytes != plain("second")), "it is there");
    Ok(())
}

/// One that fits does not hide one that is misspelt.
fn choices_that_fit_nothing() -> Result<()> {
    let made = Made::new()?;
    let mut command = encrypt(&made)?;
    command.args(["--platform", "linux/amd64", "--platform", "linux/arm46"]);
    fails(&mut command, &["no layer is chosen by `--platform linux/arm46`", "keycell inspect"])?;
    let mut command = encrypt(&made)?;
    command.args(["--layer", "1", "--layer", "7", "--layer", "0"]);
    fails(&mut command, &["no layer is chosen by `--layer 7`, `--layer 0`"])?;
    ensure!(made.is_alone()?, "something was written");
    Ok(())
}

/// The manifest of another platform is there, and its layer is not.
fn blobs_that_are_not_there() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let amd64 = layout::manifest(&root, "linux", "amd64", vec![layer(&made, "first")?])?;
    let missing = layer(&made, "second")?;
    fs::remove_file(layout::path(&root, &missing)?)?;
    let arm64 = layout::manifest(&root, "linux", "arm64", vec![missing])?;
    layout::list(&root, vec![layout::named(layout::index(&root, vec![amd64, arm64])?, "demo")])?;
    fails(&mut encrypt(&made)?, &["the index lists `linux/arm64`", "does not have it"])?;
    fails(
        encrypt(&made)?.args(["--platform", "linux/arm64", "--prune"]),
        &["the index lists `linux/arm64`", "does not have it"],
    )?;
    ensure!(made.is_alone()?, "something was written");
    let (_, said) = says(encrypt(&made)?.args(["--platform", "linux/amd64"]))?;
    ensure!(said.contains("`linux/arm64` stays in the index"), "{said}");
    succeeds(encrypt(&made)?.args(["--prune", "--force"]))?;
    Ok(())
}

/// In an index of its own, which comes first.
fn attestation_before_its_image() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let image = layout::manifest(&root, "linux", "amd64", vec![layer(&made, "first")?])?;
    let statement = layout::blob(&root, layout::IN_TOTO, plain("attested"))?;
    let mut attestation = layout::manifest(&root, "unknown", "unknown", vec![statement])?;
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image["digest"],
    });
    let nested = layout::index(&root, vec![attestation])?;
    let index = layout::index(&root, vec![nested, image])?;
    layout::list(&root, vec![layout::named(index, "demo")])?;
    succeeds(encrypt(&made)?.args(["--allow-unencrypted", layout::IN_TOTO]))?;
    let root = made.path("encrypted");
    let read = |entry: &Value| -> Result<Value> {
        Ok(serde_json::from_slice(&layout::read(&root, entry)?)?)
    };
    let list: Value = serde_json::from_slice(&fs::read(root.join("index.json"))?)?;
    let index = read(&list["manifests"][0])?;
    let nested = read(&index["manifests"][0])?;
    let attested = &nested["manifests"][0]["annotations"]["vnd.docker.reference.digest"];
    ensure!(*attested == index["manifests"][1]["digest"], "{nested}");
    Ok(())
}

/// A document with a `subject` that the layout lists without a name.
fn referrer_beside_the_image() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let image = layout::manifest(&root, "linux", "amd64", vec![layer(&made, "first")?])?;
    let referrer = json!({ "schemaVersion": 2, "layers": [], "subject": image });
    let referrer = layout::blob(&root, MANIFEST, referrer.to_string().into_bytes())?;
    let digest = referrer["digest"].as_str().context("no digest")?.to_owned();
    layout::list(&root, vec![layout::named(image, "demo"), referrer])?;
    let archive = made.path("node.tar");
    let mut tar = Command::new("tar");
    keycell_tests::tools::output(tar.arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."))?;
    for from in [made.name("plain"), format!("oci-archive:{}:demo", archive.display())] {
        let (to, recipient) = (made.name("encrypted"), made.recipient());
        let args = ["encrypt", &from, &to, "-r", &recipient, "--force"];
        let (_, said) = says(&mut keycell(&args)?)?;
        ensure!(said.contains(&format!("note: `{digest}` belongs to")), "{from}: {said}");
    }
    Ok(())
}

/// `ulimit -f`: an error like that of a full disk, and nothing stays.
fn file_size_limit() -> Result<()> {
    let made = Made::new()?;
    let keycell = keycell_tests::dist("keycell")?.display().to_string();
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let line = format!(
        "ulimit -f 500; exec {keycell} encrypt {from} {to} -r {recipient} --drop-attestations"
    );
    fails(Command::new("sh").args(["-c", &line]), &["cannot write", "file too large"])?;
    ensure!(made.is_alone()?, "something was left behind");
    Ok(())
}
