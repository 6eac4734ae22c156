//! The layer key where containerd passed no payload: from manifests that the host found in its
//! content store.
//!
//! Nothing says that such a manifest is the one that is pulled: any image may name any layer, and
//! whoever knows a public key of the node can wrap a key of their own for it. So every manifest that
//! names the layer is tried to its end, and none is ever left out: where that cannot be, there is no
//! key at all. The host tries the keys on the whole layer.

use getrandom::SysRng;
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::UnwrapHint;
use ocicrypt::algorithms::MinAlgorithms;
use ocicrypt::bounds::Bounds;
use ocicrypt::broker::Broker;
use ocicrypt::keyring::KeyRing;
use ocicrypt::layer::{Decryptor, LayerKey};
use ocicrypt::manifest;
use ocicrypt::media_type;
use ocicrypt::payload::{Descriptor, Payload};
use ocicrypt::unwrap::{UnwrapError, unwrap_within};

use crate::failure::Failure;
use crate::steps::{Unwrapped, log_skipped};

/// Different descriptors whose wrapped keys are tried. A layer has one, and another for each time
/// that recipients were added to it.
const MAX_TRIED: usize = 256;

/// Of these, from one manifest: it has the layer once, or a few times in the same words.
const MAX_OF_MANIFEST: usize = 4;

/// Different keys that the host is given to choose from.
const MAX_KEYS: usize = 16;

/// What the host found.
pub struct Stored<'a> {
    /// What may be manifests.
    pub manifests: &'a [Vec<u8>],
    /// Digest and size of the blobs that begin as the layer does; none if there is no such blob.
    pub layers: Vec<(&'a str, u64)>,
    /// The first bytes of the encrypted layer.
    pub beginning: &'a [u8],
}

/// A descriptor that may be the layer's.
struct Named {
    descriptor: Descriptor,
    /// The manifests that have it.
    manifests: Vec<u32>,
}

/// What came of all wrapped keys.
#[derive(Default)]
struct Found {
    /// Different keys.
    keys: Vec<Unwrapped>,
    /// Manifests that may hold another key, and why that is not known.
    undecided: Vec<u32>,
    why_undecided: Option<UnwrapError>,
    /// Why the first of the others was not opened.
    refused: Option<UnwrapError>,
}

