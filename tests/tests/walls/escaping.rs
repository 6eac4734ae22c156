//! Native code behind the decoder's walls, as a sandbox escape would be: the program `escape` puts
//! up the very walls that `ctd-decoder` does, and makes one attempt.
//!
//! Each attempt works without walls, or the case says nothing.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use Outcome::{Done, Refused, Stopped};

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It works: it is needed.
    Done,
    /// The kernel answers with an error, and the program goes on.
    Refused,
    /// The program is ended, with a message.
    Stopped,
}

/// The attempts, and what becomes of each while keys are unwrapped and while the layer flows.
const ATTEMPTS: [(&str, Outcome, Outcome); 49] = [
    ("read-a-key", Done, Refused),
    ("read-another-file", Refused, Refused),
    ("read-another-file-by-openat2", Refused, Stopped),
    ("write-a-key", Stopped, Stopped),
    ("write-a-key-by-openat2", Refused, Stopped),
    ("write-to-own-memory-by-openat2", Refused, Stopped),
    ("truncate-a-key-by-openat2", Refused, Stopped),
    ("make-a-key", Stopped, Stopped),
    ("remove-a-key", Stopped, Stopped),
    ("rename-a-key", Stopped, Stopped),
    ("link-a-key", Stopped, Stopped),
    ("open-a-key-to-all", Stopped, Stopped),
    ("list-the-root", Refused, Refused),
    ("change-the-root", Stopped, Stopped),
    ("internet-socket", Stopped, Stopped),
    ("unix-socket", Stopped, Stopped),
    ("send-to-an-address", Stopped, Stopped),
    ("send-to-an-address-with-no-lower-half", Stopped, Stopped),
    ("run-a-program", Stopped, Stopped),
    ("start-a-process", Refused, Refused),
    ("start-a-process-in-a-namespace", Refused, Refused),
    // glibc wants a signal handler first; musl does not, and is refused the thread.
    ("start-a-thread", Stopped, Stopped),
    ("be-traced", Stopped, Stopped),
    ("read-memory-of-a-process", Stopped, Stopped),
    ("signal-the-parent", Stopped, Stopped),
    ("signal-everyone", Stopped, Stopped),
    ("signal-a-thread-of-the-parent", Stopped, Stopped),
    ("new-code", Stopped, Stopped),
    ("code-from-data", Stopped, Stopped),
    ("become-root-again", Stopped, Stopped),
    ("new-namespace", Stopped, Stopped),
    ("replace-the-handler", Stopped, Stopped),
    ("duplicate-a-descriptor", Done, Stopped),
    ("truncate-the-log", Stopped, Stopped),
    ("overwrite-the-log", Refused, Refused),
    ("map-the-log", Stopped, Stopped),
    ("no-more-append", Stopped, Stopped),
    ("punch-a-hole", Stopped, Stopped),
    ("replace-the-log", Stopped, Stopped),
    ("seek-in-standard-input", Stopped, Stopped),
    ("change-the-mode-of-the-log", Stopped, Stopped),
    ("control-a-device", Stopped, Stopped),
    ("give-memory-away", Stopped, Stopped),
    ("limit-the-parent", Stopped, Stopped),
    ("memory-file", Stopped, Stopped),
    ("two-gibibytes", Refused, Refused),
    ("raise-a-limit", Done, Stopped),
    ("dump-memory", Stopped, Stopped),
    ("call-of-another-kind", Stopped, Stopped),
];

