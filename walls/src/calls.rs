//! The system calls of `ctd-decoder`, each with its reason.
//!
//! A call is allowed in a phase if it is in the list of that phase. [`super::seccomp`] describes what
//! happens to other calls, and why. To allow one more, add a line here with its reason, and add a run
//! that makes it to `tests/tests/walls/needed.rs`, or name the rare case that makes it.
//! `walls/tests/documented.rs` compares the lists with `docs/walls.md`, and writes that table.

mod forbidden;
mod rule;

use libc::c_long;

pub use forbidden::{MODULE_ALLOWED, MODULE_ENOSYS, MODULE_FORBIDDEN, NEWEST};
pub use rule::Rule;

pub(crate) use rule::Test;

use rule::{
    CLONE_FLAGS, FCNTL_COMMAND, KILL_PROCESS, LSEEK_DESCRIPTOR, MMAP_FLAGS, MMAP_PROTECTION,
    MPROTECT_PROTECTION, OPENAT_FLAGS, PRCTL_OPTION, PRLIMIT_PROCESS,
};

/// A system call in a list.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its name, after `SYS_`.
    name: &'static str,
    /// Its number on this architecture.
    pub number: c_long,
    /// The call is in the list only if all of these rules hold.
    pub only: &'static [Rule],
    /// Why the call is in its list.
    pub why: &'static str,
    /// The rare case that needs the call, if no ordinary run makes it.
    pub rare: Option<&'static str>,
}

impl Call {
    const fn new(name: &'static str, number: c_long, why: &'static str) -> Self {
        Self { name, number, only: &[], why, rare: None }
    }

    /// Limits the entry to calls for which all of these rules hold. They must be rules of this call.
    const fn only(mut self, rules: &'static [Rule]) -> Self {
        let mut at = 0;
        while at < rules.len() {
            assert!(rules[at].call() == self.number, "a rule of another call");
            at += 1;
        }
        self.only = rules;
        self
    }

    const fn rare(mut self, case: &'static str) -> Self {
        self.rare = Some(case);
        self
    }

    /// The same call, whatever its arguments.
    pub(crate) const fn unconditional(mut self) -> Self {
        self.only = &[];
        self
    }

    /// The name in the manual.
    pub fn name(&self) -> &'static str {
        self.name.trim_start_matches("SYS_")
    }
}

/// Makes an entry from the name of the call's number in the crate `libc`.
macro_rules! call {
    ($number:ident, $why:expr) => {
        $crate::calls::Call::new(stringify!($number), libc::$number, $why)
    };
}
use call;

/// No page becomes executable after the guest has been loaded.
const NO_CODE: (u32, &str) = (libc::PROT_EXEC as u32, "no code: without `PROT_EXEC`");

/// The call opens files only to read them, and creates none.
const READING: (u32, &str) = (NOT_READING, "to read");

