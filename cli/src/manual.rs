//! Manual pages and shell completions, from the definitions of the commands: `make` calls this.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;

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
    put(&pages.join("ctd-decoder.8"), &page(&decoder, SYSTEM)?)?;
    put(&pages.join("keycell-broker.8"), &page(&broker(), SYSTEM)?)?;
    let mut built = keycell.clone().disable_help_subcommand(true);
    built.build();
    every(&built, "keycell", &mut |name, command| {
        let command = command.clone().name(name.to_owned()).bin_name(name.replacen('-', " ", 2));
        put(&pages.join(format!("{name}.1")), &page(&command, "1")?)
    })?;
    for mut command in [keycell, decoder] {
        let name = command.get_name().to_owned();
        for (shell, file) in [
            (Shell::Bash, format!("{name}.bash")),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, &name, &mut text);
            put(&completions.join(file), &text)?;
        }
    }
    Ok(())
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

fn page(command: &Command, section: &str) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let man = Man::new(command.clone())
        .section(section)
        .source(concat!("Keycell ", env!("CARGO_PKG_VERSION")));
    man.render(&mut text)?;
    Ok(text)
}

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
    text + ".SH SEE ALSO\n\\fBctd\\-decoder\\fR(8), \\fBkeycell\\-doctor\\fR(1)\n"
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
