//! The streams of the second step, as readers and writers.

use std::io::{self, BufRead, Read, Write};

use ocicrypt::layer::{self, Keystream};

use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};

/// The bytes that are read at once: what the host releases at a time.
const CHUNK: u64 = layer::CHUNK as u64;

/// A layer that is read, and decrypted if the host does not do that.
pub struct Source {
    stream: InputStream,
    keystream: Option<Keystream>,
    chunk: Vec<u8>,
    /// How much of `chunk` was read.
    position: usize,
}

impl Source {
    /// The layer that `stream` yields, decrypted with `keystream`.
    pub fn new(stream: InputStream, keystream: Option<Keystream>) -> Self {
        Self { stream, keystream, chunk: Vec::new(), position: 0 }
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.position == self.chunk.len() {
            self.position = 0;
            self.chunk = match self.stream.blocking_read(CHUNK) {
                Ok(chunk) => chunk,
                Err(StreamError::Closed) => {
                    self.chunk.clear();
                    break;
                }
                Err(StreamError::LastOperationFailed(error)) => {
                    return Err(io::Error::other(error.to_debug_string()));
                }
            };
            if let Some(keystream) = &mut self.keystream {
                keystream.apply(&mut self.chunk);
            }
        }
        Ok(&self.chunk[self.position..])
    }

    fn consume(&mut self, length: usize) {
        self.position += length;
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let length = chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// The output.
pub struct Sink(pub OutputStream);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let permit = loop {
            match self.0.check_write().map_err(failed)? {
                0 => self.0.subscribe().block(),
                permit => break usize::try_from(permit).unwrap_or(usize::MAX),
            }
        };
        let part = &bytes[..bytes.len().min(permit)];
        self.0.write(part).map_err(failed)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.blocking_flush().map_err(failed)
    }
}

fn failed(error: StreamError) -> io::Error {
    match error {
        StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
        StreamError::LastOperationFailed(error) => io::Error::other(error.to_debug_string()),
    }
}
