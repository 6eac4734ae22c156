//! Whether the next pull will succeed, for each kind of layer and each way in which containerd calls
//! a decoder.

use crate::containerd::{Config, Version, WITH_PAYLOAD};
use keycell_diagnostic::hint::ToolHint;
use ocicrypt::media_type::ENCRYPTED;

use super::decoder::Decoder;
use super::processors::LAYERS;
use super::report::Report;

/// Reports it. A way that does not work is a failure only where Kubernetes takes it; otherwise it is
/// a note.
pub fn examine(config: &Config, version: Version, decoders: &[Decoder], report: &mut Report) {
    let pull = Pull::of(config, version);
    report.note(pull.description());
    for (kind, media_type) in LAYERS {
        let accepting = config.accepting(&format!("{media_type}{ENCRYPTED}"));
        // Anything else is reported with the processors.
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
                pull.hint(WITH_PAYLOAD.contains(&id)),
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

    fn description(&self) -> String {
        match self {
            Self::Local => "a pull for Kubernetes hands a payload to the decoder".to_owned(),
            Self::NoKeyModel(model) => format!("`key_model` is `{}`, so a pull for Kubernetes hands over no payload", model.escape_debug()),
            Self::Transfer => "a pull for Kubernetes goes through containerd's transfer service, which hands over no payload".to_owned(),
            Self::NoHook(version) => format!("containerd {version} hands over no payload, whatever it is configured to"),
        }
    }

    /// How the payload would be passed; `by_id` is whether containerd passes one to the processor.
    fn hint(&self, by_id: bool) -> Option<ToolHint> {
        match self {
            Self::Local if !by_id => Some(ToolHint::OtherProcessor),
            Self::Local => None,
            Self::NoKeyModel(_) => Some(ToolHint::KeyModel),
            Self::Transfer => Some(ToolHint::TransferService),
            Self::NoHook(_) => Some(ToolHint::NoPayloadHook),
        }
    }
}
