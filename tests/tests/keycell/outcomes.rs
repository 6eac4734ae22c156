//! What is said of an outcome: where it can be said, what would work, what stays readable and for whom.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use keycell_tests::layout::{self, TAR, layers, plain};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use serde_json::{Value, json};

use crate::recipients::Made;
use crate::{fails, keycell, says, succeeds};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| {
        suite.case(format!("keycell/outcome/{name}"), &[Tool::Openssl], run);
    };
    case("output-that-ends", output_that_ends);
    case("output-that-is-full", output_that_is_full);
    case("digest-file", digest_file);
    case("dry-run/destinations", dry_run_destinations);
    case("dry-run/json", dry_run_json);
    case("shared-layers", shared_layers);
    case("not-for-these", not_for_these);
    case("contradictions", contradictions);
    case("no-layers", no_layers);
    case("flags-of-a-hint", flags_of_a_hint);
    case("another-transport", another_transport);
    case("other-digests", other_digests);
    case("one-file-for-two-keys", one_file_for_two_keys);
    case("no-keys", no_keys);
    case("payload", payload);
}

/// An image `plain:demo` with these layers.
fn image(layers: Vec<Value>, made: &Made) -> Result<()> {
    let root = made.path("plain");
    let manifest = layout::manifest(&root, "linux", "amd64", layers)?;
    layout::list(&root, vec![layout::named(manifest, "demo")])
}

fn blob(made: &Made, media_type: &str, name: &str) -> Result<Value> {
    layout::blob(&made.path("plain"), media_type, plain(name))
}

fn two_layers() -> Result<Made> {
    let made = Made::without_image()?;
    image(vec![blob(&made, TAR, "first")?, blob(&made, TAR, "second")?], &made)?;
    Ok(made)
}

/// A pipe that nobody reads.
fn ended() -> Result<Stdio> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    Ok(writer.into())
}

fn full() -> Result<File> {
    Ok(File::options().write(true).open("/dev/full")?)
}

fn output_that_ends() -> Result<()> {
    let made = two_layers()?;
    let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
    let commands: [&[&str]; 4] = [
        &["inspect", &from],
        &["keys", &made.keys()],
        &["completions", "bash"],
        &["encrypt", &from, &to, "-r", &recipient],
    ];
    for args in commands {
        let output = keycell(args)?.stdout(ended()?).stderr(Stdio::piped()).output()?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.success(), "{args:?}: {}: {stderr}", output.status);
        ensure!(!stderr.contains("error"), "{args:?}: {stderr}");
    }
    let mut command = keycell(&["encrypt", &from, &to, "-r", &recipient, "--force"])?;
    ensure!(command.stdout(Stdio::null()).stderr(ended()?).status()?.success(), "it is told");
    ensure!(command.stderr(full()?).status()?.success(), "it is told");
    let code = keycell(&["inspect", "oci:/nowhere"])?.stderr(full()?).status()?.code();
    ensure!(code == Some(1), "{code:?}");
    Ok(())
}

fn output_that_is_full() -> Result<()> {
    let made = two_layers()?;
    let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
    let commands: [(&[&str], i32); 5] = [
        (&["inspect", &from], 1),
        (&["keys", &made.keys()], 1),
        (&["encrypt", &from, &to, "-r", &recipient], 1),
        (&["conform", "--list"], 2),
        (&["doctor"], 2),
    ];
    for (args, code) in commands {
        let output = keycell(args)?.stdout(full()?).stderr(Stdio::piped()).output()?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(code), "{args:?}: {}: {stderr}", output.status);
        let words = "keycell: error: cannot write to standard output: ";
        ensure!(stderr.matches(words).count() == 1, "{args:?}: {stderr}");
    }
    Ok(())
}

