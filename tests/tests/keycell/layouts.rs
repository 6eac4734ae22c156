//! Layouts as destinations: what is there stays as it is unless it is to be replaced, and nothing but a whole
//! image is added.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keycell_tests::layout::{self, TAR, layers};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::recipients::Made;
use crate::{fails, keycell, says};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        let tools = [&[Tool::Openssl], tools].concat();
        suite.case(format!("keycell/layouts/{name}"), &tools, run);
    };
    case("several-images-of-a-name", &[], several_images_of_a_name);
    case("two-runs-at-a-time", &[], two_runs_at_a_time);
    case("locked-while-it-is-changed", &[], locked);
    case("failed-publication-leaves-nothing", &[], failed_publication);
    case("list-that-cannot-be-replaced", &[Tool::Root], list_that_cannot_be_replaced);
    case("empty-directories", &[], empty_directories);
    case("empty-mount-point", &[Tool::Root], empty_mount_point);
    case("blobs-on-another-file-system", &[Tool::Root], blobs_elsewhere);
    case("paths-that-are-refused", &[], refused_paths);
    case("altered-blob-is-replaced", &[], altered_blob);
    case("new-parents-are-removed", &[], new_parents);
}

/// Encrypts the image in `plain`, in the directory that it is in.
fn encrypt(made: &Made, to: &str) -> Result<Command> {
    let recipient = made.recipient();
    let mut command =
        keycell(&["encrypt", "oci:plain:demo", to, "-r", &recipient, "--drop-attestations"])?;
    command.current_dir(made.dir.path());
    Ok(command)
}

fn decrypt(made: &Made, to: &str) -> Result<Command> {
    let mut command = keycell(&["decrypt", "oci:encrypted:demo", to, "--keys", "keys"])?;
    command.current_dir(made.dir.path());
    Ok(command)
}

fn list(layout: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(layout.join("index.json"))?)?)
}

/// The tags of the images of a layout.
fn tags(layout: &Path) -> Result<Vec<String>> {
    let list = list(layout)?;
    let tag = |entry: &Value| {
        let tag = entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
        tag.unwrap_or_default().to_owned()
    };
    let mut tags: Vec<_> = list["manifests"].as_array().into_iter().flatten().map(tag).collect();
    tags.sort();
    Ok(tags)
}

/// Every path, with the bytes of files. Links may lead nowhere.
fn state(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let bytes = if kind.is_file() { fs::read(entry.path())? } else { Vec::new() };
        all.insert(entry.path(), bytes);
        if kind.is_dir() {
            all.extend(state(&entry.path())?);
        }
    }
    Ok(all)
}

/// Fails with these words, without the name of a temporary file, and changes nothing.
fn refused(made: &Made, mut command: Command, words: &[&str]) -> Result<()> {
    let before = state(made.dir.path())?;
    let said = String::from_utf8(command.output()?.stderr)?;
    ensure!(!said.contains(".keycell-") && !said.contains("os error"), "{said}");
    fails(&mut command, words)?;
    ensure!(state(made.dir.path())? == before, "{command:?} changed something");
    Ok(())
}

/// `docker save` and `ctr images export` give `app:latest` and `db:latest` the same tag.
fn several_images_of_a_name() -> Result<()> {
    let made = Made::new()?;
    let to = made.path("to");
    for name in ["app", "db"] {
        says(&mut encrypt(&made, &format!("oci:to:{name}"))?)?;
    }
    let mut index = list(&to)?;
    for (entry, name) in [(0, "app"), (1, "db")] {
        index["manifests"][entry]["annotations"] = json!({
            "io.containerd.image.name": format!("docker.io/library/{name}:latest"),
            "org.opencontainers.image.ref.name": "latest",
        });
    }
    fs::write(to.join("index.json"), index.to_string())?;
    let words = ["`oci:to:latest` names 2 images", "`oci:to:docker.io/library/app:latest`"];
    refused(&made, encrypt(&made, "oci:to:latest")?, &words)?;
    let mut forced = encrypt(&made, "oci:to:latest")?;
    forced.arg("--force");
    refused(&made, forced, &words)?;
    for name in ["docker.io/library/app:latest", "app:latest", "app"] {
        let there = format!("`oci:to:{name}` is there already");
        refused(&made, encrypt(&made, &format!("oci:to:{name}"))?, &[&there, "`--force`"])?;
    }
    says(encrypt(&made, "oci:to:app")?.arg("--force"))?;
    let replaced = list(&to)?;
    ensure!(replaced["manifests"][0] == index["manifests"][1], "{replaced}");
    ensure!(tags(&to)? == ["app", "latest"], "{replaced}");
    Ok(())
}

