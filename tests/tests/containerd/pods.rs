//! Nodes that are configured as a document or `keycell` says, and the pods that they run.

use std::fs;

use anyhow::{Result, ensure};
use keycell_tests::containerd::{Node, Setup};
use keycell_tests::events;
use keycell_tests::gpg::Gpg;
use keycell_tests::image::LayerKind;
use keycell_tests::tools::output;

use crate::decompress;
use crate::shared::{KEY, Shared, prints};

/// The configuration in containerd's document on decryption, as it stands there.
pub(crate) const DOCUMENTED: &str = include_str!("../../data/documented.toml");

/// The one that later versions of the document and containerd's defaults have.
const DOCUMENTED_LATER: &str = include_str!("../../data/documented-later.toml");

/// The document's paths, pulled by the CRI, run by `ctr`.
pub(crate) fn documented(shared: &Shared, config: &str) -> Result<()> {
    let setup =
        Setup::new(&shared.release, config).decoder()?.file("/keys/key.pem", shared.private()?);
    let node = Node::start(&setup)?;
    for kind in [LayerKind::Gzip, LayerKind::Tar] {
        let image = shared.name(kind);
        node.cri().pull(image)?;
        prints(&node.ctr_run(image)?, shared)?;
    }
    Ok(())
}

/// The decoder is found in PATH, and the configuration names a key provider file that does not exist.
pub(crate) fn documented_later(shared: &Shared) -> Result<()> {
    let setup = Setup::new(&shared.release, DOCUMENTED_LATER)
        .decoder()?
        .file("/etc/containerd/ocicrypt/keys/key.pem", shared.private()?);
    let node = Node::start(&setup)?;
    let image = shared.name(LayerKind::Gzip);
    node.cri().pull(image)?;
    prints(&node.ctr_run(image)?, shared)
}

/// Exactly what `keycell config containerd` prints, in a file that is imported; and the log, which
/// the decoder's own configuration names, has an event for each layer that containerd pulled.
pub(crate) fn configured(shared: &Shared, flags: &[&str]) -> Result<()> {
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
pub(crate) fn pod(shared: &Shared, kind: LayerKind) -> Result<()> {
    let node = shared.node(|setup| Ok(setup.file(KEY, shared.private()?)))?;
    let image = shared.name(kind);
    node.cri().pull(image)?;
    prints(&node.run_pod(image)?, shared)
}

/// Encrypted for a certificate, which lies beside its key.
pub(crate) fn pod_pkcs7(shared: &Shared) -> Result<()> {
    let certificate = shared.images.key.certify("/O=Keycell/CN=node", &[])?;
    let image = shared.images.encrypt("pkcs7", &certificate.display().to_string(), &[])?;
    let node = shared.node(|setup| {
        let setup = setup.file("/etc/containerd/ocicrypt/keys/node.crt", fs::read(&certificate)?);
        Ok(setup.file(KEY, shared.private()?))
    })?;
    node.cri().pull(&image)?;
    prints(&node.run_pod(&image)?, shared)
}

/// Encrypted for a user of GnuPG, whose secret key ring the node has.
pub(crate) fn pod_pgp(shared: &Shared) -> Result<()> {
    let gpg = Gpg::new()?;
    gpg.generate("node@keycell.test", "rsa2048", "rsa2048")?;
    let image = shared.images.encrypt("pgp", "node@keycell.test", &[("GNUPGHOME", gpg.home())])?;
    let ring = gpg.secret("node@keycell.test")?;
    let node =
        shared.node(|setup| Ok(setup.file("/etc/containerd/ocicrypt/keys/node.gpg", ring)))?;
    node.cri().pull(&image)?;
    prints(&node.run_pod(&image)?, shared)
}
