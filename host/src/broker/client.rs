//! The broker: a program next to this one that asks key providers and PKCS#11 tokens. It is started
//! before the guest, only if the operator has configured a provider or tokens, and it ends before the
//! layer flows. Its answers pass to the guest or into a message; the host does not interpret them.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keycell_broker_protocol::{Found, MAX_FRAME, Request, Response, frame_length};
use keycell_core::limits;
use keycell_diagnostic::hint::DecoderHint;
use keycell_diagnostic::os_error;
use keycell_trusted_path::{self as trusted, Trust};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

/// The name of the program, which is in the same directory as this one.
const PROGRAM: &str = "keycell-broker";

/// What to do if the program is missing.
const INSTALL: &str = "install `keycell-broker` beside `ctd-decoder`";

/// The variable that names the file of the operator's key providers.
const PROVIDERS: &str = "OCICRYPT_KEYPROVIDER_CONFIG";

/// The variable that names the file of the PKCS#11 modules that may be loaded.
const TOKENS: &str = "OCICRYPT_CONFIG";

/// The file that is used if [`TOKENS`] is not set and the user has no file of their own.
const TOKENS_FILE: &str = "/etc/ocicrypt.conf";

/// Why the broker gives no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrokerError {
    /// The file of the key providers does not exist.
    #[error("there is no file `{}`, which `{PROVIDERS}` names", .0.display())]
    NoProviderFile(PathBuf),
    /// Others can change the program, or it does not exist.
    #[error(
        "cannot start `{}`, which asks key providers and tokens: {error}; {}",
        program.display(),
        fix(error)
    )]
    Untrusted {
        /// The program.
        program: PathBuf,
        /// Who can change it.
        error: Arc<trusted::Error>,
    },
    /// The system cannot start it.
    #[error("cannot start `{}`, which asks key providers and tokens: {}", program.display(), os_error(error))]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// Why.
        error: Arc<io::Error>,
    },
    /// The system refuses an operation on a path or a pipe.
    #[error("{}", os_error(.0))]
    System(Arc<io::Error>),
    /// It received too many requests, or took too long.
    #[error("gave up after many keys that providers and tokens did not open")]
    Exhausted,
    /// It broke down.
    #[error("the broker failed: {0}")]
    Broken(ExchangeError),
    /// Its answer does not fit the request.
    #[error("the broker gave the wrong answer")]
    WrongAnswer,
    /// It answered that the request failed, with a reason.
    #[error("{0}")]
    Answered(String),
}

impl BrokerError {
    /// What mends it, unless the broker has answered: the answer says that.
    pub fn hint(&self) -> Option<DecoderHint> {
        match self {
            Self::NoProviderFile(_) => Some(DecoderHint::ProviderFileMissing),
            Self::Untrusted { error, .. } if error.is_distrust() => {
                Some(DecoderHint::ProtectBroker { fix: error.mend() })
            }
            Self::Untrusted { .. } => Some(DecoderHint::BrokerMissing),
            Self::NotStarted { .. } => Some(DecoderHint::BrokerMissing),
            Self::System(_) | Self::Broken(_) | Self::WrongAnswer => {
                Some(DecoderHint::BrokerFailed)
            }
            Self::Exhausted | Self::Answered(_) => None,
        }
    }
}

/// Why an exchange of a request and an answer failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The request is longer than a frame may be.
    #[error("the request is too long")]
    LongRequest,
    /// The answer is longer than a frame may be.
    #[error("its answer is too long")]
    LongAnswer,
    /// The answer is malformed.
    #[error("it gave a malformed answer")]
    Malformed,
    /// The program has ended.
    #[error("it has ended")]
    Ended,
    /// The program did not answer in time.
    #[error("it did not answer in time")]
    Late,
    /// The system refuses an operation.
    #[error("{}", os_error(.0))]
    System(Arc<io::Error>),
}

fn fix(error: &trusted::Error) -> String {
    if error.is_distrust() { error.mend() } else { INSTALL.to_owned() }
}

/// The broker, if one is configured.
pub struct Broker {
    state: State,
    /// Whether PKCS#11 modules may be configured.
    has_tokens: bool,
    /// The time that is left for all calls together.
    left: Duration,
    calls: u32,
}

enum State {
    NotConfigured,
    Running(Process),
    /// It could not be started, or has failed; with the reason.
    Broken(BrokerError),
}

