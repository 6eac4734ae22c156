//! The portable guest under plain `wasmtime run`: a component and a core module that do without
//! Keycell's host.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use keycell_tests::image::{Image, LayerKind};
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::payload::Payload;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, fed};
use keycell_tests::{dist, workspace};
use tempfile::TempDir;

const GUESTS: [&str; 2] = ["decoder-portable.wasm", "decoder-portable-core.wasm"];

const NEEDS: [Tool; 5] = [Tool::Wasmtime, Tool::Skopeo, Tool::Umoci, Tool::Openssl, Tool::Busybox];

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    let fixture = Arc::new(OnceLock::new());
    let mut case = |name: String, run: fn(&Fixture, &str) -> Result<()>, guest: &'static str| {
        let fixture = fixture.clone();
        suite.case(name, &NEEDS, move || {
            let fixture = fixture.get_or_init(Fixture::new).as_ref();
            run(fixture.map_err(|error| anyhow!("{error:#}"))?, guest)
        });
    };
    for guest in GUESTS {
        let name = guest.trim_end_matches(".wasm");
        case(format!("{name}/payload-in-a-file"), payload_in_a_file, guest);
        case(format!("{name}/payload-on-stdin"), payload_on_stdin, guest);
        case(format!("{name}/wrong-key"), wrong_key, guest);
        case(format!("{name}/flipped-bit"), flipped_bit, guest);
        case(format!("{name}/link-that-leaves"), link_that_leaves, guest);
    }
    case("page".to_owned(), command_of_the_page, GUESTS[0]);
    suite.run()
}

/// The last layer of an encrypted image, in the files that a person would have.
struct Fixture {
    /// `keys`, `stranger`, `payload` and `layer`.
    dir: TempDir,
    plain: Vec<u8>,
    encrypted: Vec<u8>,
    payload: Vec<u8>,
}

impl Fixture {
    fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-portable-")?;
        let made = TempDir::new()?;
        let key = KeyPair::generate(made.path(), "key", KeyKind::Rsa(2048))?;
        let stranger = KeyPair::generate(made.path(), "stranger", KeyKind::P256)?;
        for (name, pair) in [("keys", &key), ("stranger", &stranger)] {
            fs::create_dir(dir.path().join(name))?;
            pair.install(KeyForm::Pkcs8Pem, &dir.path().join(name))?;
        }
        let image = Image::busybox(made.path())?.repacked(made.path(), LayerKind::Gzip)?;
        let sealed = image.encrypted(&made.path().join("sealed"), &[key.public()])?;
        let last = |image: &Image| image.layers()?.pop().context("an image without layers");
        let layer = last(&sealed)?;
        let encrypted = sealed.blob(&layer)?;
        let payload = Payload::new(&layer).bytes();
        fs::write(dir.path().join("payload"), &payload)?;
        fs::write(dir.path().join("layer"), &encrypted)?;
        Ok(Self { plain: image.blob(&last(&image)?)?, dir, encrypted, payload })
    }

    /// `wasmtime run` with the keys in `keys`.
    fn command(&self, guest: &str, keys: &str, payload: &str) -> Result<Command> {
        let dir = self.dir.path().display();
        let mut command = Command::new(Tool::Wasmtime.find()?);
        command.args(["run", "--dir", &format!("{dir}/{keys}::/keys")]);
        command.args(["--dir", &format!("{dir}::/demo")]).arg(dist(guest)?);
        command.args(["--payload", payload]);
        Ok(command)
    }
}

fn is_layer(output: &Output, plain: &[u8]) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    ensure!(output.stdout == plain, "{} bytes, another layer", output.stdout.len());
    Ok(())
}

fn fails_with(output: &Output, words: &[&str]) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    for word in words {
        ensure!(said.contains(word), "nothing of `{word}`: {said}");
    }
    Ok(())
}

fn payload_in_a_file(fixture: &Fixture, guest: &str) -> Result<()> {
    let command = fixture.command(guest, "keys", "/demo/payload")?;
    is_layer(&fed(command, &[&fixture.encrypted])?, &fixture.plain)
}

fn payload_on_stdin(fixture: &Fixture, guest: &str) -> Result<()> {
    let command = fixture.command(guest, "keys", "-")?;
    let length = u32::try_from(fixture.payload.len())?.to_be_bytes();
    let output = fed(command, &[&length, &fixture.payload, &fixture.encrypted])?;
    is_layer(&output, &fixture.plain)
}

fn wrong_key(fixture: &Fixture, guest: &str) -> Result<()> {
    let command = fixture.command(guest, "stranger", "/demo/payload")?;
    let output = fed(command, &[&fixture.encrypted])?;
    ensure!(output.stdout.is_empty());
    fails_with(&output, &["decoder-portable: error: ", "jwe: 1 wrapped key", "hint: "])
}

fn flipped_bit(fixture: &Fixture, guest: &str) -> Result<()> {
    let mut flipped = fixture.encrypted.clone();
    flipped[0] ^= 1;
    let output = fed(fixture.command(guest, "keys", "/demo/payload")?, &[&flipped])?;
    ensure!(output.stdout.len() + 64 * 1024 <= fixture.plain.len(), "too much came out");
    fails_with(&output, &["HMAC"])
}

fn link_that_leaves(fixture: &Fixture, guest: &str) -> Result<()> {
    let keys = fixture.dir.path().join(format!("links-{guest}"));
    fs::create_dir(&keys)?;
    symlink(fixture.dir.path().join("keys/key.pem"), keys.join("out.pem"))?;
    let name = keys.file_name().and_then(|name| name.to_str()).context("a name")?;
    let command = fixture.command(guest, name, "/demo/payload")?;
    let output = fed(command, &[&fixture.encrypted])?;
    ensure!(output.stdout.is_empty());
    fails_with(&output, &["out.pem", "leaves the keys directory"])
}

/// The command in docs/guests.md works when it is pasted.
fn command_of_the_page(fixture: &Fixture, _guest: &str) -> Result<()> {
    let page = fs::read_to_string(workspace().join("docs/guests.md"))?;
    let mut lines = page.lines().filter(|line| line.starts_with("wasmtime run "));
    let line = lines.next().context("the page has no `wasmtime run`")?;
    ensure!(lines.next().is_none(), "the page has more than one `wasmtime run`");

    let place = TempDir::new()?;
    fs::create_dir_all(place.path().join("target"))?;
    symlink(fixture.dir.path(), place.path().join("target/demo"))?;
    let built = dist(GUESTS[0])?;
    symlink(built.parent().context("a folder")?, place.path().join("dist"))?;
    let runtime = Tool::Wasmtime.find()?;
    let tools = runtime.parent().unwrap_or(Path::new("/")).display().to_string();
    let status = Command::new("sh")
        .args(["-ec", &format!("PATH={tools}:$PATH\n{line}")])
        .current_dir(place.path())
        .stdin(File::open("/dev/null")?)
        .status()?;
    ensure!(status.success(), "{status}");
    let plain = fs::read(fixture.dir.path().join("plain.tar.gz"))?;
    ensure!(plain == fixture.plain, "{} bytes, another layer", plain.len());
    Ok(())
}
