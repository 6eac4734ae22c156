//! The guest that a decoder would run.

use keycell_guest_store::record::Record;
use keycell_guest_store::store;

use super::decoder::Decoder;
use super::report::{Report, Severity};

/// Says which guest a decoder runs. Whether it runs, the trial layer shows.
pub fn examine(decoder: &Decoder, report: &mut Report) {
    if !decoder.is_keycell() || !decoder.works {
        return;
    }
    let guest = &decoder.settings.guest;
    match store::chosen(guest.name.as_deref(), &guest.store) {
        Ok(None) => report.fine("the guest that the decoder was built with"),
        Ok(Some((_, found))) => {
            let Record { name, source, signature, .. } = &found.record;
            let signed = if signature.is_some() { "signed" } else { "not signed" };
            report.fine(format!("the guest `{name}`, {source}, {signed}"));
        }
        Err(refusal) => {
            report.add(Severity::Unknown, refusal.to_string(), Some(refusal.hint()));
        }
    }
}
