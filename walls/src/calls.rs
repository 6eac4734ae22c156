//! The system calls of `ctd-decoder`, each with the reason why it is there.
//!
//! In a list of its phase a call is allowed. What becomes of the others, and why, is said in
//! [`super::seccomp`]. To allow one more, add a line here with its reason, and a row in
//! `docs/walls.md`.

use libc::c_long;

/// A call that may be made, and when.
#[derive(Clone, Copy)]
pub struct Call {
    /// Its number on this architecture.
    pub number: c_long,
    /// With which arguments.
    pub only: Only,
    /// What it is needed for.
    pub why: &'static str,
}

/// Which arguments a call may have. Arguments count from 0, and their lower 32 bits are looked at.
#[derive(Clone, Copy)]
pub enum Only {
    /// Any.
    Always,
    /// This argument is one of these.
    Equal(u8, &'static [u32]),
    /// This argument has none of these bits.
    Without(u8, u32),
    /// This argument is the number of this process.
    Own(u8),
    /// This argument is the broker's process group, negated; never, where there is no broker.
    Broker(u8),
}

const fn call(number: c_long, why: &'static str) -> Call {
    Call { number, only: Only::Always, why }
}

const fn only(number: c_long, only: Only, why: &'static str) -> Call {
    Call { number, only, why }
}

/// No page becomes executable after the guest was loaded.
const NO_CODE: Only = Only::Without(2, libc::PROT_EXEC as u32);

/// Not to write, and nothing new.
const READING: Only = Only::Without(2, NOT_READING);

/// Not `O_ACCMODE`, of which musl says that `O_PATH` is a part.
const NOT_READING: u32 = (libc::O_WRONLY
    | libc::O_RDWR
    | libc::O_CREAT
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;

/// While there is a guest: in both phases.
pub const ALWAYS: &[Call] = &[
    call(libc::SYS_read, "the layer, key files, the broker's answers"),
    call(libc::SYS_write, "the plain layer, messages, the log"),
    call(libc::SYS_writev, "messages of several parts"),
    call(libc::SYS_pread64, "key files; a spooled layer"),
    call(libc::SYS_pwrite64, "a spooled layer"),
    call(libc::SYS_lseek, "key files; a spooled layer"),
    call(libc::SYS_ftruncate, "a spooled layer"),
    call(libc::SYS_fstat, "whether standard output is a pipe"),
    call(libc::SYS_close, "what is done with"),
    call(libc::SYS_ppoll, "descriptors that do not block"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_poll, "as `ppoll`"),
    only(
        libc::SYS_sendto,
        Only::Equal(4, &[0]),
        "the system's log, through a socket that is connected already: no address",
    ),
    only(libc::SYS_mmap, NO_CODE, "memory of guests and of the host"),
    only(libc::SYS_mprotect, NO_CODE, "memory of guests; their code, when they are dropped"),
    call(libc::SYS_munmap, "memory of guests and of the host"),
    call(libc::SYS_mremap, "memory of the host that grows"),
    call(libc::SYS_madvise, "memory of guests"),
    call(libc::SYS_brk, "memory of the host"),
    call(libc::SYS_futex, "locks of the standard library"),
    call(libc::SYS_getrandom, "random numbers; keys of hash maps"),
    call(libc::SYS_clock_gettime, "time limits and the log, where the kernel has no vDSO"),
    call(libc::SYS_clock_nanosleep, "waiting for the broker's end; the pause after a failure"),
    call(libc::SYS_nanosleep, "as `clock_nanosleep`"),
    call(libc::SYS_setitimer, "the timer of the deadline"),
    call(libc::SYS_rt_sigreturn, "the end of the timer's signal handler"),
    call(libc::SYS_rt_sigprocmask, "signal handlers, aborting"),
    call(libc::SYS_sigaltstack, "the stack of signal handlers"),
    call(libc::SYS_restart_syscall, "what the kernel does after a signal"),
    call(libc::SYS_getpid, "the log"),
    call(libc::SYS_gettid, "aborting"),
    only(libc::SYS_tgkill, Only::Own(0), "aborting: signals to this process alone"),
    only(libc::SYS_tkill, Only::Own(0), "as `tgkill`, to its first thread"),
    call(libc::SYS_sched_yield, "locks of the standard library"),
    only(
        libc::SYS_clone,
        Only::Equal(0, &[libc::SIGCHLD as u32]),
        "the child that holds standard output for a moment after a failure: a process, not a \
         thread, without namespaces",
    ),
    call(libc::SYS_exit, "the end"),
    call(libc::SYS_exit_group, "the end"),
];

/// What is asked of a descriptor. musl's `open` sets its flag once more, for kernels of 2007.
const FCNTL: &[u32] = &[
    libc::F_GETFL as u32,
    libc::F_GETFD as u32,
    libc::F_SETFD as u32,
    libc::F_DUPFD_CLOEXEC as u32,
];

/// Before the layer flows: keys are read, the broker is asked, and the second filter is put up.
/// The last ones can only take rights away.
pub const UNWRAPPING: &[Call] = &[
    only(libc::SYS_openat, READING, "key files"),
    #[cfg(target_arch = "x86_64")]
    only(libc::SYS_open, Only::Without(1, NOT_READING), "as `openat`"),
    call(libc::SYS_openat2, "key files; Landlock sees that they are read and nothing else"),
    call(libc::SYS_statx, "key files"),
    call(libc::SYS_newfstatat, "key files"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_stat, "as `newfstatat`"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_lstat, "as `newfstatat`"),
    call(libc::SYS_readlinkat, "links among the key files"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_readlink, "as `readlinkat`"),
    call(libc::SYS_getdents64, "the list of key files"),
    call(libc::SYS_fadvise64, "a guest may ask for it when it reads files"),
    only(libc::SYS_fcntl, Only::Equal(1, FCNTL), "key files"),
    call(libc::SYS_wait4, "the broker's end"),
    only(libc::SYS_kill, Only::Broker(0), "the end of a broker that hangs"),
    only(
        libc::SYS_prctl,
        Only::Equal(0, &[libc::PR_SET_NO_NEW_PRIVS as u32]),
        "what the second phase takes away",
    ),
    call(libc::SYS_capset, "what the second phase takes away"),
    only(libc::SYS_prlimit64, Only::Equal(0, &[0]), "what the second phase takes away"),
    call(libc::SYS_munlockall, "a stack that is locked cannot grow without the right to lock"),
    call(libc::SYS_landlock_create_ruleset, "what the second phase takes away"),
    call(libc::SYS_landlock_restrict_self, "what the second phase takes away"),
    call(libc::SYS_seccomp, "what the second phase takes away"),
];

/// Answered with `ENOSYS` while keys are read, as by a kernel that does not have them: the C
/// library falls back, and a guest that asks for them gets an error.
pub const UNWRAPPING_ANSWERED: &[Call] = &[
    call(libc::SYS_clone3, "the C library then takes `clone`, whose arguments can be looked at"),
    call(libc::SYS_fsync, "a guest may ask for it, of files that it only reads"),
    call(libc::SYS_fdatasync, "a guest may ask for it, of files that it only reads"),
    call(libc::SYS_rseq, "the C library tries it in new threads"),
    call(libc::SYS_set_robust_list, "the C library tries it in new threads"),
    call(libc::SYS_membarrier, "memory that a guest frees"),
];

/// Answered with `ENOSYS` while the layer flows: what the C library, on its own, may look up in
/// files (the number of processors, a time zone). An attempt to write a file ends the process.
pub const DECRYPTING_ANSWERED: &[Call] = &[
    only(libc::SYS_openat, READING, "no file is opened any more"),
    #[cfg(target_arch = "x86_64")]
    only(libc::SYS_open, Only::Without(1, NOT_READING), "as `openat`"),
    call(libc::SYS_statx, "the standard library then asks in another way"),
    call(libc::SYS_newfstatat, "no file is looked at any more"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_stat, "as `newfstatat`"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_lstat, "as `newfstatat`"),
    call(libc::SYS_readlinkat, "no file is looked at any more"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_readlink, "as `readlinkat`"),
    call(libc::SYS_clone3, "as before"),
    call(libc::SYS_rseq, "as before"),
    call(libc::SYS_set_robust_list, "as before"),
    call(libc::SYS_membarrier, "as before"),
];

/// What no PKCS#11 module needs, and code that was taken over would like: answered with `EPERM`.
/// A list of what is forbidden, because nobody knows what all modules need.
pub const MODULE_FORBIDDEN: &[Call] = &[
    call(libc::SYS_ptrace, "other processes' memory"),
    call(libc::SYS_process_vm_readv, "other processes' memory"),
    call(libc::SYS_process_vm_writev, "other processes' memory"),
    call(libc::SYS_pidfd_getfd, "other processes' descriptors"),
    call(libc::SYS_open_by_handle_at, "files past all paths"),
    call(libc::SYS_init_module, "the kernel's code"),
    call(libc::SYS_finit_module, "the kernel's code"),
    call(libc::SYS_delete_module, "the kernel's code"),
    call(libc::SYS_kexec_load, "another kernel"),
    call(libc::SYS_reboot, "the node"),
    call(libc::SYS_bpf, "the kernel's code"),
    call(libc::SYS_perf_event_open, "what other processes do"),
    call(libc::SYS_userfaultfd, "a help to attack the kernel"),
    call(libc::SYS_io_uring_setup, "calls that no filter sees"),
    call(libc::SYS_mount, "the file system"),
    call(libc::SYS_umount2, "the file system"),
    call(libc::SYS_move_mount, "the file system"),
    call(libc::SYS_open_tree, "the file system"),
    call(libc::SYS_fsopen, "the file system"),
    call(libc::SYS_pivot_root, "the file system"),
    call(libc::SYS_chroot, "the file system"),
    call(libc::SYS_setns, "other namespaces"),
    call(libc::SYS_unshare, "other namespaces"),
    call(libc::SYS_swapon, "where memory is written to"),
    call(libc::SYS_swapoff, "where memory is written to"),
    call(libc::SYS_settimeofday, "the node's time"),
    call(libc::SYS_clock_settime, "the node's time"),
    call(libc::SYS_sethostname, "the node's name"),
];
