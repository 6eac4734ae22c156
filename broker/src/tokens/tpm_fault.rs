//! What can be wrong with a TPM, and with the store of its tokens.

use std::env::var_os;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::printable;
use super::tpm::{DATABASE, DEFAULT_STORE, STORE, TpmError, TpmState};

/// What is wrong with a TPM, or with the module's store. The text includes the fix.
#[derive(Debug, thiserror::Error)]
pub(super) enum TpmFault {
    #[error("{error}{}", unlisted(opening(.error), *.is_confined))]
    Away { error: TpmError, is_confined: bool },
    #[error("{}", locked_out(.device, .state))]
    LockedOut { device: String, state: TpmState },
    #[error(
        "the PIN is wrong: correct `pin-value` or `pin-source`; {}",
        after_wrong_pin(.device, .state)
    )]
    WrongPin { device: String, state: TpmState },
    #[error(
        "one more wrong PIN would lock the TPM at `{device}` out, and this key came with the image: {} makes \
         the TPM forget wrong PINs",
        state.reset()
    )]
    FinalTry { device: String, state: TpmState },
    #[error(
        "the TPM at `{0}` has no room for another object: `tpm2_flushcontext --transient-object` makes \
         room; programs that use `/dev/tpmrm0` do not take it from each other"
    )]
    Full(String),
    #[error(
        "the TPM at `{0}` does not load the token's keys: it was cleared since they were made, or another \
         TPM made them; a TPM that was cleared never gets them back: make a new key as docs/tpm.md shows, and \
         have the images encrypted for it"
    )]
    Foreign(String),
    #[error(
        "no token is there, and `{STORE}` is not set: name the token's store in `module.env` of the key file"
    )]
    StoreNotNamed,
    #[error("there is no `{0}`: correct `{STORE}` in `module.env` of the key file")]
    StoreMissing(String),
    #[error("the token's store `{path}` cannot be {what}: {}{}", error.kind(), unlisted(Some(.error), *.is_confined))]
    StoreClosed { path: String, what: &'static str, error: io::Error, is_confined: bool },
}

/// Checks the store as the module uses it, which writes to it at each start: it makes a lock file.
pub(super) fn check_store(is_confined: bool) -> Result<(), TpmFault> {
    let named = var_os(STORE).filter(|store| !store.is_empty()).map(PathBuf::from);
    let Some(store) = named else {
        return match Path::new(DEFAULT_STORE).join(DATABASE).exists() {
            true => Ok(()),
            false => Err(TpmFault::StoreNotNamed),
        };
    };
    let database = store.join(DATABASE);
    let closed = |path: &Path, what, error| {
        let path = shown(path);
        TpmFault::StoreClosed { path, what, error, is_confined }
    };
    match File::options().read(true).write(true).open(&database) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(TpmFault::StoreMissing(shown(&database)));
        }
        Err(error) => return Err(closed(&database, "opened to read and write", error)),
    }
    let trial = store.join(format!(".keycell-{}", std::process::id()));
    File::create_new(&trial).map_err(|error| closed(&store, "written to", error))?;
    let _ = fs::remove_file(&trial);
    Ok(())
}

fn locked_out(device: &str, state: &TpmState) -> String {
    let TpmState { wrong, most, seconds, .. } = state;
    let reset = state.reset();
    format!(
        "the TPM at `{device}` is locked out, because it has counted {wrong} of {most} wrong PINs, \
         passwords and losses of power, whatever it was used for: it forgets one every {seconds} seconds, and {reset} makes it \
         forget all"
    )
}

fn after_wrong_pin(device: &str, state: &TpmState) -> String {
    match state.tries_left() {
        0 => format!("now {}", locked_out(device, state)),
        1 => format!("one more locks the TPM at `{device}` out"),
        left => format!("the TPM at `{device}` is locked out after {left} more"),
    }
}

/// What a device or a file needs in addition if it cannot be opened: Landlock's refusals look like those of
/// the file system.
fn unlisted(error: Option<&io::Error>, is_confined: bool) -> &'static str {
    match error.map(io::Error::kind) {
        Some(ErrorKind::PermissionDenied) if is_confined => "; `module-files` must list it as well",
        _ => "",
    }
}

fn opening(error: &TpmError) -> Option<&io::Error> {
    match error {
        TpmError::NotOpened { error, .. } => Some(error),
        _ => None,
    }
}

pub(super) fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}
