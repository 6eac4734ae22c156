//! `keycell`: the operator's tool. It looks at keys and images; it decrypts nothing.

#![forbid(unsafe_code)]

mod inspect;
mod keys;
mod layout;
mod payload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Looks at the keys and the encrypted images of a node.
#[derive(Parser)]
#[command(name = "keycell", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the private keys in files, with the fingerprints that `ctd-decoder` prints
    Keys {
        /// Files such as those in the keys directory
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List the layers of an image, and how the keys of the encrypted ones are wrapped
    Inspect {
        /// A directory with an OCI image layout; `oci:DIR` and `oci:DIR:TAG` as skopeo writes it
        image: String,
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
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Keys { files } => keys::list(&files),
        Verb::Inspect { image } => inspect::print(&image),
        Verb::Payload { image, layer, output } => payload::write(&image, layer, &output),
    };
    match done {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("keycell: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
