//! Programs that filter system calls, in the classic form of bpf(2) that seccomp(2) takes.
//!
//! The kernel translates each instruction when a filter is put up, once in a decoder's life and before
//! anything else happens: so they are few. A call that is answered whatever its arguments takes
//! one, where those that the crate `seccompiler` writes take five.

use libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, c_int,
    sock_filter,
};

use crate::calls::{Call, Only};

/// What a call gets.
#[derive(Clone, Copy)]
pub enum Answer {
    /// It is made.
    Allow,
    /// It is not made, and fails with this number.
    Errno(c_int),
    /// It is not made, and the process gets a signal.
    Trap,
    /// It is not made, and the process is killed.
    Kill,
}

/// A program that answers the calls of each list as is said beside it, the first that has a call, and all
/// others `otherwise`. `broker` is the process group that [`Only::Broker`] speaks of.
///
/// # Errors
/// On an architecture that is not x86-64 or aarch64.
pub fn program(
    lists: &[(&[Call], Answer)],
    otherwise: Answer,
    broker: Option<i32>,
) -> Result<Vec<sock_filter>, String> {
    let architecture = ARCHITECTURE.ok_or("there are no filters for this architecture")?;
    let own = instruction(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, architecture);
    let mut program = vec![load(AT_ARCHITECTURE), own, answer(Answer::Kill), load(AT_NUMBER)];
    for (calls, wanted) in lists {
        let always = calls.iter().filter(|call| matches!(call.only, Only::Always));
        program.extend(sorted(always.map(number).collect(), *wanted));
        for call in *calls {
            let mut condition = condition(call.only, broker, *wanted);
            if !condition.is_empty() {
                // The number is there for the calls that follow.
                condition.push(load(AT_NUMBER));
                program.push(unless(number(call), condition.len()));
                program.extend(condition);
            }
        }
    }
    program.push(answer(otherwise));
    Ok(program)
}

