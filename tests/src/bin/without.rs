//! `without WALL PROGRAM [ARGUMENT…]`: runs a program as on a kernel that lacks a wall.
//!
//! `landlock` and `seccomp` are the system calls of that name, which the kernel then does not know.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

fn main() {
    let mut args = std::env::args_os().skip(1);
    let (Some(wall), Some(program)) = (args.next(), args.next()) else {
        eprintln!("usage: without landlock|seccomp PROGRAM [ARGUMENT…]");
        exit(2);
    };
    let call = match wall.to_str() {
        Some("landlock") => libc::SYS_landlock_create_ruleset,
        Some("seccomp") => libc::SYS_seccomp,
        _ => exit(2),
    };
    let rules = BTreeMap::from([(call, Vec::new())]);
    let (enosys, allow) = (SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow);
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("a known architecture");
    let filter = SeccompFilter::new(rules, allow, enosys, arch).and_then(BpfProgram::try_from);
    seccompiler::apply_filter(&filter.expect("a filter")).expect("a kernel with filters");
    let error = Command::new(program).args(args).exec();
    eprintln!("without: error: {error}");
    exit(2);
}
