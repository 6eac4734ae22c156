//! System calls that a PKCS#11 module, or a provider's command with `files`, may not make.
//!
//! This is a list of forbidden calls, because nobody knows what all modules need. It includes the calls
//! that Docker and systemd forbid (`@clock`, `@debug`, `@module`, `@mount`, `@obsolete`, `@raw-io`,
//! `@reboot`, `@swap`, `@keyring` of systemd.exec(5)). A call that is newer than the list fails as if
//! it did not exist.

use super::rule::{CLONE_FLAGS, PERSONALITY, PRLIMIT_PROCESS};
use super::{Call, call};

/// The newest call that was reviewed, `futex_requeue` of Linux 6.7. Since `pidfd_send_signal`, numbers
/// are the same on all architectures. Higher numbers fail with `ENOSYS`, as on a kernel of that time.
/// (Those of x32, from `0x4000_0000` on, fail with `EPERM`.)
pub const NEWEST: u32 = 456;

/// All kinds of namespaces that clone(2) can create. (`CLONE_NEWTIME` works only with `unshare` and
/// `clone3`.)
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// The allowed arguments of personality(2): none of them changes how memory is laid out or protected.
const PERSONALITIES: &[u32] = &[0, 0xffff_ffff];

/// Calls that are allowed under a condition. Otherwise [`MODULE_FORBIDDEN`] applies to them.
pub const MODULE_ALLOWED: &[Call] = &[
    call!(SYS_clone, "processes and threads")
        .only(&[CLONE_FLAGS.is_without(NAMESPACES, "without `CLONE_NEW…`")]),
    call!(SYS_prlimit64, "its own limits").only(&[PRLIMIT_PROCESS.is_one_of(&[0], "this process")]),
    call!(SYS_personality, "asking for it")
        .only(&[PERSONALITY.is_one_of(PERSONALITIES, "`PER_LINUX`, or to ask")]),
];

/// Calls that fail with `ENOSYS`.
pub const MODULE_ENOSYS: &[Call] =
    &[call!(SYS_clone3, "the C library then takes `clone`, whose flags can be looked at")];

/// Calls that fail with `EPERM`.
pub const MODULE_FORBIDDEN: &[Call] = &[
    call!(SYS_clone, "other namespaces"),
    call!(SYS_unshare, "other namespaces"),
    call!(SYS_setns, "other namespaces"),
    call!(SYS_personality, "how memory is laid out"),
    call!(SYS_prlimit64, "other processes"),
    call!(SYS_ptrace, "other processes"),
    call!(SYS_process_vm_readv, "other processes"),
    call!(SYS_process_vm_writev, "other processes"),
    call!(SYS_process_madvise, "other processes"),
    call!(SYS_process_mrelease, "other processes"),
    call!(SYS_migrate_pages, "other processes"),
    call!(SYS_move_pages, "other processes"),
    call!(SYS_kcmp, "other processes"),
    call!(SYS_pidfd_open, "other processes"),
    call!(SYS_pidfd_getfd, "other processes"),
    call!(SYS_pidfd_send_signal, "other processes"),
    call!(SYS_perf_event_open, "other processes"),
    call!(SYS_lookup_dcookie, "other processes"),
    call!(SYS_add_key, "the kernel's keys"),
    call!(SYS_request_key, "the kernel's keys"),
    call!(SYS_keyctl, "the kernel's keys"),
    call!(SYS_name_to_handle_at, "files past all paths"),
    call!(SYS_open_by_handle_at, "files past all paths"),
    call!(SYS_fanotify_init, "files of others"),
    call!(SYS_fanotify_mark, "files of others"),
    call!(SYS_quotactl, "files of others"),
    call!(SYS_quotactl_fd, "files of others"),
    call!(SYS_init_module, "the kernel's code"),
    call!(SYS_finit_module, "the kernel's code"),
    call!(SYS_delete_module, "the kernel's code"),
    call!(SYS_bpf, "the kernel's code"),
    call!(SYS_kexec_load, "another kernel"),
    #[cfg(not(all(target_arch = "aarch64", target_env = "musl")))]
    call!(SYS_kexec_file_load, "another kernel"),
    call!(SYS_userfaultfd, "a help to attack the kernel"),
    call!(SYS_io_uring_setup, "calls that no filter sees"),
    call!(SYS_io_uring_enter, "calls that no filter sees"),
    call!(SYS_io_uring_register, "calls that no filter sees"),
    call!(SYS_mount, "the file system"),
    call!(SYS_umount2, "the file system"),
    call!(SYS_mount_setattr, "the file system"),
    call!(SYS_move_mount, "the file system"),
    call!(SYS_open_tree, "the file system"),
    call!(SYS_fsopen, "the file system"),
    call!(SYS_fsconfig, "the file system"),
    call!(SYS_fsmount, "the file system"),
    call!(SYS_fspick, "the file system"),
    call!(SYS_pivot_root, "the file system"),
    call!(SYS_chroot, "the file system"),
    call!(SYS_swapon, "where memory is written to"),
    call!(SYS_swapoff, "where memory is written to"),
    call!(SYS_settimeofday, "the node's time"),
    call!(SYS_clock_settime, "the node's time"),
    call!(SYS_clock_adjtime, "the node's time"),
    call!(SYS_adjtimex, "the node's time"),
    call!(SYS_sethostname, "the node"),
    call!(SYS_setdomainname, "the node"),
    call!(SYS_reboot, "the node"),
    call!(SYS_acct, "the node"),
    call!(SYS_syslog, "the node"),
    call!(SYS_vhangup, "the node"),
    call!(SYS_nfsservctl, "obsolete"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_iopl, "the hardware"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_ioperm, "the hardware"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_modify_ldt, "a help to attack the kernel"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS__sysctl, "obsolete"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_uselib, "obsolete"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_ustat, "obsolete"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_sysfs, "obsolete"),
];
