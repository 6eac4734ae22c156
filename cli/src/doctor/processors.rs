//! The stream processors: the programs that decrypt layers for containerd.

use std::ffi::OsString;

use keycell_diagnostic::hint::ToolHint;
use keycell_settings::Request;
use ocicrypt::media_type::{ENCRYPTED, TAR, TAR_GZIP, TAR_ZSTD};

use super::report::Report;
use crate::containerd::{Config, Processor, Version, WITH_PAYLOAD, decompressor};

/// The kinds of layers, and their media types.
pub const LAYERS: [(&str, &str); 3] = [("tar", TAR), ("gzip", TAR_GZIP), ("zstd", TAR_ZSTD)];

/// The processors for encrypted layers, each once.
pub fn of_layers(config: &Config) -> Vec<(&str, &Processor)> {
    let mut found: Vec<(&str, &Processor)> = Vec::new();
    for (_, media_type) in LAYERS {
        for (id, processor) in config.accepting(&format!("{media_type}{ENCRYPTED}")) {
            if !found.iter().any(|(known, _)| *known == id) {
                found.push((id, processor));
            }
        }
    }
    found
}

/// Reports, for each kind of layer, which processor takes it, and whether containerd can unpack what
/// the processor returns.
pub fn examine(config: &Config, report: &mut Report) {
    for (kind, media_type) in LAYERS {
        let accepting = config.accepting(&format!("{media_type}{ENCRYPTED}"));
        let names: Vec<_> = accepting.iter().map(|(id, _)| format!("`{id}`")).collect();
        match accepting[..] {
            [] if kind == "zstd" => report.fails(
                format!("no processor takes `{media_type}{ENCRYPTED}`: {kind} layers fail"),
                ToolHint::AcceptZstd,
            ),
            [] => report.fails(
                format!("no processor takes `{media_type}{ENCRYPTED}`: {kind} layers fail"),
                ToolHint::NoProcessor,
            ),
            [(id, processor)] => {
                let file = processor.file.as_ref();
                let place = file.map_or("containerd's defaults".to_owned(), |file| {
                    format!("`{}`", file.display())
                });
                report.fine(format!("{kind} layers: `{id}` in {place}"));
                if kind == "zstd" && !WITH_PAYLOAD.contains(&id) {
                    report.note(format!("containerd hands no payload to `{id}`"));
                }
                returns(id, processor, kind, report);
            }
            _ => report.fails(
                format!(
                    "{kind} layers are taken by several processors, and containerd uses any: {}",
                    names.join(", ")
                ),
                ToolHint::SeveralProcessors,
            ),
        }
    }
}

/// Reports who decompresses gzip layers, and what would take less time.
pub fn examine_gzip(config: &Config, version: Version, report: &mut Report) {
    let accepting = config.accepting(&format!("{TAR_GZIP}{ENCRYPTED}"));
    let [(id, processor)] = accepting[..] else { return };
    let program = decompressor(version).map(|program| format!("`{}`", program.display()));
    if decompresses(processor) {
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
fn returns(id: &str, processor: &Processor, kind: &str, report: &mut Report) {
    let known = LAYERS.iter().any(|(_, media_type)| *media_type == processor.returns);
    // Only gzip is decompressed: zstd layers pass as they are.
    let is_tar = kind == "tar" || kind == "gzip" && decompresses(processor);
    if !known {
        report.fails(
            format!("`{id}` returns `{}`, which containerd cannot unpack", processor.returns),
            ToolHint::ReturnsUnknown,
        );
    } else if processor.returns == TAR && !is_tar {
        report.fails(
            format!("`{id}` returns a plain tar for {kind} layers, which are compressed"),
            ToolHint::ReturnsTar,
        );
    }
}

/// Whether the decoder of the processor decompresses gzip layers.
fn decompresses(processor: &Processor) -> bool {
    let words = processor.args.iter().map(OsString::from);
    let words = [OsString::from("ctd-decoder")].into_iter().chain(words);
    matches!(keycell_settings::parse(words), Ok(Request::Decrypt(settings)) if settings.decompress)
}
