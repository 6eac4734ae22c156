//! Keys that are credentials of a systemd unit: whether the unit loads them, whether they are sealed on
//! the disk, and whether containerd sees them.

mod sealing;
mod unit;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use keycell_diagnostic::hint::CredentialHint;
use keycell_diagnostic::os_error;
use keycell_trusted_path::Word;
use ocicrypt::keyring::{NamedKey, NamedPgpKey, PASSWORD_SUFFIXES};

use crate::containerd::Found;
use crate::keys::Keys;

use super::decoder::Decoder;
use super::report::{Report, Severity};
use sealing::Sealing;
use unit::{Credential, Source};

/// Where systemd puts the credentials of each unit, in a directory with the unit's name.
const CREDENTIALS: &str = "/run/credentials";

/// The key of this machine, which seals credentials.
const HOST_KEY: &str = "/var/lib/systemd/credential.secret";

/// Where containerd's own configuration has the keys: a copy may have stayed there.
const USUAL_KEYS: &str = "/etc/containerd/ocicrypt/keys";

/// The longest file of a sealed credential that systemd reads.
const MAX_SEALED: u64 = (1024 + 128) * 1024;

/// Whether the keys of a decoder are credentials, so that this module reports what is wrong with them.
pub fn are(keys: &Path) -> bool {
    unit_of(keys).is_some() || is_unexpanded(keys)
}

/// Examines the credentials, if the keys of `decoder` are credentials.
pub fn examine(decoder: &Decoder, keys: Option<&Keys>, found: &Found, report: &mut Report) {
    let Some(path) = decoder.settings.keys.as_deref() else { return };
    if is_unexpanded(path) {
        let message = format!("`{}` is not a directory of credentials", path.display());
        return fails(report, message, CredentialHint::NotExpanded);
    }
    let Some((unit, directory)) = unit_of(path) else { return };
    let Some(credentials) = unit::credentials(Path::new("/"), &unit) else {
        let message =
            format!("there is no unit `{unit}`, so systemd never makes `{}`", directory.display());
        return fails(report, message, CredentialHint::NoUnit);
    };
    if credentials.is_empty() {
        let message = format!("`{unit}` loads no credential");
        return fails(report, message, CredentialHint::LoadsNothing { unit });
    }
    let mut can_start = true;
    for credential in &credentials {
        can_start &= examine_source(credential, &unit, keys, report);
    }
    if examine_directory(&directory, &unit, &credentials, can_start, report) {
        examine_view(&directory, found, report);
        if let Some(keys) = keys {
            if names(keys).next().is_none() && keys.tokens().next().is_none() {
                let message = format!("none of the credentials of `{unit}` is a private key");
                fails(report, message, CredentialHint::NoPrivateKey { unit });
            }
            examine_copies(&credentials, keys, report);
        }
    }
}

/// The unit whose credentials the keys are, and their directory.
fn unit_of(keys: &Path) -> Option<(String, PathBuf)> {
    // A link to the directory leads nowhere as long as the unit does not run.
    let linked = || fs::read_link(keys).ok();
    let path = fs::canonicalize(keys).ok().or_else(linked).unwrap_or_else(|| keys.to_owned());
    let path = path.strip_prefix("/var").map_or(path.clone(), |below| Path::new("/").join(below));
    let unit = path.strip_prefix(CREDENTIALS).ok()?.components().next()?;
    let unit = unit.as_os_str().to_str()?.to_owned();
    let directory = Path::new(CREDENTIALS).join(&unit);
    Some((unit, directory))
}

/// Whether a path is what one writes in a unit, where systemd puts the directory in its place.
fn is_unexpanded(keys: &Path) -> bool {
    let first = keys.components().next().map(|first| first.as_os_str().to_owned());
    let variables = ["%d", "$CREDENTIALS_DIRECTORY", "${CREDENTIALS_DIRECTORY}"];
    first.is_some_and(|first| variables.iter().any(|it| first == OsStr::new(it)))
}

