//! What the answer of a key provider holds.

use keycell_broker::providers::message::{AnswerError, Operation, result};
use zeroize::Zeroizing;

/// What an answer to `keyunwrap` holds, or what is wrong with it.
pub fn unwrapped(answer: &[u8]) -> Result<Zeroizing<Vec<u8>>, AnswerError> {
    result(Operation::Unwrap, answer)
}

/// The same of an answer to `keywrap`.
pub fn wrapped(answer: &[u8]) -> Result<Zeroizing<Vec<u8>>, AnswerError> {
    result(Operation::Wrap, answer)
}
