//! The keys that a decoder is given: which there are, who can read them, and what is none.

use keycell_diagnostic::hint::ToolHint;
use std::path::Path;

use keycell_diagnostic::os_error;
use keycell_settings::key_permissions::{self, KeyPermissions};
use ocicrypt::algorithms::MinAlgorithms;
use ocicrypt::keyring::PASSWORD_SUFFIXES;

use crate::keys::{Keys, described};

use super::decoder::Decoder;
use super::report::Report;

/// Files that are no keys, and that are listed at most.
const LISTED: usize = 16;

/// Looks at the keys of `decoder`. None where there is nothing to look at.
pub fn examine(decoder: &Decoder, report: &mut Report) -> Option<Keys> {
    let put = ToolHint::NoPrivateKey;
    let Some(path) = decoder.settings.keys.as_deref() else {
        report.fails("the decoder is told of no keys", ToolHint::NoKeysPath);
        return None;
    };
    let shown = path.display();
    if let Err(error) = std::fs::metadata(path)
        .and_then(|found| found.is_dir().then(|| std::fs::read_dir(path)).transpose())
    {
        let why = os_error(&error);
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            report.unknown(format!("cannot look into `{shown}`: {why}"), ToolHint::RunAsRoot);
        } else {
            report.fails(format!("there are no keys in `{shown}`: {why}"), put.clone());
        }
        return None;
    }
    let keys = match Keys::read(&[path.to_owned()]) {
        Ok(keys) => keys.accepting(match decoder.settings.algorithms {
            keycell_settings::MinAlgorithms::Legacy => MinAlgorithms::Legacy,
            keycell_settings::MinAlgorithms::Modern => MinAlgorithms::Modern,
        }),
        Err(error) => {
            report.unknown(format!("{error:#}"), ToolHint::RunAsRoot);
            return None;
        }
    };
    let ring = keys.ring();
    let mut count = 0;
    for key in described(ring) {
        report.fine(key);
        count += 1;
    }
    match ring.certificates().len() {
        0 => {}
        1 => report.fine("1 certificate"),
        count => report.fine(format!("{count} certificates")),
    }
    let names: Vec<_> = ring.files().map(|file| file.name.to_owned()).collect();
    if count == 0 && keys.tokens().next().is_none() {
        report.fails(format!("there is no private key in `{shown}`"), put);
    }
    let permissions = KeyPermissions::of(path);
    if let Some(warning) = permissions.as_ref().and_then(KeyPermissions::directory) {
        report.warn(warning.what.clone(), ToolHint::KeyPermissions { fix: warning.fix.clone() });
    }
    for name in &names {
        check_permissions(path, name, permissions.as_ref(), report);
    }
    let skipped = ring.skipped();
    for skipped in skipped.iter().take(LISTED) {
        report.note(format!("passed over {skipped}"));
    }
    if skipped.len() > LISTED {
        report.note(format!("and {} more that are no keys", skipped.len() - LISTED));
    }
    Some(keys)
}

/// Who can read or change a key and its password, and whether the decoder can read it.
fn check_permissions(
    path: &Path,
    name: &str,
    permissions: Option<&KeyPermissions>,
    report: &mut Report,
) {
    let beside = PASSWORD_SUFFIXES.iter().map(|suffix| format!("{name}{suffix}"));
    for name in [name.to_owned()].into_iter().chain(beside) {
        if path.is_dir() && path.join(&name).exists() && !key_permissions::is_inside(path, &name) {
            report.fails(
                format!("`{name}` is a link that leaves the keys directory, so the decoder passes it over"),
                ToolHint::LinkLeavesKeys,
            );
        }
        for warning in permissions.into_iter().flat_map(|permissions| permissions.of_key(&name)) {
            report
                .warn(warning.what.clone(), ToolHint::KeyPermissions { fix: warning.fix.clone() });
        }
    }
}
