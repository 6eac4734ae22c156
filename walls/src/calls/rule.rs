//! The conditions on arguments that a filter can check.
//!
//! A rule names its argument by a constant of this module, and there is no other way to make one: each
//! constant is a number in the kernel's own prototype of the call, never a pointer. The memory behind a
//! pointer can change after a filter has checked it, and the value of a pointer is meaningless to a
//! filter.
//!
//! A filter compares all 64 bits of an argument. If the kernel's type has fewer bits (`int`, `pid_t`,
//! `unsigned int`), the kernel ignores the upper half, and the filter is stricter: the upper half must
//! be zero or, for a negative number, its sign extension. C libraries and Rust pass numbers only in
//! these ways.

use libc::c_long;

/// An argument that is a number.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    call: c_long,
    index: u8,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    argument: Argument,
    pub(crate) test: Test,
    /// The condition for the table in `docs/walls.md`.
    pub words: &'static str,
}

/// The comparison with an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Test {
    /// The argument is one of these.
    OneOf(&'static [u32]),
    /// The argument is greater than this, and its upper half is zero.
    Above(u32),
    /// The argument has none of these bits, and none in its upper half.
    Without(u32),
    /// The argument is the negated process group of the broker. Without a broker, the rule never holds.
    BrokerGroup,
}

impl Argument {
    const fn new(call: c_long, index: u8) -> Self {
        Self { call, index }
    }

    /// The argument is one of these values.
    pub const fn is_one_of(self, values: &'static [u32], words: &'static str) -> Rule {
        Rule { argument: self, test: Test::OneOf(values), words }
    }

    /// The argument has none of these bits, and none in its upper half.
    pub const fn is_without(self, bits: u32, words: &'static str) -> Rule {
        Rule { argument: self, test: Test::Without(bits), words }
    }

    /// The argument is greater than this, and its upper half is zero.
    pub const fn is_above(self, value: u32, words: &'static str) -> Rule {
        Rule { argument: self, test: Test::Above(value), words }
    }

    /// The argument is the process group of the broker, negated.
    pub const fn is_the_broker(self) -> Rule {
        Rule { argument: self, test: Test::BrokerGroup, words: "the broker's process group" }
    }
}

impl Rule {
    /// The index of the argument that the rule checks, counted from 0.
    pub(crate) const fn index(self) -> u8 {
        self.argument.index
    }

    /// The call whose argument the rule checks.
    pub(crate) const fn call(self) -> c_long {
        self.argument.call
    }
}

/// `int flags` of openat(2).
pub const OPENAT_FLAGS: Argument = Argument::new(libc::SYS_openat, 2);
/// `int flags` of open(2).
#[cfg(target_arch = "x86_64")]
pub const OPEN_FLAGS: Argument = Argument::new(libc::SYS_open, 1);
/// `unsigned int cmd` of fcntl(2).
pub const FCNTL_COMMAND: Argument = Argument::new(libc::SYS_fcntl, 1);
/// `unsigned int fd` of lseek(2).
pub const LSEEK_DESCRIPTOR: Argument = Argument::new(libc::SYS_lseek, 0);
/// `unsigned long prot` of mmap(2).
pub const MMAP_PROTECTION: Argument = Argument::new(libc::SYS_mmap, 2);
/// `unsigned long flags` of mmap(2).
pub const MMAP_FLAGS: Argument = Argument::new(libc::SYS_mmap, 3);
/// `unsigned long prot` of mprotect(2).
pub const MPROTECT_PROTECTION: Argument = Argument::new(libc::SYS_mprotect, 2);
/// `unsigned long flags` of clone(2). The kernel uses the lower half.
pub const CLONE_FLAGS: Argument = Argument::new(libc::SYS_clone, 0);
/// `pid_t pid` of kill(2).
pub const KILL_PROCESS: Argument = Argument::new(libc::SYS_kill, 0);
/// `int option` of prctl(2).
pub const PRCTL_OPTION: Argument = Argument::new(libc::SYS_prctl, 0);
/// `pid_t pid` of prlimit(2).
pub const PRLIMIT_PROCESS: Argument = Argument::new(libc::SYS_prlimit64, 0);
/// `unsigned int personality` of personality(2).
pub const PERSONALITY: Argument = Argument::new(libc::SYS_personality, 0);
