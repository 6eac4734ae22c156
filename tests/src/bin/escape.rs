//! `escape PHASE ATTEMPT DIR`: what code would do that has broken out of the sandbox.
//!
//! Puts up the walls of `ctd-decoder` (PHASE `unwrap` or `decrypt`, or `none` of them), makes one
//! attempt natively, and says on standard output what came of it: `done`, or `refused: ERRNO`. DIR
//! holds a keys directory `keys` with a file `key`, and nothing else that may be reached; its pipe
//! `log` gets what is told when a system call is stopped.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io::{self, Error, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::exit;
use std::ptr::{null, null_mut};
use std::{env, fs, thread};

use keycell_walls::alarm::{Entry, NUMBER};
use keycell_walls::decoder::{Needs, Walls};

fn main() {
    let args: Vec<_> = env::args().skip(1).collect();
    let [phase, attempt, dir] = &args[..] else {
        eprintln!("usage: escape none|unwrap|decrypt ATTEMPT DIR");
        exit(2);
    };
    let dir = Path::new(dir);
    let prepared = Prepared::new(dir).expect("the directory is as it should be");
    let keys = dir.join("keys");
    let log = fs::File::options().write(true).open(dir.join("log")).expect("a pipe");
    let walls = || {
        let alarm = Some(Entry { log: log.as_fd(), text: NUMBER.into() });
        let needs = Needs { keys: Some(&keys), alarm, ..Needs::default() };
        Walls::before_guest(needs).expect("nobody else to become")
    };
    match phase.as_str() {
        "none" => {}
        "unwrap" => drop(walls()),
        "decrypt" => drop(walls().before_layer()),
        _ => exit(2),
    }
    let outcome = match prepared.attempt(attempt) {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("refused: {error}"),
    };
    let _ = io::stdout().write_all(outcome.as_bytes());
    exit(0);
}

/// What is made beforehand, so that an attempt is that one call.
struct Prepared {
    key: CString,
    new_key: CString,
    other: CString,
    socket: std::net::UdpSocket,
    page: *mut libc::c_void,
    page_size: usize,
}

impl Prepared {
    fn new(dir: &Path) -> io::Result<Self> {
        let path = |path: &str| {
            let path = dir.join(path);
            CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
        };
        fs::write(dir.join("other"), "another file")?;
        let page_size = rustix::param::page_size();
        // SAFETY: new memory, of nobody.
        let page = unsafe {
            let (rw, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
            libc::mmap(null_mut(), page_size, rw, flags | libc::MAP_ANONYMOUS, -1, 0)
        };
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        Ok(Self {
            key: path("keys/key")?,
            new_key: path("keys/new")?,
            other: path("other")?,
            socket,
            page,
            page_size,
        })
    }

    fn attempt(&self, attempt: &str) -> io::Result<()> {
        let (key, other) = (self.key.as_ptr(), self.other.as_ptr());
        let own = std::process::id() as libc::c_int;
        // SAFETY: each call gets strings and memory that live longer than it; what it does to this
        // process is meant, and the process ends next.
        let result: i64 = unsafe {
            match attempt {
                "read-a-key" => libc::open(key, libc::O_RDONLY).into(),
                "read-another-file" => libc::open(other, libc::O_RDONLY).into(),
                "read-another-file-by-openat2" => self.openat2(other, libc::O_RDONLY),
                "write-a-key" => libc::open(key, libc::O_WRONLY).into(),
                "write-a-key-by-openat2" => self.openat2(key, libc::O_RDWR),
                "make-a-key" => {
                    libc::open(self.new_key.as_ptr(), libc::O_WRONLY | libc::O_CREAT, 0o600).into()
                }
                "remove-a-key" => libc::unlink(key).into(),
                "rename-a-key" => libc::rename(key, self.new_key.as_ptr()).into(),
                "link-a-key" => libc::link(key, self.new_key.as_ptr()).into(),
                "open-a-key-to-all" => libc::chmod(key, 0o777).into(),
                "list-the-root" => libc::open(c"/".as_ptr(), libc::O_DIRECTORY).into(),
                "change-the-root" => libc::chroot(c"/".as_ptr()).into(),
                "internet-socket" => libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0).into(),
                "unix-socket" => libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).into(),
                "send-to-an-address" => {
                    let to = self.socket.local_addr()?;
                    return self.socket.send_to(b"a key", to).map(drop);
                }
                "run-a-program" => {
                    // Where it works, the program says so.
                    let echo = [c"echo".as_ptr(), c"-n".as_ptr(), c"done".as_ptr(), null()];
                    libc::execv(c"/bin/echo".as_ptr(), echo.as_ptr()).into()
                }
                "start-a-process" => match libc::fork() {
                    0 => libc::_exit(0),
                    child => child.into(),
                },
                "start-a-thread" => {
                    return thread::Builder::new().spawn(|| ()).map(drop);
                }
                "be-traced" => libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0),
                "read-memory-of-a-process" => {
                    let mut byte = 0u8;
                    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
                    let there = libc::iovec { iov_base: self.page, iov_len: 1 };
                    libc::process_vm_readv(own, &here, 1, &there, 1, 0) as i64
                }
                "signal-the-parent" => libc::kill(libc::getppid(), 0).into(),
                "signal-a-thread-of-the-parent" => {
                    let parent = libc::getppid();
                    libc::syscall(libc::SYS_tgkill, parent, parent, 0)
                }
                "new-code" => self.map(libc::PROT_READ | libc::PROT_EXEC),
                "code-from-data" => {
                    let flags = libc::PROT_READ | libc::PROT_EXEC;
                    libc::mprotect(self.page, self.page_size, flags).into()
                }
                "become-root-again" => libc::setresuid(0, 0, 0).into(),
                "new-namespace" => libc::unshare(0).into(),
                "replace-the-alarm" => {
                    let action: libc::sigaction = std::mem::zeroed();
                    libc::sigaction(libc::SIGSYS, &action, null_mut()).into()
                }
                "duplicate-a-descriptor" => libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3).into(),
                "memory-file" => libc::memfd_create(c"code".as_ptr(), libc::MFD_CLOEXEC).into(),
                "two-gibibytes" => {
                    let (rw, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
                    let flags = flags | libc::MAP_ANONYMOUS;
                    let memory = libc::mmap(null_mut(), 2 << 30, rw, flags, -1, 0);
                    if memory == libc::MAP_FAILED { -1 } else { 0 }
                }
                "raise-a-limit" => {
                    let more = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
                    // What was lowered cannot be raised; here it is still lowered.
                    libc::setrlimit(libc::RLIMIT_NOFILE, &more).into()
                }
                "dump-memory" => libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0).into(),
                "call-of-another-kind" => libc::syscall(libc::SYS_sysinfo, self.page),
                _ => exit(2),
            }
        };
        if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
    }

    fn openat2(&self, path: *const libc::c_char, flags: libc::c_int) -> i64 {
        let how: [u64; 3] = [flags.unsigned_abs().into(), 0, 0];
        // SAFETY: `how` is an `open_how` of openat2(2), 24 bytes long.
        unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path, &how, size_of_val(&how)) }
    }

    fn map(&self, protection: libc::c_int) -> i64 {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new memory, of nobody.
        let page = unsafe { libc::mmap(null_mut(), self.page_size, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED { -1 } else { 0 }
    }
}
