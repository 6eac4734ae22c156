//! What both other schemes' tables share: a layer, a message that opens it, and a node that has
//! the key.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::Outcome;
use keycell_tests::node::{Node, says};
use keycell_tests::payload::Payload;
use keycell_tests::sealed::Sealed;

/// More than any of these may take on a machine that does nothing else.
const LONG: Duration = Duration::from_secs(10);

/// The most memory that a decoder may take for a payload without megabytes, in KiB.
const LITTLE: u64 = 24 * 1024;

/// A layer whose key has been wrapped by another's program.
pub(crate) struct Wrapped {
    pub(crate) node: Node,
    pub(crate) sealed: Sealed,
    /// The annotation of the scheme.
    pub(crate) scheme: &'static str,
    /// A message that opens the layer.
    pub(crate) good: Vec<u8>,
}

impl Wrapped {
    /// These items alone are refused in one message with each of `words`, before the layer was
    /// read, soon and in little memory; before a good one they do no harm.
    pub(crate) fn refuses<I: AsRef<[u8]>>(&self, items: &[I], words: &[&str]) -> Result<()> {
        let payload = self.sealed.payload_with(self.scheme, items);
        let outcome = self.refused(&payload)?;
        says(&outcome, words)?;
        ensure!(outcome.stderr.len() < 4200, "{} bytes of message", outcome.stderr.len());
        // Text in base64, once more in a string, its bytes, and what they are made into.
        let most = LITTLE + 16 * payload.bytes().len() as u64 / 1024;
        ensure!(outcome.peak < most, "{} KiB of memory, {most} at most", outcome.peak);
        self.opens_after(items)
    }

    /// A good item after these decrypts the layer.
    pub(crate) fn opens_after<I: AsRef<[u8]>>(&self, items: &[I]) -> Result<()> {
        let items: Vec<_> = items.iter().map(AsRef::as_ref).chain([&*self.good]).collect();
        let payload = self.sealed.payload_with(self.scheme, &items);
        let decoder = self.node.without_payload(&self.sealed)?.payload(payload.bytes());
        let outcome = decoder.deadline(LONG).run().context("before a good one")?;
        outcome.is_silent_success(&self.sealed.plain).context("before a good one")
    }

    /// This item decrypts the layer.
    pub(crate) fn opens(&self, item: &[u8]) -> Result<()> {
        let payload = self.sealed.payload_with(self.scheme, &[item]);
        let decoder = self.node.without_payload(&self.sealed)?.payload(payload.bytes());
        decoder.deadline(LONG).run()?.is_silent_success(&self.sealed.plain)
    }

    fn refused(&self, payload: &Payload) -> Result<Outcome> {
        let decoder = self.node.without_payload(&self.sealed)?.payload(payload.bytes());
        let decoder = decoder.measured(env!("CARGO_BIN_EXE_meter")).stdin_stays_open();
        decoder.deadline(LONG).run()
    }
}

/// The message with one bit of the byte at `place` changed.
pub(crate) fn flipped(message: &[u8], place: usize) -> Vec<u8> {
    let mut message = message.to_vec();
    message[place] ^= 1 << (place % 8);
    message
}

/// The message with the two bytes at `place` changed: to others for each number.
pub(crate) fn changed(message: &[u8], place: usize, number: u16) -> Vec<u8> {
    let mut message = message.to_vec();
    let [high, low] = (number + 1).to_be_bytes();
    message[place] ^= high;
    message[place + 1] ^= low;
    message
}

/// The beginnings of a message: those of every length up to a hundred, then one in ten, and all
/// but its last byte.
pub(crate) fn beginnings(message: &[u8]) -> Vec<&[u8]> {
    let lengths = (1..message.len()).filter(|length| *length < 100 || length % 10 == 0);
    lengths.chain([message.len() - 1]).map(|length| &message[..length]).collect()
}
