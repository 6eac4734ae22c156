//! Whether the next pull will succeed, for each kind of layer and each way in which containerd calls
//! a decoder.

use keycell_diagnostic::hint::ToolHint;
use ocicrypt::media_type::ENCRYPTED;

use crate::containerd::{Config, Pull, Route, Unpacking, Version, WITH_PAYLOAD, unpacking};

use super::decoder::Decoder;
use super::processors::KINDS;
use super::report::Report;

/// Reports it. A way that does not work is a failure only where Kubernetes takes it; otherwise it is
/// a note.
pub fn examine(config: &Config, version: Version, decoders: &[Decoder], report: &mut Report) {
    let pull = Pull::of(config, version);
    report.note(description(&pull, version));
    if !matches!(pull, Pull::Disabled(_)) {
        snapshotters(config, report);
    }
    let mut without_payload: Vec<(bool, Vec<&str>)> = Vec::new();
    for (kind, media_type) in KINDS {
        // Anything else is reported with the processors.
        let encrypted = format!("{media_type}{ENCRYPTED}");
        let Route::To(id, processor) = config.route(&encrypted) else { continue };
        let Some(decoder) = decoders.iter().find(|decoder| decoder.is_same(processor)) else {
            continue;
        };
        let has_payload = pull.has_payload() && WITH_PAYLOAD.contains(&id);
        let finds = decoder.finds_payload();
        let layer = format!("{kind} layer");
        match (&pull, has_payload, finds) {
            (Pull::Disabled(_), ..) => {}
            (_, true, _) => report.fine(format!(
                "{layer}, pulled for Kubernetes: containerd hands over what is needed"
            )),
            (_, false, true) => report.fine(format!(
                "{layer}, pulled for Kubernetes: the decoder finds what is needed in the content store"
            )),
            (_, false, false) => {
                let by_id = WITH_PAYLOAD.contains(&id);
                match without_payload.iter_mut().find(|(known, _)| *known == by_id) {
                    Some((_, kinds)) => kinds.push(kind),
                    None => without_payload.push((by_id, vec![kind])),
                }
            }
        }
        if finds {
            report.fine(format!(
                "{layer}, `ctr images pull` or `import`, or pulled earlier: from the content store"
            ));
        } else {
            report.note(format!(
                "{layer}, `ctr images pull` or `import`, or pulled earlier: the decoder gets no \
                 payload, and fails"
            ));
        }
    }
    // One failure for each cause.
    for (by_id, kinds) in without_payload {
        report.fails(
            format!(
                "layers ({}), pulled for Kubernetes: the decoder gets no payload",
                kinds.join(", ")
            ),
            hint(&pull, by_id, config, version),
        );
    }
}

/// Reports snapshotters that do not leave the unpacking to containerd.
fn snapshotters(config: &Config, report: &mut Report) {
    for (name, runtime, how) in unpacking(config) {
        let shown = match runtime {
            Some(runtime) => format!("the snapshotter `{name}` of the runtime `{runtime}`"),
            None => format!("the snapshotter `{name}`"),
        };
        let hint = ToolHint::OtherSnapshotter;
        match (how, runtime) {
            (Unpacking::ByContainerd, _) => {}
            (Unpacking::ByItself, None) => report.fails(
                format!("{shown} unpacks layers itself and calls no decoder: encrypted images fail"),
                hint,
            ),
            (Unpacking::ByItself, Some(_)) => report.warn(
                format!(
                    "{shown} unpacks layers itself and calls no decoder: encrypted images fail with \
                     this runtime"
                ),
                hint,
            ),
            (Unpacking::Lazily, _) => report.note(format!(
                "{shown} calls no decoder for layers that it loads lazily; containerd unpacks \
                 encrypted layers, which have no index for that"
            )),
            (Unpacking::Unknown, _) => report.note(format!(
                "{shown} is not known: if it unpacks layers itself, no decoder is called"
            )),
        }
    }
}

fn description(pull: &Pull, version: Version) -> String {
    let because =
        |cause: Option<_>| cause.map(|cause| format!(", because of {cause}")).unwrap_or_default();
    match pull {
        Pull::Disabled(plugin) => {
            format!(
                "Kubernetes cannot pull with this containerd: the plugin `{plugin}` is disabled; Docker \
                 with its containerd image store can, and hands over no payload"
            )
        }
        Pull::Transfer => {
            "a pull for Kubernetes goes through containerd's transfer service, which \
            hands over no payload"
                .to_owned()
        }
        Pull::Local(None) => "a pull for Kubernetes hands a payload to the decoder".to_owned(),
        Pull::Local(cause) => format!(
            "a pull for Kubernetes hands a payload to the decoder: it does not go through the \
             transfer service{}",
            because(cause.as_ref())
        ),
        Pull::NoHook(cause) => format!(
            "a pull for Kubernetes hands over no payload: containerd {version} lacks the hook for it, \
             and does not use the transfer service{}",
            because(cause.as_ref())
        ),
        Pull::NoKeyModel(model) => format!(
            "`key_model` is `{}`, so a pull for Kubernetes hands over no payload",
            model.escape_debug()
        ),
    }
}

/// How the payload would be passed; `by_id` is whether containerd passes one to the processor.
fn hint(pull: &Pull, by_id: bool, config: &Config, version: Version) -> Option<ToolHint> {
    match pull {
        Pull::Local(_) if !by_id => Some(ToolHint::OtherProcessor),
        Pull::Disabled(_) | Pull::Local(_) => None,
        Pull::NoKeyModel(_) => {
            Some(ToolHint::KeyModel { section: config.image_decryption_section() })
        }
        Pull::Transfer if version.has_payload() => Some(ToolHint::TransferService),
        Pull::Transfer | Pull::NoHook(_) => Some(ToolHint::NoPayloadHook),
    }
}