/// Reports what a credential is made from. Returns whether systemd can load it.
fn examine_source(
    credential: &Credential,
    unit: &str,
    keys: Option<&Keys>,
    report: &mut Report,
) -> bool {
    let name = credential.name.clone();
    match &credential.source {
        Source::Sealed(file) => return examine_file(&name, file, unit, report),
        Source::SealedText(text) => match Sealing::of(text.as_bytes()) {
            Some(sealing) => sealed(&name, &sealing, &format!("`{unit}` itself"), report),
            None => {
                let message = format!("`{unit}` has no sealed text for its credential `{name}`");
                fails(report, message, CredentialHint::SealLiteral { name });
                return false;
            }
        },
        Source::Clear(file) if is_secret(&name, keys) => {
            let message = format!("the credential `{name}` lies in clear in `{}`", file.display());
            let file = Word(file).to_string();
            report.add(Severity::Warning, message, [CredentialHint::Seal { name, file }]);
        }
        Source::ClearText if is_secret(&name, keys) => {
            let message = format!(
                "the credential `{name}` is written in clear in `{unit}`, which everyone on this node may read"
            );
            report.add(Severity::Warning, message, [CredentialHint::SealLiteral { name }]);
        }
        Source::Clear(file) => {
            report.fine(format!("`{name}` from `{}`, not secret", file.display()))
        }
        Source::ClearText => report.fine(format!("`{name}` from `{unit}` itself, not secret")),
        Source::Elsewhere => {
            report
                .note(format!("where `{unit}` loads the credential `{name}` from is not examined"));
        }
    }
    true
}

/// Reports how the file of a credential is sealed.
fn examine_file(name: &str, file: &Path, unit: &str, report: &mut Report) -> bool {
    let shown = file.display();
    let (name, word) = (name.to_owned(), Word(file).to_string());
    let found = fs::metadata(file).and_then(|found| match found.len() > MAX_SEALED {
        true => Ok(Vec::new()),
        false => fs::read(file),
    });
    match found.map(|text| Sealing::of(&text)) {
        Ok(Some(sealing)) => {
            sealed(&name, &sealing, &format!("`{shown}`"), report);
            return true;
        }
        Ok(None) => fails(
            report,
            format!(
                "`{shown}` is not a sealed credential, so `{unit}` cannot load `{name}` from it"
            ),
            CredentialHint::NotSealed { name, file: word },
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => fails(
            report,
            format!("there is no `{shown}`, from which `{unit}` loads `{name}`"),
            CredentialHint::SealedFileMissing { name, file: word },
        ),
        Err(error) => {
            report.unknown(format!("cannot read `{shown}`: {}", os_error(&error)), None);
            return true;
        }
    }
    false
}

/// Reports what opens a sealed credential.
fn sealed(name: &str, sealing: &Sealing, place: &str, report: &mut Report) {
    match sealing.keys {
        sealing::Keys::Nothing => {
            let message = format!("anybody can open the credential `{name}` in {place}: {sealing}");
            let hint = CredentialHint::SealAnew { name: name.to_owned() };
            report.add(Severity::Warning, message, [hint]);
        }
        sealing::Keys::Host => report.fine(format!(
            "`{name}` from {place}, {sealing}: whoever copies this disk has that, too (`{HOST_KEY}`)"
        )),
        sealing::Keys::Tpm | sealing::Keys::HostAndTpm | sealing::Keys::Unknown => {
            report.fine(format!("`{name}` from {place}, {sealing}"));
        }
    }
}

/// Reports whether the directory has what the unit loads. Returns whether there is one.
fn examine_directory(
    directory: &Path,
    unit: &str,
    credentials: &[Credential],
    can_start: bool,
    report: &mut Report,
) -> bool {
    let restart = || CredentialHint::Restart { unit: unit.to_owned() };
    let shown = directory.display();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Where it cannot start, the reason is reported already.
            if can_start {
                let message = format!(
                    "there is no `{shown}`: `{unit}` does not run, or was started before it loaded credentials"
                );
                fails(report, message, restart());
            }
            return false;
        }
        Err(error) => {
            let message = format!("cannot look into `{shown}`: {}", os_error(&error));
            report.unknown(message, keycell_diagnostic::hint::ToolHint::RunAsRoot);
            return false;
        }
    };
    let there: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    let is_there = |name: &str| there.iter().any(|it| it == name);
    for Credential { name, source } in credentials {
        let is_sure = !matches!(source, Source::Elsewhere);
        if can_start && is_sure && !is_there(name) {
            let message = format!(
                "`{shown}` has no `{name}`: `{unit}` was started before it loaded this credential"
            );
            fails(report, message, restart());
        }
    }
    for name in there {
        let loaded = credentials.iter().any(|it| OsStr::new(&it.name) == name);
        let is_sure = credentials.iter().all(|it| it.source != Source::Elsewhere);
        if !loaded && is_sure {
            let name = name.to_string_lossy();
            let message =
                format!("`{unit}` no longer loads `{name}`, which is gone when it restarts");
            report.add(Severity::Warning, message, [restart()]);
        }
    }
    true
}

