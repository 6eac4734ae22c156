//! The encrypted layer: standard input, whose beginning may have been peeked at, or the spool that all
//! of it was read into.

use std::fs::File;
use std::io::{self, Read};

use crate::sandbox::standard_streams::Stdin;

/// The part of the encrypted layer that has not been read yet.
#[derive(Default)]
pub struct EncryptedLayer {
    /// Bytes that were read from standard input in advance, and are read again first.
    peeked: Vec<u8>,
    /// How many of the peeked bytes were read again.
    position: usize,
    /// The file to read instead of standard input.
    spool: Option<File>,
}

impl EncryptedLayer {
    /// The layer in a file, from the file's current position.
    pub fn of_spool(file: File) -> Self {
        Self { spool: Some(file), ..Self::default() }
    }

    /// The next `length` bytes, or all that are left, without consuming them.
    ///
    /// # Errors
    /// As read(2).
    pub fn peek(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        self.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        self.peeked.clone_from(&bytes);
        self.position = 0;
        Ok(bytes)
    }
}

impl Read for EncryptedLayer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position < self.peeked.len() {
            let length = (&self.peeked[self.position..]).read(buffer)?;
            self.position += length;
            return Ok(length);
        }
        match &mut self.spool {
            Some(file) => file.read(buffer),
            None => Stdin.read(buffer),
        }
    }
}
