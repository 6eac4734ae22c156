//! The decoder that a stream processor names: the program, and the settings from its flags and its
//! configuration file.

use keycell_diagnostic::hint::ToolHint;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keycell_diagnostic::{Diagnostic, os_error};
use keycell_settings::{ContentStore, Request, Settings};
use keycell_trusted_path::Trust;

use crate::containerd::Processor;

use super::report::{Report, Severity};

/// Where systemd's services find programs. containerd's `PATH` is its own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a program may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// A decoder that a processor names.
pub struct Decoder {
    /// The processor.
    pub processor: Processor,
    /// It is Keycell's: flags, messages and the way without a payload are known.
    pub is_keycell: bool,
    /// The program.
    pub program: PathBuf,
    /// The settings from its flags and its configuration file.
    pub settings: Settings,
}

impl Decoder {
    /// Looks at the program of a processor and at its flags. None if it does not even start.
    pub fn examine(id: &str, processor: &Processor, report: &mut Report) -> Option<Self> {
        let program = program(processor, report)?;
        let shown = program.display();
        let is_keycell = match version(&program) {
            Some(version) if version.contains("Keycell") => {
                report.fine(format!("`{shown}` is {version}"));
                true
            }
            Some(version) => {
                let version: String =
                    version.chars().filter(|c| !c.is_control()).take(64).collect();
                report.note(format!("`{shown}` is not Keycell's: it calls itself `{version}`"));
                false
            }
            None => {
                report.fails(
                    format!("`{shown}` does not run: it does not tell its version"),
                    ToolHint::DecoderDoesNotRun,
                );
                return None;
            }
        };
        let words = processor.args.iter().map(OsString::from);
        match keycell_settings::parse([OsString::from("ctd-decoder")].into_iter().chain(words)) {
            Ok(Request::Decrypt(settings)) => {
                Some(Self { processor: processor.clone(), is_keycell, program, settings })
            }
            Ok(Request::Print(_)) => {
                report
                    .fails(format!("the `args` of `{id}` ask for help, or for the version"), None);
                None
            }
            Err(error) => {
                let Diagnostic { message, hints } = error.into();
                let message = format!("the `args` of `{id}`: {message}");
                report.add(Severity::Failure, message, hints);
                None
            }
        }
    }

    /// Whether it finds the payload by itself where containerd hands over none.
    pub fn finds_payload(&self) -> bool {
        self.is_keycell && !matches!(self.settings.content_store, ContentStore::Off)
    }

    /// Whether a processor names the same program with the same arguments and variables.
    pub fn is_same(&self, processor: &Processor) -> bool {
        let Processor { path, args, env, .. } = &self.processor;
        (path, args, env) == (&processor.path, &processor.args, &processor.env)
    }
}

/// The program that containerd would start.
fn program(processor: &Processor, report: &mut Report) -> Option<PathBuf> {
    let name = &processor.path;
    let install = ToolHint::InstallDecoder;
    let program = if name.contains('/') {
        Path::new(name).to_owned()
    } else {
        let places = std::env::split_paths(PATH).map(|place| place.join(name));
        match places.into_iter().find(|file| file.is_file()) {
            Some(file) => file,
            None => {
                report.fails(
                    format!("there is no `{name}` in the `PATH` of services, {PATH}"),
                    install,
                );
                return None;
            }
        }
    };
    let shown = program.display();
    let found = match fs::metadata(&program) {
        Ok(found) => found,
        Err(error) => {
            report.fails(format!("cannot find `{shown}`: {}", os_error(&error)), install);
            return None;
        }
    };
    if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
        report.fails(
            format!("`{shown}` is no program that may be executed"),
            ToolHint::DecoderNotExecutable,
        );
        return None;
    }
    if let Err(error) = Trust::of_root().check(&program) {
        report.warn(
            format!(
                "`{shown}` can be changed by others than root, and containerd runs it as root: {error}"
            ),
            ToolHint::Untrusted { fix: error.mend() },
        );
    }
    Some(program)
}

/// The first line of `PROGRAM --version`.
fn version(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let started = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if started.elapsed() > PATIENCE {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| !line.trim().is_empty()).map(str::to_owned);
    line.filter(|_| output.status.success())
}
