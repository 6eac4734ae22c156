//! The books of one layer: what the cipher released, what reached standard output, and what went
//! wrong on the way. They decide whether the layer came out, not the guest's word.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ocicrypt::layer::{CHUNK, LayerError, Witness};

use crate::args::CipherSide;
use crate::{limits, streams};

/// Shared by the cipher, the streams and the step that judges. One thread uses it.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Books>>);

/// What has happened so far.
#[derive(Default)]
pub struct Books {
    /// The cipher was opened.
    pub opened: bool,
    /// HMAC and digest were right, and the guest has seen the end of the stream.
    pub drained: bool,
    /// The whole of standard input was read (by a guest that decrypts itself).
    pub source_ended: bool,
    /// Bytes read from standard input by a guest that decrypts itself.
    pub read: u64,
    /// Bytes of plaintext that the cipher gave out.
    pub released: u64,
    /// Bytes that reached standard output.
    pub written: u64,
    /// Written by the guest, and not yet passed on.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// Given out and not yet written, in order.
    outstanding: VecDeque<Bytes>,
    outstanding_bytes: usize,
    fault: Option<Fault>,
    /// Verifies beside a guest that decrypts itself, where the layer's key is known.
    pub witness: Option<Witness>,
}

/// The first thing that went wrong with a stream, as the host saw it.
pub enum Fault {
    /// The layer is not genuine, or cannot be read.
    Layer(LayerError),
    /// Standard output cannot be written to.
    Sink(io::Error),
    /// The guest wrote something other than what the cipher gave out.
    Altered,
    /// The guest wrote more than it was given.
    TooMuch,
    /// The guest reads on without writing.
    Hoarding,
}

/// Something went wrong; the books hold what.
pub struct Faulty;

impl Ledger {
    /// The books, to look at or to write in.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.0)
    }
}

