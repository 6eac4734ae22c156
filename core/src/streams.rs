//! The streams that the guest's instances hold: the encrypted layer, the plain one, and a
//! standard error that ends in the log.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime::format_err;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use zeroize::{Zeroize, Zeroizing};

use crate::args::CipherSide;
use crate::input::Input;
use crate::ledger::{Fault, Faulty, Ledger, lock};
use crate::{deadline, limits};

/// The most that one call moves, in bytes.
const PERMIT: usize = 256 * 1024;

/// Standard input, unbuffered: the encrypted layer.
pub struct Stdin;

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stdin = rustix::stdio::stdin();
        retry(stdin, PollFlags::IN, || rustix::io::read(stdin, &mut *buffer))
    }
}

/// What the guest gets as the encrypted layer. In the hands of the host's cipher it is only a
/// token; a guest that decrypts by itself reads it.
#[derive(Clone)]
pub struct Source {
    /// Read only where the guest decrypts by itself.
    input: Arc<Mutex<Input>>,
    ledger: Ledger,
    /// What comes before the layer.
    frame: Arc<Mutex<Bytes>>,
}

impl Source {
    /// The layer in `input`.
    pub fn new(input: Input, ledger: Ledger) -> Self {
        Self { input: Arc::new(Mutex::new(input)), ledger, frame: Arc::default() }
    }

    /// The payload before the layer, as a command gets it: its length in four bytes, big-endian,
    /// then the payload.
    pub fn framed(ledger: Ledger, mut payload: Vec<u8>) -> Self {
        let length = u32::try_from(payload.len()).expect("a payload has at most 32 MiB");
        let frame = Zeroizing::new([&length.to_be_bytes(), payload.as_slice()].concat());
        payload.zeroize(); // it may carry private keys
        let frame = Arc::new(Mutex::new(Bytes::from_owner(frame)));
        Self { input: Arc::default(), ledger, frame }
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
        let mut books = self.ledger.books();
        match read {
            Ok(0) if size > 0 => {
                books.source_ended = true;
                Err(StreamError::Closed)
            }
            Ok(length) => {
                buffer.truncate(length);
                books.take_in(&buffer).map_err(|Faulty| unreadable())?;
                Ok(buffer.into())
            }
            Err(error) => {
                books.fault(Fault::Layer(error.into()));
                Err(unreadable())
            }
        }
    }
}

#[async_trait]
impl Pollable for Source {
    async fn ready(&mut self) {} // reading waits, and there is no other work to do meanwhile
}

/// A command may ask for its standard input as often as it likes: it is one stream.
impl StdinStream for Source {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty()) // only WASI 0.3 asks for it, which is not linked
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

/// What the guest gets to write the plain layer to: standard output.
///
/// Where the host lends its cipher, the bytes have to be those that the cipher gave out, in
/// order. Where the guest decrypts by itself, they cannot be more than it has read. The last 64 KiB
/// wait until the step is over and all was well.
#[derive(Clone)]
pub struct Sink {
    ledger: Ledger,
    side: CipherSide,
}

impl Sink {
    /// Standard output, for the bytes of the cipher on `side`.
    pub fn new(ledger: Ledger, side: CipherSide) -> Self {
        Self { ledger, side }
    }
}

#[async_trait]
impl OutputStream for Sink {
    fn check_write(&mut self) -> StreamResult<usize> {
        if self.ledger.books().is_faulty() { Err(broken()) } else { Ok(PERMIT) }
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut books = self.ledger.books();
        let accepted = match self.side {
            CipherSide::Host => books.claim(&bytes),
            CipherSide::Guest => books.allow(&bytes),
        };
        accepted.and_then(|()| books.hold_back(bytes)).map_err(|Faulty| broken())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(drop)
    }

    // What follows is what the trait does by itself, without a future in memory for each step of it: every
    // chunk of a layer comes this way.

    async fn write_ready(&mut self) -> StreamResult<usize> {
        self.check_write()
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write(bytes)
    }
}

#[async_trait]
impl Pollable for Sink {
    async fn ready(&mut self) {} // writing waits, and there is no other work to do meanwhile
}

impl StdoutStream for Sink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink()) // only WASI 0.3 asks for it, which is not linked
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// The streams of the layer are pipes, or files.
macro_rules! no_terminal {
    ($($stream:ty),+) => {$(
        impl IsTerminal for $stream {
            fn is_terminal(&self) -> bool {
                false
            }
        }
    )+};
}

no_terminal!(Source, Sink, GuestLog, Closed);

fn unreadable() -> StreamError {
    StreamError::LastOperationFailed(format_err!("the layer cannot be read"))
}

/// Not `closed`: to a splice that is the end of its source, and a layer that was cut off would
/// pass for a whole one.
fn broken() -> StreamError {
    StreamError::LastOperationFailed(format_err!("the plain layer cannot be written"))
}

/// Writes all of `bytes` to standard output.
///
/// # Errors
/// As write(2). `SIGPIPE` is ignored, so a reader that has gone is `BrokenPipe`.
pub fn write_stdout(mut bytes: &[u8]) -> io::Result<()> {
    let stdout = rustix::stdio::stdout();
    while !bytes.is_empty() {
        let written = retry(stdout, PollFlags::OUT, || rustix::io::write(stdout, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Repeats a call that a signal interrupted, and waits where a descriptor does not block: for as long
/// as whoever is at the other end takes.
fn retry(
    descriptor: BorrowedFd<'_>,
    wanted: PollFlags,
    mut call: impl FnMut() -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    deadline::without(|| {
        loop {
            match call() {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    match poll(&mut [PollFd::from_borrowed_fd(descriptor, wanted)], None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                done => return Ok(done?),
            }
        }
    })
}

/// An instance's standard error: kept, up to a limit, for the log.
#[derive(Clone, Default)]
pub struct GuestLog(Arc<Mutex<Vec<u8>>>);

impl GuestLog {
    /// What the guest has said, one message a line, without the keys that it may have quoted.
    pub fn text(&self) -> String {
        let bytes = lock(&self.0);
        ocicrypt::text::without_pem(&String::from_utf8_lossy(&bytes))
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = lock(&self.0);
        let room = limits::GUEST_STDERR - kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink()) // only WASI 0.3 asks for it, which is not linked
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestLog {
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(limits::GUEST_STDERR)
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
}

#[async_trait]
impl Pollable for GuestLog {
    async fn ready(&mut self) {}
}

/// Standard input and output of an instance: closed. The layer's streams are arguments.
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
