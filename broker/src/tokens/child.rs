//! The process that a module is loaded into, seen from inside.

use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;

use keycell_walls::memory::no_dump;
use keycell_walls::module::around_module;
use rustix::process::Signal;

use super::lock::LoginLock;
use super::module;
use super::wire::{Answer, Question};

/// The one argument that this process is started with.
pub const ARGUMENT: &str = "pkcs11-token";

/// Whether this process was started to hold a module.
pub(crate) fn is_asked() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|first| first == ARGUMENT) && arguments.next().is_none()
}

/// Reads a question from stdin, has a module answer it, and writes the answer to stdout.
pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads stderr: the broker sees that there is no answer.
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> io::Result<()> {
    // No core dump may hold the PIN, and nobody may be left waiting for a dead broker. The dump's
    // limit does not count where the kernel pipes dumps to a program; not being dumpable does.
    let _ = no_dump();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;

    let question = Question::read(io::stdin().by_ref())?;
    // What a module prints must not get into the answer, and it has nothing to read.
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
