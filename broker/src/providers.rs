//! Key providers: programs and services that wrap and unwrap the keys of layers.
//!
//! The protocol is ocicrypt's (`docs/keyprovider.md` there). These are the differences and their
//! reasons:
//!
//! - Go ctd-decoder sends every key and password of the node to every provider; Keycell sends a
//!   provider only its own parameters.
//! - Go ctd-decoder waits without a limit; Keycell has a time limit, after which a command is killed
//!   together with its process group.
//! - Go ctd-decoder gives a command its whole environment. Keycell does the same, unless the entry has
//!   `env` or `files`, see [`Providers::open`].
//! - Go ctd-decoder reads answers of any size; Keycell reads up to 1 MiB.
//! - gRPC in Go uses the proxy that `HTTPS_PROXY` names; Keycell connects directly.
//! - `ttrpc` comes from the Rust ocicrypt; Go ctd-decoder does not have it.

mod command;
mod config;
pub(crate) mod confined;
mod error;
mod grpc;
#[cfg(not(fuzzing))]
mod message;
#[cfg(fuzzing)]
pub mod message;
mod program;
mod text;
mod tls;
mod ttrpc;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::Refusal;
use config::Entry;
pub use error::Error;
use message::Operation;

/// The default time limit of a provider.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer in bytes, for each kind of provider. It contains two hundred bytes of private
/// options, or their wrapped form.
const MAX_ANSWER: usize = 1 << 20;

/// The operator's key providers, from the file that `OCICRYPT_KEYPROVIDER_CONFIG` names.
#[derive(Debug)]
pub struct Providers {
    entries: BTreeMap<String, Entry>,
}

impl Providers {
    /// Reads the operator's file, of at most 1 MiB:
    ///
    /// ```json
    /// {"key-providers": {
    ///   "kms":   {"cmd": {"path": "/usr/lib/kms", "args": ["--eu"], "env": ["HTTPS_PROXY"]}},
    ///   "tpm":   {"cmd": {"path": "/usr/lib/tpm", "files": ["/dev/tpmrm0", "/var/lib/tpm"]}},
    ///   "vault": {"grpc": "vault.example:50051", "grpc-tls": {"root-ca-file": "/etc/vault.pem"}},
    ///   "agent": {"ttrpc": "unix:///run/agent.sock"}
    /// }}
    /// ```
    ///
    /// If a provider has several of them, `cmd` takes precedence over `grpc`, and `grpc` over `ttrpc`.
    /// Unknown members are ignored, and names of members match in any case. Relative paths count from
    /// the working directory, which is containerd's, as with Go.
    ///
    /// `env` exists only in Keycell: the only variables that a command gets, with `PATH`. Without `env`,
    /// it gets the whole environment; a Go ctd-decoder that reads the same file always passes that.
    /// `files` exists only in Keycell too: what the command may read and write in addition to the
    /// system's programs and libraries and the files in its own directory. If `files` is present, even
    /// if it is empty, the command runs behind walls (docs/walls.md), and so do all processes that it
    /// starts; and it gets only the variables in `env`.
    ///
    /// A provider with a faulty entry fails when it is used. Other providers still work, unlike with
    /// Go.
    ///
    /// # Errors
    /// [`Refusal::Failed`] if the file is missing (which Go ctd-decoder ignores), is not a regular
    /// file, is too large, or is not JSON of this form.
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        Ok(Self { entries: config::read(path).map_err(Error::from)? })
    }

    /// The names of the providers, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Asks the provider `name` to unwrap `wrapped`, one decoded item of its annotation. `parameters`
    /// are the provider's own from the payload; it gets nothing else. Returns the private options.
    ///
    /// This must not be called inside an asynchronous runtime, because it starts its own.
    ///
    /// # Errors
    /// [`Refusal::NotConfigured`] if there is no such provider, and [`Refusal::Failed`] if it gives no
    /// usable answer within `timeout`. The message does not repeat `name`.
    pub fn unwrap(
        &self,
        name: &str,
        wrapped: &[u8],
        parameters: &[Zeroizing<Vec<u8>>],
        timeout: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let way = self.way(name)?;
        let request = message::to_unwrap(name, wrapped, parameters);
        Ok(ask(way, Operation::Unwrap, &request, timeout)?)
    }

    /// Asks the provider `name` to wrap `options`, the private options of a layer, for the
    /// recipient that `parameters` describe. Returns what goes into the annotation.
    ///
    /// Go calls a provider only if it has parameters; there, a recipient without any (`provider:NAME`)
    /// gets the single parameter `Enabled`.
    ///
    /// This must not be called inside an asynchronous runtime, because it starts its own.
    ///
    /// # Errors
    /// As [`Providers::unwrap`].
    pub fn wrap(
        &self,
        name: &str,
        options: &[u8],
        parameters: &[Vec<u8>],
        timeout: Duration,
    ) -> Result<Vec<u8>, Refusal> {
        let way = self.way(name)?;
        let request = message::to_wrap(name, options, parameters);
        let mut wrapped = ask(way, Operation::Wrap, &request, timeout)?;
        Ok(std::mem::take(&mut *wrapped))
    }

    /// Returns how the provider `name` is reached, after all checks that are possible without asking
    /// it: whether a command may be executed, and whether the files of TLS can be read.
    ///
    /// # Errors
    /// As [`Providers::unwrap`].
    pub fn check(&self, name: &str) -> Result<&Way, Refusal> {
        let way = self.way(name)?;
        match way {
            Way::Command(command) => {
                program::found(&command.path).map_err(Error::from)?;
            }
            Way::Grpc(_, tls) => {
                let files = tls.iter().flat_map(|tls| {
                    let client = tls.client().into_iter().flat_map(|(a, b)| [a, b]);
                    tls.root_ca_file().into_iter().chain(client)
                });
                for file in files {
                    config::read_file(file).map_err(Error::from)?;
                }
            }
            Way::Ttrpc(_) => {}
        }
        Ok(way)
    }

    fn way(&self, name: &str) -> Result<&Way, Refusal> {
        match self.entries.get(name) {
            Some(Ok(way)) => Ok(way),
            Some(Err(fault)) => Err(Error::from(fault.clone()).into()),
            None => Err(Refusal::NotConfigured),
        }
    }
}