impl Broker {
    /// Starts the program, if a provider or a token is configured. If that fails, every call returns
    /// the reason: layers that need no broker must not fail.
    ///
    /// # Ambient Authority
    /// Runs `keycell-broker`, from the directory of this program, with the rights of this process.
    pub fn start() -> Self {
        let has_tokens = has_tokens();
        let providers = std::env::var_os(PROVIDERS).filter(|path| !path.is_empty());
        let state = match providers.as_ref().map(Path::new) {
            None if !has_tokens => State::NotConfigured,
            // containerd's default configuration names a file that most nodes do not have.
            Some(path) if !has_tokens && !path.exists() => {
                State::Broken(BrokerError::NoProviderFile(path.to_owned()))
            }
            _ => Process::start().map_or_else(State::Broken, State::Running),
        };
        Self { state, has_tokens, left: Duration::from_secs(limits::BROKER_SECONDS), calls: 0 }
    }

    /// A broker without any configuration.
    pub fn none() -> Self {
        Self { state: State::NotConfigured, has_tokens: false, left: Duration::ZERO, calls: 0 }
    }

    /// Whether a broker runs.
    pub fn is_configured(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// The process group of the program, if it runs.
    pub fn group(&self) -> Option<i32> {
        match &self.state {
            State::Running(process) => i32::try_from(process.child.id()).ok(),
            State::NotConfigured | State::Broken(_) => None,
        }
    }

    /// Lists the keys directory, or the key file, if PKCS#11 modules are allowed: then PINs stay in the
    /// broker. It returns `None` if the guest may read the keys itself.
    ///
    /// # Errors
    /// Why the broker cannot tell.
    pub fn keys(&mut self, path: &Path) -> Result<Option<Vec<Found>>, BrokerError> {
        if !self.has_tokens {
            return Ok(None);
        }
        let path =
            std::path::absolute(path).map_err(|error| BrokerError::System(Arc::new(error)))?;
        let path = path.as_os_str().as_bytes().to_vec();
        match self.ask(|_| Request::Keys { path })? {
            Response::NotConfigured => Ok(None),
            Response::Keys(found) => Ok(Some(found)),
            Response::Failed(why) => Err(BrokerError::Answered(why)),
            Response::Opened(_)
            | Response::OtherProviders(_)
            | Response::ClientKeyFailed { .. } => Err(BrokerError::WrongAnswer),
        }
    }

    /// Sends a request to the broker, and waits for the answer. `request` builds it from the time that
    /// it may take, in milliseconds.
    pub fn ask(&mut self, request: impl FnOnce(u32) -> Request) -> Result<Response, BrokerError> {
        let process = match &mut self.state {
            State::NotConfigured => return Ok(Response::NotConfigured),
            State::Broken(why) => return Err(why.clone()),
            State::Running(process) => process,
        };
        self.calls += 1;
        if self.calls > limits::BROKER_CALLS || self.left.is_zero() {
            return Err(BrokerError::Exhausted);
        }
        let time = self.left.min(Duration::from_secs(limits::BROKER_CALL_SECONDS));
        let frame = request(time.as_millis() as u32).encode();
        let started = Instant::now();
        let answer = process.exchange(&frame, started + time + GRACE);
        self.left = self.left.saturating_sub(started.elapsed());
        let answer =
            answer.and_then(|frame| Response::decode(&frame).map_err(|_| ExchangeError::Malformed));
        answer.map_err(|why| {
            let why = BrokerError::Broken(why);
            self.state = State::Broken(why.clone());
            why
        })
    }

    /// Seconds that calls have taken so far, rounded up.
    pub fn seconds(&self) -> u64 {
        let spent = Duration::from_secs(limits::BROKER_SECONDS).saturating_sub(self.left);
        if self.calls == 0 { 0 } else { spent.as_secs() + 1 }
    }
}

/// The broker enforces the time itself and reports it with a better message; it is killed this much
/// later.
const GRACE: Duration = Duration::from_secs(2);

/// Whether one of the variables is set, or one of the files exists, in which Go's library looks for
/// PKCS#11 modules. Only the broker reads what they contain.
fn has_tokens() -> bool {
    let below = |name, path| {
        let home = std::env::var_os(name).unwrap_or_default();
        !home.is_empty() && Path::new(&home).join(path).exists()
    };
    is_set(TOKENS)
        || below("XDG_CONFIG_HOME", "ocicrypt.conf")
        || below("HOME", ".config/ocicrypt.conf")
        || Path::new(TOKENS_FILE).exists()
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The running program. When it is dropped, the program ends, with all processes that it has started.
struct Process {
    child: Child,
    /// None once it is asked to end.
    requests: Option<ChildStdin>,
    answers: ChildStdout,
}

impl Process {
    fn start() -> Result<Self, BrokerError> {
        let program = beside()?;
        // It gets PINs, and runs with the rights of this process.
        if let Err(error) = Trust::of_this_process().check(&program) {
            return Err(BrokerError::Untrusted { program, error: Arc::new(error) });
        }
        let mut command = Command::new(&program);
        // It has the environment and the working directory of this process: as with Go, a provider's
        // command gets the variables, and relative paths count from that directory.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command
            .spawn()
            .map_err(|error| BrokerError::NotStarted { program, error: Arc::new(error) })?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(BrokerError::Broken(ExchangeError::Ended));
        };
        let process = Self { child, requests: Some(requests), answers };
        // A broker that does not read or answer must not make this process wait.
        let pipes = [process.requests.as_ref().map(AsFd::as_fd), Some(process.answers.as_fd())];
        for pipe in pipes.into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)
                .map_err(|error| BrokerError::System(Arc::new(error.into())))?;
        }
        Ok(process)
    }

    fn exchange(
        &mut self,
        frame: &[u8],
        until: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
        let length = frame_length(frame).map_err(|_| ExchangeError::LongRequest)?;
        self.write(&length, until)?;
        self.write(frame, until)?;
        let mut length = [0; 4];
        self.read(&mut length, until)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_FRAME {
            return Err(ExchangeError::LongAnswer);
        }
        let mut answer = Zeroizing::new(vec![0; length]);
        self.read(&mut answer, until)?;
        Ok(answer)
    }

    fn write(&mut self, mut bytes: &[u8], until: Instant) -> Result<(), ExchangeError> {
        let Some(requests) = &mut self.requests else { return Err(ExchangeError::Ended) };
        while !bytes.is_empty() {
            match requests.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) => wait_until_ready(error, requests, PollFlags::OUT, until)?,
            }
        }
        Ok(())
    }

    fn read(&mut self, mut buffer: &mut [u8], until: Instant) -> Result<(), ExchangeError> {
        while !buffer.is_empty() {
            match self.answers.read(buffer) {
                Ok(0) => return Err(ExchangeError::Ended),
                Ok(read) => buffer = &mut buffer[read..],
                Err(error) => wait_until_ready(error, &self.answers, PollFlags::IN, until)?,
            }
        }
        Ok(())
    }
}

