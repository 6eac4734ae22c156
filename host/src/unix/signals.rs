//! Signals: which of them the process ignores, and which of them end it with a message and an event.
//!
//! A caller may start the program with signals ignored or blocked. Nothing here depends on that:
//! [`take_over`] sets all of them before anything else happens.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

/// The size of the stack of signal handlers, in bytes. It is as large as wasmtime requires, which would
/// otherwise map its own. The stack that Rust provides is too small for the registers of some
/// processors and a message.
const STACK: usize = 256 * 1024;

/// The size of the guard below it, so that a handler that needs more stack does not overwrite other
/// memory.
const GUARD: usize = 64 * 1024;

/// The highest signal of Linux, including the real-time signals.
const LAST: libc::c_int = 64;

/// Signals that a bug raises, and the one that the limit on processor time raises. They are handled
/// even if the caller ignored them.
const CRASHES: [libc::c_int; 8] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGXCPU,
];

/// The id of the process that decodes.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Why a signal ends the process.
#[derive(Clone, Copy)]
pub enum Reason {
    /// Another process, or a person, asked for it.
    Terminated,
    /// There was a bug, or the limit on processor time was reached.
    Crashed,
}

/// Reports why the process ends, and ends it. It returns if a signal that asks the process to end comes
/// too late. It must be async-signal-safe.
pub type End = fn(Reason, libc::c_int);

static END: OnceLock<End> = OnceLock::new();

/// How a signal is handled.
enum Plan {
    /// The signal stays as the caller left it.
    Leave,
    /// A write that cannot be made fails with an error.
    Ignore,
    /// The system's default applies: an ignored `SIGCHLD` would discard the broker's exit status.
    Default,
    /// The process ends, with a message and an event.
    End { handler: extern "C" fn(libc::c_int), unless_ignored: bool },
}

fn plan(signal: libc::c_int) -> Plan {
    match signal {
        libc::SIGPIPE | libc::SIGXFSZ => Plan::Ignore,
        libc::SIGCHLD => Plan::Default,
        // These signals cannot be handled, or do not end a process.
        libc::SIGKILL | libc::SIGSTOP | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => {
            Plan::Leave
        }
        libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Plan::Leave,
        // The deadline needs it.
        libc::SIGALRM => Plan::End { handler: terminated, unless_ignored: false },
        signal if CRASHES.contains(&signal) => {
            Plan::End { handler: crashed, unless_ignored: false }
        }
        // nohup(1) relies on ignored signals staying ignored.
        _ => Plan::End { handler: terminated, unless_ignored: true },
    }
}

/// Sets how every signal is handled, and unblocks all. It must be called first, before wasmtime
/// installs its handlers, which pass on every signal that is not a trap of a guest. `end` reports and
/// ends the process.
pub fn take_over(end: End) {
    let _ = END.set(end);
    OWNER.store(std::process::id(), Ordering::Relaxed);
    own_stack();
    for signal in 1..=LAST {
        set(signal, &plan(signal));
    }
    unblock();
}

#[expect(unsafe_code, reason = "no crate that is built here does this")]
fn unblock() {
    // SAFETY: the set is emptied before it is read; nothing else is touched.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
}

#[expect(unsafe_code, reason = "signal handlers")]
fn set(signal: libc::c_int, plan: &Plan) {
    let (handler, unless_ignored) = match plan {
        Plan::Leave => return,
        Plan::Ignore => (libc::SIG_IGN, false),
        Plan::Default => (libc::SIG_DFL, false),
        Plan::End { handler, unless_ignored } => {
            (*handler as *const () as libc::sighandler_t, *unless_ignored)
        }
    };
    // SAFETY: both structures consist of integers and pointers for which zero is valid; the calls read
    // `action` and write `before`. The handlers do only what signal-safety(7) allows. For a number that
    // is no signal, or that the C library reserves for itself, the call fails and changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        // Handlers run one at a time: a second signal would interrupt the message of the first. A crash
        // in a handler stays unblocked, since the kernel would otherwise kill the process without a
        // message.
        libc::sigfillset(&mut action.sa_mask);
        for crash in CRASHES {
            libc::sigdelset(&mut action.sa_mask, crash);
        }
        if CRASHES.contains(&signal) {
            action.sa_flags |= libc::SA_NODEFER;
        }
        let done = libc::sigaction(signal, &action, &mut before) == 0;
        if done && unless_ignored && before.sa_sigaction == libc::SIG_IGN {
            libc::sigaction(signal, &before, ptr::null_mut());
        }
    }
}

/// The handler for signals that ask the process to end.
extern "C" fn terminated(signal: libc::c_int) {
    end(Reason::Terminated, signal);
}

extern "C" fn crashed(signal: libc::c_int) {
    end(Reason::Crashed, signal);
    exit()
}

/// A child that has not executed another program yet, or only waits, has these handlers too. It ends
/// without a report, because its end is not the layer's end.
fn end(reason: Reason, signal: libc::c_int) {
    if std::process::id() != OWNER.load(Ordering::Relaxed) {
        exit()
    }
    if let Some(end) = END.get() {
        end(reason, signal);
    }
}

/// Ends the process at once, with exit code 1. Async-signal-safe.
#[expect(unsafe_code, reason = "the one way out of a signal handler")]
pub fn exit() -> ! {
    // SAFETY: the call is async-signal-safe and does not return.
    unsafe { libc::_exit(1) }
}

/// Sets up a stack for signal handlers. If that fails, handlers run on the current stack.
#[expect(unsafe_code, reason = "memory is mapped, and given to the kernel as a stack")]
fn own_stack() {
    // SAFETY: this is new memory, which nothing else refers to and which is never unmapped; its first
    // `GUARD` bytes stay inaccessible. The kernel reads `stack`.
    unsafe {
        let (length, none) = (GUARD + STACK, ProtFlags::empty());
        let Ok(start) = mmap_anonymous(ptr::null_mut(), length, none, MapFlags::PRIVATE) else {
            return;
        };
        let bottom = start.byte_add(GUARD);
        if mprotect(bottom, STACK, MprotectFlags::READ | MprotectFlags::WRITE).is_ok() {
            let stack = libc::stack_t { ss_sp: bottom, ss_flags: 0, ss_size: STACK };
            libc::sigaltstack(&stack, ptr::null_mut());
        }
    }
}
