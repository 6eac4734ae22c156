//! A decoder that gets no payload, and what containerd's content store has for it.
//!
//! The stores are made by hand here, because whoever makes an image decides what they contain; a
//! real containerd's are in `tests/containerd/`. In every case the layer is decrypted, or nothing
//! is written and there is one message.

mod caller;
mod hostile;
mod search;
mod strangers;
mod verify_first;

use std::process::ExitCode;

use anyhow::Result;
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::image::{Descriptor, LayerKind};
use keycell_tests::jwe::Recipient;
use keycell_tests::node::Node;
use keycell_tests::sealed::Sealed;
use keycell_tests::store::ContentStore;
use keycell_tests::suite::{Cases, Suite};

fn main() -> ExitCode {
    let mut cases = Cases(Suite::from_args());
    search::add(&mut cases);
    caller::add(&mut cases);
    strangers::add(&mut cases);
    hostile::add(&mut cases);
    verify_first::add(&mut cases);
    cases.0.run()
}

/// A node, a layer that is encrypted for it, and a content store.
struct Case {
    node: Node,
    sealed: Sealed,
    store: ContentStore,
}

impl Case {
    /// The store has nothing.
    fn bare(length: usize) -> Result<Self> {
        Ok(Self {
            node: Node::new()?,
            sealed: Sealed::of_length(length),
            store: ContentStore::new()?,
        })
    }

    /// The store has the image.
    fn new(length: usize) -> Result<Self> {
        let case = Self::bare(length)?;
        case.store.image(&case.sealed, &case.node.recipient)?;
        Ok(case)
    }

    /// The same node and image, in a separate store.
    fn with_own_store(&self) -> Result<Self> {
        let (node, sealed) = (Node::with(&self.node)?, self.sealed.clone());
        let store = ContentStore::of(&sealed, &node.recipient)?;
        Ok(Self { node, sealed, store })
    }

    /// The descriptor of the layer, with the key wrapped for `recipient`.
    fn descriptor(&self, recipient: &Recipient) -> Descriptor {
        let wrapped = self.sealed.wrapped_for(recipient).flattened().to_string();
        self.sealed.descriptor(&[wrapped])
    }

    /// The decoder, with the layer and no payload.
    fn decoder(&self) -> Result<Decoder> {
        Ok(self.without_store()?.arg("--content-store").arg(self.store.root()))
    }

    fn without_store(&self) -> Result<Decoder> {
        self.node.without_payload(&self.sealed)
    }

    fn run(&self) -> Result<Outcome> {
        self.decoder()?.run()
    }

    fn opens(&self) -> Result<()> {
        self.run()?.is_silent_success(&self.sealed.plain)
    }

    fn refuses(&self, words: &[&str]) -> Result<()> {
        keycell_tests::node::says(&self.run()?, words)
    }
}

fn media_type(kind: LayerKind) -> String {
    format!("{}+encrypted", kind.media_type())
}

/// A layer of more than a chunk, whose end is withheld until all of it has verified.
const LONG: usize = 1 << 20;
