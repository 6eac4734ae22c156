//! Filters of system calls (seccomp(2)).
//!
//! What becomes of a call that is not in the lists of [`super::calls`] was chosen like this:
//!
//! - **It is not made, and the process ends**, through a signal (`SECCOMP_RET_TRAP`) whose handler
//!   writes what happened to standard error and the log and exits with 1 ([`super::alarm`]).
//!   Killing outright would be no safer, because the call is not made either way, and would leave
//!   containerd with an empty error. Code that was taken over cannot replace the handler, since
//!   `rt_sigaction` is not in the lists; where the signal is blocked, the kernel kills.
//! - **A few calls are answered** with `ENOSYS` instead: those that the C library tries on its own
//!   and can do without. A layer must not fail because of a newer C library.
//! - Calls of another architecture (32-bit code on x86-64) kill the process, those of x32 end it.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use crate::calls::{self, Call, Only};

/// Instructions of a filter (bpf(2)'s classic form): an answer, and a jump over so many others.
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;

/// A filter that is ready to be put up.
pub struct Filter(BpfProgram);

impl Filter {
    /// For `ctd-decoder` while keys are unwrapped; `broker` is the process group of a broker
    /// that runs.
    ///
    /// # Errors
    /// On an architecture that is not x86-64 or aarch64.
    pub fn unwrapping(broker: Option<i32>) -> Result<Self, String> {
        Self::of(&[calls::ALWAYS, calls::UNWRAPPING], calls::UNWRAPPING_ANSWERED, broker)
    }

    /// For `ctd-decoder` while the layer flows.
    ///
    /// # Errors
    /// As [`Filter::unwrapping`].
    pub fn decrypting() -> Result<Self, String> {
        Self::of(&[calls::ALWAYS], calls::DECRYPTING_ANSWERED, None)
    }

    /// For the process that a PKCS#11 module is loaded into.
    ///
    /// # Errors
    /// As [`Filter::unwrapping`].
    pub fn module() -> Result<Self, String> {
        let (eperm, allow) = (SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow);
        Ok(Self(program(&[calls::MODULE_FORBIDDEN], None, eperm, allow)?))
    }

    fn of(allowed: &[&[Call]], answered: &[Call], broker: Option<i32>) -> Result<Self, String> {
        let (allow, enosys) = (SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32));
        let answered = program(&[answered], broker, enosys, allow.clone())?;
        Ok(Self(joined(answered, program(allowed, broker, allow, SeccompAction::Trap)?)?))
    }

    /// Puts the filter up, for all threads of this process and all of its children.
    ///
    /// # Errors
    /// Where the kernel has no filters.
    pub fn raise(&self) -> Result<(), String> {
        seccompiler::apply_filter_all_threads(&self.0).map_err(|error| match error {
            seccompiler::Error::Prctl(why) | seccompiler::Error::Seccomp(why) => {
                format!("this kernel takes no filter of system calls: {}", crate::plain(why))
            }
            other => other.to_string(),
        })
    }
}

/// One program of two: what `first` allows is for `second` to decide. The crate makes programs with one
/// answer besides the one for all others; two filters would do, but the kernel compiles each.
fn joined(first: BpfProgram, second: BpfProgram) -> Result<BpfProgram, String> {
    let behind = first.len();
    let on = |(at, instruction): (usize, sock_filter)| match (instruction.code, instruction.k) {
        (RETURN, libc::SECCOMP_RET_ALLOW) => {
            let k = u32::try_from(behind - at - 1).map_err(|error| error.to_string())?;
            Ok(sock_filter { code: JUMP, jt: 0, jf: 0, k })
        }
        _ => Ok(instruction),
    };
    let first: Result<Vec<_>, String> = first.into_iter().enumerate().map(on).collect();
    Ok([first?, second].concat())
}

/// A program that answers the calls of `lists` with one action and all others with another.
fn program(
    lists: &[&[Call]],
    broker: Option<i32>,
    listed: SeccompAction,
    others: SeccompAction,
) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let mut rules = BTreeMap::new();
    for call in lists.iter().copied().flatten() {
        if let Some(conditions) = conditions(call.only, broker).map_err(|e| e.to_string())? {
            rules.entry(call.number).or_insert(conditions);
        }
    }
    let filter = SeccompFilter::new(rules, others, listed, arch);
    filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string())
}

/// One of these has to hold; none at all is no condition. `None`: the call is never allowed.
fn conditions(only: Only, broker: Option<i32>) -> Result<Option<Vec<SeccompRule>>, BackendError> {
    Ok(Some(match only {
        Only::Always => Vec::new(),
        Only::Equal(argument, values) => {
            values.iter().map(|value| equal(argument, *value)).collect::<Result<_, _>>()?
        }
        Only::Without(argument, bits) => {
            vec![rule(argument, SeccompCmpOp::MaskedEq(bits.into()), 0)?]
        }
        Only::Own(argument) => vec![equal(argument, std::process::id())?],
        Only::Broker(argument) => match broker {
            Some(group) => vec![equal(argument, group.wrapping_neg().cast_unsigned())?],
            None => return Ok(None),
        },
    }))
}

fn equal(argument: u8, value: u32) -> Result<SeccompRule, BackendError> {
    rule(argument, SeccompCmpOp::Eq, value)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u32) -> Result<SeccompRule, BackendError> {
    let value = u64::from(value);
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
    SeccompRule::new(vec![condition])
}
