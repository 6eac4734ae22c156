//! Compares each program with one that the crate `seccompiler` makes from the same lists.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
    c_int,
};

use super::*;
use crate::bpf::{ARCHITECTURE, AT_ARCHITECTURE, AT_ARGUMENTS, AT_NUMBER, X32, number};
use crate::calls::{
    ALWAYS, DECRYPTING_ANSWERED, MODULE_ALLOWED, MODULE_ENOSYS, MODULE_FORBIDDEN, NEWEST, REFUSED,
    Test, UNWRAPPING, UNWRAPPING_ANSWERED, WITH_LANDLOCK,
};

const BROKER: i32 = 4242;

/// The data of a call that a program gets.
#[derive(Clone, Copy, Debug)]
struct Seen {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

/// Runs a program as the kernel does.
fn run(program: &[sock_filter], seen: &Seen) -> u32 {
    let (mut at, mut loaded) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match u32::from(code) {
            code if code == BPF_LD | BPF_W | BPF_ABS => loaded = load_from(seen, k),
            code if code == BPF_JMP | BPF_JEQ | BPF_K => at += jump(loaded == k),
            code if code == BPF_JMP | BPF_JGT | BPF_K => at += jump(loaded > k),
            code if code == BPF_JMP | BPF_JGE | BPF_K => at += jump(loaded >= k),
            code if code == BPF_JMP | BPF_JSET | BPF_K => at += jump(loaded & k != 0),
            code if code == BPF_JMP | BPF_JA => at += k as usize,
            code if code == BPF_RET | BPF_K => return k,
            code if code == libc::BPF_ALU | libc::BPF_AND | BPF_K => loaded &= k,
            code => panic!("another instruction: {code:#x}"),
        }
    }
}

/// A word of `struct seccomp_data`.
fn load_from(seen: &Seen, at: u32) -> u32 {
    match at {
        AT_NUMBER => seen.number,
        AT_ARCHITECTURE => seen.architecture,
        at => {
            let argument = seen.arguments[(at - AT_ARGUMENTS) as usize / 8];
            (if at % 8 == 0 { argument } else { argument >> 32 }) as u32
        }
    }
}

