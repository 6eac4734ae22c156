//! Layers that leave the decoder decompressed, with what `keycell config containerd` prints.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use keycell_tests::archive::tar;
use keycell_tests::containerd::{Node, Setup};
use keycell_tests::gzip::{Stream, streams};
use keycell_tests::image::{Descriptor, LayerKind};
use keycell_tests::imported;
use keycell_tests::jwe::Recipient;
use keycell_tests::sealed::Sealed;
use keycell_tests::tools::output;

use crate::shared::{KEY, Shared, snapshots_in};

/// The gzip streams that containerd unpacks and the decoder refuses. RFC 1952 (section 2.3.1.2) requires it:
/// a flag that is reserved may announce a field, and what follows would be read wrongly.
const REFUSED_ONLY_BY_THE_DECODER: [&str; 1] = ["a-reserved-flag"];

/// A node whose processors are those that `keycell config containerd` prints with these flags.
pub(crate) fn setup(shared: &Shared, flags: &[&str]) -> Result<Setup> {
    let mut keycell = Command::new(keycell_tests::dist("keycell")?);
    keycell.args(["config", "containerd", "--decoder", "/usr/local/bin/ctd-decoder"]).args(flags);
    let snippet = output(keycell.arg("--containerd").arg(shared.release.program()))?;
    let config = format!("imports = [\"{SNIPPET}\"]\n{}", shared.without_processors());
    Ok(Setup::new(&shared.release, config).decoder()?.file(SNIPPET, snippet))
}

/// Where the node has what was printed.
pub(crate) const SNIPPET: &str = "/etc/containerd/keycell.toml";

/// Each gzip stream, in a layer that is encrypted and in one that is not: containerd unpacks both or
/// neither. It compares what it unpacked with the digest in the image's configuration, so both are the
/// same.
pub(crate) fn as_containerd_does(shared: &Shared) -> Result<()> {
    let recipient = Recipient::generate();
    let setup = setup(shared, &[])?.file(KEY, recipient.private_pem().into());
    let node = Node::start(&setup)?;
    let content: Vec<u8> = (0..60_000u32).flat_map(|n| (n * 2_654_435).to_le_bytes()).collect();
    let mut wrong = Vec::new();
    for stream in streams(&tar([("file", &content[..])]))? {
        let plain = unpacks(&node, &stream, None)?;
        let encrypted = unpacks(&node, &stream, Some(&recipient))?;
        let wanted = plain && !REFUSED_ONLY_BY_THE_DECODER.contains(&stream.name);
        if encrypted != wanted || encrypted != stream.is_valid {
            wrong.push(format!("{}: plain {plain}, encrypted {encrypted}", stream.name));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// Whether containerd makes a snapshot of an image with this layer.
fn unpacks(node: &Node, stream: &Stream, recipient: Option<&Recipient>) -> Result<bool> {
    const NAME: &str = "keycell.test/gzip:1";
    let kind = LayerKind::Gzip.media_type();
    let (namespace, layer, blob) = match recipient {
        Some(recipient) => {
            let sealed = Sealed::new(stream.bytes.clone());
            let wrapped = sealed.wrapped_for(recipient).compact();
            let media_type = format!("{kind}+encrypted");
            let layer = Descriptor { media_type, ..sealed.descriptor(&[wrapped]) };
            ("encrypted", layer, sealed.encrypted)
        }
        None => {
            let annotations = Default::default();
            let (media_type, digest) = (kind.to_owned(), String::new());
            ("plain", Descriptor { media_type, digest, size: 0, annotations }, stream.bytes.clone())
        }
    };
    let archive = node.dir().join("gzip.tar");
    fs::write(&archive, imported::image(NAME, layer, blob, &stream.text))?;
    let imported = node.ctr(namespace, &["image", "import", &archive.display().to_string()]);
    let whole = snapshots_in(node, namespace)?;
    ensure!(imported.is_ok() != whole.is_empty(), "{}: {imported:?}, {whole:?}", stream.name);
    if imported.is_ok() {
        node.ctr(namespace, &["image", "remove", "--sync", NAME])?;
    }
    Ok(imported.is_ok())
}