/// Nothing is published if the digest cannot be written, and nothing is written of an image that fails.
fn digest_file() -> Result<()> {
    let made = two_layers()?;
    let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
    let file = made.path("digest");
    for wrong in [made.path("nowhere").join("digest"), made.path("plain")] {
        let wrong = wrong.display().to_string();
        let args = ["encrypt", &from, &to, "-r", &recipient, "--digestfile", &wrong];
        fails(&mut keycell(&args)?, &["cannot write the digest to", &wrong])?;
        ensure!(!made.path("new").exists(), "it was published");
    }
    let shown = file.display().to_string();
    let args = ["encrypt", &from, &to, "-r", &recipient, "--digestfile", &shown];
    let first = layout::path(&made.path("plain"), &layers(&made.path("plain"))?[0])?;
    fs::rename(&first, made.path("node-away"))?;
    fails(&mut keycell(&args)?, &["layer 1"])?;
    ensure!(!file.exists(), "an empty file is there");
    fs::write(&file, "x".repeat(100))?;
    fails(&mut keycell(&args)?, &["layer 1"])?;
    ensure!(fs::read(&file)?.len() == 100, "the former digest is gone");
    fs::rename(made.path("node-away"), &first)?;
    let printed = succeeds(&mut keycell(&args)?)?;
    ensure!(fs::read_to_string(&file)? == printed.trim_end(), "another digest");
    Ok(())
}

fn dry_run_destinations() -> Result<()> {
    let made = two_layers()?;
    let (from, recipient) = (made.name("plain"), made.recipient());
    let archive = made.path("old.tar").display().to_string();
    fs::write(&archive, "")?;
    let keys = made.keys();
    let digest = format!("sha256:{}", "0".repeat(64));
    for (to, word) in [
        (from.clone(), "is there already"),
        (format!("oci-archive:{archive}"), "is there already"),
        (format!("oci:{keys}"), "no OCI image layout"),
        (format!("oci-archive:{keys}"), &*format!("did you mean `oci:{keys}`?")),
        ("docker-archive:new.tar".to_owned(), "can only be read"),
        (format!("oci:{keys}@0"), "has an index or a digest"),
        (format!("docker://localhost:1/a@{digest}"), "has an index or a digest"),
    ] {
        let args = ["encrypt", &from, &to, "-r", &recipient];
        fails(&mut keycell(&args)?, &[word])?;
        fails(keycell(&args)?.arg("--dry-run"), &[word])?;
    }
    for to in [from.clone(), format!("oci-archive:{archive}")] {
        let args = ["encrypt", &from, &to, "-r", &recipient, "--dry-run", "--force"];
        ensure!(says(&mut keycell(&args)?)?.1.starts_with("would encrypt 2 layers"));
    }
    ensure!(fs::read(&archive)?.is_empty(), "it was replaced");
    Ok(())
}

fn dry_run_json() -> Result<()> {
    let made = two_layers()?;
    let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient, "-r", &recipient, "--json"];
    let dry: Value =
        serde_json::from_str(&succeeds(keycell(&args)?.args(["--layer", "1", "--dry-run"]))?)?;
    let first = &dry["layers"][0];
    ensure!(first["digest"].is_null() && first["size"].is_null(), "{first}");
    ensure!(dry["layers"][1]["digest"].is_string() && dry["digest"].is_null(), "{dry}");
    ensure!(dry["recipients"].as_array().map(Vec::len) == Some(1), "{dry}");
    let done: Value = serde_json::from_str(&succeeds(&mut keycell(&args)?)?)?;
    ensure!(done["recipients"].as_array().map(Vec::len) == Some(1), "{done}");
    let found: Value =
        serde_json::from_str(&succeeds(&mut keycell(&["inspect", &to, "--json"])?)?)?;
    let keys = &found["manifests"][0]["layers"][0]["wrappedKeys"][0];
    ensure!(keys["recipients"].as_array().is_some_and(|all| all.len() == 1), "{keys}");
    // None of the layers is for anybody.
    let json_type = "application/json";
    image(vec![blob(&made, json_type, "first")?], &made)?;
    let args = ["encrypt", &from, &to, "-r", &recipient, "--json", "--dry-run", "--force"];
    let none = succeeds(keycell(&args)?.args(["--allow-unencrypted", json_type]))?;
    ensure!(serde_json::from_str::<Value>(&none)?["recipients"] == json!([]), "{none}");
    Ok(())
}

