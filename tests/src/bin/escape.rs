//! `escape PHASE ATTEMPT DIR`: what code that has escaped the sandbox would do.
//!
//! Puts up the walls of `ctd-decoder` (PHASE `unwrap` or `decrypt`, or `none` of them), makes one
//! attempt natively, and prints its result on standard output: `done`, or `refused: ERRNO`. DIR
//! holds a keys directory `keys` with a file `key`, and nothing else that may be reached; its pipe
//! `log` gets the report of a stopped system call. Its file `events` stands for a log with earlier
//! events, which is open to append.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io::{self, Error, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::exit;
use std::ptr::{null, null_mut};
use std::{env, fs, thread};

use keycell_walls::decoder::{Needs, Walls};
use keycell_walls::sigsys::{Entry, NUMBER};

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
        let stopped_call = Some(Entry { log: log.as_fd(), text: NUMBER.into() });
        let needs = Needs { keys: Some(&keys), stopped_call, ..Needs::default() };
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

/// Everything that is prepared, so that an attempt is a single call.
struct Prepared {
    key: CString,
    new_key: CString,
    other: CString,
    socket: std::net::UdpSocket,
    /// A log that appends.
    events: fs::File,
    /// The same file, open to read and write: as an operator's shell may leave standard output.
    shared: fs::File,
    /// Connected to a log, and the address of another socket.
    journal: UnixDatagram,
    stranger: (UnixDatagram, libc::sockaddr_un),
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
        let open = |options: &mut fs::OpenOptions| options.open(dir.join("events"));
        let (journal, stranger) = sockets(dir)?;
        Ok(Self {
            key: path("keys/key")?,
            new_key: path("keys/new")?,
            other: path("other")?,
            socket,
            events: open(fs::File::options().append(true))?,
            shared: open(fs::File::options().read(true).write(true))?,
            journal,
            stranger,
            page,
            page_size,
        })
    }

    fn attempt(&self, attempt: &str) -> io::Result<()> {
        match attempt {
            "send-to-an-address" => {
                let to = self.socket.local_addr()?;
                self.socket.send_to(b"a key", to).map(drop)
            }
            "send-to-an-address-with-no-lower-half" => self.send_past_32_bits(),
            "start-a-thread" => thread::Builder::new().spawn(|| ()).map(drop),
            _ => {
                let result = self.on_a_descriptor(attempt);
                let result = result.or_else(|| self.on_a_path(attempt));
                let result = result.or_else(|| self.by_a_call(attempt));
                let Some(result) = result else { exit(2) };
                if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
            }
        }
    }

    /// What can be done with what is open.
    fn on_a_descriptor(&self, attempt: &str) -> Option<i64> {
        let (events, shared) = (self.events.as_raw_fd(), self.shared.as_raw_fd());
        // SAFETY: the descriptors and memory live longer than the calls, which change the file alone.
        let result: i64 = unsafe {
            match attempt {
                "truncate-the-log" => libc::ftruncate(events, 0).into(),
                "overwrite-the-log" => {
                    libc::pwrite(shared, self.page.cast_const(), 1, 0).try_into().ok()?
                }
                "map-the-log" => {
                    let (rw, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
                    let memory = libc::mmap(null_mut(), self.page_size, rw, flags, shared, 0);
                    if memory == libc::MAP_FAILED { -1 } else { 0 }
                }
                "no-more-append" => libc::fcntl(events, libc::F_SETFL, 0).into(),
                "punch-a-hole" => {
                    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                    libc::fallocate(events, mode, 0, 10).into()
                }
                "replace-the-log" => libc::dup2(shared, events).into(),
                "seek-in-standard-input" => libc::lseek(0, 0, libc::SEEK_SET),
                "change-the-mode-of-the-log" => libc::fchmod(events, 0o666).into(),
                "control-a-device" => {
                    let mut left: libc::c_int = 0;
                    libc::ioctl(shared, libc::FIONREAD, &raw mut left).into()
                }
                "give-memory-away" => {
                    libc::madvise(self.page, self.page_size, libc::MADV_DOFORK).into()
                }
                _ => return None,
            }
        };
        Some(result)
    }

    /// The address lies where its lower 32 bits are zero.
    fn send_past_32_bits(&self) -> io::Result<()> {
        let (rw, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        let flags = flags | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let at = std::ptr::without_provenance_mut(0x1_0000_0000);
        // SAFETY: new memory, of nobody, long enough for an address, which is copied there.
        let sent = unsafe {
            let page = libc::mmap(at, self.page_size, rw, flags, -1, 0);
            if page == libc::MAP_FAILED {
                return Err(Error::last_os_error());
            }
            let address = page.cast::<libc::sockaddr_un>();
            *address = self.stranger.1;
            let (secret, length) = (b"the layer key", size_of::<libc::sockaddr_un>() as u32);
            let journal = self.journal.as_raw_fd();
            libc::sendto(journal, secret.as_ptr().cast(), 13, 0, address.cast(), length)
        };
        if sent < 0 { Err(Error::last_os_error()) } else { Ok(()) }
    }

    /// What can be done with a path.
    fn on_a_path(&self, attempt: &str) -> Option<i64> {
        let (key, other) = (self.key.as_ptr(), self.other.as_ptr());
        // SAFETY: each call gets strings that live longer than it, and changes files of the test alone.
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
                "truncate-a-key-by-openat2" => self.openat2(key, libc::O_RDONLY | libc::O_TRUNC),
                "write-to-own-memory-by-openat2" => {
                    self.openat2(c"/proc/self/mem".as_ptr(), libc::O_RDWR)
                }
                _ => return None,
            }
        };
        Some(result)
    }

    fn by_a_call(&self, attempt: &str) -> Option<i64> {
        let own = std::process::id() as libc::c_int;
        // SAFETY: each call gets memory that lives longer than it; what it does to this process is
        // meant, and the process ends next.
        let result: i64 = unsafe {
            match attempt {
                "internet-socket" => libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0).into(),
                "unix-socket" => libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).into(),
                "run-a-program" => {
                    // Where it works, the program says so.
                    let echo = [c"echo".as_ptr(), c"-n".as_ptr(), c"done".as_ptr(), null()];
                    libc::execv(c"/bin/echo".as_ptr(), echo.as_ptr()).into()
                }
                "start-a-process" => match libc::fork() {
                    0 => libc::_exit(0),
                    child => child.into(),
                },
                "start-a-process-in-a-namespace" => {
                    let flags: libc::c_long = (libc::CLONE_NEWUTS | libc::SIGCHLD).into();
                    match libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) {
                        0 => libc::_exit(0),
                        child => child,
                    }
                }
                "be-traced" => libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0),
                "read-memory-of-a-process" => {
                    let mut byte = 0u8;
                    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
                    let there = libc::iovec { iov_base: self.page, iov_len: 1 };
                    libc::process_vm_readv(own, &here, 1, &there, 1, 0) as i64
                }
                "signal-the-parent" => libc::kill(libc::getppid(), 0).into(),
                "signal-everyone" => libc::kill(-1, 0).into(),
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
                "replace-the-handler" => {
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
                "limit-the-parent" => {
                    let (parent, core) = (libc::getppid(), libc::RLIMIT_CORE);
                    let mut its = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                    libc::prlimit(parent, core, null(), &raw mut its).into()
                }
                "dump-memory" => libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0).into(),
                "call-of-another-kind" => libc::syscall(libc::SYS_sysinfo, self.page),
                _ => return None,
            }
        };
        Some(result)
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

/// A socket that is connected as that of a log is, and another with its address.
fn sockets(dir: &Path) -> io::Result<(UnixDatagram, (UnixDatagram, libc::sockaddr_un))> {
    let journal = UnixDatagram::unbound()?;
    let (log, other) = (dir.join("journal"), dir.join("stranger"));
    // Its other end stays open.
    std::mem::forget(UnixDatagram::bind(&log)?);
    journal.connect(&log)?;
    let stranger = UnixDatagram::bind(&other)?;
    // SAFETY: zero is a valid address of no family.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, byte) in address.sun_path.iter_mut().zip(other.as_os_str().as_bytes()) {
        *to = byte.cast_signed();
    }
    Ok((journal, (stranger, address)))
}
