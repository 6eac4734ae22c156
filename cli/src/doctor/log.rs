//! The log of a decoder, which never fails a layer: so only doctor tells that nothing is logged.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use keycell_diagnostic::hint::ToolHint;
use keycell_diagnostic::os_error;
use keycell_settings::Destination;
use keycell_trusted_path::Word;
use rustix::fs::{Access, access};

use super::decoder::Decoder;
use super::report::Report;

/// The sockets of journald and of the system's log, in the order in which the decoder tries them.
const SOCKETS: [(&str, &str); 2] =
    [("/run/systemd/journal/socket", "the journal"), ("/dev/log", "the system's log")];

/// Looks whether the decoder can write its log. It writes nothing.
pub fn examine(decoder: &Decoder, report: &mut Report) {
    if !decoder.is_keycell() {
        return;
    }
    let sockets = match &decoder.settings.report.log {
        Destination::Off => return report.note("layers are not logged: `log` is `off`"),
        Destination::File(path) => return file(path, report),
        Destination::System => &SOCKETS[..],
        Destination::Journal => &SOCKETS[..1],
        Destination::Syslog => &SOCKETS[1..],
    };
    match sockets.iter().find(|(socket, _)| Path::new(socket).exists()) {
        Some((_, name)) => report.fine(format!("each layer is logged in {name}")),
        None => {
            let names: Vec<_> = sockets.iter().map(|(socket, _)| format!("`{socket}`")).collect();
            let message = format!("layers are not logged: there is no {}", names.join(", no "));
            report.warn(message, ToolHint::NoLog);
        }
    }
}

/// A file that the decoder appends to. It follows no link in its place.
fn file(path: &Path, report: &mut Report) {
    let shown = path.display();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let why = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => "it is a symbolic link".to_owned(),
        Ok(found) if !found.is_file() => "it is not a regular file".to_owned(),
        Ok(_) => match OpenOptions::new().append(true).open(path) {
            Ok(_) => return report.fine(format!("each layer is logged in `{shown}`")),
            Err(error) => os_error(&error),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => match parent {
            Some(parent) if !parent.exists() => {
                let directory = parent.display();
                let command = format!("mkdir -p {}", Word(parent));
                return report.warn(
                    format!("the log `{shown}` cannot be written: there is no `{directory}`"),
                    ToolHint::LogDirectoryMissing { command },
                );
            }
            parent => match access(parent.unwrap_or(Path::new(".")), Access::WRITE_OK) {
                Ok(()) => return report.fine(format!("each layer will be logged in `{shown}`")),
                Err(error) => os_error(&error.into()),
            },
        },
        Err(error) => os_error(&error),
    };
    let message = format!("the log `{shown}` cannot be written: {why}");
    report.warn(message, ToolHint::LogNotWritable);
}
