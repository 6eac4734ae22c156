//! Encrypted images on a real node: containerd pulls them through its CRI, calls the decoder, and
//! runs the decrypted image.
//!
//! The image prints the SHA-256 of a file in its upper layer with a program from its lower one, so
//! a container that prints the right line had both layers decrypted.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use keycell_tests::containerd::{Node, Setup, is_version_2};
use keycell_tests::events;
use keycell_tests::forged::{ALTERATIONS, Alteration, Forged};
use keycell_tests::gpg::Gpg;
use keycell_tests::image::{Image, LayerKind};
use keycell_tests::jwe::Recipient;
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::registry::Registry;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

mod ctr;
mod decompress;

use self::ctr::{
    content_store_off, ctr_import, ctr_pull, ctr_pull_with_the_wrong_key,
    ctr_pulls_at_the_same_time, unpacked_later, without_content_store, zstd_processor,
};

/// The configuration in containerd's document on decryption, as it stands there.
const DOCUMENTED: &str = include_str!("../../data/documented.toml");

/// The one that later versions of the document and containerd's defaults have.
const DOCUMENTED_LATER: &str = include_str!("../../data/documented-later.toml");

/// What a node of today has: both processors, and zstd layers through the gzip one.
const NODE: &str = include_str!("../../data/node.toml");

/// The same for containerd 2.x, with its defaults.
const NODE_OF_2: &str = include_str!("../../data/node-v3.toml");

fn main() -> ExitCode {
    // One node at a time: each is a containerd with its shims and containers.
    let mut suite = Suite::from_args().sequential();
    let shared = Arc::new(OnceLock::new());
    let needs = [&Tool::NODE[..], &[Tool::Gpg]].concat();
    let mut case = |name: &str, run: fn(&Shared) -> Result<()>| {
        let shared = shared.clone();
        suite.case(name, &needs, move || {
            let made = shared.get_or_init(|| Shared::new().map_err(|e| format!("{e:#}")));
            run(made.as_ref().map_err(|error| anyhow!("{error}"))?)
        });
    };
    // containerd 2.x no longer reads the document's version of the configuration.
    if !is_version_2().unwrap_or(false) {
        case("documented/image-encryption", |shared| documented(shared, DOCUMENTED));
        case("documented/image-decryption", |shared| {
            documented(shared, &DOCUMENTED.replace("image_encryption", "image_decryption"))
        });
    }
    case("documented/later", documented_later);
    case("configured/as-printed", |shared| configured(shared, &[]));
    case("configured/without-decompressing", |shared| configured(shared, &["--no-decompress"]));
    case("decompressed/as-containerd-does", decompress::as_containerd_does);
    case("pod/gzip", |shared| pod(shared, LayerKind::Gzip));
    case("pod/tar", |shared| pod(shared, LayerKind::Tar));
    case("pod/zstd", |shared| pod(shared, LayerKind::Zstd));
    case("pod/pkcs7", pod_pkcs7);
    case("pod/pgp", pod_pgp);
    case("pull/by-payload-alone", by_payload_alone);
    case("pull/images-at-the-same-time", images_at_the_same_time);
    case("pull/wrong-key", wrong_key);
    case("pull/no-key-then-the-key", no_key_then_the_key);
    case("no-payload/pull-tar", |shared| ctr_pull(shared, LayerKind::Tar));
    case("no-payload/pull-gzip", |shared| ctr_pull(shared, LayerKind::Gzip));
    case("no-payload/pull-zstd", |shared| ctr_pull(shared, LayerKind::Zstd));
    case("no-payload/pull-zstd-by-its-own-processor", zstd_processor);
    case("no-payload/import", ctr_import);
    case("no-payload/unpacked-later", |shared| unpacked_later(shared, LayerKind::Gzip));
    case("no-payload/images-at-the-same-time", ctr_pulls_at_the_same_time);
    case("no-payload/wrong-key", ctr_pull_with_the_wrong_key);
    case("no-payload/content-store-off", content_store_off);
    case("cancelled/in-the-middle-of-a-layer", cancelled);
    case("altered/tar", |shared| nothing_wrong_is_accepted(shared.setup()?, LayerKind::Tar));
    case("altered/gzip", |shared| nothing_wrong_is_accepted(shared.setup()?, LayerKind::Gzip));
    case("altered/zstd", |shared| nothing_wrong_is_accepted(shared.setup()?, LayerKind::Zstd));
    // Only the decoder's word says then what is in the layer.
    case("altered/gzip-decompressed", |shared| {
        nothing_wrong_is_accepted(decompress::setup(shared, &[])?, LayerKind::Gzip)
    });

    let outcome = suite.run();
    drop(shared);
    outcome
}

