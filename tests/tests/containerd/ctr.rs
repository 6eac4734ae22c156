//! Images that `ctr` pulls or imports. containerd passes the decoder no payload for them.

use std::thread;

use anyhow::{Result, anyhow, ensure};
use keycell_tests::containerd::{Node, Setup};
use keycell_tests::image::LayerKind;
use keycell_tests::keys::KeyForm;

use crate::shared::{KEY, Shared, fails_with, prints, snapshots};

/// Plain `ctr` knows nothing of encryption, and containerd gives the decoder no payload: it finds
/// the layers in containerd's content store.
pub(crate) fn ctr_pull(shared: &Shared, kind: LayerKind) -> Result<()> {
    let node = shared.node(|setup| Ok(setup.file(KEY, shared.private()?)))?;
    let image = shared.name(kind);
    node.ctr("default", &["image", "pull", "--plain-http", image])?;
    prints(&node.ctr_run_in("default", image)?, shared)
}

/// The decoder finds the root through the containerd that calls it.
pub(crate) fn root_elsewhere(shared: &Shared) -> Result<()> {
    let setup = shared.setup()?.root("/opt/disk/containerd").file(KEY, shared.private()?);
    let node = Node::start(&setup)?;
    let image = shared.name(LayerKind::Gzip);
    node.ctr("default", &["image", "pull", "--plain-http", image])?;
    prints(&node.ctr_run_in("default", image)?, shared)
}

/// A separate processor for zstd, to which containerd never passes a payload, not even in the CRI's pull.
pub(crate) fn zstd_processor(shared: &Shared) -> Result<()> {
    let (gzip, zstd) = ("layer.v1.tar+gzip+encrypted\", \"application/vnd.oci.image.", "tar+zstd");
    let config = shared
        .config()
        .replace(&format!("{gzip}layer.v1.{zstd}+encrypted"), "layer.v1.tar+gzip+encrypted");
    ensure!(!config.contains(zstd), "the gzip processor still takes zstd: {config}");
    let config = config + &PROCESSOR.replace("@KIND@", "tar.zstd").replace("@TYPE@", zstd);
    let setup = Setup::new(&shared.release, config).decoder()?.file(KEY, shared.private()?);
    let node = Node::start(&setup)?;
    let image = shared.name(LayerKind::Zstd);
    node.cri().pull(image)?;
    prints(&node.run_pod(image)?, shared)?;
    node.ctr("default", &["image", "pull", "--plain-http", image])?;
    prints(&node.ctr_run_in("default", image)?, shared)
}

const PROCESSOR: &str = r#"
[stream_processors."io.containerd.ocicrypt.decoder.v1.@KIND@"]
  accepts = ["application/vnd.oci.image.layer.v1.@TYPE@+encrypted"]
  returns = "application/vnd.oci.image.layer.v1.@TYPE@"
  path = "ctd-decoder"
  args = ["--decryption-keys-path", "/etc/containerd/ocicrypt/keys"]
"#;

/// From a file.
pub(crate) fn ctr_import(shared: &Shared) -> Result<()> {
    let node = shared.node(|setup| Ok(setup.file(KEY, shared.private()?)))?;
    let archive = node.dir().join("image.tar");
    let image = "keycell.test/image:1";
    shared.images.encrypted.copy(&[], &format!("oci-archive:{}:{image}", archive.display()))?;
    node.ctr("default", &["image", "import", &archive.display().to_string()])?;
    prints(&node.ctr_run_in("default", image)?, shared)
}

/// Fetched without being unpacked, and unpacked by its first container.
pub(crate) fn unpacked_later(shared: &Shared, kind: LayerKind) -> Result<()> {
    let node = shared.node(|setup| Ok(setup.file(KEY, shared.private()?)))?;
    let image = shared.name(kind);
    node.ctr("default", &["content", "fetch", "--plain-http", image])?;
    ensure!(snapshots(&node)?.is_empty(), "it was unpacked at once");
    prints(&node.ctr_run_in("default", image)?, shared)
}

/// No payload, and the images of all kinds at once.
pub(crate) fn ctr_pulls_at_the_same_time(shared: &Shared) -> Result<()> {
    let node = shared.node(|setup| Ok(setup.file(KEY, shared.private()?)))?;
    thread::scope(|scope| {
        let pulls = LayerKind::ALL.map(|kind| {
            let pull = ["image", "pull", "--plain-http", shared.name(kind)];
            let node = &node;
            scope.spawn(move || node.ctr("default", &pull))
        });
        for pull in pulls {
            pull.join().map_err(|_| anyhow!("a pull panicked"))??;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    for kind in LayerKind::ALL {
        prints(&node.ctr_run_in("default", shared.name(kind))?, shared)?;
    }
    Ok(())
}

/// The message of a pull without a payload says what was found, and why it does not help.
pub(crate) fn ctr_pull_with_the_wrong_key(shared: &Shared) -> Result<()> {
    let stranger = shared.images.stranger.private(KeyForm::Pkcs8Pem)?;
    let node = shared.node(|setup| Ok(setup.file(KEY, stranger)))?;
    let pull = ["image", "pull", "--plain-http", shared.name(LayerKind::Gzip)];
    fails_with("in its content store, no wrapped key could be opened", || {
        node.ctr("default", &pull)
    })
}

/// The operator does not want layers to be looked up.
pub(crate) fn content_store_off(shared: &Shared) -> Result<()> {
    let config = without_content_store(&shared.config());
    let node =
        Node::start(&Setup::new(&shared.release, config).decoder()?.file(KEY, shared.private()?))?;
    let pull = ["image", "pull", "--plain-http", shared.name(LayerKind::Gzip)];
    fails_with("passed no payload", || node.ctr("default", &pull))
}

pub(crate) fn without_content_store(config: &str) -> String {
    let keys = "\"/etc/containerd/ocicrypt/keys\"";
    config.replace(keys, &format!("{keys}, \"--content-store=off\""))
}
