//! Programs that filter system calls, in the classic BPF form that seccomp(2) takes.
//!
//! This file exists because filters made with the crate `seccompiler` in a build script made a start of
//! `ctd-decoder` 9 % longer. The medians of three times 300 alternating starts (P-256, 1 KiB) were
//! 3.03, 2.80 and 3.52 ms with the programs of this file, and 3.31, 3.06 and 3.83 ms with those of
//! `seccompiler`. The kernel translates each instruction of a filter when the filter is installed, and
//! runs the filter once for each system call number to find out which calls are always allowed. The two
//! filters have 142 and 75 instructions here, and 411 and 267 with `seccompiler`. There, a call that
//! has the same answer for all arguments takes five instructions instead of one, calls are compared one
//! after the other, and a program has only two answers, so that each filter becomes several programs.
//! The filter for modules cannot be expressed with it, because it also answers ranges of numbers (x32,
//! and calls that are newer than the list). The tests compare each answer with that of `seccompiler`'s
//! programs.

use libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
    c_int, sock_filter,
};

use crate::calls::{Call, Rule, Test};
use crate::error::Error;

/// What a filter does with a call.
#[derive(Clone, Copy)]
pub enum Answer {
    /// The call is made.
    Allow,
    /// The call is not made, and fails with this error number.
    Errno(c_int),
    /// The call is not made, and the process gets a signal.
    Trap,
    /// The call is not made, and the process is killed.
    Kill,
}

/// The answers of a filter.
pub struct Policy<'a> {
    /// If set, calls above this number fail with `ENOSYS`, and those of x32 with `EPERM`.
    pub newest: Option<u32>,
    /// The calls of each list get the answer next to it. The first list that contains a call decides.
    pub lists: &'a [(&'a [Call], Answer)],
    /// The answer for all other calls.
    pub otherwise: Answer,
    /// The process group of the broker, for rules about it.
    pub broker: Option<i32>,
}

/// Builds the program for a policy.
///
/// # Errors
/// The architecture is neither x86-64 nor aarch64.
pub fn program(policy: &Policy<'_>) -> Result<Vec<sock_filter>, Error> {
    let architecture = ARCHITECTURE.ok_or(Error::Architecture)?;
    let own = instruction(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, architecture);
    let mut program = vec![load(AT_ARCHITECTURE), own, answer(Answer::Kill), load(AT_NUMBER)];
    if let Some(newest) = policy.newest {
        program.extend([
            instruction(BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32),
            answer(Answer::Errno(libc::EPERM)),
            instruction(BPF_JMP | BPF_JGT | BPF_K, 0, 1, newest),
            answer(Answer::Errno(libc::ENOSYS)),
        ]);
    }
    for (calls, wanted) in policy.lists {
        let always = calls.iter().filter(|call| call.only.is_empty());
        program.extend(sorted(always.map(number).collect(), *wanted));
        for call in calls.iter().filter(|call| !call.only.is_empty()) {
            let block = all_hold(call.only, policy.broker, *wanted);
            program.push(unless(number(call), block.len()));
            program.extend(block);
        }
    }
    program.push(answer(policy.otherwise));
    Ok(program)
}

/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64` (linux/audit.h).
pub(crate) const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// The numbers of x32, 32-bit code on x86-64 with the same architecture, have this bit
/// (`__X32_SYSCALL_BIT`).
pub(crate) const X32: u32 = 0x4000_0000;

/// The offsets of a call's number, of its architecture and of its first argument in `struct
/// seccomp_data`. An argument has 8 bytes: on both architectures the lower half comes first.
pub(crate) const AT_NUMBER: u32 = 0;
pub(crate) const AT_ARCHITECTURE: u32 = 4;
pub(crate) const AT_ARGUMENTS: u32 = 16;

/// The most instructions that a jump can skip.
const FARTHEST: usize = u8::MAX as usize;

/// Returns `wanted` if all rules hold. Otherwise the following instructions decide, with the number
/// loaded again.
fn all_hold(rules: &[Rule], broker: Option<i32>, wanted: Answer) -> Vec<sock_filter> {
    let mut block = vec![answer(wanted), load(AT_NUMBER)];
    for rule in rules.iter().rev() {
        // The first instruction to execute if a rule does not hold, counted from the end of this rule's
        // test.
        block = [test(*rule, broker, block.len() - 1), block].concat();
    }
    block
}