impl Drop for Process {
    /// The program ends by itself when no more requests can come, or when it gets `SIGTERM`, because
    /// the processes that it has started must end before it. Otherwise it is killed.
    fn drop(&mut self) {
        drop(self.requests.take());
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        for (moments, signal) in [(50, Signal::TERM), (100, Signal::KILL)] {
            for _ in 0..moments {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(MOMENT);
            }
            if let Some(group) = group {
                let _ = kill_process_group(group, signal); // it may have ended by itself
            }
        }
        let _ = self.child.wait();
    }
}

/// How long to wait before looking again whether the broker has ended.
const MOMENT: Duration = Duration::from_millis(2);

/// The path of the broker, in the directory of this program. No environment variable changes it.
fn beside() -> Result<PathBuf, BrokerError> {
    let own = std::env::current_exe().map_err(|error| BrokerError::System(Arc::new(error)))?;
    Ok(own.with_file_name(PROGRAM))
}

/// Waits until `pipe` is ready, if `error` means that it is not.
fn wait_until_ready(
    error: io::Error,
    pipe: &impl AsFd,
    flags: PollFlags,
    until: Instant,
) -> Result<(), ExchangeError> {
    match error.kind() {
        io::ErrorKind::Interrupted => return Ok(()),
        io::ErrorKind::WouldBlock => {}
        io::ErrorKind::BrokenPipe => return Err(ExchangeError::Ended),
        _ => return Err(ExchangeError::System(Arc::new(error))),
    }
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ExchangeError::Late);
    }
    let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    match poll(&mut [PollFd::new(pipe, flags)], Some(&left)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(ExchangeError::System(Arc::new(error.into()))),
    }
}
