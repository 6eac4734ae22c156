//! Registries and networks that fail, and a program that is interrupted.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keycell_tests::faults::{Access, Fault, Proxy};
use keycell_tests::registry::{PASSWORD, Registry, USER};
use keycell_tests::tools::Tool;
use serde_json::json;

use super::{Made, fails, succeeds};

pub(crate) fn cases(case: &mut impl FnMut(&str, &[Tool], fn() -> Result<()>)) {
    case("broken/downloads", &[Tool::Openssl], downloads);
    case("broken/blob-elsewhere", &[Tool::Openssl], blob_elsewhere);
    case("broken/uploads", &[Tool::Openssl], uploads);
    case("broken/upload-that-is-lost", &[Tool::Openssl], upload_that_is_lost);
    case("broken/for-good", &[Tool::Openssl], for_good);
    case("broken/tag-that-changes", &[Tool::Openssl], tag_that_changes);
    case("broken/short-chunks", &[Tool::Openssl], short_chunks);
    case("broken/no-chunks", &[Tool::Openssl], no_chunks);
    case("broken/interrupted", &[Tool::Openssl], interrupted);
    case("broken/large-layer-in-little-memory", &[Tool::Openssl], large_layer_in_little_memory);
}

fn status(status: u16) -> Fault {
    Fault::Answer(status, String::new(), String::new())
}

/// A registry with an encrypted image, and a proxy before it.
fn pushed(access: Access) -> Result<(Made, Proxy, String)> {
    let made = Made::new(Registry::start)?;
    let direct = format!("docker://{}/app:1", made.registry.address());
    succeeds(made.encrypt(&made.layout("plain"), &direct)?.arg("--insecure"), "")?;
    let proxy = made.proxy(access)?;
    let name = format!("docker://{}/app:1", proxy.address());
    Ok((made, proxy, name))
}

/// A download goes on where it broke.
fn downloads() -> Result<()> {
    let (made, proxy, name) = pushed(Access::Open)?;
    let later = Fault::Answer(429, "Retry-After: 1\r\n".to_owned(), String::new());
    proxy.fail("GET", "/manifests/1", 1, later);
    proxy.fail("GET", "/manifests/sha256", 1, Fault::CutAnswer(10));
    proxy.fail("GET", "/blobs/", 1, Fault::CutAnswer(100_000));
    proxy.fail("GET", "/blobs/", 1, status(503));
    proxy.fail("GET", "/blobs/", 1, Fault::CutAnswer(50));
    let begun = Instant::now();
    made.decrypts(&name, &["--insecure"])?;
    ensure!(begun.elapsed() >= Duration::from_secs(1), "`Retry-After` is not obeyed");
    ensure!(proxy.left() == 0, "{} faults did not happen", proxy.left());
    let ranges: Vec<_> =
        proxy.seen("GET", "/blobs/").into_iter().filter_map(|it| it.range).collect();
    ensure!(ranges.iter().any(|it| it == "bytes=100000-"), "{ranges:?}");
    Ok(())
}

/// A blob on another host is read, and that host sees no credentials.
fn blob_elsewhere() -> Result<()> {
    let (made, proxy, name) = pushed(Access::Basic)?;
    let elsewhere = made.proxy(Access::Open)?;
    for descriptor in blobs(&made)? {
        let location =
            format!("Location: http://{}/v2/app/blobs/{descriptor}\r\n", elsewhere.address());
        let fault = Fault::Answer(307, location, String::new());
        proxy.fail("GET", &format!("/blobs/{descriptor}"), 1, fault);
    }
    let to = made.layout("decrypted");
    let login = ["--insecure", "--username", USER, "--password-stdin"];
    succeeds(made.decrypt(&name, &to)?.args(login), PASSWORD)?;
    ensure!(proxy.left() == 0, "{} faults did not happen", proxy.left());
    ensure!(proxy.seen("GET", "").iter().any(|it| it.authorization.is_some()), "no credentials");
    let elsewhere = elsewhere.seen("GET", "");
    ensure!(!elsewhere.is_empty(), "nobody came");
    ensure!(elsewhere.iter().all(|it| it.authorization.is_none()), "{elsewhere:?}");
    Ok(())
}