/// A layer that another platform has too, and that stays there.
fn shared_layers() -> Result<()> {
    let made = Made::without_image()?;
    let root = made.path("plain");
    let (shared, own) = (blob(&made, TAR, "first")?, blob(&made, TAR, "second")?);
    let one = layout::manifest(&root, "linux", "amd64", vec![shared.clone(), own])?;
    let two = layout::manifest(&root, "linux", "arm64", vec![shared])?;
    let index = layout::index(&root, vec![one.clone(), two])?;
    layout::list(&root, vec![layout::named(index, "demo")])?;
    let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient, "--platform", "linux/amd64"];
    let (_, said) = says(&mut keycell(&args)?)?;
    ensure!(said.contains("not encrypted: layer 1 of linux/arm64"), "{said}");
    ensure!(!said.contains("in clear"), "{said}");
    let args = ["encrypt", &from, &from, "-r", &recipient, "--force"];
    let (_, said) = says(&mut keycell(&args)?)?;
    ensure!(said.contains("blobs of 2 layers in clear"), "{said}");
    Ok(())
}

fn not_for_these() -> Result<()> {
    let made = two_layers()?;
    let (from, half, to) = (made.name("plain"), made.name("half"), made.name("new"));
    let recipient = made.recipient();
    succeeds(&mut keycell(&["encrypt", &from, &half, "-r", &recipient, "--layer", "1"])?)?;
    for more in [["--layer", "2"], ["--allow-unencrypted", "1"]] {
        let args = ["encrypt", &half, &to, "-r", &recipient, "--force"];
        let (_, said) = says(keycell(&args)?.args(more))?;
        let line = "encrypted already, and these recipients are not added: layer 1 of linux/amd64";
        ensure!(said.contains(line), "{more:?}: {said}");
        ensure!(said.starts_with("encrypted 1 layer for"), "{said}");
    }
    Ok(())
}

/// Layers whose media type and whose annotations contradict each other.
fn contradictions() -> Result<()> {
    let made = two_layers()?;
    made.encrypt_plain()?;
    let mut all = layers(&made.path("encrypted"))?;
    all[0]["mediaType"] = json!(TAR);
    all[1]["annotations"] = json!({});
    image(all, &made)?;
    let said = succeeds(&mut keycell(&["inspect", &made.name("plain"), "--keys", &made.keys()])?)?;
    let lines: Vec<_> = said.lines().collect();
    ensure!(lines.len() == 2, "{said}");
    ensure!(lines[0].ends_with(", not encrypted, though it has wrapped keys"), "{said}");
    let words = ", its media type says that it is encrypted, and it has no wrapped key";
    ensure!(lines[1].ends_with(words), "{said}");
    let found = succeeds(&mut keycell(&["inspect", &made.name("plain"), "--json"])?)?;
    let found: Value = serde_json::from_str(&found)?;
    for layer in found["manifests"][0]["layers"].as_array().context("no layers")? {
        ensure!(
            layer["encrypted"] == json!(false) && layer["contradiction"].is_string(),
            "{layer}"
        );
    }
    Ok(())
}

fn no_layers() -> Result<()> {
    for (document, words) in [
        (json!({ "fsLayers": [] }), "schema 1 of Docker"),
        (json!({ "blobs": [] }), "an artifact manifest"),
        (json!({ "layers": [] }), "no layers"),
    ] {
        let made = Made::without_image()?;
        let root = made.path("plain");
        let entry = layout::blob(&root, "application/json", document.to_string().into_bytes())?;
        layout::list(&root, vec![layout::named(entry, "demo")])?;
        let said = succeeds(&mut keycell(&["inspect", &made.name("plain")])?)?;
        ensure!(said.contains("no layers") && said.contains(words), "{said}");
        ensure!(said.lines().count() == 1, "{said}");
    }
    Ok(())
}

/// What a hint names can be typed.
fn flags_of_a_hint() -> Result<()> {
    let long = format!("application/{}", "x".repeat(300));
    for odd in [
        "",
        "a b/c",
        "text/plain; charset=utf-8",
        "~/x",
        "a/\u{1b}[31m",
        "a/b/c",
        "ab",
        &long,
        "a/$x",
    ] {
        let made = Made::without_image()?;
        image(vec![blob(&made, TAR, "first")?, blob(&made, odd, "second")?], &made)?;
        let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
        let args = ["encrypt", &from, &to, "-r", &recipient];
        fails(&mut keycell(&args)?, &["hint: `--allow-unencrypted 2` leaves it readable\n"])?;
        succeeds(keycell(&args)?.args(["--allow-unencrypted", "2"]))?;
    }
    let made = Made::without_image()?;
    let kinds = ["a/b", "c/d+e", "a/b"];
    let all = kinds.iter().map(|kind| blob(&made, kind, kind)).collect::<Result<_>>()?;
    image(all, &made)?;
    let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
    let args = ["encrypt", &from, &to, "-r", &recipient];
    let words = [
        "`--allow-unencrypted a/b --allow-unencrypted c/d+e` leaves them readable",
        "`--media-type a/b --media-type c/d+e` encrypts them",
    ];
    fails(&mut keycell(&args)?, &words)?;
    succeeds(keycell(&args)?.args(["--media-type", "a/b", "--media-type", "c/d+e"]))?;
    Ok(())
}

