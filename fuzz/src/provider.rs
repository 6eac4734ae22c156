//! The broker's own file on what a provider is told and answers, which the rest of it does not show.

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
