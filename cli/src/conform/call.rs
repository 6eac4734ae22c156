//! One run of a target: pipes on its descriptors, as containerd has them, and a time limit.

use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::waiting::wait;

use super::case::{Case, Expect};
use super::stage::Stage;
use super::target::Target;

/// More than any expected output: past it, a target writes without end.
const SURPLUS: usize = 4 << 20;

/// The most that is kept of a message.
const MESSAGE: usize = 64 << 10;

/// How a target ended.
pub enum End {
    /// By itself.
    Exit(ExitStatus),
    /// It did not, within the time limit.
    Hang(Duration),
}

/// The outcome of a run.
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What came out.
    pub stdout: Vec<u8>,
    /// More came out than anyone could expect; the rest was not read.
    pub flooded: bool,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// Runs the target to its end, or kills it when the time is over.
///
/// # Errors
/// When it cannot be started.
pub fn run(target: &Target, stage: &Stage, case: &Case, limit: Duration) -> Result<Outcome> {
    let (input, payload) = match (&stage.payload, target.is_framed()) {
        (Some(payload), true) => (framed(payload, &stage.layer)?, None),
        (payload, _) => (stage.layer.clone(), payload.as_deref()),
    };
    // The shell opens the pipe's reading end anew, so this one has to stay until the target ends.
    let pipe = payload.map(|_| io::pipe()).transpose()?;
    let mut command = command(target, stage, case, pipe.as_ref().map(|(reader, _)| reader));
    let child = command.spawn().context("cannot start `/bin/sh`")?;
    Ok(attend(child, case, &input, payload.zip(pipe), limit)?)
}

/// The length of the payload in four bytes, the payload, then the layer.
fn framed(payload: &[u8], layer: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(payload.len()).context("a payload of 4 GiB")?;
    Ok([&length.to_be_bytes(), payload, layer].concat())
}

/// A shell places the descriptors beyond standard error, closes others, and becomes the target.
fn command(target: &Target, stage: &Stage, case: &Case, payload: Option<&PipeReader>) -> Command {
    let mut script = String::from("exec \"$@\"");
    match payload {
        Some(reader) => {
            script += &format!(" 3</proc/{}/fd/{}", std::process::id(), reader.as_raw_fd());
        }
        None => script += " 3<&-",
    }
    for number in &case.call.closed {
        script += &format!(" {number}<&-");
    }
    let words = ["-c", &script, "sh"].map(OsString::from);
    let mut command = Command::new("/bin/sh");
    command.args(words.into_iter().chain(target.words(stage, case)));
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.envs(stage.media_type.iter().map(|value| ("STREAM_PROCESSOR_MEDIATYPE", value)));
    command.envs(case.call.env.iter().map(|(name, value)| (name, stage.filled(value))));
    command.current_dir(stage.around());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that whatever it starts ends with it.
    command.process_group(0);
    command
}

/// Feeds the pipes, empties them, and waits.
fn attend(
    mut child: Child,
    case: &Case,
    input: &[u8],
    payload: Option<(&[u8], (PipeReader, PipeWriter))>,
    limit: Duration,
) -> io::Result<Outcome> {
    let group = Pid::from_child(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        // A target that ends early breaks these pipes; its exit status is what counts.
        let reader = payload.map(|(bytes, (reader, mut writer))| {
            scope.spawn(move || writer.write_all(bytes).is_ok());
            reader
        });
        let feeder = scope.spawn(move || feed(stdin, input, case));
        let most = case.call.reads.unwrap_or_else(|| expected(case).saturating_add(SURPLUS));
        let output = scope.spawn(move || take(stdout, most, case.call.reads_slowly));
        let message = scope.spawn(move || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            if let Some(mut stderr) = stderr {
                stderr.by_ref().take(MESSAGE as u64).read_to_end(&mut bytes)?;
                io::copy(&mut stderr, &mut io::sink())?;
            }
            Ok(bytes)
        });

        let end = wait(&mut child, limit);
        // This also ends processes that the target left behind with open pipes.
        let _ = kill_process_group(group, Signal::KILL);
        let end = match end? {
            Some(status) => End::Exit(status),
            None => {
                child.wait()?;
                End::Hang(limit)
            }
        };
        drop(reader);
        drop(joined(feeder));
        let stdout = joined(output)?;
        let flooded = case.call.reads.is_none() && stdout.len() >= most;
        Ok(Outcome { end, stdout, flooded, stderr: joined(message)? })
    })
}

/// Writes the layer. Standard input that is to stay open comes back.
fn feed(stdin: Option<ChildStdin>, input: &[u8], case: &Case) -> Option<ChildStdin> {
    let mut stdin = stdin?;
    let (size, pause) = case.call.pieces.map_or((usize::MAX, 0), |way| (way.bytes, way.pause));
    for piece in input.chunks(size.max(1)) {
        if stdin.write_all(piece).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(pause));
    }
    case.call.stdin_stays_open.then_some(stdin)
}

/// Reads so many bytes at most, then closes the pipe.
fn take(stdout: Option<impl Read>, most: usize, pause: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(stdout) = stdout else { return Ok(bytes) };
    let mut stdout = stdout.take(most as u64);
    // As much as a pipe holds.
    while stdout.by_ref().take(64 << 10).read_to_end(&mut bytes)? > 0 {
        thread::sleep(Duration::from_millis(pause));
    }
    Ok(bytes)
}

fn expected(case: &Case) -> usize {
    match case.expect {
        Expect::Plain { size, .. } => size,
        Expect::Refused { most } => most,
        Expect::Stops {} => 0,
    }
}

fn joined<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