/// The digests of all layers and configurations of the image in the registry.
fn blobs(made: &Made) -> Result<Vec<String>> {
    let copy = made.path("copy");
    let name = format!("docker://{}/app:1", made.registry.address());
    let command = ["--insecure-policy", "copy", "--all", "--quiet", "--src-tls-verify=false"];
    let to = format!("oci:{}:demo", copy.display());
    Tool::Skopeo.run(command.iter().copied().chain([&name[..], &to]))?;
    let layers = keycell_tests::layout::layers(&copy)?;
    let digests = layers.iter().map(|it| it["digest"].as_str().map(str::to_owned));
    digests.collect::<Option<Vec<_>>>().context("a layer without a digest")
}

/// An upload goes on with what the registry does not have.
fn uploads() -> Result<()> {
    let made = Made::new(Registry::start)?;
    layer_of(&made, 20)?;
    let proxy = made.proxy(Access::Open)?;
    let name = format!("docker://{}/app:1", proxy.address());
    let later = Fault::Answer(429, "Retry-After: 1\r\n".to_owned(), String::new());
    proxy.fail("HEAD", "/manifests/1", 1, status(502));
    proxy.fail("POST", "/blobs/uploads/", 1, status(500));
    proxy.fail("PATCH", "/blobs/uploads/", 1, status(503));
    proxy.fail("PATCH", "/blobs/uploads/", 1, later);
    proxy.fail("PUT", "/blobs/uploads/", 1, status(504));
    proxy.fail("PUT", "/blobs/uploads/", 1, Fault::LoseAnswer);
    proxy.fail("PUT", "/manifests/", 1, Fault::LoseAnswer);
    succeeds(made.encrypt(&made.layout("large"), &name)?.arg("--insecure"), "")?;
    ensure!(proxy.left() == 0, "{} faults did not happen", proxy.left());
    ensure!(made.registry.uploads()?.is_empty(), "{:?}", made.registry.uploads()?);
    let to = made.layout("decrypted");
    succeeds(made.decrypt(&name, &to)?.arg("--insecure"), "")?;
    Ok(())
}

/// docker-registry 2.8 forgets an upload of which it gets a chunk in part, and does not cancel it either.
/// The first chunk is sent again, to another upload; after that, the layer is read again. What never
/// succeeds is an error, and no tag.
fn upload_that_is_lost() -> Result<()> {
    let made = Made::new(Registry::start)?;
    layer_of(&made, 20)?;
    let proxy = made.proxy(Access::Open)?;
    let name = |tag: &str| format!("docker://{}/app:{tag}", proxy.address());
    proxy.fail("PATCH", "/blobs/uploads/", 1, Fault::CutRequest(100_000));
    // The last part of the layer, which the first attempt does not come to before.
    proxy.fail("PUT", "/blobs/uploads/", 2, Fault::CutRequest(100_000));
    succeeds(made.encrypt(&made.layout("large"), &name("1"))?.arg("--insecure"), "")?;
    ensure!(proxy.left() == 0, "{} faults did not happen", proxy.left());
    proxy.fail("PUT", "/blobs/uploads/", 99, Fault::CutRequest(100_000));
    let mut encrypt = made.encrypt(&made.layout("large"), &name("2"))?;
    fails(encrypt.arg("--insecure"), "", &["does not continue it", "run the same command again"])?;
    ensure!(!made.registry.has_tag("app", "2"), "there is a tag");
    Ok(())
}

