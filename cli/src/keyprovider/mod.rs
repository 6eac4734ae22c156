//! `keycell keyprovider`: a key provider in the protocol of ocicrypt, for programs that have no decoder:
//! skopeo, podman, buildah, CRI-O, nerdctl.
//!
//! This process parses the protocol, and sees wrapped keys, layer keys and public keys. It never reads a
//! private key: for each request to unwrap, it starts `ctd-decoder --unwrap`, which does that in its
//! sandbox.

mod error;
mod grpc;
mod limits;
pub mod message;
mod options;
mod server;
mod socket;
mod unwrap;
mod wrap;

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use keycell_diagnostic::Diagnostic;
use zeroize::Zeroizing;

pub use error::KeyproviderError;
use limits::MAX_REQUEST;
use message::Request;
use unwrap::Decoder;
pub use wrap::{NAME, recipient, wrap};

/// The arguments of `keycell keyprovider`.
#[derive(Args)]
pub struct Arguments {
    /// Serve gRPC on a socket: `unix:PATH`, or `systemd` for the socket that systemd passes as standard
    /// input. Without it, one request on standard input is answered on standard output
    #[arg(long, value_name = "unix:PATH|systemd")]
    listen: Option<String>,
    /// The group that may use the socket; its mode is 0660
    #[arg(long, value_name = "NAME|GID", requires = "listen")]
    group: Option<String>,
    /// The decoder that unwraps; by default the one beside this program
    #[arg(long, value_name = "FILE")]
    decoder: Option<PathBuf>,
    /// Private keys, for the decoder: a directory of them, or one file
    #[arg(long, value_name = "DIR|FILE")]
    decryption_keys_path: Option<PathBuf>,
    /// The configuration of the decoder [default: /etc/keycell/config.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Answers one request, or those on a socket until a signal ends it.
///
/// # Errors
/// Of the request, or of the socket.
pub fn run(arguments: Arguments) -> Result<()> {
    let Arguments { listen, group, decoder, decryption_keys_path, config } = arguments;
    let decoder = Decoder::new(decoder, decryption_keys_path, config).map_err(Diagnostic::from)?;
    match listen {
        Some(address) => server::run(&address, group.as_deref(), decoder),
        None => Ok(once(&decoder).map_err(Diagnostic::from)?),
    }
}

fn once(decoder: &Decoder) -> Result<(), KeyproviderError> {
    write_answer(&answer(&read_request()?, decoder, Files::Read)?)
}

/// Reads a request from standard input, up to its end or one byte more than the longest.
///
/// # Errors
/// As standard input fails.
pub fn read_request() -> Result<Zeroizing<Vec<u8>>, KeyproviderError> {
    let mut json = Zeroizing::new(Vec::with_capacity(MAX_REQUEST + 1));
    let read = io::stdin().lock().take(MAX_REQUEST as u64 + 1).read_to_end(&mut json);
    read.map(|_| json).map_err(KeyproviderError::Input)
}

/// Writes an answer to standard output.
///
/// # Errors
/// As standard output fails.
pub fn write_answer(answer: &[u8]) -> Result<(), KeyproviderError> {
    let mut output = io::stdout().lock();
    output.write_all(answer).and_then(|()| output.flush()).map_err(KeyproviderError::Output)
}

/// Whether a parameter may name a file of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// The program that asks has the same rights.
    Read,
    /// Others ask.
    Refuse,
}

/// Answers a request.
fn answer(
    json: &[u8],
    decoder: &Decoder,
    files: Files,
) -> Result<Zeroizing<Vec<u8>>, KeyproviderError> {
    match Request::parse(json)? {
        Request::Wrap { options, parameters } => {
            Ok(message::wrapped(&wrap::answer(&options, &parameters, files)?))
        }
        Request::Unwrap { annotation } => Ok(message::unwrapped(&decoder.unwrap(&annotation)?)),
    }
}
