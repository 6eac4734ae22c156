//! Pulls by the CRI: where their payload comes from, several at once, and wrong keys.

use std::thread;

use anyhow::{Result, anyhow};
use keycell_tests::containerd::{Node, Setup};
use keycell_tests::image::LayerKind;
use keycell_tests::keys::KeyForm;

use crate::ctr::without_content_store;
use crate::shared::{KEY, Shared, fails_with, prints};

/// The CRI's own pull passes a payload, and no other source is needed.
pub(crate) fn by_payload_alone(shared: &Shared) -> Result<()> {
    let config = without_content_store(&shared.config());
    let config = if shared.release.is_version_2() { config + LOCAL_PULL } else { config };
    let node =
        Node::start(&Setup::new(&shared.release, config).decoder()?.file(KEY, shared.private()?))?;
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
pub(crate) fn images_at_the_same_time(shared: &Shared) -> Result<()> {
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
pub(crate) fn wrong_key(shared: &Shared) -> Result<()> {
    let stranger = shared.images.stranger.private(KeyForm::Pkcs8Pem)?;
    let node = shared.node(|setup| Ok(setup.file(KEY, stranger)))?;
    for kind in LayerKind::ALL {
        fails_with("key", || node.cri().pull(shared.name(kind)))?;
    }
    Ok(())
}

/// The operator adds the key, and the next try of the same pull works: nothing needs a restart.
pub(crate) fn no_key_then_the_key(shared: &Shared) -> Result<()> {
    let node =
        shared.node(|setup| Ok(setup.file("/etc/containerd/ocicrypt/keys/README", vec![])))?;
    let image = shared.name(LayerKind::Gzip);
    fails_with("key", || node.cri().pull(image))?;
    node.write(KEY, &shared.private()?)?;
    node.cri().pull(image)?;
    prints(&node.ctr_run(image)?, shared)
}

/// What `keycell` pushed is pulled by its tag, and unpacked with the node's key.
pub(crate) fn from_registry_to_registry(shared: &Shared) -> Result<()> {
    let tag: String = shared.release.name().chars().filter(char::is_ascii_alphanumeric).collect();
    let image = shared.images.encrypt_in_registry(&format!("by-keycell:{tag}"))?;
    let node = shared.node(|setup| Ok(setup.file(KEY, shared.private()?)))?;
    node.cri().pull(&image)?;
    prints(&node.ctr_run(&image)?, shared)
}
