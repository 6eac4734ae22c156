//! One run of a decoder, called exactly as containerd calls it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

pub use crate::outcome::Outcome;

use crate::descriptors;
use crate::running::Running;
use crate::tools::Tool;

/// Longer than any layer of these tests takes on a loaded machine: past it, the decoder hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the decoder finds on descriptor 3.
#[derive(Clone, Debug)]
enum Third {
    Closed,
    Pipe(Vec<u8>),
}

/// How much of stdout is read.
#[derive(Clone, Copy, Debug)]
enum Reader {
    ToTheEnd,
    ClosesAfter(usize),
}

/// A moment in a decoder's life, as the kernel reports it.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// It has begun and waits for the payload: it handles `SIGALRM`, the last signal whose action it
    /// sets, and sleeps, so its log is open.
    Begun,
    /// The layer flows: it has put up the filter of the second step.
    Flows,
}

impl Moment {
    fn has_come(self, pid: Pid) -> bool {
        let Ok(status) = Running::status(pid.as_raw_nonzero().get().cast_unsigned()) else {
            return false;
        };
        let field = |name: &str| status.get(name).cloned().unwrap_or_default();
        let caught = u64::from_str_radix(&field("SigCgt"), 16).unwrap_or_default();
        let handles = caught & (1 << (Signal::ALARM.as_raw() - 1)) != 0;
        match self {
            Self::Begun => handles && field("State").starts_with('S'),
            // Between the second filter and the first wait for the layer, the event is not complete.
            Self::Flows => {
                handles && field("Seccomp_filters") == "2" && field("State").starts_with('S')
            }
        }
    }
}

/// Builds a call of the decoder.
///
/// Pipes on 0, 1, 2 and 3; the environment of a service (not this process's) and
/// `STREAM_PROCESSOR_MEDIATYPE`; SIGPIPE at its default, which is what Rust's `Command` leaves its
/// children with.
#[derive(Clone, Debug)]
pub struct Decoder {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    third: Third,
    closed: Vec<RawFd>,
    layer: Vec<u8>,
    stdin_stays_open: bool,
    payload_stays_open: bool,
    pieces: Option<(usize, Duration)>,
    reader: Reader,
    stdout: Option<PathBuf>,
    stderr: Option<PathBuf>,
    signal: Option<(Signal, Moment)>,
    nonblocking: bool,
    leaking: bool,
    directory: Option<PathBuf>,
    user: Option<u32>,
    inside: Vec<OsString>,
    meter: Option<PathBuf>,
    deadline: Duration,
}

impl Decoder {
    /// The decoder that `make` built. Nothing on any descriptor yet, no arguments.
    pub fn new() -> Result<Self> {
        Ok(Self::at(&crate::dist("ctd-decoder")?))
    }

    /// Any other decoder.
    pub fn at(program: &Path) -> Self {
        Self {
            program: program.to_path_buf(),
            args: Vec::new(),
            env: vec![(
                "PATH".into(),
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            )],
            third: Third::Closed,
            closed: Vec::new(),
            layer: Vec::new(),
            stdin_stays_open: false,
            payload_stays_open: false,
            pieces: None,
            reader: Reader::ToTheEnd,
            stdout: None,
            stderr: None,
            signal: None,
            nonblocking: false,
            leaking: false,
            directory: None,
            user: None,
            inside: Vec::new(),
            meter: None,
            deadline: DEADLINE,
        }
    }

