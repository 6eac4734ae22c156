//! Nothing stays readable, and nothing stays encrypted, unless it is said; and what refers to an image
//! follows it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use keycell_tests::layout::{self, IN_TOTO, TAR, layers, plain};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use serde_json::{Value, json};

use crate::recipients::Made;
use crate::{fails, keycell, says, succeeds};

pub(crate) fn cases(suite: &mut Suite) {
    for media_type in UNKNOWN {
        suite.case(format!("keycell/clear/{media_type}"), &[Tool::Openssl], move || {
            refused_by_name(media_type)
        });
    }
    let mut case = |name: &str, run: fn() -> Result<()>| {
        suite.case(format!("keycell/clear/{name}"), &[Tool::Openssl], run);
    };
    case("readable-ones-are-named", readable_ones_are_named);
    case("by-explicit-media-type", by_explicit_media_type);
    case("copies-elsewhere", copies_elsewhere);
    case("copies-beside", copies_beside);
    case("wrapped-keys-of-another-layer", wrapped_keys_of_another_layer);
    case("decrypt/other-media-types", decrypts_other_media_types);
    case("decrypt/without-a-wrapped-key", without_a_wrapped_key);
    case("decrypt/another-recipient", another_recipient);
    case("attestations/follow", attestations_follow);
    case("attestations/dropped", attestations_dropped);
    case("references-are-told", references_are_told);
    case("no-image", no_image);
    case("too-many-documents", too_many_documents);
}

/// What an image may have, and nothing encrypts without being told.
const UNKNOWN: [&str; 7] = [
    "application/vnd.oci.image.layer.v1.squashfs",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.v1.tar+xz",
    "application/vnd.docker.ai.gguf.v3",
    "application/vnd.in-toto+json",
    "application/octet-stream",
    "",
];

/// An image `plain:demo` with these layers, and a key pair.
fn image(types: &[&str]) -> Result<Made> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let blobs = types.iter().zip(NAMES).map(|(kind, name)| layout::blob(&root, kind, plain(name)));
    of_layers(&root, blobs.collect::<Result<_>>()?)?;
    Ok(made)
}

/// The layers are in this order.
const NAMES: [&str; 3] = ["first", "second", "third"];

fn of_layers(root: &Path, layers: Vec<Value>) -> Result<()> {
    let manifest = layout::manifest(root, "linux", "amd64", layers)?;
    layout::list(root, vec![layout::named(manifest, "demo")])
}

fn refused_by_name(media_type: &str) -> Result<()> {
    let made = image(&[TAR, media_type])?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient];
    let named = format!("layer 2 of linux/amd64 (`{media_type}`)");
    let flag = match media_type {
        "" => "`--allow-unencrypted 2`".to_owned(),
        _ => format!("`--allow-unencrypted {media_type}`"),
    };
    fails(&mut keycell(&args)?, &["cannot encrypt", &named, &flag])?;
    ensure!(made.is_alone()?, "something was written");
    for allowed in [media_type, "2"] {
        let (_, said) = says(keycell(&args)?.args(["--allow-unencrypted", allowed, "--force"]))?;
        ensure!(said.contains(&format!("not encrypted: {named}\n")), "{said}");
        ensure!(said.starts_with("encrypted 1 layer for"), "{said}");
        let found = layers(&made.path("encrypted"))?;
        ensure!(layout::read(&made.path("encrypted"), &found[1])? == plain("second"));
    }
    Ok(())
}

/// Those that were not chosen are readable too.
fn readable_ones_are_named() -> Result<()> {
    let made = image(&[TAR, TAR, TAR])?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let (_, said) =
        says(&mut keycell(&["encrypt", &from, &to, "-r", &recipient, "--layer", "2"])?)?;
    for number in [1, 3] {
        let line = format!("not encrypted: layer {number} of linux/amd64 (`{TAR}`)\n");
        ensure!(said.contains(&line), "nothing of `{line}`: {said}");
    }
    ensure!(said.matches("not encrypted").count() == 2, "{said}");
    Ok(())
}

fn by_explicit_media_type() -> Result<()> {
    const MODEL: &str = "application/vnd.docker.ai.gguf.v3";
    let made = image(&[MODEL, TAR])?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient, "--media-type", MODEL];
    let (_, said) = says(&mut keycell(&args)?)?;
    ensure!(said.starts_with("encrypted 2 layers for"), "{said}");
    let statement = format!("do not unpack `{MODEL}+encrypted`: `keycell decrypt` decrypts it");
    ensure!(said.contains(&statement), "nothing of `{statement}`: {said}");
    let found = layers(&made.path("encrypted"))?;
    ensure!(found[0]["mediaType"] == format!("{MODEL}+encrypted"), "{}", found[0]);
    made.decrypts()
}

