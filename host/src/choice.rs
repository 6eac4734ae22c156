//! Which of several layer keys is the layer's: the one whose HMAC it has.
//!
//! A payload gives one key. Manifests in containerd's content store may give several, since any
//! image may name any layer, with whatever wrapped keys and HMAC its author likes.

use std::fs::File;

use ocicrypt::layer::LayerKey;

use crate::contract::Opened;
use crate::failures::{Ending, ambiguous};
use crate::input::Input;
use crate::spool::{Spool, which_opens};

/// A key that `unwrap` returned, and what it says about that.
pub struct Candidate {
    /// The key.
    pub key: LayerKey,
    /// What opened it.
    pub opened: Opened,
    /// What the operator should know of that key.
    pub warning: Option<String>,
}

/// The encrypted layer, and what else is known of it.
#[derive(Default)]
pub struct Layer {
    /// Where it comes from.
    pub input: Input,
    /// The same layer in the content store.
    pub blob: Option<File>,
    /// Where all of it is to be kept until it has verified.
    pub spool: Option<Spool>,
}

impl Layer {
    /// Chooses among `candidates`, and makes the layer ready to be decrypted.
    ///
    /// # Errors
    /// A layer that no candidate opens, as far as it has to be read; several candidates, and nothing
    /// to try them on.
    pub fn choose(self, mut candidates: Vec<Candidate>) -> Result<(Candidate, Input), Ending> {
        let keys: Vec<_> = candidates.iter().map(|candidate| candidate.key.clone()).collect();
        let (place, input) = match (self.spool, self.blob) {
            (Some(spool), _) => {
                let (input, place) = spool.fill(self.input, &keys)?;
                (place, input)
            }
            (None, _) if keys.len() == 1 => (0, self.input),
            (None, Some(blob)) => (which_opens(blob, &keys)?, self.input),
            (None, None) => return Err(ambiguous(keys.len()).into()),
        };
        Ok((candidates.swap_remove(place), input))
    }
}
