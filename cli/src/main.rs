//! `keycell`: the operator's tool. It encrypts, decrypts and inspects images, examines nodes, and
//! installs guests.

#![forbid(unsafe_code)]

mod config;
mod conform;
mod containerd;
mod decrypt;
mod doctor;
mod encrypt;
mod failure;
mod guest;
mod image;
mod inspect;
mod keys;
mod local_broker;
mod manual;
mod metrics;
mod payload;
mod recipient;
mod waiting;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use keycell_broker::child;

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
    /// List the private keys in files, with the fingerprints that `ctd-decoder` prints
    Keys {
        /// Files such as those in the keys directory
        #[arg(required = true)]
        files: Vec<PathBuf>,
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
    /// Test whether a decoder or a guest conforms to the protocol of `ctd-decoder`
    Conform(conform::Arguments),
}

fn main() -> ExitCode {
    // A PKCS#11 module is loaded into a process of its own: this program once more.
    if child::is_asked() {
        return child::main();
    }
    let verb = Arguments::parse().verb;
    // The exit code 1 of `conform` is a verdict on the target.
    let failed =
        if matches!(verb, Verb::Conform(_)) { ExitCode::from(2) } else { ExitCode::FAILURE };
    run(verb).unwrap_or_else(|error| {
        print_error(&error);
        failed
    })
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Encrypt(arguments) => encrypt::run(arguments)?,
        Verb::Decrypt(arguments) => decrypt::run(arguments)?,
        Verb::Inspect(arguments) => print(inspect::run(&arguments)?),
        Verb::Guest(arguments) => print(guest::run(&arguments)?),
        Verb::Doctor(arguments) => return doctor::run(&arguments),
        Verb::Metrics(arguments) => return metrics::run(&arguments),
        Verb::Config(arguments) => print(config::run(arguments)?),
        Verb::Manual { directory } => manual::write(&directory, Arguments::command())?,
        Verb::Keys { files } => print(keys::list(&files)?),
        Verb::Payload(arguments) => print(payload::run(&arguments)?),
        Verb::Conform(arguments) => return conform::run(&arguments),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(outcome: impl Display) {
    print!("{outcome}");
}

fn print_error(error: &anyhow::Error) {
    eprintln!("keycell: error: {error:#}");
    for hint in failure::hints_of(error) {
        eprintln!("hint: {hint}");
    }
}