pub(crate) fn cases(suite: &mut Suite) {
    for (attempt, unwrap, decrypt) in ATTEMPTS {
        for (phase, expected) in [("unwrap", unwrap), ("decrypt", decrypt)] {
            suite.case(format!("escape/{phase}/{attempt}"), &[Tool::Root], move || {
                let (control, said) = outcome(&[], "none", attempt)?;
                ensure!(control == Done, "it does not even work without walls: {said}");
                let (came, said) = outcome(&[], phase, attempt)?;
                ensure!(came == expected, "{came:?}, where {expected:?} was expected: {said}");
                Ok(())
            });
        }
    }
    // The other way round: what one wall alone stops gets through where the kernel lacks it.
    for (wall, phase, attempt) in [
        ("landlock", "unwrap", "read-another-file"),
        ("seccomp", "unwrap", "internet-socket"),
        ("seccomp", "unwrap", "new-code"),
        ("seccomp", "decrypt", "code-from-data"),
    ] {
        suite.case(format!("escape/without-{wall}/{attempt}"), &[Tool::Root], move || {
            let without = [env!("CARGO_BIN_EXE_without"), wall];
            let (came, said) = outcome(&without, phase, attempt)?;
            ensure!(came == Done, "{came:?}, without `{wall}`: {said}");
            Ok(())
        });
    }
    // And where one is lacking, another still stands.
    for (wall, phase, attempt) in [
        ("landlock", "decrypt", "read-a-key"),
        // Whose flags no filter sees.
        ("landlock", "unwrap", "write-a-key-by-openat2"),
        ("landlock", "unwrap", "truncate-a-key-by-openat2"),
        ("landlock", "unwrap", "write-to-own-memory-by-openat2"),
        ("seccomp", "decrypt", "read-a-key"),
        ("seccomp", "unwrap", "write-a-key"),
        ("seccomp", "decrypt", "internet-socket"),
        ("seccomp", "decrypt", "signal-the-parent"),
        ("seccomp", "unwrap", "change-the-root"),
    ] {
        suite.case(format!("escape/still-without-{wall}/{attempt}"), &[Tool::Root], move || {
            let without = [env!("CARGO_BIN_EXE_without"), wall];
            let (came, said) = outcome(&without, phase, attempt)?;
            ensure!(came == Refused, "{came:?}, without `{wall}`: {said}");
            Ok(())
        });
    }
}

/// One attempt, in its own directory.
fn outcome(before: &[&str], phase: &str, attempt: &str) -> Result<(Outcome, String)> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("keys"))?;
    std::fs::write(dir.path().join("keys/key"), "a key")?;
    std::fs::write(dir.path().join("events"), EVENTS)?;
    // A pipe: while the layer flows, no byte gets into a file. It is held open, to be read later.
    let log = dir.path().join("log");
    mknodat(CWD, &log, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    let mut log = File::options().read(true).write(true).open(log)?;
    let words = [before, &[env!("CARGO_BIN_EXE_escape"), phase, attempt]].concat();
    let output = Command::new(words[0]).args(&words[1..]).arg(dir.path()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let outcome = match output.status.code() {
        Some(0) if stdout == "done" => Done,
        Some(0) if stdout.starts_with("refused: ") => Refused,
        Some(1) if is_stop_message(&stderr) && stdout.is_empty() => {
            let mut logged = [0; 64];
            log.write_all(b"|")?; // or else an empty log would be waited for
            let length = log.read(&mut logged)?;
            let wanted = number(&stderr).map(|number| format!("{number:04}|"));
            let logged = text(&logged[..length]);
            ensure!(Some(&logged) == wanted.as_ref(), "the log has `{logged}`: {stderr}");
            Stopped
        }
        _ => bail!("{}: {stdout}{stderr}", output.status),
    };
    if phase != "none" && outcome != Done {
        untouched(dir.path())?;
    }
    Ok((outcome, stdout + &stderr))
}

/// What a log holds of earlier layers.
const EVENTS: &str = "{\"event\":\"layer\"}\n";

fn is_stop_message(stderr: &str) -> bool {
    number(stderr).is_some() && stderr.contains("\nhint: ")
}

/// The number of the system call that was stopped.
fn number(stderr: &str) -> Option<u32> {
    let rest = stderr.strip_prefix("ctd-decoder: error: the system call ")?;
    rest.split_once(" was stopped")?.0.parse().ok()
}

fn untouched(dir: &Path) -> Result<()> {
    let keys: Vec<_> = std::fs::read_dir(dir.join("keys"))?.flatten().collect();
    ensure!(keys.len() == 1, "{} key files", keys.len());
    ensure!(std::fs::read_to_string(dir.join("keys/key"))? == "a key", "the key has changed");
    ensure!(std::fs::read_to_string(dir.join("events"))? == EVENTS, "the log has changed");
    Ok(())
}
