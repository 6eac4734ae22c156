//! The broker's file with the messages to and from a provider, which the crate does not export.

#![allow(dead_code)] // what only the rest of the broker uses of it

/// As in `broker/src/providers.rs`.
const MAX_ANSWER: usize = 1 << 20;

#[path = "../../broker/src/providers/message.rs"]
mod message;

use zeroize::Zeroizing;

/// What an answer to `keyunwrap` holds, or what is wrong with it.
pub fn unwrapped(answer: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    message::result(message::Operation::Unwrap, answer)
}

/// The same of an answer to `keywrap`.
pub fn wrapped(answer: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    message::result(message::Operation::Wrap, answer)
}