/// What is shared, whoever panicked with it: one thread uses it.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Books {
    /// Remembers the first fault; later ones follow from it.
    pub fn fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// The first fault, if there was one.
    pub fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Whether something went wrong already.
    pub fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }

    /// After a fault nothing is given out or comes out any more, not even what would be right: it
    /// would stand behind a gap.
    fn is_sound(&self) -> Result<(), Faulty> {
        if self.is_faulty() { Err(Faulty) } else { Ok(()) }
    }

    /// Something moved: a guest that waits for streams makes progress, one that loops does not.
    pub fn progress(&self) -> u64 {
        self.read + self.released + self.written
    }

    /// The cipher gives out `bytes`.
    ///
    /// # Errors
    /// Where the guest holds too much already, or something went wrong.
    pub fn release(&mut self, bytes: &Bytes) -> Result<(), Faulty> {
        self.is_sound()?;
        if self.outstanding_bytes + bytes.len() > limits::OUTSTANDING {
            self.fault(Fault::Hoarding);
            return Err(Faulty);
        }
        // A guest may ask for no bytes as often as it likes: no note is kept of those.
        if !bytes.is_empty() {
            self.released += bytes.len() as u64;
            self.outstanding_bytes += bytes.len();
            self.outstanding.push_back(bytes.clone());
        }
        Ok(())
    }

    /// The guest wants to write `bytes`: they have to be the next that the cipher gave out. A
    /// splice hands over the very buffer, so nothing is compared byte by byte then.
    ///
    /// # Errors
    /// Where they are not.
    pub fn claim(&mut self, bytes: &Bytes) -> Result<(), Faulty> {
        self.is_sound()?;
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let Some(next) = self.outstanding.front_mut() else {
                self.fault(Fault::TooMuch);
                return Err(Faulty);
            };
            let length = next.len().min(rest.len());
            let same_buffer = next.as_ptr() == rest.as_ptr();
            if !same_buffer && next[..length] != rest[..length] {
                self.fault(Fault::Altered);
                return Err(Faulty);
            }
            drop(next.split_to(length));
            if next.is_empty() {
                self.outstanding.pop_front();
            }
            self.outstanding_bytes -= length;
            rest = &rest[length..];
        }
        Ok(())
    }

    /// A guest that decrypts by itself reads `bytes` of the layer.
    ///
    /// # Errors
    /// Where the layer goes on beyond its length.
    pub fn take_in(&mut self, bytes: &[u8]) -> Result<(), Faulty> {
        self.read += bytes.len() as u64;
        match self.witness.as_mut().map(|witness| witness.encrypted(bytes)) {
            Some(Err(error)) => {
                self.fault(Fault::Layer(error));
                Err(Faulty)
            }
            _ => Ok(()),
        }
    }

    /// A guest that decrypts by itself wants to write `bytes`: counter mode keeps the length,
    /// so they cannot be more than it has read.
    ///
    /// # Errors
    /// Where they are.
    pub fn allow(&mut self, bytes: &[u8]) -> Result<(), Faulty> {
        self.is_sound()?;
        if self.moved() + bytes.len() as u64 > self.read {
            self.fault(Fault::TooMuch);
            return Err(Faulty);
        }
        if let Some(witness) = &mut self.witness {
            witness.plain(bytes);
        }
        Ok(())
    }

    /// Passes on what was written before `bytes`, but never the last 64 KiB: they wait for the
    /// verdict over the whole step, so that a layer never comes out complete from a failure.
    ///
    /// # Errors
    /// Where writing to standard output fails.
    pub fn hold_back(&mut self, bytes: Bytes) -> Result<(), Faulty> {
        // A guest may write no bytes as often as it likes, and no note is kept of those either.
        if bytes.is_empty() {
            return Ok(());
        }
        self.held_bytes += bytes.len();
        self.held.push_back(bytes);
        while self.held.front().is_some_and(|first| self.held_bytes - first.len() >= CHUNK) {
            self.write_first()?;
        }
        Ok(())
    }

    /// Passes on what was held back: the verdict is that all is well.
    ///
    /// # Errors
    /// Where writing to standard output fails.
    pub fn let_go(&mut self) -> Result<(), Faulty> {
        while !self.held.is_empty() {
            self.write_first()?;
        }
        Ok(())
    }

    fn write_first(&mut self) -> Result<(), Faulty> {
        let Some(bytes) = self.held.pop_front() else { return Ok(()) };
        self.held_bytes -= bytes.len();
        streams::write_stdout(&bytes).map_err(|error| {
            self.fault(Fault::Sink(error));
            Faulty
        })?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Bytes that the guest has written, those included that are held back.
    fn moved(&self) -> u64 {
        self.written + self.held_bytes as u64
    }

    /// The witness speaks: HMAC and sealed digest, if the guest has decrypted by itself.
    ///
    /// # Errors
    /// A layer that is not genuine, or did not come out right.
    pub fn hear_witness(&mut self) -> Result<(), Faulty> {
        match self.witness.take().map(Witness::finish) {
            Some(Err(error)) => {
                self.fault(Fault::Layer(error));
                Err(Faulty)
            }
            _ => Ok(()),
        }
    }

    /// Whether a command has read all that there was. What it wrote of it may be shorter: its
    /// scheme is its own.
    pub fn is_read(&self) -> bool {
        self.source_ended && !self.is_faulty()
    }

    /// Whether a whole layer has gone through the guest's hands: one that the host's cipher has
    /// verified, or all of what a guest that decrypts by itself had to read.
    pub fn is_complete(&self, side: CipherSide) -> bool {
        let whole = match side {
            CipherSide::Host => self.opened && self.drained && self.moved() == self.released,
            CipherSide::Guest => self.source_ended && self.moved() == self.read,
        };
        whole && !self.is_faulty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Books of a cipher that gave out three chunks.
    fn books() -> (Books, [Bytes; 3]) {
        let chunks = ["first", "second", "third"].map(|text| Bytes::from_static(text.as_bytes()));
        let mut books = Books::default();
        for chunk in &chunks {
            assert!(books.release(chunk).is_ok());
        }
        (books, chunks)
    }

    #[test]
    fn the_same_bytes_in_any_pieces_are_accepted() {
        let (mut books, chunks) = books();
        assert!(books.claim(&chunks[0]).is_ok());
        assert!(books.claim(&Bytes::from_static(b"sec")).is_ok());
        assert!(books.claim(&Bytes::from_static(b"ondthi")).is_ok());
        assert!(books.claim(&Bytes::from_static(b"rd")).is_ok());
        assert_eq!(books.outstanding_bytes, 0);
    }

    #[test]
    fn other_bytes_are_refused() {
        let (mut books, _) = books();
        assert!(books.claim(&Bytes::from_static(b"firzt")).is_err());
        assert!(matches!(books.take_fault(), Some(Fault::Altered)));
    }

    #[test]
    fn after_a_fault_nothing_is_accepted() {
        let (mut books, chunks) = books();
        assert!(books.claim(&Bytes::from_static(b"first!")).is_err());
        assert!(books.claim(&chunks[1]).is_err() && books.release(&chunks[1]).is_err());
        let mut books = Books { read: 4, ..Books::default() };
        assert!(books.allow(&[0; 5]).is_err() && books.allow(&[0; 4]).is_err());
    }

    #[test]
    fn another_order_is_refused() {
        let (mut books, chunks) = books();
        assert!(books.claim(&chunks[1]).is_err());
    }

    #[test]
    fn more_bytes_than_were_given_out_are_refused() {
        let (mut books, _) = books();
        assert!(books.claim(&Bytes::from_static(b"firstsecondthird.")).is_err());
        assert!(matches!(books.take_fault(), Some(Fault::TooMuch)));
    }

    #[test]
    fn a_guest_that_hoards_is_refused() {
        let mut books = Books::default();
        let chunk = Bytes::from(vec![0; CHUNK]);
        let kept = (0..).take_while(|_| books.release(&chunk).is_ok()).count();
        assert_eq!(kept, limits::OUTSTANDING / CHUNK);
        assert!(matches!(books.take_fault(), Some(Fault::Hoarding)));
    }

    #[test]
    fn a_guest_that_decrypts_itself_cannot_write_more_than_it_read() {
        let mut books = Books { read: 4, ..Books::default() };
        assert!(books.allow(b"four").is_ok());
        assert!(books.hold_back(Bytes::from_static(b"four")).is_ok());
        assert!(books.allow(b"5").is_err());
    }

    #[test]
    fn a_guest_that_decrypts_itself_has_to_read_to_the_end() {
        let mut books = Books { read: 4, ..Books::default() };
        assert!(books.hold_back(Bytes::from_static(b"four")).is_ok());
        assert!(!books.is_complete(CipherSide::Guest));
        books.source_ended = true;
        assert!(books.is_complete(CipherSide::Guest));
    }

    #[test]
    fn nothing_read_is_nothing_noted() {
        let mut books = Books::default();
        assert!((0..100).all(|_| books.release(&Bytes::new()).is_ok()));
        assert!(books.outstanding.is_empty());
    }

    #[test]
    fn nothing_written_is_nothing_held() {
        let mut books = Books::default();
        assert!((0..100).all(|_| books.hold_back(Bytes::new()).is_ok()));
        assert!(books.held.is_empty());
    }
}
