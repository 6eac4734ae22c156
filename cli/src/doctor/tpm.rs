//! Keys in a TPM 2.0, behind the module of the project tpm2-pkcs11: whether the broker, which runs as
//! containerd's user, can use the device, the store and the file with the PIN.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use keycell_broker::tokens::tpm::{DATABASE, DEFAULT_STORE, STORE, TCTI, Tpm, TpmError, TpmState};
use keycell_broker::tokens::{Policy, TokenKey};
use keycell_diagnostic::hint::{ToolHint, TpmHint};
use keycell_diagnostic::os_error;
use keycell_trusted_path::{Error as Distrust, Trust, Word};

use super::caller::Caller;
use super::decoder::Decoder;
use super::report::Report;
use super::user::{MAKE_FILES, READ, READ_WRITE, User, group_name};

/// Looks at what `token` needs, whose module is that of a TPM.
pub fn examine(
    token: &TokenKey,
    policy: &Policy,
    decoder: &Decoder,
    caller: &Caller,
    report: &mut Report,
) {
    let user = caller.user();
    let variable = |name: &str| -> Option<OsString> {
        let inherited = || caller.variables().into_iter().find(|(known, _)| known == name);
        let set = token.variable(name).or_else(|| decoder.processor.variable(name));
        let value = set.map(OsString::from).or_else(|| inherited().map(|(_, value)| value));
        value.filter(|value| !value.is_empty())
    };
    let tcti = variable(TCTI);
    let tpm = Tpm::of(tcti.as_deref());
    match &tpm {
        Some(tpm) => device(tpm, &user, report),
        None => report.note(format!(
            "the TPM of `{}` is not tried: `{TCTI}` leads to no device",
            token.shown()
        )),
    }
    let store = store(variable(STORE).map(PathBuf::from), &user, report);
    if let Some(pin) = token.pin_file() {
        pin_file(pin, &user, report);
    }
    confinement(policy, tpm.as_ref(), store.as_deref(), report);
}

fn device(tpm: &Tpm, user: &User, report: &mut Report) {
    let path = tpm.device();
    let shown = path.display();
    match tpm.state() {
        Ok(state) => counted(&state, path, report),
        Err(TpmError::Absent(_)) => {
            return report.fails(format!("there is no TPM at `{shown}`"), TpmHint::Absent);
        }
        Err(TpmError::NotOpened { error, .. }) if error.kind() == ErrorKind::PermissionDenied => {
            report.unknown(
                format!("the TPM at `{shown}` is not asked: {}", os_error(&error)),
                ToolHint::RunAsRoot,
            );
        }
        Err(error) => report.fails(error.to_string(), TpmHint::Silent),
    }
    if user.may(path, READ_WRITE).is_ok_and(|may| !may) {
        let word = Word(path);
        let group = fs::metadata(path).map(|found| found.gid()).unwrap_or_default();
        let group_may = fs::metadata(path).is_ok_and(|found| found.mode() & 0o060 == 0o060);
        let command = match (group, group_may) {
            // Everything of root's group would be open to it.
            (0, _) | (_, false) => format!("chgrp tss {word} && chmod 660 {word}"),
            (group, true) => {
                format!("usermod -aG {} {}", group_name(group), user.name())
            }
        };
        let message = format!("containerd's user `{}` may not open `{shown}`", user.name());
        report.fails(message, TpmHint::Closed { command, restart: true });
    }
}

/// What the TPM says of wrong PINs.
fn counted(state: &TpmState, device: &Path, report: &mut Report) {
    let TpmState { wrong, most, seconds, .. } = state;
    let shown = device.display();
    let again = format!(
        "{wrong} of {most} wrong PINs, as one of which a loss of power may count, and forgets one every \
         {seconds} seconds"
    );
    let hint = TpmHint::WrongPins { command: state.reset() };
    match (state.is_locked_out, wrong) {
        (true, _) => {
            report
                .fails(format!("the TPM at `{shown}` is locked out: it has counted {again}"), hint);
        }
        (false, 0) => {
            report.fine(format!("the TPM at `{shown}` answers, and counted no wrong PIN"))
        }
        (false, _) => report.warn(format!("the TPM at `{shown}` has counted {again}"), hint),
    }
}

