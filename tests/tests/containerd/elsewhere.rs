//! Nodes whose containerd does not have its data, or its configuration, where Debian's has it.

use anyhow::Result;
use keycell_tests::containerd::Node;
use keycell_tests::image::LayerKind;

use crate::shared::{KEY, Shared, prints};

/// `root` in containerd's configuration is on a data disk. The decoder finds the layers there without being told.
pub(crate) fn root_in_configuration(shared: &Shared) -> Result<()> {
    let setup = shared.setup()?.file(KEY, shared.private()?);
    let setup = setup.root("/mnt/data/containerd").configured_at("/etc/containerd/config.toml");
    let node = Node::start(&setup)?;
    pulls(&node, shared)
}

/// By Kubernetes, which runs a pod; and by `ctr`, without a payload.
fn pulls(node: &Node, shared: &Shared) -> Result<()> {
    let image = shared.name(LayerKind::Gzip);
    node.cri().pull(image)?;
    prints(&node.run_pod(image)?, shared)?;
    // Another one: of what is the same when it is unpacked, containerd unpacks one.
    let image = shared.name(LayerKind::Zstd);
    node.ctr("default", &["image", "pull", "--plain-http", image])?;
    prints(&node.ctr_run_in("default", image)?, shared)
}
