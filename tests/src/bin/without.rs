//! `without WALL PROGRAM [ARGUMENT…]`: runs a program as on a kernel that lacks a wall.
//!
//! `landlock`, `openat2` and `seccomp` are the system calls of that name, which the kernel then does not know.
//! `write-execute` is `MemoryDenyWriteExecute` of a service: memory never becomes executable. systemd asks for it in
//! both ways: `write-execute-by-prctl` (Linux 6.3; exit code 77 without) and `write-execute-by-filter`.
//! `second-landlock` is what a kernel lacks that has been asked for fifteen domains already: it gives one more.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

fn main() {
    let mut args = std::env::args_os().skip(1);
    let (Some(wall), Some(program)) = (args.next(), args.next()) else {
        eprintln!(
            "usage: without landlock|openat2|seccomp|second-landlock|write-execute-by-… PROGRAM [ARGUMENT…]"
        );
        exit(2);
    };
    match wall.to_str() {
        Some("landlock") => hide(libc::SYS_landlock_create_ruleset),
        Some("openat2") => hide(libc::SYS_openat2),
        Some("seccomp") => hide(libc::SYS_seccomp),
        Some("write-execute-by-prctl") => deny_write_execute(),
        Some("write-execute-by-filter") => filter_write_execute(),
        Some("second-landlock") => (1..DOMAINS).for_each(|_| add_domain()),
        _ => exit(2),
    }
    let error = Command::new(program).args(args).exec();
    eprintln!("without: error: {error}");
    exit(2);
}

/// `PR_SET_MDWE` with `PR_MDWE_REFUSE_EXEC_GAIN` (prctl(2)).
fn deny_write_execute() {
    // SAFETY: the call takes numbers.
    if unsafe { libc::prctl(65, 1, 0, 0, 0) } != 0 {
        exit(77)
    }
}

/// No call may make memory executable that exists, or map memory that is both.
fn filter_write_execute() {
    let has = |argument, flags: i32| {
        let flags = flags as u64;
        let is_set = SeccompCmpOp::MaskedEq(flags);
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is_set, flags);
        let rule = SeccompRule::new(vec![condition.expect("a condition")]);
        vec![rule.expect("a rule")]
    };
    let rules = BTreeMap::from([
        (libc::SYS_mprotect, has(2, libc::PROT_EXEC)),
        (libc::SYS_pkey_mprotect, has(2, libc::PROT_EXEC)),
        (libc::SYS_mmap, has(2, libc::PROT_EXEC | libc::PROT_WRITE)),
    ]);
    apply(rules, SeccompAction::Errno(libc::EPERM as u32));
}

/// The kernel behaves as if it did not know this call.
fn hide(call: libc::c_long) {
    apply(BTreeMap::from([(call, Vec::new())]), SeccompAction::Errno(libc::ENOSYS as u32));
}

fn apply(rules: BTreeMap<libc::c_long, Vec<SeccompRule>>, action: SeccompAction) {
    let allow = SeccompAction::Allow;
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("a known architecture");
    let filter = SeccompFilter::new(rules, allow, action, arch).and_then(BpfProgram::try_from);
    seccompiler::apply_filter(&filter.expect("a filter")).expect("a kernel with filters");
}

/// How many domains of Landlock a process may be in (`LANDLOCK_MAX_NUM_LAYERS`).
const DOMAINS: usize = 16;

/// One that forbids nothing but to make sockets in the file system.
fn add_domain() {
    let handled: u64 = 1 << 9; // LANDLOCK_ACCESS_FS_MAKE_SOCK
    // SAFETY: the attribute is 8 bytes long, as all versions of the kernel take it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let (size, flags) = (size_of_val(&handled), 0);
        let create = libc::SYS_landlock_create_ruleset;
        let rules = libc::syscall(create, &raw const handled, size, flags);
        libc::syscall(libc::SYS_landlock_restrict_self, rules, 0) == 0
            && libc::close(rules as libc::c_int) == 0
    };
    assert!(done, "{}", std::io::Error::last_os_error());
}
