//! The configuration file: flags that need not be in containerd's configuration.
//!
//! Every long flag is a key of the same name, and a key is only another form of the flag: it becomes an
//! argument before those of the command line. So flags take precedence, and there is no second list of
//! what can be configured.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Command;
use keycell_diagnostic::hint::DecoderHint;
use keycell_diagnostic::os_error;
use keycell_trusted_path::{self as trusted, Trust};
use toml::de::{DeTable, DeValue};

/// The path of the file, unless `--config` names another one.
pub const PATH: &str = "/etc/keycell/config.toml";

/// The longest file, in bytes: 64 KiB. All keys together need a hundredth of it.
const MAX: u64 = 64 * 1024;

/// Flags that cannot be keys: those about the other flags, and the one that writes a layer key, which no
/// file may turn on for containerd.
const NOT_KEYS: [&str; 4] = ["config", "help", "unwrap", "version"];

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// Others than root and the decoder's user can change the file, and so decide who sees keys.
    #[error("the configuration `{}` can be changed by others than root: {error}", file.display())]
    Untrusted {
        /// The file.
        file: PathBuf,
        /// Who can change it.
        error: trusted::Error,
    },
    /// It cannot be read.
    #[error("cannot read the configuration `{}`: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        why: Unreadable,
    },
    /// It is not TOML.
    #[error("`{}`, line {line}, is not TOML: {why}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The parser's message.
        why: String,
    },
    /// There is a key that is not a flag.
    #[error("`{}`, line {line}: there is no key `{key}`", file.display())]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The most similar key, or all keys if none is similar.
        similar: Similar,
    },
    /// A value has a type that no flag has: a table, a list or a date.
    #[error("`{}`, line {line}: `{key}` cannot be of type `{kind}`", file.display())]
    WrongType {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The name of the type in TOML.
        kind: &'static str,
    },
}

/// Why a configuration file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is a directory, a pipe or a device.
    #[error("not a regular file")]
    NotRegular,
    /// It is longer than 64 KiB.
    #[error("longer than 64 KiB")]
    TooLong,
    /// It is not text.
    #[error("not UTF-8")]
    NotUtf8,
    /// The system refuses an operation.
    #[error("{}", os_error(.0))]
    System(io::Error),
}

/// What an unknown key may have been intended to be.
#[derive(Debug)]
pub enum Similar {
    /// This key.
    Key(String),
    /// One of these: all keys.
    OneOf(Vec<String>),
}

impl ConfigurationError {
    pub(crate) fn hint(&self) -> DecoderHint {
        match self {
            Self::Untrusted { error, .. } => {
                DecoderHint::ProtectConfiguration { fix: error.mend() }
            }
            Self::Unreadable { .. } => DecoderHint::NameOtherConfiguration,
            Self::Syntax { .. } => DecoderHint::ConfigurationSyntax,
            Self::UnknownKey { similar: Similar::Key(key), .. } => {
                DecoderHint::SimilarKey { key: key.clone() }
            }
            Self::UnknownKey { similar: Similar::OneOf(keys), .. } => {
                DecoderHint::KnownKeys { keys: keys.clone() }
            }
            Self::WrongType { .. } => DecoderHint::ConfigurationTypes,
        }
    }
}

/// Returns the arguments that the file at `path` describes; `None` means the file at [`PATH`], if it
/// exists.
///
/// # Errors
/// The requested file does not exist, others than root and the decoder's user can change it
/// ([`keycell_trusted_path`]), it is not TOML, or it has a key that is not a flag.
///
/// # Ambient Authority
/// Opens the file with the rights of this process.
pub fn arguments(
    path: Option<&Path>,
    command: &Command,
) -> Result<Vec<OsString>, ConfigurationError> {
    let named = path.unwrap_or(Path::new(PATH));
    let file = match Trust::of_this_process().open_file(named) {
        Ok(file) => file,
        Err(error) if path.is_none() && error.is_missing() => return Ok(Vec::new()),
        Err(error) => return Err(refused(named, error)),
    };
    let text = read(file).map_err(|why| unreadable(named, why))?;
    parse(&text, named, command)
}

/// Makes the error for a file that is refused. Anyone who can change the file decides who sees keys.
fn refused(file: &Path, error: trusted::Error) -> ConfigurationError {
    match error {
        trusted::Error::NotRegular { .. } => unreadable(file, Unreadable::NotRegular),
        trusted::Error::Unreadable { error, .. } => unreadable(file, Unreadable::System(error)),
        error => ConfigurationError::Untrusted { file: file.to_owned(), error },
    }
}

