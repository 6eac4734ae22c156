//! The errors of key providers.

use std::io;
use std::time::Duration;

use tonic::Code;

use super::message::AnswerError;
use super::{MAX_ANSWER, command, config, program, text, tls};

/// Why a key provider did not do what it was asked for. `name` is its program or address, sanitized for
/// a message, which includes it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of key providers cannot be used.
    #[error(transparent)]
    Configuration(#[from] config::Error),
    /// The entry of the provider is wrong.
    #[error(transparent)]
    Entry(#[from] config::EntryError),
    /// A file that the entry names cannot be read.
    #[error(transparent)]
    File(#[from] config::FileError),
    /// The program cannot be executed.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// The command gave no answer.
    #[error(transparent)]
    Command(#[from] command::Error),
    /// The asynchronous runtime cannot be started.
    #[error("cannot talk to `{name}`: {}", text::io_error(.error))]
    Runtime {
        /// The provider.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// It took too long.
    #[error("`{name}` did not answer within {}", text::seconds(*.limit))]
    Late {
        /// The provider.
        name: String,
        /// The time limit.
        limit: Duration,
    },
    /// Its answer cannot be used.
    #[error("`{name}` {fault}")]
    Answer {
        /// The provider.
        name: String,
        /// What is wrong.
        fault: AnswerError,
    },
    /// The address is not one of gRPC.
    #[error(
        "`{0}` is not a gRPC address that Keycell knows; write `HOST:PORT` or \
         `unix:///PATH/OF/SOCKET`"
    )]
    GrpcAddress(String),
    /// The address is not one of ttrpc.
    #[error("`{0}` is not a ttrpc address that Keycell knows; write `unix:///PATH/OF/SOCKET`")]
    TtrpcAddress(String),
    /// The connection cannot be made.
    #[error("cannot connect to `{name}`: {}; is the key provider running?", text::io_error(.error))]
    NotConnected {
        /// The provider.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// TLS cannot be established.
    #[error("{} `{name}`: {fault}", without_tls(.fault))]
    Tls {
        /// The provider.
        name: String,
        /// Why.
        fault: tls::Fault,
    },
    /// It answered with a status other than OK.
    #[error("`{name}` failed with {code:?}{}", status_message(.message))]
    Status {
        /// The provider.
        name: String,
        /// The status.
        code: Code,
        /// The text of the provider, sanitized.
        message: String,
    },
    /// The connection ended without an answer.
    #[error("`{name}` broke the call off: {cause}; {}", broken_off_hint(*.tls))]
    BrokenOff {
        /// The provider.
        name: String,
        /// The library's message.
        cause: String,
        /// Whether the connection used TLS.
        tls: bool,
    },
    /// The connection of ttrpc ended without an answer.
    #[error("`{name}` closed the connection: {}", text::io_error(.error))]
    Closed {
        /// The provider.
        name: String,
        /// How.
        error: io::Error,
    },
    /// Its answer is too long.
    #[error("`{0}` answered more than {limit} MiB", limit = MAX_ANSWER >> 20)]
    Flood(String),
    /// Its answer is not a frame of ttrpc.
    #[error("`{0}` answered something that is not ttrpc")]
    NotTtrpc(String),
    /// Its answer is not protobuf.
    #[error("`{0}` answered something that is not protobuf")]
    NotProtobuf(String),
    /// This never happens: the names of the methods are constants.
    #[error("the method has no name")]
    Method,
    /// This never happens: the buffer is large enough for the request.
    #[error("the request is too long")]
    LongRequest,
}

fn without_tls(fault: &tls::Fault) -> &'static str {
    match fault {
        tls::Fault::Configured(_) => "cannot use `grpc-tls` for",
        tls::Fault::Handshake(_) => "no TLS with",
    }
}

fn status_message(message: &str) -> String {
    match message {
        "" => ", and said nothing more".to_owned(),
        message => format!(": {message}"),
    }
}

fn broken_off_hint(tls: bool) -> &'static str {
    match tls {
        true => "does it accept the client certificate in `cert-file`?",
        false => "does it speak gRPC, and without TLS?",
    }
}
