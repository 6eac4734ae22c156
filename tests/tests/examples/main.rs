//! The example guests, which are written in other languages and share no code with ours: under
//! plain `wasmtime run`, and installed for the decoder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use base64ct::{Base64, Encoding};
use keycell_tests::decoder::Decoder;
use keycell_tests::image::{Descriptor, Image, LayerKind};
use keycell_tests::jwe::Recipient;
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::node::WITHHELD;
use keycell_tests::outcome::Outcome;
use keycell_tests::payload::Payload;
use keycell_tests::sealed::{JWE_KEYS, Sealed};
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, fed, filtered, output};
use keycell_tests::{dist, layout, workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

mod cases;

use self::cases::CASES;

const NODE_SECRET_KEYS: &str = "org.opencontainers.image.enc.keys.provider.node-secret";

/// wasmtime takes seconds to compile what Go makes, each time.
const GO_UNDER_WASMTIME: [&str; 3] = ["layer", "wrong-key", "altered-layer"];

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    let guests = [
        (&C, &[Tool::Jwcrypto][..]),
        (&GO, &[Tool::Skopeo, Tool::Umoci, Tool::Openssl, Tool::Busybox]),
    ];
    for (guest, needs) in guests {
        for host in [Host::Wasmtime, Host::Decoder] {
            let needs = match host {
                Host::Wasmtime => &[needs, &[Tool::Wasmtime]].concat(),
                Host::Decoder => needs,
            };
            for (name, run) in CASES {
                let is_slow = guest.name == GO.name && host == Host::Wasmtime;
                if !is_slow || GO_UNDER_WASMTIME.contains(&name) {
                    let name = format!("{}/{host:?}/{name}", guest.name).to_lowercase();
                    suite.case(name, needs, move || run(&Subject { guest, host }));
                }
            }
        }
    }
    suite.case("c-node-secret/vectors", &[Tool::Wasmtime], vectors);
    suite.case("c-node-secret/payload-in-a-file", &[Tool::Jwcrypto, Tool::Wasmtime], || {
        let (fixture, dir) = (C.fixture()?, TempDir::new()?);
        fs::write(dir.path().join("payload"), &fixture.payload)?;
        let mut command =
            wasmtime(&C, &fixture.path("keys"), &["--dir", &mapped(dir.path(), "/here")])?;
        command.args(["--payload", "/here/payload"]);
        outcome(&fed(command, &[&fixture.encrypted])?).is_silent_success(&fixture.plain)
    });
    let needs = [Tool::Skopeo, Tool::Umoci, Tool::Openssl, Tool::Busybox];
    suite.case("go-jwe/image-that-skopeo-compressed", &needs, image_that_skopeo_compressed);
    let needs = [Tool::Jwcrypto, Tool::Wasmtime, Tool::Umoci, Tool::Openssl];
    suite.case("page", &needs, commands_of_the_page);
    suite.run()
}

static C: Guest = Guest {
    name: "c-node-secret",
    annotation: NODE_SECRET_KEYS,
    make: Fixture::of_nodes,
    wrap: |fixture, options| wrapped(&fixture.path("keys").join("node.secret"), options),
    fixture: OnceLock::new(),
    store: OnceLock::new(),
};

static GO: Guest = Guest {
    name: "go-jwe",
    annotation: JWE_KEYS,
    make: Fixture::of_skopeo,
    wrap: |fixture, options| {
        let recipient = fixture.recipient.as_ref().context("a recipient")?;
        let jwe = keycell_tests::jwe::Jwe::seal(recipient, options, json!({}));
        Ok(jwe.compact().into_bytes())
    },
    fixture: OnceLock::new(),
    store: OnceLock::new(),
};

struct Guest {
    name: &'static str,
    /// Where its wrapped keys are.
    annotation: &'static str,
    make: fn() -> Result<Fixture>,
    /// Wraps options for the keys in `keys`, without code of the example.
    wrap: fn(&Fixture, &[u8]) -> Result<Vec<u8>>,
    fixture: OnceLock<Result<Fixture, String>>,
    store: OnceLock<Result<TempDir, String>>,
}