fn unreadable(file: &Path, why: Unreadable) -> ConfigurationError {
    ConfigurationError::Unreadable { file: file.to_owned(), why }
}

fn read(file: File) -> Result<String, Unreadable> {
    let mut text = String::new();
    match file.take(MAX + 1).read_to_string(&mut text) {
        Ok(length) if length as u64 > MAX => Err(Unreadable::TooLong),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Unreadable::NotUtf8),
        Err(error) => Err(Unreadable::System(error)),
    }
}

fn parse(text: &str, file: &Path, command: &Command) -> Result<Vec<OsString>, ConfigurationError> {
    let table = DeTable::parse(text).map_err(|error| ConfigurationError::Syntax {
        file: file.to_owned(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        why: error.message().to_owned(),
    })?;
    let keys = table.get_ref().iter();
    keys.map(|(key, value)| {
        let line = line_of(text, key.span().start);
        argument(key.get_ref(), value.get_ref(), file, line, command)
    })
    .collect()
}

/// Formats one key as `--key=value`.
fn argument(
    key: &str,
    value: &DeValue<'_>,
    file: &Path,
    line: usize,
    command: &Command,
) -> Result<OsString, ConfigurationError> {
    let (file, name) = (file.to_owned(), key.to_owned());
    if !keys(command).any(|name| name == key) {
        let similar = similar(key, command);
        return Err(ConfigurationError::UnknownKey { file, line, key: name, similar });
    }
    let value = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Boolean(yes) => yes.to_string(),
        other => {
            let kind = other.type_str();
            return Err(ConfigurationError::WrongType { file, line, key: name, kind });
        }
    };
    Ok(format!("--{key}={value}").into())
}

/// The names of all keys.
pub fn keys(command: &Command) -> impl Iterator<Item = &str> {
    let flags = command.get_arguments().filter_map(|flag| flag.get_long());
    flags.filter(|name| !NOT_KEYS.contains(name))
}

fn similar(key: &str, command: &Command) -> Similar {
    let likeness = |name: &str| strsim::jaro_winkler(key, name);
    let best = keys(command).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|name| likeness(name) > 0.8) {
        Some(name) => Similar::Key(name.to_owned()),
        None => Similar::OneOf(keys(command).map(str::to_owned).collect()),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<OsString>, ConfigurationError> {
        parse(text, Path::new("config.toml"), &crate::flags::command())
    }

    fn refusal(text: &str) -> String {
        let Err(error) = parsed(text) else { panic!("accepted: {text}") };
        format!("{error}; {}", error.hint())
    }

    #[test]
    fn keys_become_flags() {
        let arguments = parsed("cipher = \"guest\"\n# why\nexplain = true\n");
        let Ok(arguments) = arguments else { panic!() };
        assert_eq!(arguments, ["--cipher=guest", "--explain=true"].map(OsString::from));
    }

    #[test]
    fn every_flag_is_a_key() {
        for name in keys(&crate::flags::command()) {
            assert!(parsed(&format!("{name} = \"x\"")).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_unknown_key_is_told_with_the_nearest() {
        let text = refusal("\n\nchipher = \"guest\"\n");
        assert!(
            text.contains("line 3: there is no key `chipher`; did you mean `cipher`?"),
            "{text}"
        );
    }

    #[test]
    fn a_key_that_is_like_nothing_is_told_with_all() {
        let text = refusal("x = 1");
        assert!(text.contains("the keys are `decryption-keys-path`, "), "{text}");
    }

    #[test]
    fn neither_config_nor_help_is_a_key() {
        assert!(refusal("config = \"/else\"").contains("there is no key `config`"));
        assert!(refusal("help = true").contains("there is no key `help`"));
    }

    #[test]
    fn no_file_turns_layers_into_keys() {
        assert!(refusal("unwrap = true").contains("there is no key `unwrap`"));
    }

    #[test]
    fn tables_and_lists_are_refused() {
        assert!(refusal("[cipher]\na = 1").contains("`cipher` cannot be of type"));
        assert!(refusal("cipher = [\"guest\"]").contains("`cipher` cannot be of type"));
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_line() {
        let text = refusal("cipher = \"guest\"\nlog\n");
        assert!(text.contains("line 2, is not TOML"), "{text}");
    }
}