/// How a provider is reached.
#[derive(Debug, Clone)]
pub enum Way {
    /// A program that is started for each request.
    Command(config::Command),
    /// The address of a gRPC server, and how to trust it.
    Grpc(String, Option<config::Tls>),
    /// The address of a ttrpc server.
    Ttrpc(String),
}

impl Way {
    /// Its program or address, sanitized for a message.
    fn name(&self) -> String {
        let (Self::Command(config::Command { path: name, .. })
        | Self::Grpc(name, _)
        | Self::Ttrpc(name)) = self;
        text::name(name)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Command(_) => "the command",
            Self::Grpc(..) => "gRPC at",
            Self::Ttrpc(_) => "ttrpc at",
        };
        write!(f, "{kind} `{}`", self.name())
    }
}

/// Performs the whole exchange. All errors begin with, or name, the program or address.
fn ask(
    way: &Way,
    operation: Operation,
    request: &[u8],
    limit: Duration,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Runtime { name: way.name(), error })?;
    let answer = runtime.block_on(async {
        let late = || Error::Late { name: way.name(), limit };
        match way {
            // A command gets the limit itself, because it has a process to kill.
            Way::Command(command) => Ok(command::run(command, request, limit).await?),
            Way::Grpc(target, tls) => {
                let call = grpc::call(target, tls.as_ref(), operation, request);
                tokio::time::timeout(limit, call).await.map_err(|_| late())?
            }
            Way::Ttrpc(address) => {
                let call = ttrpc::call(address, operation, request, limit);
                tokio::time::timeout(limit, call).await.map_err(|_| late())?
            }
        }
    });
    // Dropping the runtime would wait for a name server that does not answer.
    runtime.shutdown_background();
    message::result(operation, &answer?).map_err(|fault| Error::Answer { name: way.name(), fault })
}
