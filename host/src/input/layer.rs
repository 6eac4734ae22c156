//! The encrypted layer on its way in: standard input, of which the beginning may have been read
//! ahead, or the spool that all of it was read into.

use std::fs::File;
use std::io::{self, Read};

use crate::streams::Stdin;

/// The encrypted layer, from where it has not been read yet.
#[derive(Default)]
pub struct Input {
    /// Read from standard input, and put back in front of it.
    ahead: Vec<u8>,
    /// How much of that was read again.
    again: usize,
    /// In the place of standard input.
    spool: Option<File>,
}

impl Input {
    /// The layer in a file, from where that stands.
    pub fn of_spool(file: File) -> Self {
        Self { spool: Some(file), ..Self::default() }
    }

    /// The next `length` bytes, or all that are left, without taking them: they are read again.
    ///
    /// # Errors
    /// As read(2).
    pub fn read_ahead(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        self.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        self.ahead.clone_from(&bytes);
        self.again = 0;
        Ok(bytes)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.again < self.ahead.len() {
            let length = (&self.ahead[self.again..]).read(buffer)?;
            self.again += length;
            return Ok(length);
        }
        match &mut self.spool {
            Some(file) => file.read(buffer),
            None => Stdin.read(buffer),
        }
    }
}
