//! The stream processors: the programs that decrypt layers for containerd.

use keycell_diagnostic::hint::ToolHint;
use ocicrypt::media_type::{self, ENCRYPTED, TAR, TAR_GZIP, TAR_ZSTD};

use super::report::Report;
use crate::containerd::{Config, Processor, Route, Running, Version, WITH_PAYLOAD, decompressor};

/// The kinds of layers that most images have, and their media types.
pub const KINDS: [(&str, &str); 3] = [("tar", TAR), ("gzip", TAR_GZIP), ("zstd", TAR_ZSTD)];

/// Layers of one form, in all compressions: a word for them, and what their media types begin with.
const FORMS: [(&str, &str); 2] = [
    ("Docker's", "application/vnd.docker."),
    ("nondistributable", "application/vnd.oci.image.layer.nondistributable."),
];

/// The processors that encrypted layers go to, each once.
pub fn of_layers(config: &Config) -> Vec<(&str, &Processor)> {
    let mut found: Vec<(&str, &Processor)> = Vec::new();
    for media_type in media_type::LAYERS {
        if let Route::To(id, processor) = config.route(&format!("{media_type}{ENCRYPTED}"))
            && !found.iter().any(|(known, _)| *known == id)
        {
            found.push((id, processor));
        }
    }
    found
}

/// Reports which processor takes each kind of layer, and whether containerd can unpack what the
/// processor returns.
pub fn examine(config: &Config, report: &mut Report) {
    for (id, processor) in of_layers(config) {
        taken(id, processor, config, report);
        returns(id, processor, report);
    }
    for (kind, media_type) in KINDS {
        let encrypted = format!("{media_type}{ENCRYPTED}");
        match config.route(&encrypted) {
            Route::To(..) => {}
            Route::None => report.fails(
                format!("no processor takes `{encrypted}`: {kind} layers fail"),
                if kind == "zstd" { ToolHint::AcceptZstd } else { ToolHint::NoProcessor },
            ),
            Route::Several(ids) => several(&format!("{kind} layers"), &ids, report),
        }
    }
    for (word, beginning) in FORMS {
        let types = media_type::LAYERS.iter().filter(|it| it.starts_with(beginning));
        let mut missing = Vec::new();
        for media_type in types {
            let encrypted = format!("{media_type}{ENCRYPTED}");
            match config.route(&encrypted) {
                Route::To(..) => {}
                Route::None => missing.push(format!("`{encrypted}`")),
                Route::Several(ids) => several(&format!("`{encrypted}`"), &ids, report),
            }
        }
        if !missing.is_empty() {
            report.warn(
                format!("no processor takes {word} layers, which fail: {}", missing.join(", ")),
                ToolHint::NoProcessor,
            );
        }
    }
}

fn several(layers: &str, ids: &[&str], report: &mut Report) {
    let ids: Vec<_> = ids.iter().map(|id| format!("`{id}`")).collect();
    report.fails(
        format!(
            "{layers} are taken by several processors, and containerd uses any: {}",
            ids.join(", ")
        ),
        ToolHint::SeveralProcessors,
    );
}

/// Reports what one processor takes.
fn taken(id: &str, processor: &Processor, config: &Config, report: &mut Report) {
    let takes = |media_type: &str| matches!(config.route(&format!("{media_type}{ENCRYPTED}")), Route::To(other, _) if other == id);
    let kinds = KINDS.iter().filter(|(_, media_type)| takes(media_type)).map(|(kind, _)| *kind);
    let forms = FORMS.iter().filter(|(_, beginning)| {
        media_type::LAYERS.iter().any(|it| it.starts_with(beginning) && takes(it))
    });
    let words: Vec<_> = kinds.chain(forms.map(|(word, _)| *word)).collect();
    if words.is_empty() {
        return;
    }
    let place = match &processor.file {
        Some(file) => format!("`{}`", file.display()),
        None => "containerd's defaults".to_owned(),
    };
    report.fine(format!("`{id}` in {place} takes layers: {}", words.join(", ")));
    if !WITH_PAYLOAD.contains(&id) {
        report.note(format!("containerd hands no payload to `{id}`"));
    }
}

/// Reports who decompresses gzip layers, and what would take less time.
pub fn examine_gzip(
    config: &Config,
    version: Version,
    running: Option<&Running>,
    report: &mut Report,
) {
    let encrypted = format!("{TAR_GZIP}{ENCRYPTED}");
    let Route::To(id, processor) = config.route(&encrypted) else { return };
    let program = decompressor(version, running).map(|program| format!("`{}`", program.display()));
    let Some(decompresses) = processor.decompresses() else { return };
    if decompresses {
        report.fine(format!("gzip layers: the decoder of `{id}` decompresses them"));
    } else if let Some(program) = program {
        report.note(format!("gzip layers: containerd decompresses them with {program}"));
    } else {
        report.note(
            "gzip layers: containerd decompresses them, which takes longer than in the decoder; \
             `keycell config containerd` prints processors for that",
        );
    }
}

/// Reports a media type that containerd cannot unpack.
fn returns(id: &str, processor: &Processor, report: &mut Report) {
    let returned = processor.returns.as_str();
    if !media_type::LAYERS.contains(&returned) {
        return report.fails(
            format!("`{id}` returns `{returned}`, which containerd cannot unpack"),
            ToolHint::ReturnsUnknown,
        );
    }
    // containerd looks at the first bytes of all but the plain tar.
    if returned != TAR {
        return;
    }
    // Only gzip is decompressed: zstd layers pass as they are.
    let Some(decompresses) = processor.decompresses() else { return };
    let compressed = if decompresses { &["zstd"][..] } else { &["gzip", "zstd"] };
    let accepted: Vec<_> =
        processor.accepts.iter().filter_map(|it| media_type::plain(it).ok()).collect();
    for kind in compressed {
        if accepted.iter().any(|media_type| media_type.ends_with(kind)) {
            report.fails(
                format!("`{id}` returns a plain tar for {kind} layers, which are compressed"),
                ToolHint::ReturnsTar,
            );
        }
    }
}
