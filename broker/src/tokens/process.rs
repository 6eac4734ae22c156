//! The process that loads a module, as its parent sees it.
//!
//! A module is native code of a vendor: it may crash, hang, print, or need variables in its environment
//! that nothing else should see. So each operation runs in its own process: the program is started
//! again, loads the module, answers one question and ends. This also puts the variables of a key file
//! into the environment without `unsafe`: they exist when the process starts.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use zeroize::Zeroizing;

use super::child::ARGUMENT;
use super::wire::{Answer, Question};
use crate::self_exec;

/// How long a module may take to end its sessions after its answer.
const EXIT_WAIT: Duration = Duration::from_secs(2);

/// Pauses, in milliseconds, before a token that was absent is looked for again.
///
/// SoftHSM rewrites a token's file at each login, and another process that reads it at that moment does
/// not see the token (softhsm/SoftHSMv2 issue 757). containerd starts a decoder for each layer, many at
/// a time. Go ctd-decoder fails in this case.
const PAUSES: [u64; 5] = [20, 50, 100, 200, 400];

/// Lets a process with `variables` in its environment answer a question. The whole call takes at most
/// `timeout`.
///
/// # Errors
///
/// What happened to the process, if it gave no answer in time.
pub(super) fn ask(
    question: Question,
    variables: &[(String, Zeroizing<String>)],
    timeout: Duration,
) -> Result<Answer, Error> {
    let question = Arc::new(question);
    let deadline = Instant::now() + timeout;
    let mut pauses = PAUSES.into_iter();
    loop {
        let answer =
            ask_once(question.clone(), variables, deadline)?.ok_or(Error::Late(timeout))?;
        match (&answer, pauses.next()) {
            (Answer::Absent(_), Some(pause)) => std::thread::sleep(jitter(pause)),
            _ => return Ok(answer),
        }
    }
}

/// A varying duration from half of the pause to one and a half, so that processes that collided do not
/// collide again.
fn jitter(pause: u64) -> Duration {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_micros(pause * (500 + u64::from(clock.subsec_micros()) % 1000))
}

/// Why a module gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process can be started for it.
    #[error("no process could be started for the module: {0}")]
    NotStarted(io::Error),
    /// Its process has ended.
    #[error("the module gave no answer: {}", describe(*.0))]
    Ended(ExitStatus),
    /// Its process has closed its output.
    #[error("the module gave no answer")]
    Silent,
    /// It took too long.
    #[error("the module gave no answer within {} seconds and was ended", .0.as_secs_f32())]
    Late(Duration),
}

/// Asks once. It returns `None` if the time is over.
fn ask_once(
    question: Arc<Question>,
    variables: &[(String, Zeroizing<String>)],
    deadline: Instant,
) -> Result<Option<Answer>, Error> {
    let mut command = self_exec::command(ARGUMENT);
    command
        .envs(variables.iter().map(|(name, value)| (name, value.as_str())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What a module prints cannot be controlled, and may contain the PIN.
        .stderr(Stdio::null())
        // The process has its own group, so that everything that the module starts can be ended with
        // it.
        .process_group(0);
    let child = command.spawn().map_err(Error::NotStarted)?;
    let mut process = Process { child, reaped: false };
    let answers = process.converse(question);
    match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(answer)) => {
            // This waits until the process has closed its output, or until the time for that is over.
            let _ = answers.recv_timeout(EXIT_WAIT);
            Ok(Some(answer))
        }
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
            Err(process.outcome().map_or(Error::Silent, Error::Ended))
        }
        Err(RecvTimeoutError::Timeout) => Ok(None),
    }
}

/// A process that is ended when this value is dropped.
struct Process {
    child: Child,
    reaped: bool,
}

impl Process {
    /// Asks in a separate thread. The answer comes through the channel, which closes when the process
    /// has closed its output.
    fn converse(&mut self, question: Arc<Question>) -> Receiver<io::Result<Answer>> {
        let (sender, receiver) = channel();
        let pipes = (self.child.stdin.take(), self.child.stdout.take());
        std::thread::spawn(move || {
            let (Some(stdin), Some(mut stdout)) = pipes else {
                return;
            };
            // This fails if the process has already ended; then there is no answer either.
            let _ = question.write(stdin);
            drop(question);
            if sender.send(Answer::read(&mut stdout)).is_ok() {
                let _ = io::copy(&mut stdout, &mut io::sink());
            }
        });
        receiver
    }

    /// How the process ended, if it ended by itself. It has closed its pipes, and gets a short time to
    /// end.
    fn outcome(&mut self) -> Option<ExitStatus> {
        let pid = self.pid()?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        for _ in 0..20 {
            match waitid(WaitId::Pid(pid), options) {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) => return self.end(),
                Err(_) => break,
            }
        }
        None
    }

    /// Ends the process and everything that it started.
    fn end(&mut self) -> Option<ExitStatus> {
        // This comes before the process is waited for: until then its number belongs to no other
        // process.
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.reaped = true;
        self.child.wait().ok()
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).filter(|_| !self.reaped)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.end();
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("it crashed (signal {signal})"),
        (None, Some(code)) => format!("it ended the process (exit code {code})"),
        (None, None) => "it ended the process".to_owned(),
    }
}
