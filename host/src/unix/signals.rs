//! Signals: which of them the process ignores, and which of them end it with a message and an event.
//!
//! A caller may leave signals ignored or blocked to the program that it starts. Nothing here depends
//! on that: [`take_over`] sets all of them before anything else happens.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

/// The stack of signal handlers, in bytes: as large as wasmtime wants it, which would otherwise map
/// one of its own. Rust's is too small for the registers of some processors and a message.
const STACK: usize = 256 * 1024;

/// What lies below it, so that a handler that needs more does not write elsewhere.
const GUARD: usize = 64 * 1024;

/// The last of Linux's signals, those for real time included.
const LAST: libc::c_int = 64;

/// Signals that a bug raises, and the one that the limit on processor time does. They are handled
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

/// The process that decodes.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Why a signal ends the process.
#[derive(Clone, Copy)]
pub enum Reason {
    /// Somebody asked for it.
    Terminated,
    /// A bug, or the limit on processor time.
    Crashed,
}

/// Reports why the process ends, and ends it; it returns where a signal that asks for the end comes
/// too late. Must be async-signal-safe.
pub type End = fn(Reason, libc::c_int);

static END: OnceLock<End> = OnceLock::new();

/// What is done with a signal.
enum Plan {
    /// It stays as the caller left it.
    Leave,
    /// A write that cannot be made fails with an error.
    Ignore,
    /// The system's default: an ignored `SIGCHLD` would take the broker's exit status away.
    Default,
    /// The process ends, with a message and an event.
    End { handler: extern "C" fn(libc::c_int), unless_ignored: bool },
}

fn plan(signal: libc::c_int) -> Plan {
    match signal {
        libc::SIGPIPE | libc::SIGXFSZ => Plan::Ignore,
        libc::SIGCHLD => Plan::Default,
        // They cannot be handled, or do not end a process.
        libc::SIGKILL | libc::SIGSTOP | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => {
            Plan::Leave
        }
        libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Plan::Leave,
        // The deadline needs it.
        libc::SIGALRM => Plan::End { handler: terminated, unless_ignored: false },
        signal if CRASHES.contains(&signal) => {
            Plan::End { handler: crashed, unless_ignored: false }
        }
        // As nohup(1) asks for it.
        _ => Plan::End { handler: terminated, unless_ignored: true },
    }
}

/// Sets what is done with every signal, and blocks none. To be called first of all, before wasmtime's
/// handlers, which pass on what is not a trap of a guest. `end` reports and ends the process.
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
    // SAFETY: both structures are made of integers and pointers for which zero is valid; the calls
    // read `action` and write `before`. The handlers do nothing but what signal-safety(7) allows. A
    // number that is no signal, or that the C library keeps to itself, is an error that changes
    // nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        // One at a time: a second signal would cut the message of the first one short. A crash in a
        // handler is let through, since the kernel would kill the process without a word.
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

/// Somebody wants the process to end.
extern "C" fn terminated(signal: libc::c_int) {
    end(Reason::Terminated, signal);
}

extern "C" fn crashed(signal: libc::c_int) {
    end(Reason::Crashed, signal);
    exit()
}

/// A child that has not executed another program yet, or only waits, has these handlers too. It ends
/// without a report, because it is not the layer's end.
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
    // SAFETY: async-signal-safe, and does not return.
    unsafe { libc::_exit(1) }
}

/// Where it cannot be had, handlers run on the stack that there is.
#[expect(unsafe_code, reason = "memory is mapped, and given to the kernel as a stack")]
fn own_stack() {
    // SAFETY: new memory, which nothing else knows of and which is never unmapped; of its `GUARD`
    // first bytes none can be written to. The kernel reads `stack`.
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