/// The document's paths, pulled by the CRI, run by `ctr`.
fn documented(shared: &Shared, config: &str) -> Result<()> {
    let setup = Setup::new(config).decoder()?.file("/keys/key.pem", shared.private()?);
    let node = Node::start(&setup)?;
    for kind in [LayerKind::Gzip, LayerKind::Tar] {
        let image = shared.name(kind);
        node.cri().pull(image)?;
        prints(&node.ctr_run(image)?, shared)?;
    }
    Ok(())
}

/// The decoder is found in PATH, and the configuration names a key provider file that does not exist.
fn documented_later(shared: &Shared) -> Result<()> {
    let setup = Setup::new(DOCUMENTED_LATER)
        .decoder()?
        .file("/etc/containerd/ocicrypt/keys/key.pem", shared.private()?);
    let node = Node::start(&setup)?;
    let image = shared.name(LayerKind::Gzip);
    node.cri().pull(image)?;
    prints(&node.ctr_run(image)?, shared)
}

/// Exactly what `keycell config containerd` prints, in a file that is imported; and the log, which
/// the decoder's own configuration names, has an event for each layer that containerd pulled.
fn configured(shared: &Shared, flags: &[&str]) -> Result<()> {
    let log = "/etc/keycell/log.json";
    // A node for each: of what is the same when it is unpacked, containerd unpacks one.
    for kind in LayerKind::ALL {
        let setup = decompress::setup(shared, flags)?.file(KEY, shared.private()?);
        let decoder = format!("log = \"{log}\"\n").into_bytes();
        let node = Node::start(&setup.file("/etc/keycell/config.toml", decoder))?;
        node.cri().pull(shared.name(kind))?;
        prints(&node.ctr_run(shared.name(kind))?, shared)?;
        let events = events::parse(&String::from_utf8(node.read(log)?)?)?;
        let media_type = format!("{}+encrypted", kind.media_type());
        let layers = events.iter().filter(|event| event["event"] == "layer");
        let layers: Vec<_> = layers.collect();
        ensure!(layers.len() == 2, "{} layers of two: {events:#?}", layers.len());
        for layer in layers {
            let said = ["verdict", "media_type", "key"].map(|name| layer[name].as_str());
            let wanted = ["decrypted", &media_type, "key.pem"].map(Some);
            ensure!(said == wanted, "{layer:#}");
        }
        doctor_knows(&node, shared.name(kind))?;
    }
    Ok(())
}

/// By the name that containerd has for it, and that the node is as it should be.
fn doctor_knows(node: &Node, image: &str) -> Result<()> {
    // The socket is a flag of this containerd.
    let mut config = String::from_utf8(node.read(decompress::SNIPPET)?)?;
    let socket = node.dir().join("containerd.sock");
    config += &format!("\n[grpc]\naddress = \"{}\"\n", socket.display());
    node.write("/etc/containerd/doctor.toml", config.as_bytes())?;
    let mut doctor = node.command(&keycell_tests::dist("keycell")?)?;
    doctor.args(["doctor", "--config", "/etc/containerd/doctor.toml", "--image", image]);
    let text = String::from_utf8(output(&mut doctor)?)?;
    let opened = text.lines().filter(|line| line.contains("opened by `key.pem` (jwe, SHA256:"));
    ensure!(opened.count() == 2, "{text}");
    ensure!(text.contains("2 of 2 encrypted layers"), "{text}");
    Ok(())
}