/// Each failure that does not pass is one error.
fn for_good() -> Result<()> {
    let (made, proxy, name) = pushed(Access::Open)?;
    let text = |text: &str| text.to_owned();
    let html =
        Fault::Answer(200, text("Content-Type: text/html\r\n"), text("<html>sign in</html>"));
    let broken = r#"{"errors":[{"code":"UNKNOWN","message":"no space left on device"}]}"#;
    for (method, part, fault, words) in [
        ("GET", "/manifests/1", html, ["a web page", "sign-in page"]),
        ("GET", "/manifests/1", status(418), ["status 418", "refuses"]),
        (
            "GET",
            "/manifests/1",
            Fault::Answer(429, text("Retry-After: 86400\r\n"), String::new()),
            ["allows no more requests", "docker login"],
        ),
        (
            "GET",
            "/blobs/",
            Fault::Answer(500, String::new(), text(broken)),
            ["no space left", "500"],
        ),
        ("GET", "/blobs/", status(404), ["has no blob", "incomplete"]),
        ("GET", "/blobs/", Fault::CutAnswer(0), ["broke", "try again"]),
    ] {
        proxy.fail(method, part, 9999, fault);
        let mut decrypt = made.decrypt(&name, &made.layout("decrypted"))?;
        fails(decrypt.arg("--insecure"), "", &words)?;
        ensure!(!made.path("decrypted").exists(), "a layout is left");
        proxy.mend();
    }
    for (name, words) in [
        ("127.0.0.1:1/app", ["connection is refused", "listens"]),
        ("host.invalid/app", ["has no address", "spelt"]),
    ] {
        let mut decrypt = made.decrypt(&format!("docker://{name}"), &made.layout("decrypted"))?;
        fails(&mut decrypt, "", &words)?;
    }
    let missing = name.replace("app:1", "app:2");
    let mut decrypt = made.decrypt(&missing, &made.layout("decrypted"))?;
    fails(decrypt.arg("--insecure"), "", &["has no image `2`", "skopeo list-tags"])
}

/// Somebody else writes the tag at the same time.
fn tag_that_changes() -> Result<()> {
    let made = Made::new(Registry::start)?;
    let proxy = made.proxy(Access::Open)?;
    let kind = "application/vnd.oci.image.index.v1+json";
    let other = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [] }).to_string();
    let fault = Fault::Answer(200, format!("Content-Type: {kind}\r\n"), other);
    proxy.fail("GET", "/manifests/1", 99, fault);
    let name = format!("docker://{}/app:1", proxy.address());
    let mut encrypt = made.encrypt(&made.layout("plain"), &name)?;
    fails(encrypt.arg("--insecure"), "", &["the registry now has", "the same tag"])
}

/// A registry that takes only short chunks gets short ones.
fn short_chunks() -> Result<()> {
    let made = Made::new(Registry::start)?;
    layer_of(&made, 20)?;
    let proxy = made.proxy(Access::Open)?;
    proxy.fail("PATCH", "/blobs/uploads/", 1, status(416));
    let name = format!("docker://{}/app:1", proxy.address());
    succeeds(made.encrypt(&made.layout("large"), &name)?.arg("--insecure"), "")?;
    let chunks = proxy.seen("PATCH", "").len();
    ensure!(chunks >= 5, "only {chunks} chunks");
    Ok(())
}

/// A registry that takes no second chunk gets the layer as a stream, and each further layer at once. A
/// stream that breaks is sent again as a whole.
fn no_chunks() -> Result<()> {
    for refusal in [400, 405, 416] {
        let made = Made::new(Registry::start)?;
        layer_of(&made, 20)?;
        let proxy = made.proxy(Access::Open)?;
        let name = format!("docker://{}/app:1", proxy.address());
        proxy.fail("PATCH", "/blobs/uploads/", 99, Fault::NoChunks(refusal));
        proxy.fail("PUT", "/blobs/uploads/", 1, status(503));
        succeeds(made.encrypt(&made.layout("large"), &name)?.arg("--insecure"), "")?;
        let streams =
            proxy.seen("PATCH", "").iter().filter(|it| it.content_range.is_none()).count();
        ensure!(streams >= 1, "{refusal}: no stream");
        ensure!(made.registry.uploads()?.is_empty(), "{:?}", made.registry.uploads()?);
        proxy.mend();
        let to = made.layout("decrypted");
        succeeds(made.decrypt(&name, &to)?.arg("--insecure"), "")?;
    }
    Ok(())
}

