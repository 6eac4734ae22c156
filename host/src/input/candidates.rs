//! Candidates: finds out which of several layer keys is the layer's.
//!
//! A payload gives one key. Manifests in containerd's content store may give several, since any image
//! may name any layer, with any wrapped keys and any HMAC that its author chooses. An HMAC does not
//! tell them apart: the encrypted layer is public, so anyone can compute its HMAC with a key of their
//! own. So every key is tried on the whole layer, and if two of them fit, none is used.

use std::fs::File;

use keycell_core::contract::Opened;
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::DecoderHint;
use ocicrypt::layer::LayerKey;

use crate::report::failure::{Ending, Failure};

use super::content_store::Manifests;
use super::layer::EncryptedLayer;
use super::spool::{Spool, which_verify};

/// A key that `unwrap` returned, and what the guest says about it.
pub struct Candidate {
    /// The key.
    pub key: LayerKey,
    /// What opened it.
    pub opened: Opened,
    /// The indices of the manifests that gave it.
    pub manifests: Vec<u32>,
    /// A warning for the operator about that key.
    pub warning: Option<String>,
}

/// Layer keys that contradict each other.
pub struct Conflict {
    /// The digest of the encrypted layer, as one of the manifests states it.
    pub layer: Option<String>,
    /// The manifests that gave each of the keys.
    pub manifests: Vec<Vec<String>>,
    /// Hints on how to find their images.
    pub hints: [DecoderHint; 3],
}

impl Conflict {
    /// Different keys decrypt the layer to different plain layers, each with the right HMAC.
    fn several_fit(self) -> Ending {
        let message = format!(
            "containerd passed no payload, and the manifests in its content store give {} \
             different keys that fit this layer: nothing was written, because only one of them is \
             genuine",
            self.manifests.len()
        );
        self.ending(message, &[])
    }

    /// Several keys were unwrapped for layers that begin with the same bytes, and there is no blob to
    /// try them on.
    fn untried(self) -> Ending {
        let message = format!(
            "containerd passed no payload, and {} different keys in the manifests of its content \
             store might be the layer's: nothing was written",
            self.manifests.len()
        );
        self.ending(message, &[DecoderHint::TryAllKeys])
    }

    fn ending(self, message: String, hints: &[DecoderHint]) -> Ending {
        let hints = hints.iter().cloned().chain(self.hints).map(Into::into).collect();
        let failure = Failure::from(Diagnostic { message, hints });
        Failure { layer_digest: self.layer, manifests: self.manifests, ..failure }.into()
    }
}

/// The encrypted layer, and what else is known about it.
#[derive(Default)]
pub struct Layer {
    /// Where it is read from.
    pub input: EncryptedLayer,
    /// The same layer in the content store.
    pub blob: Option<File>,
    /// The manifests that name it, if there is no payload.
    pub manifests: Manifests,
    /// The file that keeps the whole layer until it has verified.
    pub spool: Option<Spool>,
}

impl Layer {
    /// Chooses among `candidates`, and makes the layer ready to be decrypted.
    ///
    /// # Errors
    /// No candidate opens the layer, as far as it has to be read; several open it in different ways; or
    /// there are several candidates, and nothing to try them on.
    pub fn choose(
        self,
        mut candidates: Vec<Candidate>,
    ) -> Result<(Candidate, EncryptedLayer), Ending> {
        let keys: Vec<_> = candidates.iter().map(|candidate| candidate.key.clone()).collect();
        let conflict = |indices: &[usize]| Conflict {
            layer: candidates[indices[0]].opened.layer_digest.clone(),
            manifests: indices
                .iter()
                .map(|index| self.manifests.at(&candidates[*index].manifests))
                .collect(),
            hints: self.manifests.ambiguous(),
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
                return Err(conflict(&all).untried());
            }
        };
        let different = different(&keys, &verified);
        match different.as_slice() {
            [index] => Ok((candidates.swap_remove(*index), input)),
            several => Err(conflict(several).several_fit()),
        }
    }
}

/// Returns one of `verified` for each different plain layer that they decrypt to: the first.
fn different(keys: &[LayerKey], verified: &[usize]) -> Vec<usize> {
    let mut different: Vec<usize> = Vec::new();
    for index in verified {
        if !different.iter().any(|known| keys[*known].has_same_keystream(&keys[*index])) {
            different.push(*index);
        }
    }
    different
}