impl Stored<'_> {
    /// All different keys that open the layer, with the private keys in `ring` and those that
    /// `broker` reaches.
    ///
    /// `media_type` is what containerd says about the layer.
    ///
    /// # Errors
    /// No manifest names the layer, no key opens it, too many do, or not all could be tried.
    pub fn unwrap(
        &self,
        media_type: Option<&str>,
        ring: &KeyRing,
        algorithms: MinAlgorithms,
        broker: &mut dyn Broker,
    ) -> Result<Vec<Unwrapped>, Failure> {
        let logged = log_skipped(ring, 0);
        let (descriptors, unreadable) = self.descriptors(media_type)?;
        let layer = match descriptors.first() {
            Some(named) => (!self.layers.is_empty()).then(|| named.descriptor.digest.clone()),
            None => return Err(self.no_manifest(media_type)),
        };
        let mut found = Found { undecided: unreadable, ..Found::default() };
        // One budget for all of them: they are of one layer.
        let mut bounds = Bounds { algorithms, ..Bounds::default() };
        for named in descriptors {
            self.open(named, ring, broker, &mut bounds, &mut found);
        }
        log_skipped(ring, logged);
        self.judge(found, layer, ring)
    }

    /// Tries one descriptor.
    fn open(
        &self,
        named: Named,
        ring: &KeyRing,
        broker: &mut dyn Broker,
        bounds: &mut Bounds,
        found: &mut Found,
    ) {
        let Named { descriptor, manifests } = named;
        let layer = Some(descriptor.digest.clone());
        let payload = Payload { descriptor, ..Payload::default() };
        match unwrap_within(&payload, ring, broker, bounds, &mut SysRng) {
            Ok(opened) if self.may_be(&opened.key) => {
                let mut known = found.keys.iter_mut();
                match known.find(|known| known.opened.key.is_same(&opened.key)) {
                    Some(known) => {
                        known.manifests.extend(manifests);
                        known.manifests.sort_unstable();
                        known.manifests.dedup();
                    }
                    None => found.keys.push(Unwrapped { opened, layer, manifests }),
                }
            }
            Ok(_) => {}
            Err(error) if error.is_undecided() => {
                found.undecided.extend(manifests);
                found.why_undecided.get_or_insert(error);
            }
            Err(error) => {
                found.refused.get_or_insert(error);
            }
        }
    }

    /// Hands the keys over only if there can be no others.
    fn judge(
        &self,
        found: Found,
        layer: Option<String>,
        ring: &KeyRing,
    ) -> Result<Vec<Unwrapped>, Failure> {
        let Found { keys, mut undecided, why_undecided, refused } = found;
        undecided.sort_unstable();
        undecided.dedup();
        match keys.len() {
            0 => {
                let Some(error) = why_undecided.or(refused).filter(|_| !self.layers.is_empty())
                else {
                    return Err(Failure::new(
                        format!("{NO_PAYLOAD}, {NONE_FITS}"),
                        UnwrapHint::LayerNotStored,
                    ));
                };
                let failure = Failure::no_key(&error, ring);
                let Diagnostic { message, hints } = failure.diagnostic;
                let message = format!("{NO_PAYLOAD}; in its content store, {message}");
                Err(Failure { layer, ..Diagnostic { message, hints }.into() })
            }
            _ if !undecided.is_empty() => {
                let count = undecided.len();
                let why = match &why_undecided {
                    Some(error) => error.to_string(),
                    None => "it is no readable manifest".to_owned(),
                };
                let message = format!(
                    "{NO_PAYLOAD}; in its content store, a key fits that may be a stranger's, \
                     because {count} of the manifests that name the layer could not be tried: {why}"
                );
                let mut failure = Failure::without_hint(message);
                if let Some(error) = &why_undecided {
                    failure.diagnostic.hints = Failure::no_key(error, ring).diagnostic.hints;
                }
                Err(Failure { layer, manifests: undecided, ..failure })
            }
            1..=MAX_KEYS => Ok(keys),
            many => {
                let message = format!(
                    "{NO_PAYLOAD}, and {many} different keys might be the layer's, more than the \
                     {MAX_KEYS} that are tried"
                );
                let manifests = keys.iter().flat_map(|key| key.manifests.clone()).collect();
                Err(Failure { layer, manifests, ..Failure::without_hint(message) })
            }
        }
    }

    /// The layers that have to be tried, each with its own wrapped keys; and the manifests that
    /// cannot be read.
    ///
    /// # Errors
    /// There are more than can be tried.
    fn descriptors(&self, media_type: Option<&str>) -> Result<(Vec<Named>, Vec<u32>), Failure> {
        let mut descriptors: Vec<Named> = Vec::new();
        let mut unreadable = Vec::new();
        for (place, bytes) in (0..).zip(self.manifests) {
            let layers = match manifest::encrypted_layers(bytes) {
                Ok(layers) => layers,
                Err(error) => {
                    eprintln!("cannot read a manifest in the content store: {error}");
                    unreadable.push(place);
                    continue;
                }
            };
            let is_of_type =
                |layer: &Descriptor| media_type.is_none_or(|wanted| layer.media_type == wanted);
            let mut different = 0;
            for layer in layers {
                if !is_of_type(&layer) || !self.names_it(&layer) {
                    continue;
                }
                match descriptors.iter_mut().find(|known| known.descriptor == layer) {
                    Some(known) if known.manifests.last() == Some(&place) => {}
                    Some(known) => known.manifests.push(place),
                    None => {
                        different += 1;
                        if different > MAX_OF_MANIFEST && !self.layers.is_empty() {
                            return Err(too_many_of(place));
                        }
                        descriptors.push(Named { descriptor: layer, manifests: vec![place] });
                    }
                }
                if descriptors.len() > MAX_TRIED {
                    return Err(self.too_many());
                }
            }
        }
        Ok((descriptors, unreadable))
    }

    /// More than can be tried.
    fn too_many(&self) -> Failure {
        let message = match self.layers.as_slice() {
            [] => format!(
                "{NO_PAYLOAD}, and its content store does not have this layer, and more than \
                 {MAX_TRIED} others that it might be"
            ),
            _ => format!(
                "{NO_PAYLOAD}, and the manifests in its content store have more than {MAX_TRIED} \
                 different sets of wrapped keys for this layer"
            ),
        };
        Failure::new(message, UnwrapHint::TooManyImages)
    }

    /// Whether this is the layer, as far as digest and size tell.
    fn names_it(&self, layer: &Descriptor) -> bool {
        let is_it = |(digest, size): &(&str, u64)| {
            layer.digest == *digest && u64::try_from(layer.size) == Ok(*size)
        };
        self.layers.is_empty() || self.layers.iter().any(is_it)
    }

    /// Whether the layer, once it is decrypted, begins like a layer. One that was recognised by its
    /// encrypted bytes need not: its HMAC is enough.
    fn may_be(&self, key: &LayerKey) -> bool {
        if !self.layers.is_empty() {
            return true;
        }
        let mut beginning = self.beginning.to_vec();
        Decryptor::new(key).update(&mut beginning);
        media_type::begins_like_a_layer(&beginning)
    }

    fn no_manifest(&self, media_type: Option<&str>) -> Failure {
        let of_type = media_type.map(|name| format!(" of the type `{name}`")).unwrap_or_default();
        match self.layers.as_slice() {
            [] => Failure::new(
                format!(
                    "{NO_PAYLOAD}, and its content store has neither this layer nor a \
                         manifest with encrypted layers{of_type}"
                ),
                UnwrapHint::LayerNotStored,
            ),
            // As much of the digest as tells it from others, and no more: the host takes longer runs
            // of digits for a secret.
            [(digest, _), ..] => Failure::new(
                format!(
                    "{NO_PAYLOAD}, and no manifest in its content store has wrapped keys for \
                         the layer `{}…`{of_type}",
                    digest.get(..SHOWN).unwrap_or_default()
                ),
                UnwrapHint::LayerNotStored,
            ),
        }
    }
}

/// Characters of a digest that a message shows.
const SHOWN: usize = "sha256:".len() + 12;

const NO_PAYLOAD: &str = "containerd passed no payload on descriptor 3";

const NONE_FITS: &str = "its content store does not have this layer, and no key that opens one of \
    its manifests' layers fits";

/// One manifest has more wrapped keys for the layer than are tried.
fn too_many_of(place: u32) -> Failure {
    let message = format!(
        "{NO_PAYLOAD}, and a manifest in its content store lists the layer with more than \
         {MAX_OF_MANIFEST} different sets of wrapped keys"
    );
    Failure { manifests: vec![place], ..Failure::without_hint(message) }
}
