//! Manual pages and shell completions, from the definitions of the commands: `make` calls this.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::examples::{self, Example};

/// Pages of programs that only others start.
const SYSTEM: &str = "8";

/// Writes `man/` and `completions/` into `directory`.
///
/// # Errors
/// A directory that cannot be written to.
pub fn write(directory: &Path, keycell: Command) -> Result<()> {
    let pages = directory.join("man");
    let completions = directory.join("completions");
    for directory in [&pages, &completions] {
        let shown = directory.display();
        fs::create_dir_all(directory).with_context(|| format!("cannot create `{shown}`"))?;
    }
    let decoder = keycell_settings::flags::command();
    put(&pages.join("keycell.toml.5"), configuration(&decoder).as_bytes())?;
    put(&pages.join("ctd-decoder.8"), &page(&decoder, SYSTEM, DECODER_EXAMPLES)?)?;
    put(&pages.join("keycell-broker.8"), &page(&broker(), SYSTEM, BROKER_EXAMPLES)?)?;
    let mut built = keycell.clone().disable_help_subcommand(true);
    built.build();
    every(&built, "keycell", &mut |name, command| {
        let command = command.clone().name(name.to_owned()).bin_name(name.replacen('-', " ", 2));
        let words = name.strip_prefix("keycell-").unwrap_or_default().replace('-', " ");
        let page = page(&command, "1", examples::of(&words))?;
        put(&pages.join(format!("{name}.1")), &page)
    })?;
    for mut command in [keycell, decoder] {
        let name = command.get_name().to_owned();
        for (shell, file) in [
            (Shell::Bash, format!("{name}.bash")),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ] {
            put(&completions.join(file), self::completions(shell, &mut command)?.as_bytes())?;
        }
    }
    Ok(())
}

/// The completions of a program for a shell.
///
/// # Errors
/// None that is known.
pub fn completions(shell: Shell, command: &mut Command) -> Result<String> {
    let (name, mut text) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(shell, command, &name, &mut text);
    Ok(String::from_utf8(text)?)
}

/// A command and all that it has below it, but for what is hidden.
fn every(
    command: &Command,
    name: &str,
    each: &mut impl FnMut(&str, &Command) -> Result<()>,
) -> Result<()> {
    each(name, command)?;
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
    for below in shown {
        every(below, &format!("{name}-{}", below.get_name()), each)?;
    }
    Ok(())
}

fn page(command: &Command, section: &str, examples: &[Example]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let man = Man::new(command.clone())
        .section(section)
        .source(concat!("Keycell ", env!("CARGO_PKG_VERSION")));
    man.render(&mut text)?;
    text.extend_from_slice(section_of(examples).as_bytes());
    Ok(text)
}

/// The section with examples.
fn section_of(examples: &[Example]) -> String {
    let each = examples
        .iter()
        .map(|(what, line)| format!(".TP\n{}:\n.nf\n\\fB{}\\fR\n.fi\n", roff(what), roff(line)));
    format!(".SH EXAMPLES\n{}", each.collect::<String>())
}

const DECODER_EXAMPLES: &[Example] = &[
    (
        "Decrypt a layer as containerd does, with a payload of keycell-payload(1)",
        "ctd-decoder --decryption-keys-path /etc/containerd/ocicrypt/keys 3<payload <layer >plain",
    ),
    (
        "The same, with what each instance of the guest is granted",
        "ctd-decoder --explain --decryption-keys-path /etc/containerd/ocicrypt/keys 3<payload \
         <layer >plain",
    ),
];

const BROKER_EXAMPLES: &[Example] = &[(
    "Let the decoder start it, for the key providers in a file",
    "OCICRYPT_KEYPROVIDER_CONFIG=/etc/ocicrypt/providers.json ctd-decoder 3<payload <layer >plain",
)];

const CONFIGURATION_EXAMPLES: &[Example] = &[
    (
        "The directory with the private keys",
        "decryption-keys-path = \"/etc/containerd/ocicrypt/keys\"",
    ),
    ("Check a whole layer before its first byte is written", "verify-first = true"),
];

/// It takes no arguments: the decoder starts it.
fn broker() -> Command {
    Command::new("keycell-broker")
        .about("Asks key providers and PKCS#11 tokens for ctd-decoder")
        .after_help(
            "ctd-decoder starts it, beside itself, where OCICRYPT_KEYPROVIDER_CONFIG or \
             OCICRYPT_CONFIG (or /etc/ocicrypt.conf) configures something. It takes no arguments.",
        )
        .disable_help_flag(true)
}

/// The page of the configuration file: every flag of the decoder is a key of the same name.
fn configuration(decoder: &Command) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        ".TH keycell.toml 5 \"\" \"Keycell {version}\"\n\
         .SH NAME\nkeycell.toml \\- configuration of ctd\\-decoder\n\
         .SH SYNOPSIS\n/etc/keycell/config.toml\n\
         .SH DESCRIPTION\n\
         TOML. Every flag of \\fBctd\\-decoder\\fR(8) is a key of the same name, and what stands on the \
         command line wins. A key that is not known is an error, and so is a value of the wrong \
         type. Without the file the defaults apply.\n\
         .SH KEYS\n"
    );
    for argument in flags(decoder) {
        let name = argument.get_long().unwrap_or_default();
        let value = match argument.get_value_names() {
            Some(values) if argument.get_action().takes_values() => {
                values.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(" ")
            }
            _ => "true|false".to_owned(),
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(
            text,
            ".TP\n\\fB{}\\fR = \\fI{}\\fR\n{}",
            roff(name),
            roff(&value),
            roff(&help)
        );
    }
    text + &section_of(CONFIGURATION_EXAMPLES)
        + ".SH SEE ALSO\n\\fBctd\\-decoder\\fR(8), \\fBkeycell\\-doctor\\fR(1)\n"
}

/// The flags that are keys of the configuration.
fn flags(command: &Command) -> Vec<&Arg> {
    let keys: Vec<_> = keycell_settings::configuration::keys(command).collect();
    let is_key = |flag: &&Arg| flag.get_long().is_some_and(|name| keys.contains(&name));
    command.get_arguments().filter(is_key).collect()
}

fn roff(text: &str) -> String {
    text.replace('\\', "\\\\").replace('-', "\\-")
}

fn put(file: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(file, bytes).with_context(|| format!("cannot write `{}`", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_decoder_can_be_parsed() {
        let decoder = keycell_settings::flags::command();
        for (_, line) in DECODER_EXAMPLES {
            let words = line.split(' ').take_while(|word| !word.contains(['<', '>']));
            assert!(decoder.clone().try_get_matches_from(words).is_ok(), "{line}");
        }
        for (_, line) in CONFIGURATION_EXAMPLES {
            let table: toml::Table = toml::from_str(line).expect(line);
            let key = table.keys().next().expect("a key");
            assert!(flags(&decoder).iter().any(|flag| flag.get_long() == Some(key)), "{line}");
        }
    }
}
