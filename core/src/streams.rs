//! The streams of the layer that an instance holds.

use std::io::Read;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime::format_err;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use zeroize::{Zeroize, Zeroizing};

use crate::accounting::{Fault, Faulty, SharedAccounting};
use crate::{CipherSide, lock};

/// The encrypted layer.
pub type Input = Box<dyn Read + Send>;

/// The most that one call moves, in bytes.
const PERMIT: usize = 256 * 1024;

/// The encrypted layer that a guest holds. If the host lends its cipher, the stream is empty and serves
/// only as a handle; a guest that decrypts the layer itself reads it.
#[derive(Clone)]
pub struct Source {
    /// It is read only if the guest decrypts the layer itself.
    input: Arc<Mutex<Input>>,
    accounting: SharedAccounting,
    /// Bytes that come before the layer.
    frame: Arc<Mutex<Bytes>>,
}

impl Source {
    /// A source with the layer in `input`.
    pub fn new(input: Input, accounting: SharedAccounting) -> Self {
        Self { input: Arc::new(Mutex::new(input)), accounting, frame: Arc::default() }
    }

    /// The layer after the payload, as a command gets them: the length of the payload in four bytes,
    /// big-endian, then the payload, then the layer.
    pub fn framed(input: Input, accounting: SharedAccounting, mut payload: Vec<u8>) -> Self {
        let length = u32::try_from(payload.len()).expect("a payload has at most 32 MiB");
        let frame = Zeroizing::new([&length.to_be_bytes(), payload.as_slice()].concat());
        payload.zeroize(); // it may carry private keys
        let frame = Arc::new(Mutex::new(Bytes::from_owner(frame)));
        Self { input: Arc::new(Mutex::new(input)), accounting, frame }
    }
}

impl InputStream for Source {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut frame = lock(&self.frame);
        if !frame.is_empty() {
            let length = size.min(frame.len());
            return Ok(frame.split_to(length));
        }
        let mut buffer = vec![0; size.min(PERMIT)];
        let mut input = lock(&self.input);
        let read = if size == 0 { Ok(0) } else { input.read(&mut buffer) };
        let mut accounting = self.accounting.lock();
        match read {
            Ok(0) if size > 0 => {
                accounting.source_ended = true;
                Err(StreamError::Closed)
            }
            Ok(length) => {
                buffer.truncate(length);
                accounting.note_read(&buffer).map_err(|Faulty| unreadable())?;
                Ok(buffer.into())
            }
            Err(error) => {
                accounting.fault(Fault::Layer(error.into()));
                Err(unreadable())
            }
        }
    }
}

#[async_trait]
impl Pollable for Source {
    async fn ready(&mut self) {} // reading waits, and there is no other work to do in the meantime
}

/// A command may request its standard input any number of times: it is always the same stream.
impl StdinStream for Source {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty()) // only WASI 0.3 asks for it, and that is not linked
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

/// The output of the plain layer that a guest holds.
///
/// If the host lends its cipher, the bytes must be those that the cipher released, in order. If the
/// guest decrypts the layer itself, it cannot write more than it has read. The last 64 KiB wait until
/// the step has ended successfully.
#[derive(Clone)]
pub struct Sink {
    accounting: SharedAccounting,
    side: CipherSide,
}

impl Sink {
    /// The output for a layer whose cipher is on `side`.
    pub fn new(accounting: SharedAccounting, side: CipherSide) -> Self {
        Self { accounting, side }
    }
}

#[async_trait]
impl OutputStream for Sink {
    fn check_write(&mut self) -> StreamResult<usize> {
        if self.accounting.lock().is_faulty() { Err(broken()) } else { Ok(PERMIT) }
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut accounting = self.accounting.lock();
        let accepted = match self.side {
            CipherSide::Host => accounting.claim(&bytes),
            CipherSide::Guest => accounting.allow(&bytes),
        };
        accepted.and_then(|()| accounting.hold_back(bytes)).map_err(|Faulty| broken())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(drop)
    }

    // The next two functions do the same as the trait's defaults, without allocating a future for each
    // step: every chunk of a layer passes through here.

    async fn write_ready(&mut self) -> StreamResult<usize> {
        self.check_write()
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write(bytes)
    }
}

#[async_trait]
impl Pollable for Sink {
    async fn ready(&mut self) {} // writing waits, and there is no other work to do in the meantime
}

impl StdoutStream for Sink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink()) // only WASI 0.3 asks for it, and that is not linked
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// The streams of the layer are pipes or files, never terminals.
macro_rules! no_terminal {
    ($($stream:ty),+) => {$(
        impl IsTerminal for $stream {
            fn is_terminal(&self) -> bool {
                false
            }
        }
    )+};
}

no_terminal!(Source, Sink, Closed);

fn unreadable() -> StreamError {
    StreamError::LastOperationFailed(format_err!("the layer cannot be read"))
}

/// The error is not `closed`: a splice takes that for the end of its source, and a truncated layer
/// would look complete.
fn broken() -> StreamError {
    StreamError::LastOperationFailed(format_err!("the plain layer cannot be written"))
}

/// The standard input and output of an instance: both are closed. The layer's streams are arguments.
pub struct Closed;

impl StdinStream for Closed {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(Self)
    }
}

impl StdoutStream for Closed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self)
    }
}

impl InputStream for Closed {
    fn read(&mut self, _size: usize) -> StreamResult<Bytes> {
        Err(StreamError::Closed)
    }
}

impl OutputStream for Closed {
    fn check_write(&mut self) -> StreamResult<usize> {
        Err(StreamError::Closed)
    }

    fn write(&mut self, _bytes: Bytes) -> StreamResult<()> {
        Err(StreamError::Closed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Err(StreamError::Closed)
    }
}

#[async_trait]
impl Pollable for Closed {
    async fn ready(&mut self) {}
}
