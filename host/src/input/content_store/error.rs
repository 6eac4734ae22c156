//! What the host says where containerd's content store is of no use, or where its manifests
//! contradict each other.

use super::{Bound, Digest, StoreFault, usual_roots};
use crate::choice::Conflict;
use crate::contract::Failure;
use crate::failures::{Ending, plain, with_hint};

/// Manifests that a message names at most.
const NAMED_TOGETHER: usize = 8;

/// There is no payload, and containerd's content store was of no use.
///
/// Go ctd-decoder says `type with url : not found` or `bad file descriptor`.
pub fn no_payload(fault: StoreFault) -> Ending {
    let (why, hint) = match fault {
        StoreFault::Unfinished { shown, bound, has_layer, manifests } => {
            return unfinished(&shown, bound, has_layer, manifests);
        }
        StoreFault::Off => (
            "and its content store is not to be looked at".to_owned(),
            "remove `--content-store off`: the decoder then finds the layer's manifest by itself"
                .to_owned(),
        ),
        StoreFault::Absent => (
            "and there is no content store at containerd's usual places".to_owned(),
            format!(
                "`--content-store DIR` names containerd's root directory, which `containerd \
                 config dump` shows as `root`; looked at {}",
                usual_roots()
            ),
        ),
        StoreFault::Other(path) => (
            format!("and `{}` is no content store", path.display()),
            "`--content-store` is containerd's root directory, which `containerd config dump` \
             shows as `root`: the blobs lie in `io.containerd.content.v1.content/blobs/sha256` \
             below it"
                .to_owned(),
        ),
        StoreFault::Closed(path, error) => (
            format!("and its content store `{}` cannot be read: {}", path.display(), plain(&error)),
            "the decoder has to run as the user that containerd runs as, usually root".to_owned(),
        ),
        StoreFault::Unreadable(shown, blob, error) => {
            let what = match blob {
                Some(digest) => {
                    format!("the blob `{}…` in its content store `{shown}`", digest.short())
                }
                None => format!("the list of blobs in its content store `{shown}`"),
            };
            (
                format!("and {what} cannot be read: {}", plain(&error)),
                "what cannot be read may be the manifest of this image, so no other one is used: \
                 look after the disk, or remove the image that has this blob and pull it again"
                    .to_owned(),
            )
        }
        StoreFault::Bare { shown, blobs } => (
            format!(
                "and none of {blobs} blobs in its content store `{shown}` is the manifest of an \
                 encrypted image"
            ),
            "is this the store of the containerd that calls? `--content-store DIR` names the root \
             directory of another; if the manifest is gone, pull the image again"
                .to_owned(),
        ),
    };
    let message = format!("containerd passed no payload on descriptor 3, {why}");
    Ending::Failed(failure(message, vec![hint, PASS_A_PAYLOAD.to_owned()]))
}

/// The search reached one of its bounds.
fn unfinished(shown: &str, bound: Bound, has_layer: bool, manifests: Vec<Digest>) -> Ending {
    let layer =
        if has_layer { "for this layer" } else { "of encrypted layers, and not this layer" };
    let (what, hint) = match bound {
        Bound::Time => (
            "was not searched to its end in 20 seconds".to_owned(),
            "look why the disk is slow, or remove images that are not needed",
        ),
        Bound::Blobs => (
            "has more than 262144 blobs".to_owned(),
            "remove images that are not needed: `crictl rmi --prune`",
        ),
        Bound::Json => (
            "has more than 256 MiB of JSON".to_owned(),
            "remove images that are not needed: `crictl rmi --prune`",
        ),
        Bound::Compared => (
            "has manifests that name more than 65536 other layers".to_owned(),
            "remove images that are not needed: `crictl rmi --prune`",
        ),
        Bound::Alike => (
            "has more than 64 layers that begin like this one".to_owned(),
            "somebody copied the beginning of this layer: remove the images that are not trusted",
        ),
        Bound::Manifests => (
            format!("has more than 256 manifests with wrapped keys {layer}"),
            "remove images that are not needed or not trusted: `crictl rmi --prune`",
        ),
        Bound::ManifestBytes => (
            format!("has more than 16 MiB of manifests with wrapped keys {layer}"),
            "remove images that are not needed or not trusted: `crictl rmi --prune`",
        ),
    };
    let message = format!(
        "containerd passed no payload on descriptor 3, and its content store `{shown}` {what}: the \
         right manifest may be one that was not looked at, so no other one is used"
    );
    if manifests.is_empty() {
        let hints = vec![hint.to_owned(), PASS_A_PAYLOAD.to_owned()];
        return Ending::Failed(failure(message, hints));
    }
    let hints = [hint.to_owned()].into_iter().chain(way_out()).collect();
    Ending::OfManifests(Box::new(failure(message, hints)), vec![manifests])
}