    /// The same call of another program.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.to_path_buf();
        self
    }

    /// `--decryption-keys-path PATH`.
    pub fn keys(self, path: &Path) -> Self {
        self.arg("--decryption-keys-path").arg(path)
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// `STREAM_PROCESSOR_MEDIATYPE`: the type of the encrypted layer.
    pub fn media_type(self, media_type: &str) -> Self {
        self.env("STREAM_PROCESSOR_MEDIATYPE", media_type)
    }

    /// The bytes on descriptor 3. Without them the descriptor is closed, as it is when containerd
    /// has no payload.
    pub fn payload(mut self, bytes: Vec<u8>) -> Self {
        self.third = Third::Pipe(bytes);
        self
    }

    /// The encrypted layer, on stdin.
    pub fn layer(mut self, bytes: Vec<u8>) -> Self {
        self.layer = bytes;
        self
    }

    /// Never ends stdin: a result that must not need the whole layer has to come without the end.
    pub fn stdin_stays_open(mut self) -> Self {
        self.stdin_stays_open = true;
        self
    }

    /// Starts the decoder with this descriptor closed.
    pub fn close(mut self, descriptor: RawFd) -> Self {
        self.closed.push(descriptor);
        self
    }

    /// Reads this many bytes of the plaintext, then closes the pipe, as containerd does when it
    /// gives up on a layer.
    pub fn reader_closes_after(mut self, bytes: usize) -> Self {
        self.reader = Reader::ClosesAfter(bytes);
        self
    }

    /// Writes the layer in pieces of so many bytes, with a pause after each.
    pub fn in_pieces(mut self, bytes: usize, pause: Duration) -> Self {
        self.pieces = Some((bytes, pause));
        self
    }

    /// A file in the place of the pipe on stdout. None of it is read.
    pub fn stdout_to(mut self, path: &Path) -> Self {
        self.stdout = Some(path.to_path_buf());
        self
    }

    /// A file in the place of the pipe on stderr. What it holds at the end is the outcome's.
    pub fn stderr_to(mut self, path: &Path) -> Self {
        self.stderr = Some(path.to_path_buf());
        self
    }

    /// Sends a signal at some moment. To be used with a stream that does not end.
    pub fn signalled(mut self, signal: Signal, moment: Moment) -> Self {
        self.signal = Some((signal, moment));
        self
    }

    /// With the payload's pipe left open: the decoder waits for its end.
    pub fn payload_stays_open(mut self) -> Self {
        self.payload_stays_open = true;
        self
    }

    /// Descriptors 0 to 3 do not block, as a caller with an event loop may leave them.
    pub fn nonblocking(mut self) -> Self {
        self.nonblocking = true;
        self
    }

    /// Open files on descriptors 4 to 10, as a caller that forgot to close them leaves them.
    pub fn leaking(mut self) -> Self {
        self.leaking = true;
        self
    }

    /// In this working directory.
    pub fn in_directory(mut self, path: &Path) -> Self {
        self.directory = Some(path.to_path_buf());
        self
    }

    /// As another user, without groups: root may read everything. Needs `setpriv`, and a decoder
    /// that this user can execute.
    pub fn as_user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Started by these words, which run the program that follows them.
    pub fn inside(mut self, words: Vec<OsString>) -> Self {
        self.inside = words;
        self
    }

    /// Measures the peak of its memory, with the program `meter` of this package.
    pub fn measured(mut self, meter: impl Into<PathBuf>) -> Self {
        self.meter = Some(meter.into());
        self
    }

    /// Another deadline than half a minute.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// When it does not start, or does not end before the deadline: a hang is a failure.
    pub fn run(&self) -> Result<Outcome> {
        descriptors::reserve();
        let peak = tempfile::NamedTempFile::new()?;
        let mut command = self.command(peak.path())?;
        let payload = match &self.third {
            Third::Closed => {
                descriptors::close(&mut command, 3);
                None
            }
            Third::Pipe(bytes) => {
                let (reader, writer) = io::pipe()?;
                descriptors::place(&mut command, OwnedFd::from(reader), 3);
                Some((writer, bytes.as_slice()))
            }
        };
        if self.nonblocking {
            (0..=3).for_each(|number| descriptors::unblock(&mut command, number));
        }
        if self.leaking {
            for number in 4..=10 {
                descriptors::place(&mut command, OwnedFd::from(File::open("/proc/self")?), number);
            }
        }
        for &descriptor in &self.closed {
            descriptors::close(&mut command, descriptor);
        }

        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.program.display()))?;
        // This side's copy of the payload's reading end lives in the command.
        drop(command);
        let mut outcome = self.attend(child, payload, started)?;
        if self.meter.is_some() {
            let kilobytes = std::fs::read_to_string(peak.path())?;
            outcome.peak = kilobytes.trim().parse().context("the meter wrote no number")?;
        }
        Ok(outcome)
    }

    /// The call without what is special about its descriptors, in its wrappings.
    fn command(&self, peak: &Path) -> Result<Command> {
        let mut words = self.inside.clone();
        if let Some(id) = self.user {
            words.push(Tool::Setpriv.find()?.into());
            words.extend([format!("--reuid={id}").into(), format!("--regid={id}").into()]);
            words.push("--clear-groups".into());
        }
        if let Some(meter) = &self.meter {
            words.extend([meter.into(), peak.into()]);
        }
        words.push(self.program.clone().into());
        words.extend(self.args.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(self.env.iter().cloned());
        command.stdin(Stdio::piped());
        match &self.stderr {
            Some(path) => command.stderr(File::options().write(true).open(path)?),
            None => command.stderr(Stdio::piped()),
        };
        match &self.stdout {
            Some(path) => command.stdout(File::options().write(true).open(path)?),
            None => command.stdout(Stdio::piped()),
        };
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        // In its own process group, so that everything that it starts ends with it.
        command.process_group(0);
        Ok(command)
    }

    /// Feeds the pipes, empties them and waits.
    fn attend(
        &self,
        mut child: Child,
        payload: Option<(PipeWriter, &[u8])>,
        started: Instant,
    ) -> Result<Outcome> {
        let group = Pid::from_child(&child);
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();

        thread::scope(|scope| {
            // A decoder that ends early breaks these pipes; its exit status is what counts.
            let payload = payload.map(|(mut writer, bytes)| {
                scope.spawn(move || {
                    let written = writer.write_all(bytes);
                    (written.is_ok() && self.payload_stays_open).then_some(writer)
                })
            });
            let feeder = scope.spawn(move || {
                let (size, pause) = self.pieces.unwrap_or((usize::MAX, Duration::ZERO));
                for piece in self.layer.chunks(size) {
                    if stdin.write_all(piece).is_err() {
                        break;
                    }
                    thread::sleep(pause);
                }
                self.stdin_stays_open.then_some(stdin)
            });
            let plaintext = scope.spawn(move || -> io::Result<Vec<u8>> {
                let mut bytes = Vec::new();
                let Some(mut stdout) = stdout else { return Ok(bytes) };
                match self.reader {
                    Reader::ToTheEnd => stdout.read_to_end(&mut bytes)?,
                    Reader::ClosesAfter(limit) => {
                        stdout.take(limit as u64).read_to_end(&mut bytes)?
                    }
                };
                Ok(bytes)
            });
            let messages = scope.spawn(move || -> io::Result<Vec<u8>> {
                let mut bytes = Vec::new();
                if let Some(mut stderr) = stderr {
                    stderr.read_to_end(&mut bytes)?;
                }
                Ok(bytes)
            });

            let status = self.wait(&mut child, group, started)?;
            let elapsed = started.elapsed();
            // Also ends any process that the decoder left behind and that holds these pipes.
            let _ = kill_process_group(group, Signal::KILL);
            if status.is_none() {
                child.wait()?;
            }
            drop(joined(feeder)?);
            drop(payload.map(joined).transpose()?);
            let stdout = joined(plaintext)??;
            let mut stderr = joined(messages)??;
            if let Some(path) = &self.stderr {
                stderr = std::fs::read(path)?;
            }
            let stderr = String::from_utf8_lossy(&stderr).into_owned();
            let Some(status) = status else {
                bail!("the decoder did not end within {:?}; stderr: {stderr}", self.deadline);
            };
            Ok(Outcome { status, stdout, stderr, elapsed, peak: 0 })
        })
    }

    /// Waits until the decoder ends or its deadline has passed, and sends the signal that is due in between.
    fn wait(&self, child: &mut Child, group: Pid, started: Instant) -> Result<Option<ExitStatus>> {
        let mut signal = self.signal;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            if let Some((number, moment)) = signal
                && moment.has_come(group)
            {
                kill_process(group, number)?;
                signal = None;
            }
            if started.elapsed() > self.deadline {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a pipe's thread panicked"))
}