/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64` (linux/audit.h).
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Where a call's number lies, and its architecture, and the lower half of its first argument, in
/// `struct seccomp_data` of a machine with the least byte first. Arguments have 8 bytes.
const AT_NUMBER: u32 = 0;
const AT_ARCHITECTURE: u32 = 4;
const AT_ARGUMENTS: u32 = 16;

/// Instructions that a jump can go over.
const FARTHEST: usize = u8::MAX as usize;

/// Answers if the call's arguments are as they have to be; else what follows decides.
fn condition(only: Only, broker: Option<i32>, wanted: Answer) -> Vec<sock_filter> {
    let (argument, test) = match only {
        Only::Always => return Vec::new(),
        Only::Equal(argument, values) => (argument, any_of(values, wanted)),
        Only::Without(argument, bits) => {
            (argument, vec![instruction(BPF_JMP | BPF_JSET | BPF_K, 1, 0, bits), answer(wanted)])
        }
        Only::Own(argument) => (argument, any_of(&[std::process::id()], wanted)),
        Only::Broker(argument) => match broker {
            Some(group) => (argument, any_of(&[group.wrapping_neg().cast_unsigned()], wanted)),
            None => return Vec::new(),
        },
    };
    let mut condition = vec![load(AT_ARGUMENTS + 8 * u32::from(argument))];
    condition.extend(test);
    condition
}

/// Numbers that are compared one after the other.
const GROUP: usize = 16;

/// Answers if what was loaded is one of these. In groups: the kernel goes through a filter with each number
/// there is, to know which are always allowed.
fn sorted(mut values: Vec<u32>, wanted: Answer) -> Vec<sock_filter> {
    values.sort_unstable();
    let mut behind = Vec::new();
    for group in values.chunks(GROUP).rev() {
        let last = group.last().copied().unwrap_or_default();
        let mut tests = any_of(group, wanted);
        // It is in none of those that follow.
        tests.push(instruction(BPF_JMP | BPF_JA, 0, 0, behind.len() as u32));
        let beyond = instruction(BPF_JMP | BPF_JGT | BPF_K, tests.len(), 0, last);
        behind = [vec![beyond], tests, behind].concat();
    }
    behind
}

/// Answers if what was loaded is one of these, at most [`FARTHEST`].
fn any_of(values: &[u32], wanted: Answer) -> Vec<sock_filter> {
    let Some((last, others)) = values.split_last() else { return Vec::new() };
    // Each jumps over those behind it.
    let jumps = others
        .iter()
        .enumerate()
        .map(|(at, value)| instruction(BPF_JMP | BPF_JEQ | BPF_K, others.len() - at, 0, *value));
    jumps.chain([unless(*last, 1), answer(wanted)]).collect()
}

fn number(call: &Call) -> u32 {
    call.number as u32 // the kernel's are small and positive
}

fn load(at: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, at)
}

/// Goes over so many instructions unless what was loaded is `value`.
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

/// `then` and `otherwise` are jumps, at most [`FARTHEST`].
fn instruction(code: u32, then: usize, otherwise: usize, k: u32) -> sock_filter {
    debug_assert!(then <= FARTHEST && otherwise <= FARTHEST);
    sock_filter { code: code as u16, jt: then as u8, jf: otherwise as u8, k }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch,
    };

    use super::*;
    use crate::calls::{
        ALWAYS, DECRYPTING_ANSWERED, MODULE_FORBIDDEN, UNWRAPPING, UNWRAPPING_ANSWERED,
    };
    use crate::seccomp::Filter;

    const BROKER: i32 = 4242;

    /// A call as a program sees it: its architecture, its number, all of its arguments alike.
    type Seen = (u32, u32, u32);

    /// What the kernel does with a program.
    fn run(program: &[sock_filter], (architecture, number, argument): Seen) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    loaded = match k {
                        AT_NUMBER => number,
                        AT_ARCHITECTURE => architecture,
                        at => {
                            if at % 8 == 0 {
                                argument
                            } else {
                                0
                            }
                        }
                    }
                }
                code if code == BPF_JMP | BPF_JEQ | BPF_K => {
                    at += usize::from(if loaded == k { jt } else { jf });
                }
                code if code == BPF_JMP | BPF_JGT | BPF_K => {
                    at += usize::from(if loaded > k { jt } else { jf });
                }
                code if code == BPF_JMP | BPF_JSET | BPF_K => {
                    at += usize::from(if loaded & k != 0 { jt } else { jf });
                }
                code if code == BPF_JMP | BPF_JA => at += k as usize,
                code if code == BPF_RET | BPF_K => return k,
                code if code == libc::BPF_ALU | libc::BPF_AND | BPF_K => loaded &= k,
                code => panic!("another instruction: {code:#x}"),
            }
        }
    }

    /// The program that `seccompiler` writes.
    fn theirs(lists: &[&[Call]], listed: SeccompAction, others: SeccompAction) -> Vec<sock_filter> {
        let rule = |argument, operator, value: u32| {
            let length = SeccompCmpArgLen::Dword;
            let condition = SeccompCondition::new(argument, length, operator, value.into());
            SeccompRule::new(vec![condition.expect("a condition")]).expect("a rule")
        };
        let equal = |argument, value| rule(argument, SeccompCmpOp::Eq, value);
        let mut rules = BTreeMap::new();
        for call in lists.iter().copied().flatten() {
            let conditions = match call.only {
                Only::Always => Vec::new(),
                Only::Equal(at, values) => values.iter().map(|it| equal(at, *it)).collect(),
                Only::Without(at, bits) => vec![rule(at, SeccompCmpOp::MaskedEq(bits.into()), 0)],
                Only::Own(at) => vec![equal(at, std::process::id())],
                Only::Broker(at) => vec![equal(at, BROKER.wrapping_neg().cast_unsigned())],
            };
            assert!(rules.insert(call.number, conditions).is_none(), "twice: {}", call.number);
        }
        let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("it is known");
        let filter = SeccompFilter::new(rules, others, listed, architecture).expect("it is known");
        let program: BpfProgram = filter.try_into().expect("it is known");
        let same = |it: seccompiler::sock_filter| sock_filter {
            code: it.code,
            jt: it.jt,
            jf: it.jf,
            k: it.k,
        };
        program.into_iter().map(same).collect()
    }

    fn calls() -> impl Iterator<Item = Seen> {
        let own = std::process::id();
        let broker = BROKER.wrapping_neg().cast_unsigned();
        let single = (0..32).map(|bit| 1 << bit);
        let arguments: Vec<u32> = single.chain(0..64).chain([own, broker, u32::MAX]).collect();
        let architectures = [ARCHITECTURE.expect("it is known"), 0x4000_0003];
        architectures.into_iter().flat_map(move |architecture| {
            let arguments = arguments.clone();
            let numbers = (0..600).chain([0x4000_0000, u32::MAX]);
            numbers.flat_map(move |number| {
                let seen = move |argument| (architecture, number, argument);
                arguments.clone().into_iter().map(seen)
            })
        })
    }

    /// What a call gets from several filters: the kernel takes the least number, with its sign.
    fn strictest(filters: &[&Filter], seen: Seen) -> u32 {
        let answers = filters.iter().map(|filter| run(&filter.0, seen));
        answers.min_by_key(|answer| answer.cast_signed()).expect("a filter")
    }

    #[test]
    fn every_call_gets_what_programs_of_others_give_it() {
        let (allow, enosys) = (SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32));
        let unwrapping = Filter::unwrapping(Some(BROKER)).expect("it is known");
        let decrypting = Filter::decrypting().expect("it is known");
        for (ours, answered, allowed) in [
            (&[&unwrapping][..], UNWRAPPING_ANSWERED, &[ALWAYS, UNWRAPPING][..]),
            (&[&unwrapping, &decrypting][..], DECRYPTING_ANSWERED, &[ALWAYS][..]),
        ] {
            let first = theirs(&[answered], enosys.clone(), allow.clone());
            let second = theirs(allowed, allow.clone(), SeccompAction::Trap);
            for seen in calls() {
                let theirs = match run(&first, seen) {
                    libc::SECCOMP_RET_ALLOW => run(&second, seen),
                    other => other,
                };
                assert_eq!(strictest(ours, seen), theirs, "{seen:x?}");
            }
        }
        let eperm = SeccompAction::Errno(libc::EPERM as u32);
        let ours = Filter::module().expect("it is known").0;
        let theirs = theirs(&[MODULE_FORBIDDEN], eperm, allow);
        for seen in calls() {
            assert_eq!(run(&ours, seen), run(&theirs, seen), "{seen:x?}");
        }
    }

    #[test]
    fn without_a_broker_nothing_is_killed() {
        let program = Filter::unwrapping(None).expect("it is known").0;
        for seen in calls().filter(|(_, number, _)| *number == libc::SYS_kill as u32) {
            assert_ne!(run(&program, seen), libc::SECCOMP_RET_ALLOW, "{seen:x?}");
        }
    }
}
