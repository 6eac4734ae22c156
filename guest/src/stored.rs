//! The layer key where containerd passed no payload: from manifests that the host found in its content
//! store.
//!
//! Nothing says that such a manifest is the one that is pulled: any image may name any layer. So all
//! that name it count, and where they give several keys, the HMAC of the whole layer decides.

use getrandom::SysRng;
use ocicrypt::broker::Broker;
use ocicrypt::keyring::KeyRing;
use ocicrypt::layer::{Decryptor, LayerKey};
use ocicrypt::manifest;
use ocicrypt::media_type;
use ocicrypt::payload::{Descriptor, Payload};
use ocicrypt::unwrap::{UnwrapError, unwrap_with};

use crate::failure::Failure;
use crate::steps::{Unwrapped, tell_skipped};

/// Descriptors whose wrapped keys are tried. A layer has one, and another for each time that
/// recipients were added to it.
const MAX_TRIED: usize = 256;

/// Of these, from one manifest: it has the layer once, or a few times in the same words. One that
/// lists it ten thousand times does not crowd out the others.
const MAX_OF_MANIFEST: usize = 4;

/// The same where the store does not have the layer, and any other may be it.
const MAX_GUESSED: usize = 64;

/// Different keys that the host is given to choose from.
const MAX_KEYS: usize = 16;

/// What the host found.
pub struct Stored<'a> {
    /// What may be manifests, the newest first.
    pub manifests: &'a [Vec<u8>],
    /// Digest and size of the blobs that begin as the layer does; none if there is no such blob.
    pub layers: Vec<(&'a str, u64)>,
    /// The first bytes of the encrypted layer.
    pub beginning: &'a [u8],
}

impl Stored<'_> {
    /// All different keys that open the layer, with the private keys in `ring` and those that
    /// `broker` reaches.
    ///
    /// `media_type` is what containerd says about the layer.
    ///
    /// # Errors
    /// No manifest names the layer, no key opens it, or too many do.
    pub fn unwrap(
        &self,
        media_type: Option<&str>,
        ring: &KeyRing,
        broker: &mut dyn Broker,
    ) -> Result<Vec<Unwrapped>, Failure> {
        tell_skipped(ring);
        let descriptors = self.descriptors(media_type);
        let layer = match descriptors.first() {
            Some(descriptor) => (!self.layers.is_empty()).then(|| descriptor.digest.clone()),
            None => return Err(self.no_manifest(media_type)),
        };
        let mut found: Vec<Unwrapped> = Vec::new();
        let mut refused: Option<UnwrapError> = None;
        for descriptor in descriptors {
            let media_type = descriptor.media_type.clone();
            let layer = Some(descriptor.digest.clone());
            let payload = Payload { descriptor, ..Payload::default() };
            match unwrap_with(&payload, ring, broker, &mut SysRng) {
                Ok(opened) if self.may_be(&opened.key, &media_type) => {
                    if !found.iter().any(|known| known.opened.key.is_same(&opened.key)) {
                        found.push(Unwrapped { opened, layer });
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        match (found.len(), refused) {
            (1..=MAX_KEYS, _) => Ok(found),
            (0, Some(error)) if !self.layers.is_empty() => {
                let failure = Failure::no_key(&error, ring);
                let message = format!("{NO_PAYLOAD}; in its content store, {}", failure.message);
                Err(Failure { message, layer, ..failure })
            }
            (0, _) => Err(Failure::new(format!("{NO_PAYLOAD}, {NONE_FITS}"), PULL_AGAIN)),
            (many, _) => {
                let message =
                    format!("{NO_PAYLOAD}, and {many} different keys might be the layer's");
                Err(Failure::new(message, OTHER_IMAGES))
            }
        }
    }

    /// The layers that are worth trying, each with its own wrapped keys.
    fn descriptors(&self, media_type: Option<&str>) -> Vec<Descriptor> {
        let most = if self.layers.is_empty() { MAX_GUESSED } else { MAX_TRIED };
        let mut descriptors: Vec<Descriptor> = Vec::new();
        for bytes in self.manifests {
            let layers = manifest::encrypted_layers(bytes).unwrap_or_else(|error| {
                eprintln!("passed over a manifest in the content store: {error}");
                Vec::new()
            });
            let is_of_type =
                |layer: &Descriptor| media_type.is_none_or(|wanted| layer.media_type == wanted);
            let layers =
                layers.into_iter().filter(|layer| is_of_type(layer) && self.names_it(layer));
            let few = if self.layers.is_empty() { MAX_GUESSED } else { MAX_OF_MANIFEST };
            for layer in layers.take(few) {
                if descriptors.len() < most && !descriptors.contains(&layer) {
                    descriptors.push(layer);
                }
            }
        }
        descriptors
    }

    /// Whether this is the layer, as far as digest and size tell.
    fn names_it(&self, layer: &Descriptor) -> bool {
        let is_it = |(digest, size): &(&str, u64)| {
            layer.digest == *digest && u64::try_from(layer.size) == Ok(*size)
        };
        self.layers.is_empty() || self.layers.iter().any(is_it)
    }

    /// Whether the layer begins, once it is decrypted, as its media type promises. A layer that was
    /// recognised by its bytes need not: its HMAC is enough, and a wrong label no reason to fail.
    fn may_be(&self, key: &LayerKey, encrypted: &str) -> bool {
        if !self.layers.is_empty() {
            return true;
        }
        let mut beginning = self.beginning.to_vec();
        Decryptor::new(key).update(&mut beginning);
        media_type::plain(encrypted)
            .is_ok_and(|plain| media_type::may_begin_with(plain, &beginning))
    }

    fn no_manifest(&self, media_type: Option<&str>) -> Failure {
        let of_type = media_type.map(|name| format!(" of the type `{name}`")).unwrap_or_default();
        match self.layers.as_slice() {
            [] => Failure::new(
                format!(
                    "{NO_PAYLOAD}, and its content store has neither this layer nor a \
                         manifest with encrypted layers{of_type}"
                ),
                PULL_AGAIN,
            ),
            // As much of the digest as tells it from others, and no more: the host takes longer runs
            // of digits for a secret.
            [(digest, _), ..] => Failure::new(
                format!(
                    "{NO_PAYLOAD}, and no manifest in its content store has wrapped keys for \
                         the layer `{}…`{of_type}",
                    digest.get(..SHOWN).unwrap_or_default()
                ),
                PULL_AGAIN,
            ),
        }
    }
}

/// Characters of a digest that a message shows.
const SHOWN: usize = "sha256:".len() + 12;

const NO_PAYLOAD: &str = "containerd passed no payload on descriptor 3";

const NONE_FITS: &str = "its content store does not have this layer, and no key that opens one of \
    its manifests' layers fits";

const PULL_AGAIN: &str = "is `--content-store` the root directory of the containerd that calls? if \
    so, pull the image again: its manifest or its layer has been removed meanwhile";

const OTHER_IMAGES: &str = "images were made to look like this one: remove those of strangers";
