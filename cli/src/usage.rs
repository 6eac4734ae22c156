//! A command line that cannot be used, as an error with hints.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::UsageHint;

/// The exit code of a command line that cannot be used.
pub const EXIT_CODE: u8 = 2;

/// The error of a command line: what is wrong, what is similar, and which help explains it.
///
/// # Errors
/// The text that clap prints, if it is no error but help or the version.
pub fn diagnostic(
    error: clap::Error,
    root: &Command,
    args: &[OsString],
) -> Result<Diagnostic, clap::Error> {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    if let DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion = error.kind() {
        return Err(error);
    }
    // The last one is the most similar.
    let similar = SUGGESTIONS.iter().find_map(|kind| names(&error, *kind)?.pop());
    let similar = similar.map(|name| UsageHint::SimilarName { name }.into());
    let help = UsageHint::Help { command: command_of(root, args) };
    let hints = similar.into_iter().chain([help.into()]).collect();
    Ok(Diagnostic { message: message(&error), hints })
}

const SUGGESTIONS: [ContextKind; 3] =
    [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];

fn message(error: &clap::Error) -> String {
    let of = |kind| names(error, kind).unwrap_or_default();
    let quoted = |kind| of(kind).iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
    let argument = quoted(ContextKind::InvalidArg);
    let value = quoted(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown argument {argument}"),
        ErrorKind::InvalidSubcommand => {
            format!("unknown command {}", quoted(ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingSubcommand => {
            format!("{} needs a command", quoted(ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingRequiredArgument if of(ContextKind::InvalidArg).len() == 1 => {
            format!("the argument {argument} is missing")
        }
        ErrorKind::MissingRequiredArgument => format!("the arguments {argument} are missing"),
        ErrorKind::InvalidValue if of(ContextKind::InvalidValue).iter().all(String::is_empty) => {
            format!("{argument} needs a value{}", choices(error))
        }
        ErrorKind::InvalidValue => {
            format!("{value} is not a value of {argument}{}", choices(error))
        }
        ErrorKind::ValueValidation => {
            let source = std::error::Error::source(error).map(|source| format!(": {source}"));
            format!("{value} is not a value of {argument}{}", source.unwrap_or_default())
        }
        ErrorKind::ArgumentConflict => {
            let prior = quoted(ContextKind::PriorArg);
            if prior.is_empty() || prior == argument {
                format!("{argument} may be given only once")
            } else {
                format!("{argument} and {prior} exclude each other")
            }
        }
        ErrorKind::TooManyValues => format!("{argument} takes no further value {value}"),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        _ => first_line(error),
    }
}

/// The values that an argument can have.
fn choices(error: &clap::Error) -> String {
    let values = names(error, ContextKind::ValidValue).unwrap_or_default();
    match &values[..] {
        [] => String::new(),
        [only] => format!(": it is {}", quote(only)),
        [most @ .., last] => {
            let most: Vec<_> = most.iter().map(|value| quote(value)).collect();
            format!(": it is {} or {}", most.join(", "), quote(last))
        }
    }
}

/// What is left is rare; clap says it in one line.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or("the command line cannot be used");
    line.trim_start_matches("error: ").replace(['\'', '`'], "`")
}

fn names(error: &clap::Error, kind: ContextKind) -> Option<Vec<String>> {
    match error.get(kind)? {
        ContextValue::String(name) => Some(vec![name.clone()]),
        ContextValue::Strings(names) => Some(names.clone()),
        _ => None,
    }
}

/// An argument may hold anything.
fn quote(name: &str) -> String {
    format!("`{}`", name.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""))
}

/// The command that the arguments name, as far as they name one.
fn command_of(root: &Command, args: &[OsString]) -> String {
    let (mut command, mut name) = (root, root.get_name().to_owned());
    let words = args.iter().skip(1).filter_map(|arg| arg.to_str());
    for word in words.filter(|word| !word.starts_with('-')) {
        let Some(below) = command.find_subcommand(word) else { break };
        name = format!("{name} {word}");
        command = below;
    }
    name
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::Arguments;

    fn said(line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let mut command = Arguments::command();
        let error = command.try_get_matches_from_mut(&args).expect_err(line);
        let diagnostic = diagnostic(error, &command, &args).expect(line);
        let hints = diagnostic.hints.iter().map(|hint| format!("\n{hint}"));
        diagnostic.message + &hints.collect::<String>()
    }

    #[test]
    fn every_kind_of_error_names_what_is_wrong_and_where_help_is() {
        let encrypt = "keycell encrypt a b -r jwe:c";
        for (line, wanted) in [
            (
                "keycell encrpyt",
                "unknown command `encrpyt`\na similar one is `encrypt`\n`keycell --help` lists what there is",
            ),
            ("keycell xyz", "unknown command `xyz`\n`keycell --help` lists what there is"),
            (
                &format!("{encrypt} --pkcs7-from go"),
                "unknown argument `--pkcs7-from`\na similar one is `--pkcs7-form`\n\
                 `keycell encrypt --help` lists what there is",
            ),
            (
                &format!("{encrypt} --pkcs7-form golang"),
                "`golang` is not a value of `--pkcs7-form <FORM>`: it is `go` or `auth-enveloped`\n\
                 a similar one is `go`\n`keycell encrypt --help` lists what there is",
            ),
            (
                &format!("{encrypt} --pkcs7-form"),
                "`--pkcs7-form <FORM>` needs a value: it is `go` or `auth-enveloped`\n\
                 `keycell encrypt --help` lists what there is",
            ),
            (
                "keycell encrypt a",
                "the arguments `--recipient <RECIPIENT>`, `<DESTINATION>` are missing\n\
                 `keycell encrypt --help` lists what there is",
            ),
            (
                "keycell encrypt a b",
                "the argument `--recipient <RECIPIENT>` is missing\n\
                 `keycell encrypt --help` lists what there is",
            ),
            (
                "keycell keys a --json --public",
                "`--json` and `--public` exclude each other\n\
                 `keycell keys --help` lists what there is",
            ),
            (
                "keycell guest lits",
                "unknown command `lits`\na similar one is `list`\n\
                 `keycell guest --help` lists what there is",
            ),
            (
                "keycell config containerd --json",
                "the argument `<--write|--remove>` is missing\n\
                 `keycell config containerd --help` lists what there is",
            ),
        ] {
            assert_eq!(said(line), wanted, "{line}");
        }
    }
}
