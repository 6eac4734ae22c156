//! The command line, and the settings that it describes.

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::error::ErrorKind;
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::DecoderHint;

use crate::configuration::{self, ConfigurationError};
use crate::flags::command;
use crate::{
    CipherSide, ContentStore, Destination, GuestSettings, MinAlgorithms, ReportSettings,
    SandboxSettings, Settings, SpoolSettings, Task,
};

/// The action that a command line asks for.
pub enum Request {
    /// Decrypt a layer.
    Decrypt(Settings),
    /// Print this text on standard output: help or the version.
    Print(String),
}

/// A command line or a configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    /// An unknown flag, a flag without its value, or an impossible value.
    #[error("{0}")]
    CommandLine(String),
    /// The same, for a key in the configuration.
    #[error("{message}")]
    ConfiguredFlag {
        /// What is wrong.
        message: String,
        /// The configuration file.
        file: PathBuf,
    },
    /// Two flags that exclude each other.
    #[error("`--verify-first` and `--cipher guest` exclude each other")]
    VerifyFirstInGuest,
    /// The configuration file cannot be used.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
}

impl ArgumentError {
    fn hint(&self) -> DecoderHint {
        match self {
            Self::CommandLine(_) => DecoderHint::ListFlags,
            Self::ConfiguredFlag { file, .. } => {
                DecoderHint::FlagIsConfigured { file: file.clone() }
            }
            Self::VerifyFirstInGuest => DecoderHint::OneOfVerifyFirstAndGuestCipher,
            Self::Configuration(error) => error.hint(),
        }
    }
}

impl From<ArgumentError> for Diagnostic {
    fn from(error: ArgumentError) -> Self {
        Self::new(error.to_string(), error.hint())
    }
}

/// Parses a command line that begins with the program's name.
///
/// Go ctd-decoder accepts `-flag` for `--flag`, uses the last of several, and ignores further
/// arguments; so does Keycell. For an unknown flag, Go prints its usage; Keycell names the flag.
///
/// # Errors
/// An unknown flag, a flag without its value, an impossible value, or an error of
/// [`configuration::arguments`].
///
/// # Ambient Authority
/// Reads the configuration file.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Request, ArgumentError> {
    let mut args: Vec<_> = args.map(two_dashes).collect();
    // The parser and what it found are never dropped: flags are not secret, and the allocator would wipe
    // each of two hundred allocations.
    let mut parser = ManuallyDrop::new(command());
    let mut matches = match parser.try_get_matches_from_mut(&args) {
        Ok(matches) => ManuallyDrop::new(matches),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                return Ok(Request::Print(error.render().to_string()));
            }
            _ => return Err(ArgumentError::CommandLine(message(&error))),
        },
    };
    let path = matches.get_one::<PathBuf>("config").map(PathBuf::as_path);
    let configured = configuration::arguments(path, &parser)?;
    if !configured.is_empty() {
        let file = path.unwrap_or(Path::new(configuration::PATH)).to_owned();
        let first = args.len().min(1);
        args.splice(first..first, configured);
        let parsed = parser.try_get_matches_from_mut(&args);
        let parsed = parsed
            .map_err(|error| ArgumentError::ConfiguredFlag { message: message(&error), file })?;
        matches = ManuallyDrop::new(parsed);
    }
    Ok(Request::Decrypt(settings(&mut matches)?))
}

/// Adds a dash: for Go, `-decryption-keys-path` is a long flag, because a single dash precedes more
/// than one letter.
fn two_dashes(arg: OsString) -> OsString {
    let bytes = arg.as_encoded_bytes();
    let single = bytes.len() > 2 && bytes[0] == b'-' && bytes[1] != b'-';
    if !single {
        return arg;
    }
    let mut doubled = OsString::from("-");
    doubled.push(arg);
    doubled
}

fn content_store(path: Option<PathBuf>) -> ContentStore {
    match path {
        None => ContentStore::Default,
        Some(path) if path == Path::new("off") => ContentStore::Off,
        Some(path) => ContentStore::At(path),
    }
}

fn spool(matches: &mut ArgMatches) -> SpoolSettings {
    let directory = matches.remove_one::<PathBuf>("spool").unwrap_or_default();
    let limit = matches.get_one("spool-limit").copied().unwrap_or_default();
    SpoolSettings { directory: (directory != Path::new("memory")).then_some(directory), limit }
}

fn settings(matches: &mut ArgMatches) -> Result<Settings, ArgumentError> {
    let in_guest = matches.get_one::<String>("cipher").is_some_and(|side| side == "guest");
    let verify_first = is_on(matches, "verify-first");
    if in_guest && verify_first {
        return Err(ArgumentError::VerifyFirstInGuest);
    }
    let task = if is_on(matches, "unwrap") { Task::LayerKey } else { Task::Layer };
    Ok(Settings {
        task,
        keys: matches.remove_one("decryption-keys-path"),
        algorithms: match matches.get_one::<String>("min-algorithms").map(String::as_str) {
            Some("modern") => MinAlgorithms::Modern,
            _ => MinAlgorithms::Legacy,
        },
        decompress: is_on(matches, "decompress"),
        cipher: if in_guest { CipherSide::Guest } else { CipherSide::Host },
        content_store: content_store(matches.remove_one("content-store")),
        // Without a layer there is nothing to verify.
        verify_first: (verify_first && task == Task::Layer).then(|| spool(matches)),
        guest: GuestSettings {
            name: matches.remove_one("guest"),
            store: matches.remove_one("guest-store").unwrap_or_default(),
            require_signature: is_on(matches, "require-signature"),
        },
        report: ReportSettings {
            log: matches.remove_one("log").map_or(Destination::System, PathBuf::into),
            quiet_errors: is_on(matches, "quiet-errors"),
            explain: is_on(matches, "explain"),
        },
        sandbox: SandboxSettings {
            user: matches.remove_one("user"),
            is_required: is_on(matches, "require-sandbox"),
        },
    })
}

fn is_on(matches: &ArgMatches, name: &str) -> bool {
    matches.get_one(name).copied().unwrap_or(false)
}

/// The first line of clap's message in this program's form, with the possible values.
fn message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut lines = text.lines();
    let line = lines.next().unwrap_or("the command line is wrong");
    let line = line.trim_start_matches("error: ").replace('\'', "`");
    match lines.find(|line| line.trim().starts_with("[possible values: ")) {
        Some(possible) => format!("{line} {}", possible.trim()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Request, ArgumentError> {
        parse(["ctd-decoder"].iter().chain(args).map(OsString::from))
    }

    #[test]
    fn every_spelling_of_the_original_flag_is_taken() {
        for args in [
            &["--decryption-keys-path", "/keys"][..],
            &["--decryption-keys-path=/keys"],
            &["-decryption-keys-path", "/keys"],
            &["-decryption-keys-path=/keys"],
            &["--decryption-keys-path", "/other", "--decryption-keys-path=/keys"],
            &["--decryption-keys-path", "/keys", "further", "arguments"],
        ] {
            let Ok(Request::Decrypt(settings)) = parsed(args) else { panic!("{args:?}") };
            assert_eq!(settings.keys.as_deref(), Some(Path::new("/keys")), "{args:?}");
        }
    }

    #[test]
    fn without_a_flag_there_is_no_directory() {
        assert!(matches!(parsed(&[]), Ok(Request::Decrypt(Settings { keys: None, .. }))));
    }

    #[test]
    fn an_unknown_flag_is_named() {
        let Err(error) = parsed(&["--decryption-key-path", "/keys"]) else { panic!() };
        assert!(error.to_string().contains("`--decryption-key-path`"), "{error}");
    }
}