/// SIGINT in the middle of an upload: no tag, and no upload is left.
fn interrupted() -> Result<()> {
    let made = Made::new(Registry::start)?;
    layer_of(&made, 20)?;
    let proxy = made.proxy(Access::Open)?;
    proxy.fail("PATCH", "/blobs/uploads/", 99, Fault::Delay(Duration::from_millis(500)));
    let name = format!("docker://{}/app:1", proxy.address());
    let mut command = made.encrypt(&made.layout("large"), &name)?;
    command.arg("--insecure").stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let begun = Instant::now();
    while proxy.seen("PATCH", "").len() < 2 {
        ensure!(begun.elapsed() < Duration::from_secs(20), "it does not begin");
        thread::sleep(Duration::from_millis(10));
    }
    ensure!(!made.registry.uploads()?.is_empty(), "nothing is uploaded");
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id())?).context("no process")?;
    rustix::process::kill_process(id, rustix::process::Signal::INT)?;
    ensure!(child.wait()?.signal() == Some(2), "it ends otherwise");
    ensure!(!made.registry.has_tag("app", "1"), "there is a tag");
    ensure!(made.registry.uploads()?.is_empty(), "{:?}", made.registry.uploads()?);
    Ok(())
}

/// A layer of 300 MiB needs less address space than that, on the way up and down.
fn large_layer_in_little_memory() -> Result<()> {
    let made = Made::new(Registry::start)?;
    layer_of(&made, 300)?;
    let name = |tag: &str| format!("docker://{}/app:{tag}", made.registry.address());
    for (command, tag) in [
        (made.encrypt(&made.layout("large"), &name("1"))?, "1"),
        (made.decrypt(&name("1"), &name("2"))?, "2"),
    ] {
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -v 180000; exec \"$0\" \"$@\" --insecure"]);
        limited.arg(command.get_program()).args(command.get_args());
        limited.env("HOME", made.dir.path());
        succeeds(&mut limited, "")?;
        ensure!(made.registry.has_tag("app", tag), "nothing was pushed");
    }
    Ok(())
}

/// A layout `large` with one layer of so many MiB.
fn layer_of(made: &Made, mebibytes: u64) -> Result<()> {
    let root = made.path("large");
    let blobs = root.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let file = made.path("layer");
    File::create(&file)?.set_len(mebibytes << 20)?;
    let store = |path: &std::path::Path| -> Result<(String, u64)> {
        let shown = path.display().to_string();
        let sum = Tool::Openssl.run(["dgst", "-sha256", "-r", &shown])?;
        let digest = String::from_utf8(sum)?.split(' ').next().unwrap_or_default().to_owned();
        let size = path.metadata()?.len();
        fs::rename(path, blobs.join(&digest))?;
        Ok((format!("sha256:{digest}"), size))
    };
    let (digest, size) = store(&file)?;
    let kind = "application/vnd.oci.image.layer.v1.tar";
    let layer = json!({ "mediaType": kind, "digest": digest, "size": size });
    fs::write(&file, json!({ "os": "linux", "architecture": "amd64" }).to_string())?;
    let (digest, size) = store(&file)?;
    let kind = "application/vnd.oci.image.config.v1+json";
    let config = json!({ "mediaType": kind, "digest": digest, "size": size });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer],
    });
    fs::write(&file, manifest.to_string())?;
    let (digest, size) = store(&file)?;
    let tag = json!({ "org.opencontainers.image.ref.name": "demo" });
    let entry = json!({ "mediaType": kind, "digest": digest, "size": size, "annotations": tag });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(root.join("index.json"), index.to_string())?;
    Ok(fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?)
}