/// A run that has begun, and that waits for a layer.
struct Waiting {
    child: Child,
    pipe: File,
    layer: Vec<u8>,
}

impl Waiting {
    /// Encrypts another image, of which one layer is a pipe.
    fn new(made: &Made, to: &str) -> Result<Self> {
        let source = made.path("slow");
        if !source.exists() {
            layout::make(&source)?;
        }
        let blob = layout::path(&source, &layers(&made.path("plain"))?[0])?;
        let layer = fs::read(&blob)?;
        fs::remove_file(&blob)?;
        mknodat(CWD, &blob, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let recipient = made.recipient();
        let args = ["encrypt", "oci:slow:demo", to, "-r", &recipient, "--drop-attestations"];
        let mut command = keycell(&args)?;
        command.current_dir(made.dir.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn()?;
        // This waits until the layer is read.
        let pipe = File::options().write(true).open(&blob)?;
        fs::remove_file(&blob)?;
        fs::write(&blob, &layer)?;
        Ok(Self { child, pipe, layer })
    }

    /// Gives it the layer.
    fn release(mut self) -> Result<Child> {
        self.pipe.write_all(&self.layer)?;
        Ok(self.child)
    }

    /// Gives it the layer, and waits for its end.
    fn ends(self) -> Result<(Option<i32>, String)> {
        let output = self.release()?.wait_with_output()?;
        Ok((output.status.code(), String::from_utf8(output.stderr)?))
    }
}

fn two_runs_at_a_time() -> Result<()> {
    let made = Made::new()?;
    fs::create_dir(made.path("empty"))?;
    says(&mut encrypt(&made, "oci:there:0")?)?;
    for to in ["new", "empty", "there"] {
        let waiting = Waiting::new(&made, &format!("oci:{to}:1"))?;
        says(&mut encrypt(&made, &format!("oci:{to}:2"))?)?;
        let (code, said) = waiting.ends()?;
        ensure!(code == Some(0), "{to}: {said}");
        let tags = tags(&made.path(to))?;
        ensure!(tags.ends_with(&["1".into(), "2".into()]), "{to}: {tags:?}");
        // Two images of the same name.
        let waiting = Waiting::new(&made, &format!("oci:{to}:3"))?;
        says(&mut encrypt(&made, &format!("oci:{to}:3"))?)?;
        let before = layout::state(&made.path(to))?.len();
        let (code, said) = waiting.ends()?;
        ensure!(code == Some(1) && said.contains(":3` is there already"), "{to}: {said}");
        // What it staged is gone, too.
        ensure!(layout::state(&made.path(to))?.len() < before, "{to}: it left something behind");
    }
    Ok(())
}

/// Another run that changes the layout is waited for.
fn locked() -> Result<()> {
    let made = Made::new()?;
    let to = made.path("to");
    says(&mut encrypt(&made, "oci:to:0")?)?;
    let waiting = Waiting::new(&made, "oci:to:1")?;
    let lock = File::open(&to)?;
    lock.lock()?;
    let mut child = waiting.release()?;
    sleep(Duration::from_millis(500));
    ensure!(child.try_wait()?.is_none() && tags(&to)? == ["0"], "it did not wait");
    let text = fs::read_to_string(to.join("index.json"))?;
    fs::write(to.join("index.json"), text.replace(r#"name":"0""#, r#"name":"2""#))?;
    drop(lock);
    ensure!(child.wait()?.success(), "it failed");
    ensure!(tags(&to)? == ["1", "2"], "{:?}", tags(&to)?);
    Ok(())
}

/// An image of which one blob cannot be moved to the layout.
fn failed_publication() -> Result<()> {
    let made = Made::new()?;
    says(&mut encrypt(&made, "oci:encrypted:demo")?)?;
    says(&mut encrypt(&made, "oci:to:0")?)?;
    for layer in layers(&made.path("plain"))?.into_iter().filter(|it| it["mediaType"] == TAR) {
        let blob = layout::path(&made.path("to"), &layer)?;
        fs::create_dir(&blob)?;
        refused(&made, decrypt(&made, "oci:to:1")?, &["cannot write to `to`: is a directory"])?;
        fs::remove_dir(&blob)?;
    }
    says(&mut decrypt(&made, "oci:to:1")?)?;
    Ok(())
}

/// Runs a script in the directory, where it may mount something.
fn mounted(made: &Made, script: &str, command: &Command) -> Result<Command> {
    let mut mounted = Command::new("unshare");
    mounted.args(["--mount", "sh", "-c", script, "sh"]).current_dir(made.dir.path());
    mounted.arg(command.get_program()).args(command.get_args());
    Ok(mounted)
}

fn list_that_cannot_be_replaced() -> Result<()> {
    let made = Made::new()?;
    says(&mut encrypt(&made, "oci:encrypted:demo")?)?;
    says(&mut encrypt(&made, "oci:to:0")?)?;
    let script = "mount --bind to/index.json to/index.json; exec \"$@\"";
    let decrypts = decrypt(&made, "oci:to:1")?;
    let words = ["cannot write to `to`: device or resource busy"];
    refused(&made, mounted(&made, script, &decrypts)?, &words)
}

fn empty_directories() -> Result<()> {
    let made = Made::new()?;
    fs::create_dir_all(made.path("empty/1"))?;
    fs::create_dir(made.path("empty/2"))?;
    fs::create_dir(made.path("empty/3"))?;
    symlink("empty/2", made.path("link"))?;
    for (to, directory) in [
        ("oci:empty/1/.:t", "empty/1"),
        ("oci:link:t", "empty/2"),
        ("oci:empty/3/:t", "empty/3"),
        ("oci:new/.:t", "new"),
        ("oci:a/b/../c/:t", "a/c"),
    ] {
        says(&mut encrypt(&made, to)?).with_context(|| to.to_owned())?;
        ensure!(tags(&made.path(directory))? == ["t"], "{to}");
        ensure!(layers(&made.path(directory))?.len() == 3, "{to}");
    }
    ensure!(made.path("link").is_symlink(), "the link was replaced");
    fs::create_dir(made.path("here"))?;
    let from = made.name("plain");
    let args = ["encrypt", &from, "oci:.:t", "-r", &made.recipient(), "--drop-attestations"];
    says(keycell(&args)?.current_dir(made.path("here")))?;
    let mut files: Vec<_> =
        fs::read_dir(made.path("here"))?.map(|it| Ok(it?.file_name())).collect::<Result<_>>()?;
    files.sort();
    ensure!(files == ["blobs", "index.json", "oci-layout"], "{files:?}");
    Ok(())
}

fn empty_mount_point() -> Result<()> {
    let made = Made::new()?;
    fs::create_dir(made.path("disk"))?;
    // Nothing but the mount point can be written to.
    let script = "set -e; mount --bind . .; cd \"$PWD\"; mount -t tmpfs keycell disk; \
                  mount -o remount,ro,bind .; \"$@\"; test -s disk/index.json";
    let encrypts = encrypt(&made, "oci:disk:t")?;
    says(&mut mounted(&made, script, &encrypts)?)?;
    Ok(())
}

/// The directory of the blobs is a link to a directory of another file system.
fn blobs_elsewhere() -> Result<()> {
    let made = Made::new()?;
    says(&mut encrypt(&made, "oci:to:0")?)?;
    fs::create_dir(made.path("disk"))?;
    let keycell = keycell_tests::dist("keycell")?;
    let script = format!(
        "set -e; mount -t tmpfs keycell disk; mv to/blobs disk; ln -s ../disk/blobs to/blobs; \
         \"$@\"; {} inspect oci:to:1; ls -A disk/blobs/sha256 | grep -c '^\\.' || true",
        keycell.display()
    );
    let encrypts = encrypt(&made, "oci:to:1")?;
    let (said, _) = says(&mut mounted(&made, &script, &encrypts)?)?;
    ensure!(said.contains("+encrypted") && said.ends_with("\n0\n"), "{said}");
    // The link has lost what it led to.
    refused(&made, encrypt(&made, "oci:to:2")?, &["`to/blobs` is a link to `../disk/blobs`"])
}

/// Destinations that are known to be impossible before anything is read.
fn refused_paths() -> Result<()> {
    let made = Made::new()?;
    for layer in layers(&made.path("plain"))? {
        // What is read before is told as altered.
        fs::write(layout::path(&made.path("plain"), &layer)?, "another")?;
    }
    symlink("gone", made.path("link"))?;
    let long = "n".repeat(256);
    let gone = "link` is a link to `gone`, which is not there";
    for (to, words) in [
        ("oci:link:t".to_owned(), gone),
        ("oci:link/:t".to_owned(), gone),
        ("oci:link/new:t".to_owned(), gone),
        (format!("oci:{long}:t"), "file name too long"),
        (format!("oci:a/{long}:t"), "file name too long"),
        ("oci:plain/index.json/new:t".to_owned(), "cannot write"),
        ("oci:a/..:t".to_owned(), "no such file"),
        ("oci-archive:new/a.tar".to_owned(), "no such file"),
        ("oci-archive:link".to_owned(), gone),
        ("oci-archive:link/a.tar".to_owned(), gone),
        (format!("oci-archive:{long}"), "file name too long"),
        ("oci-archive:new/".to_owned(), "is a directory"),
    ] {
        for options in [&[][..], &["--force"]] {
            let mut command = encrypt(&made, &to)?;
            command.args(options);
            refused(&made, command, &["cannot write to `", words]).with_context(|| to.clone())?;
            ensure!(!made.path("a").exists(), "{to}: a directory was left behind");
        }
    }
    ensure!(made.path("link").is_symlink(), "the link was replaced");
    Ok(())
}

/// A file that has the name of a blob, but not its bytes.
fn altered_blob() -> Result<()> {
    let made = Made::new()?;
    says(&mut encrypt(&made, "oci:encrypted:demo")?)?;
    let layer = layers(&made.path("plain"))?.swap_remove(0);
    let bytes = layout::read(&made.path("plain"), &layer)?;
    let blob = layout::path(&made.path("to"), &layer)?;
    for other in [Vec::new(), b"another".to_vec(), vec![0; bytes.len()]] {
        // The first layer is copied as it is, or made.
        let mut copies = encrypt(&made, "oci:to:1")?;
        copies.args(["--layer", "2"]);
        for mut command in [copies, decrypt(&made, "oci:to:1")?] {
            let _ = fs::remove_dir_all(made.path("to"));
            fs::create_dir_all(blob.parent().context("no directory")?)?;
            layout::list(&made.path("to"), vec![])?;
            fs::write(&blob, &other)?;
            says(&mut command)?;
            ensure!(fs::read(&blob)? == bytes, "{command:?} leaves the wrong blob");
        }
    }
    Ok(())
}

fn new_parents() -> Result<()> {
    let made = Made::new()?;
    let layer = layers(&made.path("plain"))?.swap_remove(0);
    let blob = layout::path(&made.path("plain"), &layer)?;
    let kept = fs::read(&blob)?;
    fs::write(&blob, b"altered")?;
    fs::create_dir(made.path("there"))?;
    for to in ["oci:a/b/c:t", "oci:there/a/b:t"] {
        refused(&made, encrypt(&made, to)?, &["altered"])?;
    }
    ensure!(!made.path("a").exists(), "a directory was left behind");
    ensure!(fs::read_dir(made.path("there"))?.next().is_none(), "a directory was left behind");
    fs::write(&blob, kept)?;
    let mut waiting = Waiting::new(&made, "oci:a/b/c:t")?;
    ensure!(made.path("a/b").is_dir(), "the directories are not made");
    let id = rustix::process::Pid::from_child(&waiting.child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
    let started = Instant::now();
    while waiting.child.try_wait()?.is_none() {
        ensure!(started.elapsed() < Duration::from_secs(20), "it does not end");
        sleep(Duration::from_millis(10));
    }
    ensure!(!made.path("a").exists(), "a directory was left behind");
    Ok(())
}
