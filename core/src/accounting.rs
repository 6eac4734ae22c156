//! The accounting of one layer: what the cipher released, what was written, and what went wrong. It
//! decides whether the layer was decrypted; the guest's claim does not.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use ocicrypt::layer::{CHUNK, LayerError, Witness};

use crate::{CipherSide, limits, lock};

/// The accounting that the cipher, the streams and the verdict share. One thread uses it.
#[derive(Clone)]
pub struct SharedAccounting(Arc<Mutex<Accounting>>);

/// What has happened so far with the layer.
pub struct Accounting {
    /// Where the plain layer is written to.
    output: Box<dyn Write + Send>,
    /// Whether the cipher was opened.
    pub opened: bool,
    /// Whether HMAC and digest were right, and the guest has read to the end of the stream.
    pub drained: bool,
    /// Whether the whole encrypted layer was read (by a guest that decrypts it itself).
    pub source_ended: bool,
    /// Bytes of the encrypted layer that were read by a guest that decrypts it itself.
    pub read: u64,
    /// Bytes of plaintext that the cipher released.
    pub released: u64,
    /// Bytes that were written to the output.
    pub written: u64,
    /// Bytes that the guest wrote and that are held back.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// Bytes that were released and not yet written, in order.
    outstanding: VecDeque<Bytes>,
    outstanding_bytes: usize,
    fault: Option<Fault>,
    /// Whether the guest decompresses the layer. Then its output cannot be compared with what it read.
    pub decompresses: bool,
    /// Verifies the output of a guest that decrypts the layer itself, if the host knows the layer's
    /// key.
    pub witness: Option<Witness>,
}

/// The first thing that went wrong with a stream, as observed by the host.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The layer is not genuine, or cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The output cannot be written to.
    #[error("cannot write the plain layer")]
    Output(#[source] io::Error),
    /// The guest wrote other bytes than the cipher released.
    #[error("it wrote other bytes than the cipher gave out")]
    Altered,
    /// The guest wrote more than it was given.
    #[error("it wrote more bytes than it was given")]
    TooMuch,
    /// The guest reads on without writing.
    #[error("it read the layer without writing it")]
    Hoarding,
}

/// The error after a fault, which the accounting has recorded.
pub struct Faulty;

impl SharedAccounting {
    /// The accounting of a layer that is written to `output`.
    pub fn new(output: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Accounting::new(output))))
    }

    /// Locks the accounting, to read or to change it.
    pub fn lock(&self) -> MutexGuard<'_, Accounting> {
        lock(&self.0)
    }
}

impl Accounting {
    /// The accounting of a layer that is written to `output`.
    pub fn new(output: Box<dyn Write + Send>) -> Self {
        Self {
            output,
            opened: false,
            drained: false,
            source_ended: false,
            read: 0,
            released: 0,
            written: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            outstanding: VecDeque::new(),
            outstanding_bytes: 0,
            fault: None,
            decompresses: false,
            witness: None,
        }
    }

