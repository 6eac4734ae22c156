//! The keys that a decoder is given: which there are, who can read them, whether the decoder uses them,
//! and which files are no keys.

use keycell_diagnostic::hint::ToolHint;
use std::path::Path;

use keycell_diagnostic::os_error;
use keycell_settings::key_permissions::{self, KeyPermissions};
use ocicrypt::algorithms::MinAlgorithms;
use ocicrypt::keyring::{KeyRing, NamedKey, NamedPgpKey, PASSWORD_SUFFIXES, SkipReason};
use ocicrypt::keys::NotAKey;
use ocicrypt::pgp::KeyFileError;
use ocicrypt::text::printable;

use crate::keys::{Keys, described};

use super::credentials;
use super::decoder::Decoder;
use super::report::{Report, Severity};
use super::trial::{Outcome, TrialLayer};

/// Files that are no keys, and that are listed at most.
const LISTED: usize = 16;

/// Keys that the decoder is tried with at most.
const TRIED: usize = 8;

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
        } else if decoder.works && !credentials::are(path) {
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
    if count == 0 && keys.tokens().next().is_none() && !credentials::are(path) {
        report.fails(format!("there is no private key in `{shown}`"), put);
    }
    let permissions = KeyPermissions::of(path);
    if let Some(warning) = permissions.as_ref().and_then(KeyPermissions::directory) {
        report.warn(warning.what.clone(), ToolHint::KeyPermissions { fix: warning.fix.clone() });
    }
    let mut passed_over = Vec::new();
    for name in secret_files(ring, keys.tokens().next().is_some()) {
        if check_permissions(path, &name, permissions.as_ref(), report) {
            passed_over.push(printable(&name));
        }
    }
    for key in
        ring.keys().filter(|key| !passed_over.iter().any(|name| name == key.name())).take(TRIED)
    {
        try_key(key, decoder, report);
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

/// The files that hold a private key, or may hold one: not certificates, public keys and other files.
fn secret_files(ring: &KeyRing, has_tokens: bool) -> Vec<String> {
    let skipped = ring.skipped();
    let holds_key = |file: &str| {
        let named = ring.keys().map(NamedKey::name).chain(ring.pgp_keys().map(NamedPgpKey::name));
        let mut reasons = skipped.iter().filter(|it| it.name == file).map(|it| &it.reason);
        named.into_iter().any(|name| name == file)
            || reasons.any(|reason| is_secret(reason, has_tokens))
    };
    let names = ring.files().map(|file| file.name.to_owned());
    names.filter(|name| holds_key(&printable(name))).collect()
}

/// Whether a file that is skipped for this reason may hold a secret.
fn is_secret(reason: &SkipReason, has_tokens: bool) -> bool {
    match reason {
        SkipReason::NotAKey(reason) => match reason {
            NotAKey::Empty | NotAKey::Unknown | NotAKey::PublicKey | NotAKey::Certificate => false,
            // It may name a PIN.
            NotAKey::Pkcs11 => has_tokens,
            NotAKey::OtherPem(label) => label.contains("PRIVATE"),
            _ => true,
        },
        SkipReason::OpenPgp(reason) => {
            !matches!(reason, KeyFileError::PublicKey | KeyFileError::NoKey | KeyFileError::Armored)
        }
        SkipReason::TooManyCertificates | SkipReason::Other(_) => false,
        _ => true,
    }
}

/// Has the decoder decrypt a trial layer for a key of the node.
fn try_key(key: &NamedKey, decoder: &Decoder, report: &mut Report) {
    let Some(call) = decoder.call.as_ref().filter(|_| decoder.works) else { return };
    match TrialLayer::for_key(key.key()).and_then(|layer| layer.try_on(call)) {
        Ok(Outcome::Decrypted) => {}
        Ok(Outcome::Refused { message, hints }) => {
            let message = format!("the decoder does not use the key `{}`: {message}", key.name());
            report.add(Severity::Failure, message, hints);
        }
        Err(error) => {
            report.unknown(format!("the key `{}` is not tried: {error:#}", key.name()), None);
        }
    }
}

/// Who can read or change a key and its password, and whether the decoder can read it. Returns whether the
/// decoder passes it over.
fn check_permissions(
    path: &Path,
    name: &str,
    permissions: Option<&KeyPermissions>,
    report: &mut Report,
) -> bool {
    let mut is_passed_over = false;
    let beside = PASSWORD_SUFFIXES.iter().map(|suffix| format!("{name}{suffix}"));
    for name in [name.to_owned()].into_iter().chain(beside) {
        if path.is_dir() && path.join(&name).exists() && !key_permissions::is_inside(path, &name) {
            is_passed_over = true;
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
    is_passed_over
}
