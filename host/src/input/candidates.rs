//! Which of several layer keys is the layer's.
//!
//! A payload gives one key. Manifests in containerd's content store may give several, since any
//! image may name any layer, with whatever wrapped keys and HMAC its author likes. An HMAC does not
//! tell them apart: the encrypted layer is public, so anyone can compute the HMAC of it with a key of
//! their own. So every key is tried on the whole layer, and where two of them fit, none is used.

use std::fs::File;

use ocicrypt::layer::LayerKey;

use crate::contract::Opened;
use crate::failures::{Ending, several_keys_fit, untried_keys};
use crate::input::Input;
use crate::spool::{Spool, which_verify};
use crate::store::{Digest, Manifests};

/// A key that `unwrap` returned, and what it says about that.
pub struct Candidate {
    /// The key.
    pub key: LayerKey,
    /// What opened it.
    pub opened: Opened,
    /// The manifests that gave it, by their places.
    pub manifests: Vec<u32>,
    /// What the operator should know of that key.
    pub warning: Option<String>,
}

/// Layer keys that contradict each other.
pub struct Conflict {
    /// The digest of the encrypted layer, as one of the manifests has it.
    pub layer: Option<String>,
    /// The manifests that gave each of the keys.
    pub manifests: Vec<Vec<Digest>>,
}

/// The encrypted layer, and what else is known of it.
#[derive(Default)]
pub struct Layer {
    /// Where it comes from.
    pub input: Input,
    /// The same layer in the content store.
    pub blob: Option<File>,
    /// The manifests that name it, where there is no payload.
    pub manifests: Manifests,
    /// Where all of it is to be kept until it has verified.
    pub spool: Option<Spool>,
}

impl Layer {
    /// Chooses among `candidates`, and makes the layer ready to be decrypted.
    ///
    /// # Errors
    /// A layer that no candidate opens, as far as it has to be read; several that open it in
    /// different ways; several candidates, and nothing to try them on.
    pub fn choose(self, mut candidates: Vec<Candidate>) -> Result<(Candidate, Input), Ending> {
        let keys: Vec<_> = candidates.iter().map(|candidate| candidate.key.clone()).collect();
        let conflict = |places: &[usize]| Conflict {
            layer: candidates[places[0]].opened.layer_digest.clone(),
            manifests: places
                .iter()
                .map(|place| self.manifests.at(&candidates[*place].manifests))
                .collect(),
        };
        let (verified, input) = match (self.spool, self.blob) {
            (Some(spool), _) => {
                let (input, verified) = spool.fill(self.input, &keys)?;
                (verified, input)
            }
            (None, _) if keys.len() == 1 => (vec![0], self.input),
            (None, Some(blob)) => (which_verify(blob, &keys)?, self.input),
            (None, None) => {
                let all: Vec<_> = (0..keys.len()).collect();
                return Err(untried_keys(conflict(&all)));
            }
        };
        let different = different(&keys, &verified);
        match different.as_slice() {
            [place] => Ok((candidates.swap_remove(*place), input)),
            several => Err(several_keys_fit(conflict(several))),
        }
    }
}

/// The first of `verified` for each way in which they decrypt the layer.
fn different(keys: &[LayerKey], verified: &[usize]) -> Vec<usize> {
    let mut different: Vec<usize> = Vec::new();
    for place in verified {
        if !different.iter().any(|known| keys[*known].has_same_keystream(&keys[*place])) {
            different.push(*place);
        }
    }
    different
}
