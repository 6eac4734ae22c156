//! Layers that are altered so that nothing but their HMAC is wrong.

use std::fs;

use anyhow::{Result, ensure};
use keycell_tests::containerd::{Node, Setup};
use keycell_tests::forged::{ALTERATIONS, Alteration, Forged};
use keycell_tests::image::LayerKind;
use keycell_tests::jwe::Recipient;

use crate::shared::{KEY, snapshots};

/// containerd may lose the decoder's exit code, so a layer that is not genuine must not even look
/// like one: twenty that were altered with care, so that nothing but their HMAC is wrong, never
/// become a snapshot.
pub(crate) fn nothing_wrong_is_accepted(setup: Setup, kind: LayerKind) -> Result<()> {
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