impl Guest {
    fn fixture(&self) -> Result<&Fixture> {
        let made = self.fixture.get_or_init(|| (self.make)().map_err(|error| format!("{error:#}")));
        made.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn file(&self) -> Result<PathBuf> {
        example(self.name)
    }

    /// A store of guests in which it is installed.
    fn store(&self) -> Result<&Path> {
        let install = || {
            let dir = TempDir::with_prefix("keycell-examples-")?;
            let mut command = Command::new(dist("keycell")?);
            command.args(["guest", "install", "--name", self.name, "--store"]);
            output(command.arg(dir.path().join("guests")).arg(self.file()?))?;
            Ok(dir)
        };
        let store = self
            .store
            .get_or_init(|| install().map_err(|error: anyhow::Error| format!("{error:#}")));
        store.as_ref().map(TempDir::path).map_err(|error| anyhow!("{error}"))
    }
}

fn example(name: &str) -> Result<PathBuf> {
    dist(&format!("examples/{name}.wasm")).context("`make examples` builds it")
}

/// An encrypted layer, with directories of keys: `keys`, `second`, which open it, `stranger` and
/// `empty`, which do not.
struct Fixture {
    dir: TempDir,
    /// Whose key is among those in `keys`, where the tests' own writer wraps for it.
    recipient: Option<Recipient>,
    plain: Vec<u8>,
    encrypted: Vec<u8>,
    descriptor: Descriptor,
    payload: Vec<u8>,
}

impl Fixture {
    /// Encrypted by `keycell` for the secrets of two nodes, which the example's provider wraps.
    fn of_nodes() -> Result<Self> {
        let dir = Self::directories()?;
        for node in ["keys", "second", "stranger"] {
            let secret = keycell_tests::sealed::random::<32>();
            fs::write(dir.path().join(node).join("node.secret"), secret)?;
        }
        let at = |name: &str| dir.path().join(name).display().to_string();
        let image = |name: &str| format!("oci:{}:demo", at(name));
        let python = Tool::Jwcrypto.find()?;
        let provider = json!({ "cmd": { "path": python, "args": [wrap_py()] } });
        let providers = json!({ "key-providers": { "node-secret": provider } });
        fs::write(dir.path().join("providers.json"), providers.to_string())?;
        layout::make(&dir.path().join("plain"))?;
        let keycell = |args: &[&str]| {
            let mut command = Command::new(dist("keycell")?);
            command.env("OCICRYPT_KEYPROVIDER_CONFIG", at("providers.json"));
            output(command.args(args))
        };
        let recipients =
            ["keys", "second"].map(|node| format!("provider:node-secret:{}/node.secret", at(node)));
        let [first, second] = recipients.each_ref().map(String::as_str);
        let (from, to) = (image("plain"), image("encrypted"));
        keycell(&["encrypt", &from, &to, "-r", first, "-r", second, "--drop-attestations"])?;

        let root = dir.path().join("encrypted");
        let layers = layout::layers(&root)?;
        let descriptor = layers.get(1).context("an image without a second layer")?;
        let encrypted = layout::read(&root, descriptor)?;
        let descriptor = serde_json::from_value(descriptor.clone())?;
        Self {
            recipient: None,
            plain: layout::plain("two"),
            encrypted,
            ..Self::new(dir, descriptor)
        }
        .checked()
    }

    /// Encrypted by skopeo for RSA, P-256 and P-521.
    fn of_skopeo() -> Result<Self> {
        let dir = Self::directories()?;
        let made = TempDir::new()?;
        let pairs = [
            ("keys", KeyKind::Rsa(2048), KeyForm::Pkcs8Pem),
            ("second", KeyKind::P521, KeyForm::Sec1Pem),
            ("stranger", KeyKind::P256, KeyForm::Pkcs8Pem),
        ];
        let mut pairs = pairs.map(|(place, kind, form)| {
            let pair = KeyPair::generate(made.path(), place, kind)?;
            pair.install(form, &dir.path().join(place))?;
            Ok::<_, anyhow::Error>(pair)
        });
        let mut public = Vec::new();
        for pair in &mut pairs[..2] {
            public.push(pair.as_ref().map_err(|error| anyhow!("{error:#}"))?.public());
        }
        let recipient = Recipient::generate();
        fs::write(dir.path().join("keys/another.pem"), recipient.private_pem())?;
        fs::write(dir.path().join("keys/no-key.txt"), "there is no key in here")?;
        fs::create_dir(dir.path().join("keys/a-directory"))?;

        let image = Image::busybox(made.path())?;
        let sealed = image.encrypted(&made.path().join("sealed"), &public)?;
        let last = |image: &Image| image.layers()?.pop().context("an image without layers");
        let descriptor = last(&sealed)?;
        let encrypted = sealed.blob(&descriptor)?;
        let plain = image.blob(&last(&image)?)?;
        Self { recipient: Some(recipient), plain, encrypted, ..Self::new(dir, descriptor) }
            .checked()
    }