    /// Records the first fault. Later faults are consequences of it, and are ignored.
    pub fn fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// The first fault, if there was one.
    pub fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Whether something has gone wrong.
    pub fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }

    /// Fails after a fault. From then on nothing is released or written, not even correct bytes,
    /// because they would follow a gap.
    fn check_sound(&self) -> Result<(), Faulty> {
        if self.is_faulty() { Err(Faulty) } else { Ok(()) }
    }

    /// A number that grows whenever bytes move: when a guest waits for streams, not when it loops.
    pub fn progress(&self) -> u64 {
        self.read + self.released + self.written
    }

    /// Records that the cipher releases `bytes`.
    ///
    /// # Errors
    /// The guest already holds too many bytes, or something went wrong.
    pub fn release(&mut self, bytes: &Bytes) -> Result<(), Faulty> {
        self.check_sound()?;
        if self.outstanding_bytes + bytes.len() > limits::OUTSTANDING {
            self.fault(Fault::Hoarding);
            return Err(Faulty);
        }
        self.released += bytes.len() as u64;
        // A guest may request zero bytes any number of times: that is not recorded.
        if !bytes.is_empty() && !self.decompresses {
            self.outstanding_bytes += bytes.len();
            self.outstanding.push_back(bytes.clone());
        }
        Ok(())
    }

    /// Checks that the `bytes` which the guest wants to write are the next that the cipher released. A
    /// splice passes the very same buffer, so then its bytes are not compared.
    ///
    /// # Errors
    /// They are other bytes.
    pub fn claim(&mut self, bytes: &Bytes) -> Result<(), Faulty> {
        self.check_sound()?;
        if self.decompresses {
            return self.allow(bytes);
        }
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

    /// Records that a guest that decrypts the layer itself reads `bytes` of it.
    ///
    /// # Errors
    /// The layer continues beyond its length.
    pub fn note_read(&mut self, bytes: &[u8]) -> Result<(), Faulty> {
        self.read += bytes.len() as u64;
        match self.witness.as_mut().map(|witness| witness.encrypted(bytes)) {
            Some(Err(error)) => {
                self.fault(Fault::Layer(error));
                Err(Faulty)
            }
            _ => Ok(()),
        }
    }

    /// Checks that a guest that decrypts or decompresses the layer itself may write `bytes`: not more than it
    /// has read, or than that can expand to. In counter mode the plain layer is as long as the encrypted one.
    ///
    /// # Errors
    /// It writes more.
    pub fn allow(&mut self, bytes: &[u8]) -> Result<(), Faulty> {
        self.check_sound()?;
        let most = self.read.max(self.released);
        let most = if self.decompresses { most.saturating_mul(limits::EXPANSION) } else { most };
        if self.moved() + bytes.len() as u64 > most {
            self.fault(Fault::TooMuch);
            return Err(Faulty);
        }
        if let Some(witness) = &mut self.witness {
            witness.plain(bytes);
        }
        Ok(())
    }

    /// Writes older bytes of the guest, but holds back at least the last 64 KiB. They wait for the
    /// verdict on the whole step, so that a failing step never writes a complete layer.
    ///
    /// # Errors
    /// Writing to the output fails.
    pub fn hold_back(&mut self, bytes: Bytes) -> Result<(), Faulty> {
        // A guest may write zero bytes any number of times: that is not recorded either.
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

    /// Writes what was held back, because the verdict is that the layer is genuine and complete.
    ///
    /// # Errors
    /// Writing to the output fails.
    pub fn write_held(&mut self) -> Result<(), Faulty> {
        while !self.held.is_empty() {
            self.write_first()?;
        }
        Ok(())
    }

    fn write_first(&mut self) -> Result<(), Faulty> {
        let Some(bytes) = self.held.pop_front() else { return Ok(()) };
        self.held_bytes -= bytes.len();
        self.output.write_all(&bytes).map_err(|error| {
            self.fault(Fault::Output(error));
            Faulty
        })?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Bytes that the guest has written, including those that are held back.
    fn moved(&self) -> u64 {
        self.written + self.held_bytes as u64
    }

    /// Verifies HMAC and sealed digest, if the guest has decrypted the layer itself and the key is known.
    ///
    /// # Errors
    /// The layer is not genuine, or was not decrypted correctly.
    pub fn check_witness(&mut self) -> Result<(), Faulty> {
        match self.witness.take().map(Witness::finish) {
            Some(Err(error)) => {
                self.fault(Fault::Layer(error));
                Err(Faulty)
            }
            _ => Ok(()),
        }
    }

    /// Whether a command has read the whole layer. It may write less than it read: it chooses its scheme.
    pub fn is_read(&self) -> bool {
        self.source_ended && !self.is_faulty()
    }

    /// Whether the guest has passed on a whole layer: one that the host's cipher has verified, or as many bytes as
    /// a guest that decrypts it has read. Of a guest that decompresses, only what it has read is known.
    pub fn is_complete(&self, side: CipherSide) -> bool {
        let (is_read, length) = match side {
            CipherSide::Host => (self.opened && self.drained, self.released),
            CipherSide::Guest => (self.source_ended, self.read),
        };
        is_read && (self.decompresses || self.moved() == length) && !self.is_faulty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Accounting {
        Accounting::new(Box::new(io::sink()))
    }

    /// The accounting of a cipher that released three chunks.
    fn released() -> (Accounting, [Bytes; 3]) {
        let chunks = ["first", "second", "third"].map(|text| Bytes::from_static(text.as_bytes()));
        let mut accounting = empty();
        for chunk in &chunks {
            assert!(accounting.release(chunk).is_ok());
        }
        (accounting, chunks)
    }

    #[test]
    fn the_same_bytes_in_any_pieces_are_accepted() {
        let (mut accounting, chunks) = released();
        assert!(accounting.claim(&chunks[0]).is_ok());
        assert!(accounting.claim(&Bytes::from_static(b"sec")).is_ok());
        assert!(accounting.claim(&Bytes::from_static(b"ondthi")).is_ok());
        assert!(accounting.claim(&Bytes::from_static(b"rd")).is_ok());
        assert_eq!(accounting.outstanding_bytes, 0);
    }

    #[test]
    fn other_bytes_are_refused() {
        let (mut accounting, _) = released();
        assert!(accounting.claim(&Bytes::from_static(b"firzt")).is_err());
        assert!(matches!(accounting.take_fault(), Some(Fault::Altered)));
    }

    #[test]
    fn after_a_fault_nothing_is_accepted() {
        let (mut accounting, chunks) = released();
        assert!(accounting.claim(&Bytes::from_static(b"first!")).is_err());
        assert!(accounting.claim(&chunks[1]).is_err() && accounting.release(&chunks[1]).is_err());
        let mut accounting = Accounting { read: 4, ..empty() };
        assert!(accounting.allow(&[0; 5]).is_err() && accounting.allow(&[0; 4]).is_err());
    }

    #[test]
    fn another_order_is_refused() {
        let (mut accounting, chunks) = released();
        assert!(accounting.claim(&chunks[1]).is_err());
    }

    #[test]
    fn more_bytes_than_were_given_out_are_refused() {
        let (mut accounting, _) = released();
        assert!(accounting.claim(&Bytes::from_static(b"firstsecondthird.")).is_err());
        assert!(matches!(accounting.take_fault(), Some(Fault::TooMuch)));
    }

    #[test]
    fn a_guest_that_hoards_is_refused() {
        let mut accounting = empty();
        let chunk = Bytes::from(vec![0; CHUNK]);
        let kept = (0..).take_while(|_| accounting.release(&chunk).is_ok()).count();
        assert_eq!(kept, limits::OUTSTANDING / CHUNK);
        assert!(matches!(accounting.take_fault(), Some(Fault::Hoarding)));
    }

    #[test]
    fn a_guest_that_decrypts_itself_cannot_write_more_than_it_read() {
        let mut accounting = Accounting { read: 4, ..empty() };
        assert!(accounting.allow(b"four").is_ok());
        assert!(accounting.hold_back(Bytes::from_static(b"four")).is_ok());
        assert!(accounting.allow(b"5").is_err());
    }

    #[test]
    fn a_guest_that_decrypts_itself_has_to_read_to_the_end() {
        let mut accounting = Accounting { read: 4, ..empty() };
        assert!(accounting.hold_back(Bytes::from_static(b"four")).is_ok());
        assert!(!accounting.is_complete(CipherSide::Guest));
        accounting.source_ended = true;
        assert!(accounting.is_complete(CipherSide::Guest));
    }

    #[test]
    fn nothing_read_is_nothing_noted() {
        let mut accounting = empty();
        assert!((0..100).all(|_| accounting.release(&Bytes::new()).is_ok()));
        assert!(accounting.outstanding.is_empty());
    }

    #[test]
    fn nothing_written_is_nothing_held() {
        let mut accounting = empty();
        assert!((0..100).all(|_| accounting.hold_back(Bytes::new()).is_ok()));
        assert!(accounting.held.is_empty());
    }
}
