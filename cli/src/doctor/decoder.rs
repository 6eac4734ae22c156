//! The decoder that a stream processor names: whose program it is, whether it decrypts a layer, and the
//! settings from its flags and its configuration file.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use keycell_content_store::{BELOW_ROOT, Pid, Places, PlacesError};
use keycell_diagnostic::hint::ToolHint;
use keycell_diagnostic::{Diagnostic, os_error};
use keycell_settings::{ArgumentError, ContentStore, Request, Settings};
use keycell_trusted_path::{Trust, Word};
use ocicrypt::media_type::{ENCRYPTED, TAR};

use crate::containerd::Processor;
use crate::waiting::wait;

use super::caller::Caller;
use super::report::{Report, Severity};
use super::trial::{Call, Outcome, TrialLayer};

/// What the original says of itself when it is asked for help.
const PURPOSE_OF_ORIGINAL: &str = "call-out from containerd content stream plugins";

/// How long a program may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// A decoder that a processor names.
pub struct Decoder {
    /// The processor.
    pub processor: Processor,
    /// Whose program it is.
    pub kind: Kind,
    /// The program.
    pub program: PathBuf,
    /// The settings from its flags and its configuration file.
    pub settings: Settings,
    /// How to call it for a trial layer; none if this user cannot call it as containerd does.
    pub call: Option<Call>,
    /// Whether it decrypts a trial layer, as far as that could be tried.
    pub works: bool,
    /// The content stores that it searches if containerd hands over no payload. They are known if
    /// containerd runs.
    pub stores: Option<Result<Vec<PathBuf>, PlacesError>>,
}

/// Whose program a decoder is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Keycell's: its flags and its way without a payload are known.
    Keycell,
    /// The original of the project imgcrypt.
    Original,
    /// Somebody else's.
    Other,
}

impl Decoder {
    /// Looks at the program of a processor and has it decrypt a trial layer. None if its flags are not
    /// known, so that nothing else can be examined.
    pub fn examine(
        id: &str,
        processor: &Processor,
        caller: &Caller,
        report: &mut Report,
    ) -> Option<Self> {
        let program = program(processor, caller, report)?;
        let kind = identify(&program, report);
        let settings = match settings(kind, processor) {
            Ok(Request::Print(_)) => {
                let shown = program.display();
                report.fails(
                    format!(
                        "`{shown}` decrypts no layer: its `args` ask for help, or for the version"
                    ),
                    ToolHint::ArgumentsPrint,
                );
                return None;
            }
            Ok(Request::Decrypt(settings)) => Ok(settings),
            Err(error) => Err(error),
        };
        let call = caller.may_call().then(|| call(&program, kind, processor, caller));
        let works = match &call {
            Some(call) => decrypts(&program, kind, call, report),
            None => {
                let shown = program.display();
                report.unknown(
                    format!("`{shown}` is not tried: containerd runs as another user"),
                    ToolHint::RunAsRoot,
                );
                true
            }
        };
        match settings {
            Ok(settings) => {
                let stores = caller.pid().map(|pid| stores(&settings.content_store, pid));
                let processor = processor.clone();
                Some(Self { processor, kind, program, settings, call, works, stores })
            }
            // The decoder refuses them as well, and that is reported.
            Err(_) if !works => None,
            Err(error) => {
                let Diagnostic { message, .. } = error.into();
                let message = format!("`keycell` does not know the `args` of `{id}`: {message}");
                report.unknown(message, ToolHint::OtherRelease);
                None
            }
        }
    }

    /// Whether it is Keycell's.
    pub fn is_keycell(&self) -> bool {
        self.kind == Kind::Keycell
    }

    /// Whether it finds the payload by itself where containerd hands over none.
    pub fn finds_payload(&self) -> bool {
        self.is_keycell()
            && !matches!(self.settings.content_store, ContentStore::Off)
            && !matches!(self.stores, Some(Err(_)))
    }

    /// Whether a processor names the same program with the same arguments and variables.
    pub fn is_same(&self, processor: &Processor) -> bool {
        let Processor { path, args, env, .. } = &self.processor;
        (path, args, env) == (&processor.path, &processor.args, &processor.env)
    }
}

/// The stores that a decoder searches which this containerd calls.
fn stores(setting: &ContentStore, pid: Pid) -> Result<Vec<PathBuf>, PlacesError> {
    let places = Places::of(setting, Some(pid));
    match (places.open(), places.caller()) {
        (Ok(stores), _) => Ok(stores.into_iter().map(|store| store.path).collect()),
        // containerd makes its store when it stores the first blob.
        (Err(PlacesError::Absent { .. } | PlacesError::Other { .. }), Ok(caller)) => {
            Ok(caller.roots().map(|root| root.join(BELOW_ROOT)).collect())
        }
        (Err(error), _) => Err(error),
    }
}

