//! The process that loads a module: the code that runs inside it.

use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;

use keycell_walls::memory::no_dump;
use keycell_walls::module::around_module;
use rustix::process::Signal;

use super::lock::LoginLock;
use super::module;
use super::wire::{Answer, Question};

/// The only argument of this process.
pub const ARGUMENT: &str = "pkcs11-token";

/// Whether this process was started to load a module.
pub(crate) fn is_asked() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|first| first == ARGUMENT) && arguments.next().is_none()
}

/// Reads a question from stdin, lets a module answer it, and writes the answer to stdout.
pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // stderr is not read: the broker sees that there is no answer.
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> io::Result<()> {
    // No core dump may hold the PIN, and this process must not outlive the broker. If the kernel pipes
    // dumps to a program, the limit on dumps has no effect, but a process that is not dumpable leaves
    // none.
    let _ = no_dump();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;

    let question = Question::read(io::stdin().by_ref())?;
    // What a module prints must not get into the answer, and its input must be empty.
    let answers = File::from(rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?);
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;

    let lock = LoginLock::open();
    if let Err(why) = around_module(&question.module, question.files.as_deref()) {
        return Answer::Failed(format!("the module cannot be confined to `module-files`: {why}"))
            .write(&answers);
    }
    let mut outcome = Ok(());
    module::perform(&question, &lock, |answer| outcome = answer.write(&answers));
    outcome
}
