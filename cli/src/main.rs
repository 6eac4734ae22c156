//! `keycell`: the operator's tool. It encrypts, decrypts and inspects images, examines nodes, and
//! installs guests.

#![forbid(unsafe_code)]

mod config;
mod conform;
mod containerd;
mod decrypt;
mod doctor;
mod encrypt;
mod guest;
mod image_documents;
mod inspect;
mod keys;
mod layer_selection;
mod layout;
mod layout_writer;
mod local_broker;
mod manual;
mod payload;
mod progress;
mod recipient;
mod rewrite;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use keycell_broker::child;
use keycell_diagnostic::Diagnostic;

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
    /// the path of the layer's blob
    Payload {
        /// A directory with an OCI image layout; `oci:DIR` and `oci:DIR:TAG` as skopeo writes it
        image: String,
        /// Which layer, counted from 1
        #[arg(long, default_value_t = 1)]
        layer: usize,
        /// Where to write the payload
        #[arg(long)]
        output: PathBuf,
    },
    /// Test whether a decoder or a guest conforms to the protocol of `ctd-decoder`
    Conform(conform::Arguments),
}

fn main() -> ExitCode {
    // A PKCS#11 module is loaded into a process of its own: this program once more.
    if child::is_asked() {
        return child::main();
    }
    let done = match Arguments::parse().verb {
        Verb::Encrypt(arguments) => encrypt::run(arguments),
        Verb::Decrypt(arguments) => decrypt::run(arguments),
        Verb::Inspect(arguments) => inspect::run(&arguments),
        Verb::Guest(arguments) => guest::run(&arguments),
        Verb::Doctor(arguments) => match doctor::run(&arguments) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Verb::Config(arguments) => config::run(arguments),
        Verb::Manual { directory } => manual::write(&directory, Arguments::command()),
        Verb::Keys { files } => keys::list(&files),
        Verb::Payload { image, layer, output } => payload::write(&image, layer, &output),
        // Its exit code 1 is a verdict on the target.
        Verb::Conform(arguments) => {
            return conform::run(&arguments).unwrap_or_else(|error| {
                tell(&error);
                ExitCode::from(2)
            });
        }
    };
    match done {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&error);
            ExitCode::FAILURE
        }
    }
}

fn tell(error: &anyhow::Error) {
    eprintln!("keycell: error: {error:#}");
    for hint in error.downcast_ref::<Diagnostic>().iter().flat_map(|one| &one.hints) {
        eprintln!("hint: {hint}");
    }
}