/// This is not `O_ACCMODE`, because musl's value includes `O_PATH`.
const NOT_READING: u32 = (libc::O_WRONLY
    | libc::O_RDWR
    | libc::O_CREAT
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;

/// Calls that are allowed in both phases, whenever there is a guest.
pub const ALWAYS: &[Call] = &[
    call!(SYS_read, "the layer, key files, the broker's answers"),
    call!(SYS_write, "the plain layer, messages, the log"),
    call!(SYS_lseek, "the spool, from its start; key files")
        .only(&[LSEEK_DESCRIPTOR.is_above(2, "not of 0, 1 or 2")]),
    call!(SYS_fstat, "whether standard output is a pipe"),
    call!(SYS_close, "what is done with"),
    call!(SYS_ppoll, "descriptors that do not block"),
    // With a shared mapping, code with access to an open file could change it in spite of `O_APPEND`.
    call!(SYS_mmap, "memory of guests and of the host").only(&[
        MMAP_PROTECTION.is_without(NO_CODE.0, NO_CODE.1),
        MMAP_FLAGS.is_without(libc::MAP_SHARED as u32, "not shared: without `MAP_SHARED`"),
    ]),
    call!(SYS_mprotect, "memory of guests; their code, when they are dropped")
        .only(&[MPROTECT_PROTECTION.is_without(NO_CODE.0, NO_CODE.1)]),
    call!(SYS_munmap, "memory of guests and of the host"),
    call!(SYS_brk, "memory of the host").rare("glibc's allocator, in builds of the tests"),
    call!(SYS_futex, "locks of the standard library"),
    call!(SYS_clock_gettime, "time limits and the log").rare("the kernel has no vDSO"),
    call!(SYS_nanosleep, "the pause after a failure"),
    call!(SYS_clock_nanosleep, "as `nanosleep`; waiting for the broker's end")
        .rare("glibc's `nanosleep`, in builds of the tests; a broker that does not end at once"),
    call!(SYS_rt_sigreturn, "the end of the timer's signal handler"),
    call!(SYS_sigaltstack, "the stack of signal handlers"),
    call!(SYS_restart_syscall, "what the kernel goes on with after a process was stopped")
        .rare("a debugger or `SIGSTOP` stops the process while it sleeps"),
    call!(SYS_getpid, "the log"),
    call!(
        SYS_clone,
        "the child that holds standard output for a moment after a failure: a process, not a \
         thread, without namespaces"
    )
    .only(&[CLONE_FLAGS.is_one_of(&[libc::SIGCHLD as u32], "`SIGCHLD` and no flag")]),
    call!(SYS_exit_group, "the end"),
];

/// The operations of fcntl(2) on descriptors. musl's `open` sets its flag again, for kernels of 2007.
const FCNTL: &[u32] = &[
    libc::F_GETFL as u32,
    libc::F_GETFD as u32,
    libc::F_SETFD as u32,
    libc::F_DUPFD_CLOEXEC as u32,
];

const BEFORE_FACCESSAT2: &str = "a kernel before Linux 5.8";

/// Calls that are allowed before the layer flows: keys are read, the broker is asked, and the second
/// filter is put up. The last calls in the list can only take rights away.
pub const UNWRAPPING: &[Call] = &[
    call!(SYS_openat, "key files").only(&[OPENAT_FLAGS.is_without(READING.0, READING.1)]),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_open, "as `openat`").only(&[rule::OPEN_FLAGS.is_without(READING.0, READING.1)]),
    call!(SYS_pread64, "key files"),
    call!(SYS_statx, "key files"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_stat, "key files"),
    call!(SYS_newfstatat, "as `stat`")
        .rare("aarch64, which has no `stat`; a kernel without `statx`"),
    call!(SYS_readlinkat, "links among the key files"),
    call!(SYS_getdents64, "the list of key files"),
    // The WASI library calls it when it resolves a path itself, because there is no `openat2`.
    call!(SYS_faccessat2, "whether a directory among the key files may be searched"),
    call!(SYS_faccessat, "as `faccessat2`").rare(BEFORE_FACCESSAT2),
    call!(SYS_getuid, "as `faccessat2`").rare(BEFORE_FACCESSAT2),
    call!(SYS_geteuid, "as `faccessat2`").rare(BEFORE_FACCESSAT2),
    call!(SYS_getgid, "as `faccessat2`").rare(BEFORE_FACCESSAT2),
    call!(SYS_getegid, "as `faccessat2`").rare(BEFORE_FACCESSAT2),
    call!(SYS_getrandom, "random numbers; keys of hash maps"),
    call!(SYS_fcntl, "key files")
        .only(&[FCNTL_COMMAND.is_one_of(FCNTL, "`F_GETFL` `F_GETFD` `F_SETFD` `F_DUPFD_CLOEXEC`")]),
    call!(SYS_wait4, "the broker's end"),
    call!(SYS_kill, "the end of a broker that hangs")
        .only(&[KILL_PROCESS.is_the_broker()])
        .rare("the broker does not end when its standard input does"),
    call!(SYS_prctl, "what the second phase takes away").only(&[
        PRCTL_OPTION.is_one_of(&[libc::PR_SET_NO_NEW_PRIVS as u32], "`PR_SET_NO_NEW_PRIVS`")
    ]),
    call!(SYS_capset, "what the second phase takes away"),
    call!(SYS_prlimit64, "what the second phase takes away")
        .only(&[PRLIMIT_PROCESS.is_one_of(&[0], "this process")]),
    call!(SYS_munlockall, "a stack that is locked cannot grow without the right to lock"),
    call!(SYS_landlock_create_ruleset, "what the second phase takes away"),
    call!(SYS_landlock_restrict_self, "what the second phase takes away"),
    call!(SYS_seccomp, "what the second phase takes away"),
];

/// Calls that are allowed while keys are read if Landlock ensures that files are only read and not
/// truncated (Linux 6.2): the flags are behind a pointer, so a filter cannot check them. Without
/// Landlock the answer is `ENOSYS`, and the WASI library uses `openat`.
pub const WITH_LANDLOCK: &[Call] = &[call!(SYS_openat2, "key files")];

/// Calls that fail with `EPERM` in both phases. So code that tries to start a thread, or a guest that
/// tries to write to a key file, gets an error.
pub const REFUSED: &[Call] = &[
    call!(SYS_clone, "threads, namespaces"),
    call!(SYS_pwrite64, "a guest may try to write to a file that it may only read"),
];

/// Calls that fail with `ENOSYS` while keys are read, as on a kernel that does not have them: the C
/// library falls back to other calls, and a guest that asks for them gets an error.
pub const UNWRAPPING_ANSWERED: &[Call] = &[
    call!(SYS_clone3, "the C library then takes `clone`, whose arguments can be looked at"),
    call!(SYS_fsync, "a guest may ask for it, of files that it only reads"),
    call!(SYS_fdatasync, "a guest may ask for it, of files that it only reads"),
    call!(SYS_fadvise64, "a guest may ask for it when it reads files"),
    call!(SYS_rseq, "the C library tries it in new threads"),
    call!(SYS_set_robust_list, "the C library tries it in new threads"),
    call!(SYS_membarrier, "memory that a guest frees"),
];

/// Calls that fail with `ENOSYS` while the layer flows: the C library may make them on its own to look
/// something up in files (the number of processors, a time zone). An attempt to open a file for writing
/// ends the process.
pub const DECRYPTING_ANSWERED: &[Call] = &[
    call!(SYS_openat, "no file is opened any more")
        .only(&[OPENAT_FLAGS.is_without(READING.0, READING.1)]),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_open, "as `openat`").only(&[rule::OPEN_FLAGS.is_without(READING.0, READING.1)]),
    call!(SYS_statx, "the standard library then asks in another way"),
    call!(SYS_newfstatat, "no file is looked at any more"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_stat, "as `newfstatat`"),
    call!(SYS_readlinkat, "no file is looked at any more"),
    call!(SYS_clone3, "as before"),
    call!(SYS_rseq, "as before"),
    call!(SYS_set_robust_list, "as before"),
    call!(SYS_membarrier, "as before"),
];
