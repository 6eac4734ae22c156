//! What the cases share: images in a registry, the keys to them, and a node of today.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use keycell_tests::containerd::{Node, Setup};
use keycell_tests::image::{Image, LayerKind};
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::registry::Registry;
use keycell_tests::release::Release;
use keycell_tests::tools::output;
use tempfile::TempDir;

/// What a node of today has: both processors, and zstd layers through the gzip one.
const NODE: &str = include_str!("../../data/node.toml");

/// The same for containerd 2.x, with its defaults.
const NODE_OF_2: &str = include_str!("../../data/node-v3.toml");

/// What the cases of one release share.
pub(crate) struct Shared {
    pub(crate) release: Release,
    pub(crate) images: Arc<Images>,
}

impl Shared {
    /// The name of the encrypted image whose layers are of this kind.
    pub(crate) fn name(&self, kind: LayerKind) -> &str {
        self.images.name(kind)
    }

    /// The key to the images.
    pub(crate) fn private(&self) -> Result<Vec<u8>> {
        self.images.key.private(KeyForm::Pkcs8Pem)
    }

    /// A node of today.
    pub(crate) fn node(&self, with: impl FnOnce(Setup) -> Result<Setup>) -> Result<Node> {
        Node::start(&with(self.setup()?)?)
    }

    pub(crate) fn setup(&self) -> Result<Setup> {
        Setup::new(&self.release, self.config()).decoder()
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> String {
        let config = if self.release.is_version_2() { NODE_OF_2 } else { NODE };
        config.replace("@PAUSE@", &self.images.pause)
    }

    /// The same without what concerns encrypted images.
    pub(crate) fn without_processors(&self) -> String {
        let sections = ["[plugins.\"io.containerd.grpc.v1.cri\".image_decryption]", "[stream_proc"];
        let config = self.config();
        let ends = sections.iter().filter_map(|section| config.find(section));
        config[..ends.min().unwrap_or(config.len())].to_owned()
    }
}

/// A registry with the images, and the key to them.
pub(crate) struct Images {
    names: [String; 3],
    pub(crate) pause: String,
    pub(crate) key: KeyPair,
    pub(crate) stranger: KeyPair,
    pub(crate) plain: Image,
    pub(crate) encrypted: Image,
    prints: String,
    registry: Registry,
    dir: TempDir,
}

impl Images {
    pub(crate) fn new() -> Result<Self> {
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
    pub(crate) fn encrypt(
        &self,
        scheme: &str,
        recipient: &str,
        env: &[(&str, &Path)],
    ) -> Result<String> {
        // Cases of several releases make the same one.
        let dir = TempDir::with_prefix_in(scheme, self.dir.path())?;
        let image =
            self.plain.encrypted_for(dir.path(), &[format!("{scheme}:{recipient}")], env)?;
        self.registry.push(&image, &format!("encrypted:{scheme}"))
    }
}

impl Images {
    /// The plain image, encrypted by `keycell` from one repository of the registry to another.
    pub(crate) fn encrypt_in_registry(&self, name: &str) -> Result<String> {
        let plain = self.registry.push(&self.plain, "plain:1")?;
        let host = plain.split('/').next().unwrap_or_default();
        let encrypted = format!("{host}/{name}");
        let mut command = Command::new(keycell_tests::dist("keycell")?);
        command.args(["encrypt", "--insecure", "--recipient"]);
        command.arg(format!("jwe:{}", self.key.public().display()));
        output(command.args([format!("docker://{plain}"), format!("docker://{encrypted}")]))?;
        Ok(encrypted)
    }
}

/// The key's file in the nodes that are not from a document.
pub(crate) const KEY: &str = "/etc/containerd/ocicrypt/keys/key.pem";

pub(crate) fn prints(printed: &str, shared: &Shared) -> Result<()> {
    ensure!(
        printed == shared.images.prints,
        "printed `{printed}`, expected `{}`",
        shared.images.prints
    );
    Ok(())
}

/// Tries until the decoder's own message shows, and wants each try to fail.
///
/// containerd reads a processor's error without waiting for its end (a layer that came out empty
/// is then a `wrong diff id`). The decoder keeps standard output open a moment longer for that
/// reason, so that a message is lost only where containerd gets no CPU for as long.
pub(crate) fn fails_with<T>(matter: &str, attempt: impl Fn() -> Result<T>) -> Result<()> {
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

/// The snapshots of whole layers, in containerd's namespace `default`.
pub(crate) fn snapshots(node: &Node) -> Result<Vec<String>> {
    snapshots_in(node, "default")
}

pub(crate) fn snapshots_in(node: &Node, namespace: &str) -> Result<Vec<String>> {
    let printed = node.ctr(namespace, &["snapshot", "list"])?;
    let whole = printed.lines().filter(|line| line.trim_end().ends_with("Committed"));
    Ok(whole.map(str::to_owned).collect())
}