/// What a descriptor says about the plain bytes goes: a copy of them, and where else they are.
fn copies_elsewhere() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let mut layer = layout::blob(&root, TAR, b"a secret".to_vec())?;
    layer["data"] = json!("YSBzZWNyZXQ=");
    layer["urls"] = json!(["https://registry.example/a-secret"]);
    of_layers(&root, vec![layer])?;
    made.encrypt_plain()?;
    let found = layers(&made.path("encrypted"))?;
    ensure!(found[0]["data"].is_null() && found[0]["urls"].is_null(), "{}", found[0]);
    Ok(())
}

/// In the place of the plain image: its blobs stay, since other images may have them.
fn copies_beside() -> Result<()> {
    let made = image(&[TAR, TAR])?;
    let (name, recipient) = (made.name("plain"), made.recipient());
    let args = ["encrypt", &name, &name, "-r", &recipient, "--force"];
    let (_, said) = says(&mut keycell(&args)?)?;
    let note = "still has the blobs of 2 layers in clear";
    ensure!(said.contains(note), "nothing of `{note}`: {said}");
    Ok(())
}

/// A plain layer that claims wrapped keys gets new ones only.
fn wrapped_keys_of_another_layer() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let mut layer = layout::blob(&root, TAR, plain("first"))?;
    let stale = "org.opencontainers.image.enc.keys.pgp";
    layer["annotations"] = json!({ stale: "c3RhbGU=", "kept": "as it is" });
    of_layers(&root, vec![layer])?;
    made.encrypt_plain()?;
    let found = layers(&made.path("encrypted"))?;
    let annotations = found[0]["annotations"].as_object().context("no annotations")?;
    ensure!(!annotations.contains_key(stale), "{annotations:?}");
    ensure!(annotations.get("kept") == Some(&json!("as it is")), "{annotations:?}");
    Ok(())
}

/// What no decoder takes, this tool decrypts all the same.
fn decrypts_other_media_types() -> Result<()> {
    let made = image(&[TAR, TAR])?;
    made.encrypt_plain()?;
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    with_second_layer(&made, |layer| layer["mediaType"] = json!(format!("{foreign}+encrypted")))?;
    let (from, to) = (made.name("altered"), made.name("decrypted"));
    let args = ["decrypt", &from, &to, "--keys", &made.keys()];
    let (_, said) = says(&mut keycell(&args)?)?;
    ensure!(said == "decrypted 2 layers\n", "{said}");
    let root = made.path("decrypted");
    let found = layers(&root)?;
    ensure!(found[1]["mediaType"] == foreign, "{}", found[1]);
    ensure!(layout::read(&root, &found[1])? == plain("second"));
    Ok(())
}

/// A layer that says that it is encrypted, and that nobody can open.
fn without_a_wrapped_key() -> Result<()> {
    let made = image(&[TAR, TAR])?;
    made.encrypt_plain()?;
    with_second_layer(&made, |layer| layer["annotations"] = json!({}))?;
    let (from, to) = (made.name("altered"), made.name("decrypted"));
    let args = ["decrypt", &from, &to, "--keys", &made.keys()];
    let words = ["cannot decrypt layer 2", "no wrapped key", "`--allow-encrypted "];
    fails(&mut keycell(&args)?, &words)?;
    ensure!(!made.path("decrypted").exists(), "something was written");
    let (_, said) = says(keycell(&args)?.args(["--allow-encrypted", "2"]))?;
    ensure!(said.starts_with("decrypted 1 layer\n"), "{said}");
    Ok(())
}

/// A layer for somebody else.
fn another_recipient() -> Result<()> {
    let (made, other) = (image(&[TAR, TAR])?, Made::without_image()?);
    let (from, half, to) = (made.name("plain"), made.name("half"), made.name("encrypted"));
    let one = ["encrypt", &from, &half, "-r", &made.recipient(), "--layer", "1"];
    succeeds(&mut keycell(&one)?)?;
    succeeds(&mut keycell(&["encrypt", &half, &to, "-r", &other.recipient(), "--layer", "2"])?)?;
    let decrypted = made.name("decrypted");
    let args = ["decrypt", &to, &decrypted, "--keys", &made.keys()];
    fails(&mut keycell(&args)?, &["layer 2", "1 key was tried"])?;
    ensure!(!made.path("decrypted").exists(), "something was written");
    let (_, said) = says(keycell(&args)?.args(["--allow-encrypted", "2"]))?;
    let rest = format!("still encrypted: layer 2 of linux/amd64 (`{TAR}+encrypted`)\n");
    ensure!(said.contains(&rest), "nothing of `{rest}`: {said}");
    Ok(())
}

