//! The configuration file: flags that need not stand in containerd's configuration.
//!
//! Every long flag is a key of the same name, and a key is nothing but the flag: it becomes an
//! argument that stands before those of the command line. So flags win, and there is no second
//! list of what can be configured.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::Command;
use keycell_trusted_path::{self as trusted, Trust};
use toml::de::{DeTable, DeValue};

use crate::contract::Failure;
use crate::words::{plain, with_hint};

/// Where it lies, unless `--config` says otherwise.
pub const PATH: &str = "/etc/keycell/config.toml";

/// The longest file, in bytes: 64 KiB. All keys together need a hundredth of it.
const MAX: u64 = 64 * 1024;

/// Flags that say what to do with the others.
const NOT_KEYS: [&str; 3] = ["config", "help", "version"];

/// Whether nothing lies at [`PATH`]. A file that cannot be looked at is there: [`arguments`] says why.
pub fn is_absent() -> bool {
    let found = std::fs::symlink_metadata(PATH);
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The arguments that the file at `path` stands for; `None`: the one at [`PATH`], if it is there.
///
/// # Errors
/// A file that was asked for and is not there, that others than root and the decoder's user can
/// change ([`keycell_trusted_path`]), that is not TOML, or that has a key which is no flag.
///
/// # Ambient Authority
/// Opens the file with the rights of this process.
pub fn arguments(path: Option<&Path>, command: &Command) -> Result<Vec<OsString>, Failure> {
    let named = path.unwrap_or(Path::new(PATH));
    let shown = named.display().to_string();
    let file = match Trust::of_this_process().open_file(named) {
        Ok(file) => file,
        Err(error) if path.is_none() && error.is_missing() => return Ok(Vec::new()),
        Err(error) => return Err(refused(&shown, &error)),
    };
    parse(&read(file, &shown)?, &shown, command)
}

/// Who else can change the file decides who sees keys.
fn refused(shown: &str, error: &trusted::Error) -> Failure {
    match error {
        trusted::Error::NotRegular { .. } => unreadable(shown, "not a regular file"),
        trusted::Error::Unreadable { error, .. } => unreadable(shown, &plain(error)),
        error => with_hint(
            format!("the configuration `{shown}` can be changed by others than root: {error}"),
            format!("{}: this file decides who sees keys", error.mend()),
        ),
    }
}

fn read(file: File, shown: &str) -> Result<String, Failure> {
    let mut text = String::new();
    match file.take(MAX + 1).read_to_string(&mut text) {
        Ok(length) if length as u64 > MAX => Err(unreadable(shown, "longer than 64 KiB")),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(unreadable(shown, "not UTF-8"))
        }
        Err(error) => Err(unreadable(shown, &plain(&error))),
    }
}

fn parse(text: &str, shown: &str, command: &Command) -> Result<Vec<OsString>, Failure> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        with_hint(
            format!("`{shown}`, line {line}, is not TOML: {}", error.message()),
            "a line is `key = \"value\"`, and a key is a flag of `ctd-decoder --help`",
        )
    })?;
    let keys = table.get_ref().iter();
    keys.map(|(key, value)| {
        let place = format!("`{shown}`, line {}", line_of(text, key.span().start));
        argument(key.get_ref(), value.get_ref(), &place, command)
    })
    .collect()
}

/// One key as `--key=value`.
fn argument(
    key: &str,
    value: &DeValue<'_>,
    place: &str,
    command: &Command,
) -> Result<OsString, Failure> {
    if !keys(command).any(|name| name == key) {
        return Err(with_hint(format!("{place}: there is no key `{key}`"), nearest(key, command)));
    }
    let value = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Boolean(yes) => yes.to_string(),
        other => {
            return Err(with_hint(
                format!("{place}: `{key}` cannot be of type `{}`", other.type_str()),
                "a value is a string, `true`, `false` or a decimal number",
            ));
        }
    };
    Ok(format!("--{key}={value}").into())
}

/// The names of all keys.
pub fn keys(command: &Command) -> impl Iterator<Item = &str> {
    let flags = command.get_arguments().filter_map(|flag| flag.get_long());
    flags.filter(|name| !NOT_KEYS.contains(name))
}

fn nearest(key: &str, command: &Command) -> String {
    let likeness = |name: &str| strsim::jaro_winkler(key, name);
    let best = keys(command).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|name| likeness(name) > 0.8) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let all: Vec<_> = keys(command).map(|name| format!("`{name}`")).collect();
            format!("the keys are {}", all.join(", "))
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn unreadable(shown: &str, why: &str) -> Failure {
    with_hint(
        format!("cannot read the configuration `{shown}`: {why}"),
        "`--config` names another file; without one the defaults serve",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<OsString>, Failure> {
        parse(text, "config.toml", &crate::args::command())
    }

    fn refusal(text: &str) -> String {
        let Err(failure) = parsed(text) else { panic!("accepted: {text}") };
        format!("{}; {}", failure.message, failure.hints.join("; "))
    }

    #[test]
    fn keys_become_flags() {
        let arguments = parsed("cipher = \"guest\"\n# why\nexplain = true\n");
        let Ok(arguments) = arguments else { panic!() };
        assert_eq!(arguments, ["--cipher=guest", "--explain=true"].map(OsString::from));
    }

    #[test]
    fn every_flag_is_a_key() {
        for name in keys(&crate::args::command()) {
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