/// What a kubelet does: pull, then a pod with a container.
fn pod(shared: &Shared, kind: LayerKind) -> Result<()> {
    let node = shared.node(|setup| Ok(setup.file(KEY, shared.private()?)))?;
    let image = shared.name(kind);
    node.cri().pull(image)?;
    prints(&node.run_pod(image)?, shared)
}

/// Encrypted for a certificate, which lies beside its key.
fn pod_pkcs7(shared: &Shared) -> Result<()> {
    let certificate = shared.key.certify("/O=Keycell/CN=node", &[])?;
    let image = shared.encrypt("pkcs7", &certificate.display().to_string(), &[])?;
    let node = shared.node(|setup| {
        let setup = setup.file("/etc/containerd/ocicrypt/keys/node.crt", fs::read(&certificate)?);
        Ok(setup.file(KEY, shared.private()?))
    })?;
    node.cri().pull(&image)?;
    prints(&node.run_pod(&image)?, shared)
}

/// Encrypted for a user of GnuPG, whose secret key ring the node has.
fn pod_pgp(shared: &Shared) -> Result<()> {
    let gpg = Gpg::new()?;
    gpg.generate("node@keycell.test", "rsa2048", "rsa2048")?;
    let image = shared.encrypt("pgp", "node@keycell.test", &[("GNUPGHOME", gpg.home())])?;
    let ring = gpg.secret("node@keycell.test")?;
    let node =
        shared.node(|setup| Ok(setup.file("/etc/containerd/ocicrypt/keys/node.gpg", ring)))?;
    node.cri().pull(&image)?;
    prints(&node.run_pod(&image)?, shared)
}

/// The CRI's own pull passes a payload, and no other source is needed.
fn by_payload_alone(shared: &Shared) -> Result<()> {
    let config = without_content_store(&shared.config()?);
    let config = if is_version_2()? { config + LOCAL_PULL } else { config };
    let node = Node::start(&Setup::new(config).decoder()?.file(KEY, shared.private()?))?;
    for kind in LayerKind::ALL {
        let image = shared.name(kind);
        node.cri().pull(image)?;
        prints(&node.ctr_run(image)?, shared)?;
    }
    Ok(())
}

/// How containerd 2.x pulls as earlier ones did: not through its transfer service.
const LOCAL_PULL: &str = r#"
[plugins."io.containerd.cri.v1.images"]
  use_local_image_pull = true

[plugins."io.containerd.cri.v1.images".image_decryption]
  key_model = "node"
"#;