    fn directories() -> Result<TempDir> {
        let dir = TempDir::with_prefix("keycell-examples-")?;
        for name in ["keys", "second", "stranger", "empty"] {
            fs::create_dir(dir.path().join(name))?;
        }
        Ok(dir)
    }

    fn new(dir: TempDir, descriptor: Descriptor) -> Self {
        let payload = Payload::new(&descriptor).bytes();
        let (plain, encrypted) = (Vec::new(), Vec::new());
        Self { dir, recipient: None, plain, encrypted, descriptor, payload }
    }

    /// Long enough for what the cases expect of it.
    fn checked(self) -> Result<Self> {
        ensure!(self.plain.len() > 3 * WITHHELD && self.plain != self.encrypted);
        Ok(self)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The provider that comes with the example in C wraps these options.
fn wrapped(secret: &Path, options: &[u8]) -> Result<Vec<u8>> {
    let parameter = Base64::encode_string(secret.display().to_string().as_bytes());
    let request = json!({
        "op": "keywrap",
        "keywrapparams": {
            "ec": { "Parameters": { "node-secret": [parameter] } },
            "optsdata": Base64::encode_string(options),
        },
    });
    let mut command = Command::new(Tool::Jwcrypto.find()?);
    let answer = filtered(command.arg(wrap_py()), request.to_string().as_bytes())?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let wrapped = answer["keywrapresults"]["annotation"].as_str().context("no annotation")?;
    Base64::decode_vec(wrapped).map_err(|error| anyhow!("{error}"))
}

fn wrap_py() -> PathBuf {
    workspace().join("examples/c/wrap.py")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Wasmtime,
    Decoder,
}

/// A guest where it runs.
struct Subject {
    guest: &'static Guest,
    host: Host,
}

impl Subject {
    fn run(&self, keys: &str, payload: &[u8], layer: &[u8]) -> Result<Outcome> {
        let keys = self.guest.fixture()?.path(keys);
        match self.host {
            Host::Wasmtime => {
                let mut command = wasmtime(self.guest, &keys, &[])?;
                command.args(["--payload", "-"]);
                let length = u32::try_from(payload.len())?.to_be_bytes();
                Ok(outcome(&fed(command, &[&length, payload, layer])?))
            }
            Host::Decoder => {
                let store = self.guest.store()?.join("guests");
                let decoder = Decoder::new()?.arg("--guest").arg(self.guest.name);
                let decoder = decoder.arg("--guest-store").arg(store).keys(&keys);
                decoder.payload(payload.to_vec()).layer(layer.to_vec()).run()
            }
        }
    }

    /// Failed with exit code 1 and one message of the guest's that says `word`; of a layer of so
    /// many bytes the last 64 KiB stayed inside.
    fn fails(&self, outcome: &Outcome, word: &str, length: usize) -> Result<()> {
        let name = self.guest.name;
        let (said, start) = match self.host {
            Host::Wasmtime => (outcome.stderr.as_str(), format!("{name}: error: ")),
            Host::Decoder => (outcome.error()?, format!("the guest `{name}` failed: ")),
        };
        ensure!(outcome.status.code() == Some(1), "{}: {said}", outcome.status);
        ensure!(said.starts_with(&start) && said.contains(word), "nothing of `{word}`: {said}");
        let (came, most) = (outcome.stdout.len(), length.saturating_sub(WITHHELD));
        ensure!(came <= most, "{came} of {length} bytes came out");
        Ok(())
    }

    /// The same, before the layer was looked at.
    fn refuses(&self, keys: &str, payload: &[u8], word: &str) -> Result<()> {
        let outcome = self.run(keys, payload, &self.guest.fixture()?.encrypted)?;
        self.fails(&outcome, word, 0)
    }

    /// The fixture's payload, with another layer.
    fn rejects(&self, layer: &[u8]) -> Result<()> {
        let outcome = self.run("keys", &self.guest.fixture()?.payload, layer)?;
        self.fails(&outcome, "HMAC", layer.len())
    }

    /// What a layer of the tests' own writer needs.
    fn payload_of(&self, sealed: &Sealed) -> Result<Vec<u8>> {
        Ok(Payload::new(&self.descriptor_of(sealed)?).bytes())
    }

    fn descriptor_of(&self, sealed: &Sealed) -> Result<Descriptor> {
        let options = sealed.private.to_string();
        let item = (self.guest.wrap)(self.guest.fixture()?, options.as_bytes())?;
        Ok(sealed.descriptor_with(self.guest.annotation, &[item]))
    }
}

/// `wasmtime run` with keys and more options, up to the guest's arguments.
fn wasmtime(guest: &Guest, keys: &Path, options: &[&str]) -> Result<Command> {
    let mut command = Command::new(Tool::Wasmtime.find()?);
    command.args(["run", "--dir", &mapped(keys, "/keys")]).args(options).arg(guest.file()?);
    Ok(command)
}

fn mapped(dir: &Path, to: &str) -> String {
    format!("{}::{to}", dir.display())
}

fn outcome(output: &std::process::Output) -> Outcome {
    Outcome {
        status: output.status,
        stdout: output.stdout.clone(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        elapsed: std::time::Duration::ZERO,
        peak: 0,
    }
}

/// The example's own AES, SHA-256 and HMAC, against what their standards publish.
fn vectors() -> Result<()> {
    let mut command = Command::new(Tool::Wasmtime.find()?);
    command.arg("run").arg(example("c-vectors")?);
    ensure!(output(&mut command)?.is_empty());
    Ok(())
}

/// skopeo compresses the layers of an image and encrypts them in one go.
fn image_that_skopeo_compressed() -> Result<()> {
    let (made, keys) = (TempDir::new()?, TempDir::new()?);
    let pair = KeyPair::generate(made.path(), "node", KeyKind::P256)?;
    let key = pair.install(KeyForm::Pkcs8Pem, keys.path())?;
    let plain = Image::busybox(made.path())?.repacked(made.path(), LayerKind::Tar)?;
    let image = plain.compressed_and_encrypted(&made.path().join("image"), pair.public())?;
    let decrypted = image.decrypted(&made.path().join("plain"), &[&key], &[])?;
    for (layer, plain) in image.layers()?.iter().zip(decrypted.layers()?) {
        let decoder = Decoder::new()?.arg("--guest").arg(GO.name);
        let decoder = decoder.arg("--guest-store").arg(GO.store()?.join("guests"));
        let decoder = decoder.keys(keys.path()).payload(Payload::new(layer).bytes());
        decoder.layer(image.blob(layer)?).run()?.is_silent_success(&decrypted.blob(&plain)?)?;
    }
    Ok(())
}

/// What stands in docs/write-a-guest.md works when it is pasted into an empty directory.
fn commands_of_the_page() -> Result<()> {
    let page = fs::read_to_string(workspace().join("docs/write-a-guest.md"))?;
    let blocks = page.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    ensure!(blocks.len() >= 6, "the page has {} blocks of commands", blocks.len());
    // `!` is no failure to `sh -e`.
    let lines = blocks.concat().lines().fold(String::new(), |script, line| {
        script + line + if line.starts_with("! ") { " || exit 1\n" } else { "\n" }
    });
    let place = TempDir::with_prefix("keycell-examples-")?;
    let (clone, empty) = (place.path().join("clone"), place.path().join("empty"));
    fs::create_dir_all(clone.join("target/tools"))?;
    fs::create_dir(&empty)?;
    let parent = |file: PathBuf| file.parent().map(Path::to_path_buf).context("a folder");
    symlink(parent(dist("keycell")?)?, clone.join("dist"))?;
    symlink(parent(Tool::Wasmtime.find()?)?, clone.join("target/tools/bin"))?;
    symlink(workspace().join("examples").canonicalize()?, clone.join("examples"))?;
    let mut command = Command::new("sh");
    command.args(["-ec", &lines]).current_dir(&empty).env("KEYCELL", &clone);
    output(&mut command).map(drop)
}