/// Continues after itself if the rule holds, and skips `otherwise` more instructions if not.
fn test(rule: Rule, broker: Option<i32>, otherwise: usize) -> Vec<sock_filter> {
    let lower = AT_ARGUMENTS + 8 * u32::from(rule.index());
    let upper = lower + 4;
    match rule.test {
        Test::OneOf(values) => {
            let values = any_of(values, otherwise);
            let beyond = values.len() + 1 + otherwise;
            [vec![load(upper), unless(0, beyond), load(lower)], values].concat()
        }
        Test::Without(bits) => {
            let no_bits = instruction(BPF_JMP | BPF_JSET | BPF_K, otherwise, 0, bits);
            vec![load(upper), unless(0, 2 + otherwise), load(lower), no_bits]
        }
        Test::Above(value) => {
            let above = instruction(BPF_JMP | BPF_JGT | BPF_K, 0, otherwise, value);
            vec![load(upper), unless(0, 2 + otherwise), load(lower), above]
        }
        Test::BrokerGroup => match broker {
            // The argument is a negative `int`, which may have been sign-extended or zero-extended.
            Some(group) => vec![
                load(upper),
                instruction(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0),
                unless(u32::MAX, 2 + otherwise),
                load(lower),
                unless(group.wrapping_neg().cast_unsigned(), otherwise),
            ],
            None => vec![instruction(BPF_JMP | BPF_JA, 0, 0, otherwise as u32)],
        },
    }
}

/// How many numbers are compared one after the other.
const GROUP: usize = 16;

/// Returns `wanted` if the loaded number is one of these. They are compared in groups, because the
/// kernel runs a filter with every number to find out which calls are always allowed.
fn sorted(mut values: Vec<u32>, wanted: Answer) -> Vec<sock_filter> {
    values.sort_unstable();
    let mut behind = Vec::new();
    for group in values.chunks(GROUP).rev() {
        let last = group.last().copied().unwrap_or_default();
        let mut tests = any_of(group, 1);
        tests.push(answer(wanted));
        // The number is in none of the following groups.
        tests.push(instruction(BPF_JMP | BPF_JA, 0, 0, behind.len() as u32));
        let beyond = instruction(BPF_JMP | BPF_JGT | BPF_K, tests.len(), 0, last);
        behind = [vec![beyond], tests, behind].concat();
    }
    behind
}

/// Continues after itself if the loaded number is one of these, at most [`FARTHEST`], and skips
/// `otherwise` more instructions if not.
fn any_of(values: &[u32], otherwise: usize) -> Vec<sock_filter> {
    let Some((last, others)) = values.split_last() else {
        return vec![instruction(BPF_JMP | BPF_JA, 0, 0, otherwise as u32)];
    };
    // Each comparison skips the remaining ones.
    let jumps = others
        .iter()
        .enumerate()
        .map(|(at, value)| instruction(BPF_JMP | BPF_JEQ | BPF_K, others.len() - at, 0, *value));
    jumps.chain([unless(*last, otherwise)]).collect()
}

pub(crate) fn number(call: &Call) -> u32 {
    call.number as u32 // the kernel's are small and positive
}

fn load(at: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, at)
}

/// Skips this many instructions unless the loaded number is `value`.
fn unless(value: u32, others: usize) -> sock_filter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, others, value)
}

fn answer(answer: Answer) -> sock_filter {
    let value = match answer {
        Answer::Allow => libc::SECCOMP_RET_ALLOW,
        Answer::Errno(number) => libc::SECCOMP_RET_ERRNO | number.cast_unsigned(),
        Answer::Trap => libc::SECCOMP_RET_TRAP,
        Answer::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    instruction(BPF_RET | BPF_K, 0, 0, value)
}

/// `then` and `otherwise` are distances of jumps, at most [`FARTHEST`].
fn instruction(code: u32, then: usize, otherwise: usize, k: u32) -> sock_filter {
    debug_assert!(then <= FARTHEST && otherwise <= FARTHEST);
    sock_filter { code: code as u16, jt: then as u8, jf: otherwise as u8, k }
}