/// Reports a containerd that is in a mount namespace without the directory.
fn examine_view(directory: &Path, found: &Found, report: &mut Report) {
    let here = found.running.iter().map(|running| running.pid);
    for pid in here.chain(found.elsewhere.iter().copied()) {
        let Some(service) = service_of(pid) else { continue };
        let seen = Path::new("/proc").join(pid.to_string()).join("root");
        let seen = seen.join(directory.strip_prefix("/").unwrap_or(directory));
        if fs::metadata(seen).is_err_and(|it| it.kind() == std::io::ErrorKind::NotFound) {
            let shown = directory.display();
            let message = format!(
                "containerd does not see `{shown}`: process {pid} has its own mount namespace"
            );
            fails(report, message, CredentialHint::NotVisible { unit: service });
        }
    }
}

/// The service of this system that a process belongs to: not one in a container.
fn service_of(pid: u32) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mut services = groups.lines().filter_map(|line| line.rsplit_once(":/system.slice/"));
    let (_, service) = services.next()?;
    (service.ends_with(".service") && !service.contains('/')).then(|| service.to_owned())
}

/// Reports files that hold a sealed key in clear, beside the sealed files and at the usual place.
fn examine_copies(credentials: &[Credential], keys: &Keys, report: &mut Report) {
    let sealed = credentials.iter().filter_map(|it| match &it.source {
        Source::Sealed(file) => file.parent().map(Path::to_owned),
        _ => None,
    });
    let mut directories: Vec<PathBuf> = sealed.chain([USUAL_KEYS.into()]).collect();
    directories.sort();
    directories.dedup();
    for directory in directories {
        // The usual place may be a link to the credentials themselves.
        if unit_of(&directory).is_some() || !directory.is_dir() {
            continue;
        }
        let Ok(others) = Keys::read(std::slice::from_ref(&directory)) else { continue };
        for copy in others.ring().keys() {
            let is_copy = |key: &NamedKey| key.fingerprint() == copy.fingerprint();
            let Some(key) = keys.ring().keys().find(|key| is_copy(key)) else { continue };
            let file = directory.join(copy.name());
            let message =
                format!("`{}` holds the key of the credential `{}`", file.display(), key.name());
            let file = Word(&file).to_string();
            report.add(Severity::Warning, message, [CredentialHint::RemoveCopy { file }]);
        }
    }
}

/// Whether a credential may be a private key or its password. Where the keys were not read, it may.
fn is_secret(name: &str, keys: Option<&Keys>) -> bool {
    let is_password = PASSWORD_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    is_password || keys.is_none_or(|keys| names(keys).any(|it| it == name))
}

/// The names of the files with private keys.
fn names(keys: &Keys) -> impl Iterator<Item = &str> {
    let ring = keys.ring();
    ring.keys().map(NamedKey::name).chain(ring.pgp_keys().map(NamedPgpKey::name))
}

fn fails(report: &mut Report, message: String, hint: CredentialHint) {
    report.add(Severity::Failure, message, [hint]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_that_of_the_directory() {
        let unit = |path: &str| unit_of(Path::new(path)).map(|(unit, _)| unit);
        let service = Some("a-unit-of-no-machine.service".to_owned());
        for path in ["", "/", "/node.pem"] {
            let below = format!("credentials/a-unit-of-no-machine.service{path}");
            assert_eq!(unit(&format!("/run/{below}")), service, "{path}");
            assert_eq!(unit(&format!("/var/run/{below}")), service, "{path}");
        }
        for path in ["/run/credentials", "/etc/containerd/keys", "run/credentials/a.service"] {
            assert_eq!(unit(path), None, "{path}");
        }
        for path in ["%d", "%d/node.pem", "${CREDENTIALS_DIRECTORY}", "$CREDENTIALS_DIRECTORY/x"] {
            assert!(is_unexpanded(Path::new(path)), "{path}");
        }
        assert!(!is_unexpanded(Path::new("/run/%d")));
    }
}