/// containerd decodes different images in parallel.
fn images_at_the_same_time(shared: &Shared) -> Result<()> {
    let node = shared.node(|setup| Ok(setup.file(KEY, shared.private()?)))?;
    thread::scope(|scope| {
        let pulls = LayerKind::ALL.map(|kind| {
            let node = &node;
            scope.spawn(move || node.another_cri()?.pull(shared.name(kind)))
        });
        for pull in pulls {
            pull.join().map_err(|_| anyhow!("a pull panicked"))??;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    for kind in LayerKind::ALL {
        prints(&node.ctr_run(shared.name(kind))?, shared)?;
    }
    Ok(())
}

/// The kubelet shows what the decoder says.
fn wrong_key(shared: &Shared) -> Result<()> {
    let stranger = shared.stranger.private(KeyForm::Pkcs8Pem)?;
    let node = shared.node(|setup| Ok(setup.file(KEY, stranger)))?;
    for kind in LayerKind::ALL {
        fails_with("key", || node.cri().pull(shared.name(kind)))?;
    }
    Ok(())
}

/// The operator adds the key, and the next try of the same pull works: nothing needs a restart.
fn no_key_then_the_key(shared: &Shared) -> Result<()> {
    let node =
        shared.node(|setup| Ok(setup.file("/etc/containerd/ocicrypt/keys/README", vec![])))?;
    let image = shared.name(LayerKind::Gzip);
    fails_with("key", || node.cri().pull(image))?;
    node.write(KEY, &shared.private()?)?;
    node.cri().pull(image)?;
    prints(&node.ctr_run(image)?, shared)
}

/// The client is killed while its layer is decrypted. The decoder ends, nothing is left of the
/// layer, and the next pull works.
fn cancelled(shared: &Shared) -> Result<()> {
    // Gives the decoder the beginning of the layer, and once in its life nothing more for long.
    let slow = r#"#!/bin/sh
if mkdir /run/once 2>/dev/null; then
    mkfifo /run/layer
    exec 4<&0
    { head -c 100000 <&4; sleep 600; } >/run/layer 2>/dev/null &
    exec </run/layer 4<&-
fi
exec /usr/local/bin/decoder "$@"
"#;
    let node = shared.node(|setup| {
        let decoder = fs::read(keycell_tests::dist("ctd-decoder")?)?;
        let setup = setup.program("decoder", decoder).program("ctd-decoder", slow.into());
        Ok(setup.file(KEY, shared.private()?))
    })?;
    let image = shared.name(LayerKind::Gzip);
    let mut client = node.ctr_command("default", &["image", "pull", "--plain-http", image])?;
    // `nsenter` starts the client as another process.
    client.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = client.spawn()?;
    let waits = Instant::now();
    while node.processes("decoder")? == 0 {
        ensure!(waits.elapsed() < PATIENCE, "the decoder was never called");
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(100));
    kill_process_group(Pid::from_child(&client), Signal::KILL)?;
    client.wait()?;
    let waits = Instant::now();
    while node.processes("decoder")? > 0 {
        ensure!(waits.elapsed() < PATIENCE, "the decoder survives its client");
        thread::sleep(Duration::from_millis(10));
    }
    let left = snapshots(&node)?;
    ensure!(left.is_empty(), "snapshots are left: {left:?}");
    node.ctr("default", &["image", "pull", "--plain-http", image])?;
    prints(&node.ctr_run_in("default", image)?, shared)
}

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The snapshots of whole layers, in containerd's namespace `default`.
fn snapshots(node: &Node) -> Result<Vec<String>> {
    snapshots_in(node, "default")
}

fn snapshots_in(node: &Node, namespace: &str) -> Result<Vec<String>> {
    let printed = node.ctr(namespace, &["snapshot", "list"])?;
    let whole = printed.lines().filter(|line| line.trim_end().ends_with("Committed"));
    Ok(whole.map(str::to_owned).collect())
}

/// containerd may lose the decoder's exit code, so a layer that is not genuine must not even look
/// like one: twenty that were altered with care, so that nothing but their HMAC is wrong, never
/// become a snapshot.
fn nothing_wrong_is_accepted(setup: Setup, kind: LayerKind) -> Result<()> {
    let recipient = Recipient::generate();
    let node = Node::start(&setup.file(KEY, recipient.private_pem().into()))?;
    let attempt = |number: usize, forged: &Forged| -> Result<()> {
        let archive = node.dir().join(format!("forged-{number}.tar"));
        fs::write(&archive, forged.image(kind, &recipient, number)?)?;
        node.ctr("default", &["image", "import", &archive.display().to_string()]).map(drop)
    };
    let mut number = 0;
    for size in [20_000, 300_000] {
        for alteration in ALTERATIONS {
            for _ in 0..2 {
                number += 1;
                let error = attempt(number, &Forged::new(size, alteration));
                ensure!(error.is_err(), "{alteration:?} of {size} bytes was accepted");
                let whole = snapshots(&node)?;
                ensure!(whole.is_empty(), "{alteration:?} of {size} bytes: {whole:?}");
            }
        }
        // What was not altered is accepted: the attempts above fail for no other reason.
        attempt(0, &Forged::new(size, Alteration::None))?;
        let whole = snapshots(&node)?;
        ensure!(whole.len() == 1, "not unpacked: {whole:?}");
        node.ctr("default", &["image", "remove", "--sync", &Forged::name(0)])?;
    }
    ensure!(number == 20, "{number} attempts");
    Ok(())
}

/// The key's file in the nodes that are not from a document.
const KEY: &str = "/etc/containerd/ocicrypt/keys/key.pem";

fn prints(printed: &str, shared: &Shared) -> Result<()> {
    ensure!(printed == shared.prints, "printed `{printed}`, expected `{}`", shared.prints);
    Ok(())
}

/// Tries until the decoder's own message shows, and wants each try to fail.
///
/// containerd reads a processor's error without waiting for its end (a layer that came out empty
/// is then a `wrong diff id`). The decoder keeps standard output open a moment longer for that
/// reason, so that a message is lost only where containerd gets no CPU for as long.
fn fails_with<T>(matter: &str, attempt: impl Fn() -> Result<T>) -> Result<()> {
    let mut errors = Vec::new();
    for _ in 0..TRIES {
        let Err(error) = attempt() else { bail!("it succeeded, after {errors:?}") };
        let error = format!("{error:#}");
        if let Some((_, message)) = error.split_once("ctd-decoder: error: ") {
            ensure!(message.contains(matter), "our message says nothing of {matter}: {error}");
            return Ok(());
        }
        errors.push(error);
    }
    bail!("our message never showed: {errors:#?}")
}

/// One more than may be lost in a row on an overloaded machine. Without the decoder's care one in
/// nine was lost.
const TRIES: usize = 2;

/// A registry with the images, and the key to them.
struct Shared {
    names: [String; 3],
    pause: String,
    key: KeyPair,
    stranger: KeyPair,
    plain: Image,
    encrypted: Image,
    prints: String,
    registry: Registry,
    dir: TempDir,
}

impl Shared {
    fn new() -> Result<Self> {
        let temporary = TempDir::with_prefix("keycell-images-")?;
        let dir: &Path = temporary.path();
        let registry = Registry::start(dir)?;
        let key = KeyPair::generate(dir, "key", KeyKind::Rsa(2048))?;
        let stranger = KeyPair::generate(dir, "stranger", KeyKind::Rsa(2048))?;
        let plain = Image::busybox(dir)?;
        let encrypt = |kind: LayerKind| {
            let plain = plain.repacked(dir, kind)?;
            plain.encrypted(&dir.join(format!("encrypted-{kind}")), &[key.public()])
        };
        let push = |kind| registry.push(&encrypt(kind)?, &format!("encrypted:{kind}"));
        let [tar, gzip, zstd] = LayerKind::ALL;
        let names = [push(tar)?, push(gzip)?, push(zstd)?];
        let pause = registry.push(&plain.pausing(dir)?, "pause:1")?;
        let encrypted = plain.encrypted(&dir.join("encrypted"), &[key.public()])?;
        let prints = Image::prints(dir)?;
        Ok(Self { names, pause, key, stranger, plain, encrypted, prints, registry, dir: temporary })
    }

    /// The name of the encrypted image whose layers are of this kind.
    fn name(&self, kind: LayerKind) -> &str {
        let [tar, gzip, zstd] = &self.names;
        match kind {
            LayerKind::Tar => tar,
            LayerKind::Gzip => gzip,
            LayerKind::Zstd => zstd,
        }
    }

    /// Another encrypted image in the registry, for one recipient in another scheme.
    fn encrypt(&self, scheme: &str, recipient: &str, env: &[(&str, &Path)]) -> Result<String> {
        let dir = self.dir.path().join(scheme);
        let image = self.plain.encrypted_for(&dir, &[format!("{scheme}:{recipient}")], env)?;
        self.registry.push(&image, &format!("encrypted:{scheme}"))
    }

    fn private(&self) -> Result<Vec<u8>> {
        self.key.private(KeyForm::Pkcs8Pem)
    }

    /// A node of today.
    fn node(&self, with: impl FnOnce(Setup) -> Result<Setup>) -> Result<Node> {
        Node::start(&with(self.setup()?)?)
    }

    fn setup(&self) -> Result<Setup> {
        Setup::new(self.config()?).decoder()
    }

    /// Its configuration.
    fn config(&self) -> Result<String> {
        let config = if is_version_2()? { NODE_OF_2 } else { NODE };
        Ok(config.replace("@PAUSE@", &self.pause))
    }
}