/// Finds out whose program it is.
fn identify(program: &Path, report: &mut Report) -> Kind {
    let shown = program.display();
    let line = first_line(program, "--version");
    if let Some(version) = line.filter(|version| version.contains("Keycell")) {
        report.fine(format!("`{shown}` is {version}"));
        return Kind::Keycell;
    }
    // The original has no `--version`, and prints its purpose with its help.
    let help = output(program, "--help").unwrap_or_default();
    if help.contains(PURPOSE_OF_ORIGINAL) {
        report.note(format!(
            "`{shown}` is the decoder of imgcrypt: it decrypts only layers that containerd hands \
             over with a payload"
        ));
        return Kind::Original;
    }
    report.note(format!("`{shown}` is not Keycell's, and does not say whose it is"));
    Kind::Other
}

/// Has the decoder decrypt a trial layer whose key is in its payload, and reports what happens.
fn decrypts(program: &Path, kind: Kind, call: &Call, report: &mut Report) -> bool {
    let shown = program.display();
    let tried = TrialLayer::with_its_key().and_then(|layer| layer.try_on(call));
    match tried {
        Ok(Outcome::Decrypted) => {
            report.fine(format!("`{shown}` decrypts a trial layer, called as containerd calls it"));
            true
        }
        Ok(Outcome::Refused { message, mut hints }) => {
            if hints.is_empty() && kind == Kind::Keycell {
                hints.push(ToolHint::DecoderDoesNotRun.to_string());
            } else if hints.is_empty() {
                hints.push(ToolHint::InstallDecoder.to_string());
            }
            report.add(Severity::Failure, format!("`{shown}` decrypts no layer: {message}"), hints);
            false
        }
        Err(error) => {
            report.unknown(format!("`{shown}` cannot be tried: {error:#}"), None);
            true
        }
    }
}

/// How containerd calls it, but that nothing is logged, and that errors are complete.
fn call(program: &Path, kind: Kind, processor: &Processor, caller: &Caller) -> Call {
    let mut words = caller.limits();
    words.push(program.into());
    words.extend(processor.args.iter().map(OsString::from));
    if kind == Kind::Keycell {
        words.extend(["--log", "off", "--quiet-errors=false"].map(OsString::from));
    }
    let mut variables = caller.variables();
    for entry in &processor.env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        variables.retain(|(known, _)| known != name);
        variables.push((name.into(), value.into()));
    }
    let media_type = format!("{TAR}{ENCRYPTED}");
    variables.push(("STREAM_PROCESSOR_MEDIATYPE".into(), media_type.into()));
    Call { words, variables }
}

/// The settings from the flags of a processor.
fn settings(kind: Kind, processor: &Processor) -> Result<Request, ArgumentError> {
    let words = match kind {
        Kind::Keycell => processor.args.clone(),
        Kind::Original | Kind::Other => flag_of_original(&processor.args),
    };
    let words = words.iter().map(OsString::from);
    keycell_settings::parse([OsString::from("ctd-decoder")].into_iter().chain(words))
}

/// The one flag of the original, without the flags that only Keycell has.
fn flag_of_original(args: &[String]) -> Vec<String> {
    const FLAG: &str = "--decryption-keys-path";
    let mut found = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let flag = arg.strip_prefix("--").or(arg.strip_prefix('-')).unwrap_or_default();
        let Some(value) = flag.strip_prefix(&FLAG[2..]) else { continue };
        match value.strip_prefix('=') {
            Some(value) => found.push(format!("{FLAG}={value}")),
            None => found.extend(args.next().map(|value| format!("{FLAG}={value}"))),
        }
    }
    found
}

/// The program that containerd would start.
fn program(processor: &Processor, caller: &Caller, report: &mut Report) -> Option<PathBuf> {
    let name = &processor.path;
    let install = ToolHint::InstallDecoder;
    let program = if name.contains('/') {
        Path::new(name).to_owned()
    } else {
        let directories = caller.path();
        match directories.iter().map(|place| place.join(name)).find(|file| file.is_file()) {
            Some(file) => file,
            None => {
                let path = std::env::join_paths(&directories).unwrap_or_default();
                let path = path.display();
                report
                    .fails(format!("there is no `{name}` in containerd's `PATH`, {path}"), install);
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
            ToolHint::DecoderNotExecutable { command: format!("chmod 755 {}", Word(&program)) },
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

/// The first line of what a program prints for a flag, without control characters.
fn first_line(program: &Path, flag: &str) -> Option<String> {
    let text = output(program, flag)?;
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(64).collect())
}

/// What a program prints for a flag, if it succeeds in time.
fn output(program: &Path, flag: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.arg(flag).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    if wait(&mut child, PATIENCE).ok()?.is_none() {
        let _ = child.kill();
    }
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