/// The program that `seccompiler` writes, which compares all 64 bits.
fn theirs(lists: &[&[Call]], listed: SeccompAction, others: SeccompAction) -> Vec<sock_filter> {
    let mut rules = BTreeMap::new();
    for call in lists.iter().copied().flatten() {
        assert!(rules.insert(call.number, their_rules(call)).is_none(), "twice: {call:?}");
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("it is known");
    let filter = SeccompFilter::new(rules, others, listed, architecture).expect("it is known");
    let program: BpfProgram = filter.try_into().expect("it is known");
    let same =
        |it: seccompiler::sock_filter| sock_filter { code: it.code, jt: it.jt, jf: it.jf, k: it.k };
    program.into_iter().map(same).collect()
}

/// One rule for each combination that satisfies all of ours.
fn their_rules(call: &Call) -> Vec<SeccompRule> {
    const UPPER: u64 = 0xffff_ffff_0000_0000;
    let mut ways = vec![Vec::new()];
    for rule in call.only {
        let condition = |operator, value| {
            let (index, length) = (rule.index(), SeccompCmpArgLen::Qword);
            SeccompCondition::new(index, length, operator, value).expect("a condition")
        };
        let equal = |value| vec![condition(SeccompCmpOp::Eq, value)];
        let ways_of_rule: Vec<Vec<SeccompCondition>> = match rule.test {
            Test::OneOf(values) => values.iter().map(|value| equal(u64::from(*value))).collect(),
            Test::Without(bits) => {
                vec![vec![condition(SeccompCmpOp::MaskedEq(UPPER | u64::from(bits)), 0)]]
            }
            Test::Above(value) => vec![vec![
                condition(SeccompCmpOp::Gt, u64::from(value)),
                condition(SeccompCmpOp::Le, u64::from(u32::MAX)),
            ]],
            Test::BrokerGroup => {
                let group = i64::from(-BROKER).cast_unsigned();
                vec![equal(group), equal(group & !UPPER)]
            }
        };
        let with = |way: &Vec<SeccompCondition>| {
            let way = way.clone();
            ways_of_rule.iter().map(move |more| [way.clone(), more.clone()].concat())
        };
        ways = ways.iter().flat_map(with).collect();
    }
    let conditional = ways.into_iter().filter(|way| !way.is_empty());
    conditional.map(|way| SeccompRule::new(way).expect("a rule")).collect()
}

/// Numbers that are relevant to some rule, with different upper halves.
fn values() -> Vec<u64> {
    let broker = (-BROKER).cast_unsigned();
    let single = (0..32).map(|bit| 1 << bit);
    let lower = single.chain(0..64).chain([std::process::id(), broker, u32::MAX]);
    let uppers = [0, 1, 0x8000_0000, u64::from(u32::MAX)];
    lower.flat_map(|lower| uppers.map(|upper| upper << 32 | u64::from(lower))).collect()
}

/// Every call with the same value in all arguments, and calls with several rules with each pair of
/// values.
fn calls() -> impl Iterator<Item = Seen> {
    let values = values();
    let numbers = (0..600).chain([X32, X32 | 39, X32 | 521, u32::MAX]);
    let several: Vec<u32> = ALWAYS.iter().filter(|it| it.only.len() > 1).map(number).collect();
    assert!(!several.is_empty());
    let architectures = [ARCHITECTURE.expect("it is known"), 0x4000_0003];
    architectures.into_iter().flat_map(move |architecture| {
        let (values, several) = (values.clone(), several.clone());
        numbers.clone().flat_map(move |number| {
            let seen = move |(even, odd)| Seen {
                architecture,
                number,
                arguments: [even, odd, even, odd, even, odd],
            };
            let pairs: Vec<(u64, u64)> = if several.contains(&number) {
                values.iter().flat_map(|one| values.iter().map(|other| (*one, *other))).collect()
            } else {
                values.iter().map(|value| (*value, *value)).collect()
            };
            pairs.into_iter().map(seen)
        })
    })
}

/// The answer of several filters to a call: the kernel takes the least number, as a signed one.
fn strictest(filters: &[&Filter], seen: &Seen) -> u32 {
    let answers = filters.iter().map(|filter| run(&filter.0, seen));
    answers.min_by_key(|answer| answer.cast_signed()).expect("a filter")
}

/// The answer of the first program that does not allow a call.
fn first_refusal(programs: &[Vec<sock_filter>], seen: &Seen) -> u32 {
    let mut answers = programs.iter().map(|program| run(program, seen));
    answers.find(|answer| *answer != libc::SECCOMP_RET_ALLOW).unwrap_or(libc::SECCOMP_RET_ALLOW)
}

#[test]
fn every_call_gets_what_programs_of_others_give_it() {
    let allow = || SeccompAction::Allow;
    let errno = |number: c_int| SeccompAction::Errno(number.cast_unsigned());
    let broker = Some(BROKER);
    let with_landlock = Filter::unwrapping(broker, true).expect("it is known");
    let without_landlock = Filter::unwrapping(broker, false).expect("it is known");
    let decrypting = Filter::decrypting().expect("it is known");
    for (ours, answered, allowed) in [
        (
            &[&with_landlock][..],
            &[UNWRAPPING_ANSWERED][..],
            &[ALWAYS, UNWRAPPING, WITH_LANDLOCK][..],
        ),
        (&[&without_landlock], &[UNWRAPPING_ANSWERED, WITH_LANDLOCK], &[ALWAYS, UNWRAPPING]),
        (&[&with_landlock, &decrypting], &[DECRYPTING_ANSWERED], &[ALWAYS]),
    ] {
        // `clone` is in two lists: it is refused if the first list does not allow it.
        let programs = [
            theirs(answered, errno(libc::ENOSYS), allow()),
            theirs(allowed, allow(), SeccompAction::Trap),
        ];
        for seen in calls() {
            let mut theirs = first_refusal(&programs, &seen);
            let own = Some(seen.architecture) == ARCHITECTURE;
            let refused = REFUSED.iter().any(|call| number(call) == seen.number);
            if own && refused && theirs == libc::SECCOMP_RET_TRAP {
                theirs = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
            }
            assert_eq!(strictest(ours, &seen), theirs, "{seen:x?}");
        }
    }
}

#[test]
fn a_module_gets_what_programs_of_others_give_it() {
    let allow = || SeccompAction::Allow;
    let errno = |number: c_int| SeccompAction::Errno(number.cast_unsigned());
    let ours = Filter::module().expect("it is known").0;
    let enosys = theirs(&[MODULE_ENOSYS], errno(libc::ENOSYS), allow());
    let allowed = theirs(&[MODULE_ALLOWED], SeccompAction::Log, allow());
    let forbidden = theirs(&[MODULE_FORBIDDEN], errno(libc::EPERM), allow());
    for seen in calls() {
        let mut theirs = first_refusal(std::slice::from_ref(&enosys), &seen);
        if theirs == libc::SECCOMP_RET_ALLOW && run(&allowed, &seen) != libc::SECCOMP_RET_LOG {
            theirs = run(&forbidden, &seen);
        }
        if Some(seen.architecture) == ARCHITECTURE && seen.number >= X32 {
            theirs = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
        } else if Some(seen.architecture) == ARCHITECTURE && seen.number > NEWEST {
            theirs = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
        }
        assert_eq!(run(&ours, &seen), theirs, "{seen:x?}");
    }
}

/// A regression test for `sendto`: a rule that checks only 32 bits takes an address at `0x1_0000_0000`
/// for a null pointer.
#[test]
fn the_upper_half_of_an_argument_counts() {
    let filters =
        [Filter::unwrapping(Some(BROKER), true), Filter::decrypting()].map(|it| it.expect("known"));
    let module = Filter::module().expect("it is known");
    for seen in calls().filter(|seen| Some(seen.architecture) == ARCHITECTURE) {
        let strange = |index: u8| {
            let (argument, broker) = (seen.arguments[usize::from(index)], i64::from(-BROKER));
            argument >> 32 != 0 && argument != broker.cast_unsigned()
        };
        for (lists, filter) in [
            (&[ALWAYS, UNWRAPPING, WITH_LANDLOCK][..], &filters[0]),
            (&[MODULE_ALLOWED][..], &module),
        ] {
            let calls = lists.iter().copied().flatten();
            let mut rules =
                calls.filter(|it| number(it) == seen.number).flat_map(|it| it.only.iter());
            if rules.any(|rule| strange(rule.index())) {
                assert_ne!(run(&filter.0, &seen), libc::SECCOMP_RET_ALLOW, "{seen:x?}");
            }
        }
    }
}

#[test]
fn without_a_broker_nothing_is_killed() {
    let program = Filter::unwrapping(None, true).expect("it is known").0;
    for seen in calls().filter(|seen| seen.number == libc::SYS_kill as u32) {
        assert_ne!(run(&program, &seen), libc::SECCOMP_RET_ALLOW, "{seen:x?}");
    }
}

/// Both extensions of the sign are allowed, and no other upper half.
#[test]
fn the_brokers_group_is_killed() {
    let program = Filter::unwrapping(Some(BROKER), true).expect("it is known").0;
    let group = u64::from((-BROKER).cast_unsigned());
    for (upper, allowed) in [(0, true), (0xffff_ffff, true), (1, false), (0x7fff_ffff, false)] {
        let seen = Seen {
            architecture: ARCHITECTURE.expect("it is known"),
            number: libc::SYS_kill as u32,
            arguments: [upper << 32 | group; 6],
        };
        assert_eq!(run(&program, &seen) == libc::SECCOMP_RET_ALLOW, allowed, "{seen:x?}");
    }
}

/// A library that tries to start a thread gets an error, and the process goes on.
#[test]
fn threads_are_refused() {
    let program = Filter::unwrapping(None, true).expect("it is known").0;
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    for (flags, answer) in [
        (libc::SIGCHLD, libc::SECCOMP_RET_ALLOW),
        (thread, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()),
        (
            libc::SIGCHLD | libc::CLONE_NEWUSER,
            libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned(),
        ),
    ] {
        let seen = Seen {
            architecture: ARCHITECTURE.expect("it is known"),
            number: libc::SYS_clone as u32,
            arguments: [u64::from(flags.cast_unsigned()); 6],
        };
        assert_eq!(run(&program, &seen), answer, "{seen:x?}");
    }
}
