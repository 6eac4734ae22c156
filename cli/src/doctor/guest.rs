//! The guest that a decoder would run.

use keycell_diagnostic::hint::ToolHint;
use std::io::Read;

use keycell_guest_store::record::Digest;
use keycell_guest_store::store::{self, Installed};

use super::decoder::Decoder;
use super::report::{Report, Severity};

/// Looks at the guest as the decoder does, except whether its code fits the engine and the CPU.
pub fn examine(decoder: &Decoder, report: &mut Report) {
    if !decoder.is_keycell {
        return;
    }
    let guest = &decoder.settings.guest;
    match store::chosen(guest.name.as_deref(), &guest.store) {
        Ok(None) => report.fine("the guest that the decoder was built with"),
        Ok(Some((_, found))) => installed(decoder, found, report),
        Err(refusal) => {
            report.add(Severity::Failure, refusal.to_string(), vec![refusal.hint().into()]);
        }
    }
}

fn installed(decoder: &Decoder, mut found: Installed, report: &mut Report) {
    let record = &found.record;
    let name = &record.name;
    let mut artefact = Vec::new();
    if let Err(error) = found.artefact.read_to_end(&mut artefact) {
        let why = keycell_diagnostic::os_error(&error);
        return report.unknown(format!("cannot read the guest `{name}`: {why}"), None);
    }
    let verify = ToolHint::VerifyGuest { name: name.clone() };
    if Digest::of(&artefact) != record.artefact {
        return report.fails(
            format!("the code of the guest `{name}` is not what was installed, and is refused"),
            verify,
        );
    }
    match (&record.signature, decoder.settings.guest.require_signature) {
        (None, true) => report.fails(
            format!("the guest `{name}` is not signed, and `--require-signature` is set"),
            ToolHint::SignGuest,
        ),
        (None, false) => report.fine(format!("the guest `{name}`, {}, not signed", record.source)),
        (Some(_), _) => report.fine(format!("the guest `{name}`, {}, signed", record.source)),
    }
}