/// Copies the encrypted image, with another second layer, to `altered`.
fn with_second_layer(made: &Made, change: impl FnOnce(&mut Value)) -> Result<()> {
    let (from, to) = (made.path("encrypted"), made.path("altered"));
    let mut all = layers(&from)?;
    for layer in &all {
        let bytes = layout::read(&from, layer)?;
        layout::blob(&to, TAR, bytes)?;
    }
    change(&mut all[1]);
    of_layers(&to, all)
}

fn attestations_follow() -> Result<()> {
    let made = Made::new()?;
    let said = made.encrypt(&[])?;
    ensure!(said.contains("1 attestation now refers to the new digest"), "{said}");
    let statement = format!("not encrypted: layer 1 of unknown/unknown (`{IN_TOTO}`)\n");
    ensure!(said.contains(&statement), "{said}");
    let entries = manifests(&made.path("encrypted"))?;
    let digest = &entries[2]["annotations"]["vnd.docker.reference.digest"];
    ensure!(*digest == entries[0]["digest"], "{digest} is not that of {}", entries[0]);
    made.decrypts()
}

fn attestations_dropped() -> Result<()> {
    let made = Made::new()?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient];
    fails(&mut keycell(&args)?, &["layer 1 of unknown/unknown", "`--drop-attestations`"])?;
    let (_, said) = says(keycell(&args)?.arg("--drop-attestations"))?;
    ensure!(!said.contains("not encrypted") && !said.contains("attestation"), "{said}");
    ensure!(manifests(&made.path("encrypted"))?.len() == 2);
    let states = layout::state(&made.path("encrypted"))?;
    ensure!(states.iter().all(|(_, bytes)| *bytes != plain("attested")), "it is there");
    Ok(())
}

/// The manifests that the index of the only image lists.
fn manifests(root: &Path) -> Result<Vec<Value>> {
    let list: Value = serde_json::from_slice(&fs::read(root.join("index.json"))?)?;
    let index: Value = serde_json::from_slice(&layout::read(root, &list["manifests"][0])?)?;
    Ok(index["manifests"].as_array().context("no index")?.clone())
}

/// A signature by cosign, and a document with a subject.
fn references_are_told() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let layer = layout::blob(&root, TAR, plain("first"))?;
    let image = layout::manifest(&root, "linux", "amd64", vec![layer])?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let empty = layout::blob(&root, "application/vnd.oci.empty.v1+json", b"{}".to_vec())?;
    let referrer = json!({
        "schemaVersion": 2, "mediaType": kind, "artifactType": "application/x.sbom", "config": empty,
        "layers": [], "subject": { "mediaType": kind, "digest": image["digest"], "size": image["size"] },
    });
    let referrer = layout::blob(&root, kind, referrer.to_string().into_bytes())?;
    let digest = image["digest"].as_str().context("no digest")?.to_owned();
    let signature = format!("{}.sig", digest.replace(':', "-"));
    let index = layout::index(&root, vec![image.clone(), referrer.clone()])?;
    let entries = [(index, "demo"), (referrer, signature.as_str())];
    layout::list(&root, entries.map(|(entry, name)| layout::named(entry, name)).to_vec())?;
    let said = made.encrypt_plain()?;
    for words in [
        &format!("refers to `{digest}` as its subject"),
        &format!("`{signature}` belongs to `{digest}`"),
    ] {
        ensure!(said.contains(words), "nothing of `{words}`: {said}");
    }
    Ok(())
}

/// Documents that have no layers because they are something else.
fn no_image() -> Result<()> {
    for (members, words) in [
        (json!({ "fsLayers": [{ "blobSum": "sha256:00" }] }), "schema 1"),
        (json!({ "blobs": [] }), "artifact manifest"),
    ] {
        let made = Made::without_image()?;
        let root = made.path("plain");
        let text = members.to_string().into_bytes();
        let entry = layout::blob(&root, "application/json", text)?;
        layout::list(&root, vec![layout::named(entry, "demo")])?;
        let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
        fails(&mut keycell(&["encrypt", &from, &to, "-r", &recipient])?, &["no layers", words])?;
        ensure!(made.is_alone()?, "something was written");
    }
    Ok(())
}

/// Four indexes, each of which lists the next one a thousand times: a billion manifests.
fn too_many_documents() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let layer = layout::blob(&root, TAR, plain("first"))?;
    let mut entry = layout::manifest(&root, "linux", "amd64", vec![layer])?;
    for _ in 0..4 {
        entry = layout::index(&root, vec![entry; 1000])?;
    }
    layout::list(&root, vec![layout::named(entry, "demo")])?;
    let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
    let words = ["more than 1024 manifests and indexes"];
    fails(&mut keycell(&["inspect", &from])?, &words)?;
    fails(&mut keycell(&["encrypt", &from, &to, "-r", &recipient])?, &words)?;
    ensure!(made.is_alone()?, "something was written");
    Ok(())
}
