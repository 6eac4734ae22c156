//! The walls that the operating system would put around a decoder here.

use super::decoder::Decoder;
use super::report::Report;
use keycell_diagnostic::hint::ToolHint;

/// Looks which walls this kernel gives, as this user.
pub fn examine(decoders: &[Decoder], report: &mut Report) {
    let mut ours = decoders.iter().filter(|decoder| decoder.is_keycell()).peekable();
    if ours.peek().is_none() {
        return;
    }
    let is_required = ours.any(|decoder| decoder.settings.sandbox.is_required);
    let walls = keycell_walls::probe();
    let there = walls.iter().filter(|wall| wall.missing().is_none()).map(|wall| wall.name);
    report.fine(format!("this kernel gives: {}", there.collect::<Vec<_>>().join(", ")));
    for wall in &walls {
        let Some(why) = wall.missing() else { continue };
        let name = wall.name;
        match (wall.required, is_required) {
            // The decoder refuses to run then, and the trial layer shows it.
            (true, true) => {}
            (true, false) => report.warn(
                format!("no wall `{name}`: {why}; the decoder runs behind the others"),
                ToolHint::RequireSandbox,
            ),
            (false, _) => report.note(format!("no wall `{name}`: {why}")),
        }
    }
}