fn another_transport() -> Result<()> {
    let made = two_layers()?;
    let (from, recipient) = (made.name("plain"), made.recipient());
    for name in ["xx.tar", "xx.tgz", "xx.tar.gz:demo"] {
        let words = format!("did you mean `oci-archive:{name}`?");
        fails(&mut keycell(&["encrypt", &from, name, "-r", &recipient])?, &[&words])?;
    }
    let directory = made.path("plain").display().to_string();
    let words = format!("did you mean `oci:{directory}:demo`?");
    let name = format!("oci-archive:{directory}:demo");
    fails(&mut keycell(&["inspect", &name])?, &["is a directory", &words])?;
    fails(&mut keycell(&["encrypt", &from, &name, "-r", &recipient])?, &["is a directory", &words])
}

fn other_digests() -> Result<()> {
    for (digest, words) in [
        (json!(format!("sha512:{}", "0".repeat(128))), "of another algorithm than SHA-256"),
        (Value::Null, "no digest"),
        (json!("sha256:00"), "`sha256:00` is not a digest"),
    ] {
        let made = Made::without_image()?;
        let mut layer = blob(&made, TAR, "first")?;
        layer["digest"] = digest;
        image(vec![layer], &made)?;
        let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
        fails(&mut keycell(&["encrypt", &from, &to, "-r", &recipient])?, &[words])?;
    }
    Ok(())
}

fn in_directory(made: &Made, args: &[&str]) -> Result<Command> {
    let mut command = keycell(args)?;
    command.current_dir(made.dir.path());
    Ok(command)
}

fn one_file_for_two_keys() -> Result<()> {
    let made = Made::without_image()?;
    for public in ["s.pem", "./s.pem", "keys/../s.pem"] {
        let words = ["is both the file of the private key", "name another file with `--public`"];
        fails(&mut in_directory(&made, &["keygen", "s.pem", "--public", public])?, &words)?;
        ensure!(!made.path("s.pem").exists(), "it was written");
    }
    Ok(())
}

fn no_keys() -> Result<()> {
    let made = Made::without_image()?;
    fs::create_dir(made.path("empty"))?;
    for more in [&["keys", "empty"][..], &["keys", "empty", "--json"]] {
        let mut command = in_directory(&made, more)?;
        fails(&mut command, &["error: there is no private key in these files\n"])?;
        let said = String::from_utf8(command.output()?.stderr)?;
        ensure!(said.lines().count() == 1, "{said}");
    }
    Ok(())
}

fn payload() -> Result<()> {
    let made = Made::new()?;
    made.encrypt(&[])?;
    let output = made.path("payload").display().to_string();
    let of = |name: &str, more: &[&str]| -> Result<(String, String)> {
        says(keycell(&["payload", &made.name(name), "--output", &output])?.args(more))
    };
    let (first, said) = of("encrypted", &[])?;
    ensure!(said.starts_with("note: this is for `linux/amd64`"), "{said}");
    let (amd64, said) = of("encrypted", &["--platform", "linux/amd64"])?;
    ensure!(said.is_empty() && first == amd64, "{said}{first}{amd64}");
    let (arm64, said) = of("encrypted", &["--platform", "linux/arm64"])?;
    ensure!(said.is_empty() && first != arm64, "{said}{first}{arm64}");
    let (_, said) = of("plain", &["--platform", "linux/arm64"])?;
    ensure!(said == "note: layer 1 is not encrypted\n", "{said}");
    let args = ["payload", &made.name("plain"), "--output", &output, "--platform", "linux/s390x"];
    fails(&mut keycell(&args)?, &["no layer is chosen"])
}