/// Different keys decrypt the layer, each to something else, and each with the right HMAC.
pub fn several_keys_fit(conflict: Conflict) -> Ending {
    let Conflict { layer, manifests } = conflict;
    let message = format!(
        "containerd passed no payload, and the manifests in its content store give {} different \
         keys that fit this layer: nothing was written, because only one of them is genuine",
        manifests.len()
    );
    let failure = failure(message, way_out().into());
    Ending::OfManifests(Box::new(Failure { layer_digest: layer, ..failure }), manifests)
}

/// Several keys open wrapped keys of layers that begin alike.
pub fn untried_keys(conflict: Conflict) -> Ending {
    let Conflict { layer, manifests } = conflict;
    let message = format!(
        "containerd passed no payload, and {} different keys in the manifests of its content store \
         might be the layer's: nothing was written",
        manifests.len()
    );
    let hint = "`--verify-first` tries them all, since it reads the whole layer before it writes";
    let hints = [hint.to_owned()].into_iter().chain(way_out()).collect();
    let failure = failure(message, hints);
    Ending::OfManifests(Box::new(Failure { layer_digest: layer, ..failure }), manifests)
}

/// Which manifests a failure is about, to be added to its message: those of each key together.
pub fn named(manifests: &[Vec<Digest>]) -> String {
    let each = if manifests.len() == 1 { NAMED_TOGETHER } else { NAMED_TOGETHER / 2 };
    let each = if manifests.len() > 2 { 1 } else { each };
    let groups = manifests.iter().filter(|digests| !digests.is_empty()).take(NAMED_TOGETHER);
    let groups = groups.map(|digests| {
        let named = digests.iter().take(each).map(|digest| format!("`{digest}`"));
        let mut named = named.collect::<Vec<_>>().join(", ");
        if digests.len() > each {
            named += &format!(" and {} more", digests.len() - each);
        }
        named
    });
    let mut text = groups.collect::<Vec<_>>().join("; ");
    if manifests.len() > NAMED_TOGETHER {
        text += &format!("; and those of {} keys more", manifests.len() - NAMED_TOGETHER);
    }
    text
}

/// How to find out which image is a stranger's, and to be rid of it.
pub(crate) fn way_out() -> [String; 3] {
    [
        "find the image of each manifest: `ctr -n k8s.io images ls | grep DIGEST`; where that shows \
         none, an index names the manifest, and `grep -l DIGEST \
         /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/*` shows the index's \
         digest"
            .to_owned(),
        "remove the image that is not trusted, `ctr -n k8s.io images rm --sync IMAGE` or `crictl \
         rmi IMAGE`, and pull again"
            .to_owned(),
        format!("a payload names the image, so it is never ambiguous: {}", &PASS_A_PAYLOAD[3..]),
    ]
}

/// The other way, which needs no content store.
pub(crate) const PASS_A_PAYLOAD: &str = "or have containerd pass one: `key_model = \"node\"` in \
    `[plugins.\"io.containerd.cri.v1.images\".image_decryption]`, and on 2.x \
    `use_local_image_pull = true` in `[plugins.\"io.containerd.cri.v1.images\"]` (on 1.x: \
    `[plugins.\"io.containerd.grpc.v1.cri\".image_decryption]` alone); `ctr images pull` and \
    `ctr images import` never pass one";

fn failure(message: String, hints: Vec<String>) -> Failure {
    Failure { hints, ..with_hint(message, "") }
}
