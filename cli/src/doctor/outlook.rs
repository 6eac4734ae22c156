//! What would happen on the next pull, for each kind of layer and each way in which containerd comes
//! to call a decoder.

use crate::containerd::{Config, Version, WITH_PAYLOAD};

use super::decoder::Decoder;
use super::processors::LAYERS;
use super::report::Report;

/// Says it in words. A way that does not work is a failure only where it is the one that Kubernetes
/// takes; of the others it is a note.
pub fn examine(config: &Config, version: Version, decoders: &[Decoder], report: &mut Report) {
    let pull = Pull::of(config, version);
    report.note(pull.said());
    for (kind, media_type) in LAYERS {
        let accepting = config.accepting(&format!("{media_type}+encrypted"));
        // Whatever else is wrong was told above.
        let [(id, processor)] = accepting[..] else { continue };
        let Some(decoder) = decoders.iter().find(|decoder| decoder.is_same(processor)) else {
            continue;
        };
        let has_payload = pull.has_payload() && WITH_PAYLOAD.contains(&id);
        let finds = decoder.finds_payload();
        match (has_payload, finds) {
            (true, _) => report.fine(format!("{kind} layer, pulled for Kubernetes: containerd hands over what is needed")),
            (false, true) => report.fine(format!(
                "{kind} layer, pulled for Kubernetes: the decoder finds what is needed in the content store"
            )),
            (false, false) => report.fails(
                format!("{kind} layer, pulled for Kubernetes: the decoder gets no payload"),
                pull.mended(WITH_PAYLOAD.contains(&id)),
            ),
        }
        if finds {
            report.fine(format!("{kind} layer, `ctr images pull` or `import`, or pulled earlier: from the content store"));
        } else {
            report.note(format!(
                "{kind} layer, `ctr images pull` or `import`, or pulled earlier: the decoder gets no payload, and fails"
            ));
        }
    }
}

/// How the CRI pulls.
enum Pull {
    /// With a payload.
    Local,
    /// `key_model` is not `node`.
    NoKeyModel(String),
    /// Through the transfer service.
    Transfer,
    /// Locally, by a release without the hook.
    NoHook(Version),
}

impl Pull {
    fn of(config: &Config, version: Version) -> Self {
        if version.has_transfer_service() && !config.local_image_pull {
            Self::Transfer
        } else if !version.has_payload() {
            Self::NoHook(version)
        } else if config.key_model != "node" {
            Self::NoKeyModel(config.key_model.clone())
        } else {
            Self::Local
        }
    }

    fn has_payload(&self) -> bool {
        matches!(self, Self::Local)
    }

    fn said(&self) -> String {
        match self {
            Self::Local => "a pull for Kubernetes hands a payload to the decoder".to_owned(),
            Self::NoKeyModel(model) => format!("`key_model` is `{}`, so a pull for Kubernetes hands over no payload", model.escape_debug()),
            Self::Transfer => "a pull for Kubernetes goes through containerd's transfer service, which hands over no payload".to_owned(),
            Self::NoHook(version) => format!("containerd {version} hands over no payload, whatever it is configured to"),
        }
    }

    fn mended(&self, by_id: bool) -> &'static str {
        match self {
            Self::Local if !by_id => {
                "let the processor `io.containerd.ocicrypt.decoder.v1.tar.gzip` take it: containerd hands a payload to few ids"
            }
            Self::Local => "",
            Self::NoKeyModel(_) => {
                "set `key_model = \"node\"` in the section `image_decryption` of the CRI plugin"
            }
            Self::Transfer => {
                "set `use_local_image_pull = true` in `[plugins.\"io.containerd.cri.v1.images\"]`, or do without `--content-store off`: the decoder then finds it in the content store"
            }
            Self::NoHook(_) => "update containerd: 2.1.7, 2.2.2 and 2.3 have it again",
        }
    }
}