/// Looks at the store, and returns its directory if that is known.
fn store(named: Option<PathBuf>, user: &User, report: &mut Report) -> Option<PathBuf> {
    let usual = || Some(PathBuf::from(DEFAULT_STORE)).filter(|path| path.join(DATABASE).exists());
    let Some(store) = named.or_else(usual) else {
        report.fails(
            format!("`{STORE}` is not set, so the module finds no token"),
            TpmHint::NameStore,
        );
        return None;
    };
    let database = store.join(DATABASE);
    let shown = database.display();
    let own = || {
        let command = format!("chown -R {} {}", user.name(), Word(&store));
        TpmHint::Closed { command, restart: false }
    };
    match user.may(&database, READ_WRITE) {
        Err(error) if is_missing(&error) => {
            let store = Word(&store).to_string();
            report.fails(format!("there is no `{shown}`"), TpmHint::MakeStore { store });
        }
        Err(error) => report.unknown(
            format!("cannot look at `{shown}`: {}", os_error(&error)),
            ToolHint::RunAsRoot,
        ),
        Ok(false) => report.fails(
            format!("containerd's user `{}` may not read and write `{shown}`", user.name()),
            own(),
        ),
        // The module makes a lock file at each start.
        Ok(true) if !user.may(&store, MAKE_FILES).unwrap_or(true) => report.fails(
            format!(
                "containerd's user `{}` may not make files in `{}`, and the module makes one at each start",
                user.name(),
                store.display()
            ),
            own(),
        ),
        Ok(true) => {
            report.fine(format!("the store `{shown}`"));
            // It says for each token how the module reaches the TPM, which can be a command to run.
            others_can_change(&database, "the store", user, report);
        }
    }
    Some(store)
}

fn pin_file(pin: &Path, user: &User, report: &mut Report) {
    let shown = pin.display();
    // Where it is missing, that is reported already.
    let (Ok(found), Ok(may_read)) = (fs::metadata(pin), user.may(pin, READ)) else { return };
    if !may_read {
        let command = format!("chown {} {}", user.name(), Word(pin));
        report.fails(
            format!("containerd's user `{}` may not read the PIN in `{shown}`", user.name()),
            TpmHint::Closed { command, restart: false },
        );
    }
    if found.permissions().mode() & 0o077 != 0 {
        let command = format!("chmod 600 {}", Word(pin));
        report.warn(
            format!("others than its owner may read or change the PIN in `{shown}`"),
            TpmHint::Closed { command, restart: false },
        );
    } else {
        others_can_change(pin, "the PIN", user, report);
    }
}

fn others_can_change(path: &Path, what: &str, user: &User, report: &mut Report) {
    match Trust::of_root().check(path) {
        Err(Distrust::Owner { uid, .. }) if uid == user.uid => {}
        Err(error) if error.is_distrust() => report.warn(
            format!("{error}, so others can change {what}"),
            ToolHint::Untrusted { fix: error.mend() },
        ),
        _ => {}
    }
}

/// Whether the module can reach the device and the store behind its walls.
fn confinement(policy: &Policy, tpm: Option<&Tpm>, store: Option<&Path>, report: &mut Report) {
    let needed: Vec<&Path> = tpm.map(Tpm::device).into_iter().chain(store).collect();
    let words = |paths: Vec<&Path>| paths.iter().map(|path| path.display().to_string()).collect();
    let Some(listed) = policy.files() else {
        return report.warn(
            "the module of the TPM can reach most files of its user",
            TpmHint::Confine { files: words(needed) },
        );
    };
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_listed = |path: &&Path| listed.iter().any(|entry| real(path).starts_with(real(entry)));
    let (there, missing): (Vec<_>, Vec<_>) = needed.into_iter().partition(is_listed);
    for path in &missing {
        let files = listed.iter().map(PathBuf::as_path).chain(missing.iter().copied()).collect();
        report.fails(
            format!("`module-files` keeps the module from `{}`, which it needs", path.display()),
            TpmHint::ListFiles { files: words(files) },
        );
    }
    if missing.is_empty() && !there.is_empty() {
        report.fine("`module-files` lists the TPM's device and the store");
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
