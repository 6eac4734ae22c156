//! Images that imgcrypt's own client handles: `ctr-enc`, which Debian calls `ctr-imgcrypt`.

use std::fs;

use anyhow::{Result, ensure};
use keycell_tests::containerd::{Node, Setup};
use keycell_tests::image::LayerKind;

use crate::ctr::without_content_store;
use crate::shared::{KEY, Shared, fails_with, prints, snapshots};

/// A node that decrypts only with a payload, with these files.
fn node(shared: &Shared, with: impl FnOnce(Setup) -> Result<Setup>) -> Result<Node> {
    let config = without_content_store(&shared.config());
    Node::start(&with(Setup::new(&shared.release, config).decoder()?)?)
}

/// `--key`: the key is in the payload, and none on the node.
pub(crate) fn key_of_the_client(shared: &Shared) -> Result<()> {
    let node =
        node(shared, |setup| Ok(setup.file("/etc/containerd/ocicrypt/keys/README", vec![])))?;
    let key = node.dir().join("client.pem");
    fs::write(&key, shared.private()?)?;
    let key = ["--key", &key.display().to_string()];
    for kind in LayerKind::ALL {
        let image = shared.name(kind);
        let pull = ["image", "pull", "--plain-http"];
        node.ctr_enc("default", &[&pull[..], &key, &[image]].concat())?;
        prints(&node.ctr_enc_run(image, &key)?, shared)?;
        node.ctr("default", &["image", "remove", "--sync", image])?;
    }
    // Unpacked by its first container, which is not made without the key.
    let archive = node.dir().join("image.tar").display().to_string();
    let image = "keycell.test/image:1";
    shared.images.encrypted.copy(&[], &format!("oci-archive:{archive}:{image}"))?;
    let import = ["image", "import", "--no-unpack"];
    node.ctr_enc("default", &[&import[..], &key, &[&archive]].concat())?;
    ensure!(snapshots(&node)?.is_empty(), "it was unpacked at once");
    fails_with("there is no private key", || node.ctr_enc_run(image, &["--skip-decrypt-auth"]))?;
    prints(&node.ctr_enc_run(image, &key)?, shared)
}

/// `--skip-decrypt-auth`: a payload without a key; the node has it.
pub(crate) fn key_of_the_node(shared: &Shared) -> Result<()> {
    let node = node(shared, |setup| Ok(setup.file(KEY, shared.private()?)))?;
    let skip = "--skip-decrypt-auth";
    let archive = node.dir().join("image.tar").display().to_string();
    let image = "keycell.test/image:1";
    shared.images.encrypted.copy(&[], &format!("oci-archive:{archive}:{image}"))?;
    node.ctr_enc("default", &["image", "import", skip, &archive])?;
    prints(&node.ctr_enc_run(image, &[skip])?, shared)
}

/// Encrypted by `ctr-enc`, in another namespace, where nothing is unpacked for this one.
pub(crate) fn encrypted_by_the_client(shared: &Shared) -> Result<()> {
    let node = node(shared, |setup| Ok(setup.file(KEY, shared.private()?)))?;
    let plain = node.dir().join("plain.tar").display().to_string();
    let encrypted = node.dir().join("encrypted.tar").display().to_string();
    let names @ [from, to] = ["keycell.test/plain:1", "keycell.test/encrypted:1"];
    shared.images.plain.copy(&[], &format!("oci-archive:{plain}:{from}"))?;
    let recipient = format!("jwe:{}", shared.images.key.public().display());
    node.ctr_enc("publisher", &["image", "import", "--no-unpack", &plain])?;
    let encrypt = ["image", "encrypt", "--recipient", &recipient];
    node.ctr_enc("publisher", &[&encrypt[..], &names].concat())?;
    node.ctr_enc("publisher", &["image", "export", &encrypted, to])?;
    node.ctr_enc("default", &["image", "import", "--skip-decrypt-auth", &encrypted])?;
    prints(&node.ctr_enc_run(to, &["--skip-decrypt-auth"])?, shared)
}
