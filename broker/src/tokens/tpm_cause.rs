//! Finds out why a key in a TPM cannot be used, where the module reports no more than that something failed.

use std::env::var_os;

use super::module_error::{Failure, LoginFailure};
use super::tpm::{TCTI, Tpm, is_tpm_module};
use super::tpm_fault::{TpmFault, check_store, shown};
use super::wire::Question;

/// Finds the cause of a failure, if the module is that of a TPM. It returns the failure itself if it knows
/// no better.
pub(super) fn cause(question: &Question, failure: Failure) -> Failure {
    use LoginFailure::{Locked, NotNow, Other, WrongPin};
    let is_of_tpm = matches!(
        failure,
        Failure::NotStarted { .. }
            | Failure::NoTokenList(_)
            | Failure::NoTokenCalled { .. }
            | Failure::NoToken
            | Failure::EmptySlot(_)
            | Failure::NoSession(_)
            | Failure::NotDecrypted(_)
            | Failure::PinIsLocked
            | Failure::Login(WrongPin | Locked | NotNow(_) | Other(_))
    );
    if !is_of_tpm || !is_tpm_module(&question.module) {
        return failure;
    }
    let Some(tpm) = used() else { return failure };
    let is_confined = question.files.is_some();
    let device = shown(tpm.device());
    let state = match tpm.state() {
        Ok(state) => state,
        Err(error) => return TpmFault::Away { error, is_confined }.into(),
    };
    match failure {
        Failure::Login(WrongPin) => TpmFault::WrongPin { device, state }.into(),
        _ if state.is_locked_out => TpmFault::LockedOut { device, state }.into(),
        Failure::PinIsLocked | Failure::Login(Locked) => failure,
        _ if state.free_objects == 0 => TpmFault::Full(device).into(),
        failure => match check_store(is_confined) {
            Err(fault) => fault.into(),
            // The module has found the token, and the TPM does not load what was sealed with the PIN.
            Ok(()) if matches!(failure, Failure::Login(NotNow(_))) => {
                TpmFault::Foreign(device).into()
            }
            Ok(()) => failure,
        },
    }
}

/// Checks that a PIN of a client does not lock the TPM if it is wrong. Call it with the lock held that keeps
/// other logins away.
pub(super) fn check_tries() -> Result<(), Failure> {
    let tpm = used().ok_or(Failure::TriesUnknown)?;
    let device = shown(tpm.device());
    match tpm.state() {
        Err(error) => Err(TpmFault::Away { error, is_confined: false }.into()),
        Ok(state) if state.is_locked_out => Err(TpmFault::LockedOut { device, state }.into()),
        Ok(state) if state.tries_left() <= 1 => Err(TpmFault::FinalTry { device, state }.into()),
        Ok(_) => Ok(()),
    }
}

/// The TPM that the module in this process uses.
fn used() -> Option<Tpm> {
    Tpm::of(var_os(TCTI).as_deref())
}
