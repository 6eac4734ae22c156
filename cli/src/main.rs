//! `keycell`: the operator's tool. It encrypts, decrypts and inspects images, examines nodes, and
//! installs guests.

#![forbid(unsafe_code)]

mod config;
mod conform;
mod containerd;
mod decrypt;
mod doctor;
mod encrypt;
mod examples;
mod failure;
mod guest;
mod image;
mod inspect;
mod key_list;
mod keygen;
mod keyprovider;
mod keys;
mod local_broker;
mod manual;
mod metrics;
mod output;
mod payload;
mod provider;
mod recipient;
mod recipients;
mod usage;
mod waiting;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use keycell_broker::child;

use output::{print, tell};

/// Encrypts images, decrypts them, and looks at the keys of a node.
#[derive(Parser)]
#[command(name = "keycell", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Encrypt the layers of an image for recipients, or add recipients to encrypted ones
    Encrypt(encrypt::Arguments),
    /// Decrypt the layers of an image
    Decrypt(decrypt::Arguments),
    /// List the layers of an image, and for whom the encrypted ones are
    Inspect(inspect::Arguments),
    /// Remove recipients from an encrypted image
    Recipients(recipients::Arguments),
    /// Install and manage guests that `ctd-decoder` may run instead of its own
    Guest(guest::Arguments),
    /// Check whether the next pull of an encrypted image will succeed, and say how to fix what fails
    #[command(
        after_help = "Exit codes: 0 nothing will fail, 1 something will, 2 something could not be examined."
    )]
    Doctor(doctor::Arguments),
    /// Print metrics of the layers in the decoder's log, of the keys and of `keycell doctor`, for
    /// Prometheus
    #[command(
        after_help = "Exit codes: 0 everything was read, 1 the log could not be read, or nothing is printed."
    )]
    Metrics(metrics::Arguments),
    /// Print or install the configuration that other programs need
    Config(config::Arguments),
    /// Make a private key for a node, and its public key for those who encrypt
    Keygen(keygen::Arguments),
    /// List private keys, with the fingerprints that `ctd-decoder` prints
    Keys(key_list::Arguments),
    /// Wrap and unwrap keys of layers for skopeo, podman, buildah, CRI-O and others, as a key provider of
    /// ocicrypt
    Keyprovider(keyprovider::Arguments),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages and shell completions
    #[command(hide = true)]
    Manual {
        /// The directory to write to
        directory: PathBuf,
    },
    /// Write what containerd would pass to `ctd-decoder` on descriptor 3 for a layer, and print
    /// the layer's digest, or in a layout the path of its blob
    Payload(payload::Arguments),
    /// Wrap and unwrap keys with Clevis: a key provider for `ctd-decoder`, skopeo and other tools
    Clevis(provider::clevis::Arguments),
    /// Test whether a decoder or a guest conforms to the protocol of `ctd-decoder`
    Conform(conform::Arguments),
}

fn main() -> ExitCode {
    // A PKCS#11 module is loaded into a process of its own: this program once more.
    if child::is_asked() {
        return child::main();
    }
    let verb = match parse() {
        Ok(verb) => verb,
        Err(code) => return code,
    };
    // The exit code 1 of these is a verdict.
    let judges = matches!(verb, Verb::Conform(_) | Verb::Doctor(_));
    let failed = if judges { ExitCode::from(2) } else { ExitCode::FAILURE };
    run(verb).unwrap_or_else(|error| {
        // An error that is only due to a signal is not told: the signal ends the program.
        let _uninterrupted = keycell_images::interrupt::pause();
        print_error(&error);
        failed
    })
}

/// The definitions of all commands, with examples in their help.
fn command() -> clap::Command {
    examples::add(Arguments::command())
}

/// The command of the command line, or the exit code if there is none to run.
fn parse() -> Result<Verb, ExitCode> {
    let args: Vec<_> = std::env::args_os().collect();
    let mut command = command();
    let matches = command.try_get_matches_from_mut(&args);
    let arguments = matches.and_then(|matches| Arguments::from_arg_matches(&matches));
    let error = match arguments {
        Ok(arguments) => return Ok(arguments.verb),
        Err(error) => error,
    };
    match usage::diagnostic(error, &command, &args) {
        Ok(diagnostic) => print_error(&diagnostic.into()),
        Err(help) => help.exit(),
    }
    Err(ExitCode::from(usage::EXIT_CODE))
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Encrypt(arguments) => encrypt::run(arguments)?,
        Verb::Decrypt(arguments) => decrypt::run(arguments)?,
        Verb::Inspect(arguments) => print(inspect::run(&arguments)?)?,
        Verb::Recipients(arguments) => recipients::run(arguments)?,
        Verb::Guest(arguments) => print(guest::run(&arguments)?)?,
        Verb::Doctor(arguments) => return doctor::run(&arguments),
        Verb::Metrics(arguments) => return metrics::run(&arguments),
        Verb::Config(arguments) => print(config::run(arguments)?)?,
        Verb::Completions { shell } => print(manual::completions(shell, &mut command())?)?,
        Verb::Manual { directory } => manual::write(&directory, Arguments::command())?,
        Verb::Keygen(arguments) => print(keygen::run(arguments)?)?,
        Verb::Keyprovider(arguments) => keyprovider::run(arguments)?,
        Verb::Keys(arguments) => print(key_list::run(&arguments)?)?,
        Verb::Payload(arguments) => print(payload::run(&arguments)?)?,
        Verb::Clevis(arguments) => provider::clevis::run(&arguments)?,
        Verb::Conform(arguments) => return conform::run(&arguments),
    }
    Ok(ExitCode::SUCCESS)
}

fn print_error(error: &anyhow::Error) {
    tell(format_args!("keycell: error: {error:#}\n"));
    for hint in failure::hints_of(error) {
        tell(format_args!("hint: {hint}\n"));
    }
}
