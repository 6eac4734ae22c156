//! The verdict on the second step: whether the whole layer was written, and is genuine.

use crate::CipherSide;
use crate::accounting::{Accounting, Fault, SharedAccounting};

/// Why the layer was not decrypted.
#[derive(Debug)]
pub enum NotDecrypted<E> {
    /// The host saw something go wrong with a stream.
    Stream(Fault),
    /// The guest failed.
    Guest(E),
    /// The guest claims that it is done, but it is not.
    FalseClaim(FalseClaim),
}

/// A false claim of a guest that it is done.
#[derive(Debug, thiserror::Error)]
pub enum FalseClaim {
    /// It has not passed on a whole layer.
    #[error("it says that it is done, but the layer is not")]
    Incomplete,
    /// It is a command that exited with 0 before it had read the whole layer.
    #[error("it ended with exit code 0 before it had read the whole layer")]
    Unread,
}

/// The verdict on a `decrypt` step with the cipher on `side`. It follows from what the host observed,
/// then from the guest's `answer`; an `ok` of the guest is not enough. What was held back is written
/// only now.
///
/// # Errors
/// The layer was not decrypted completely, is not genuine, or cannot be written.
pub fn of_step<E>(
    side: CipherSide,
    answer: Result<(), E>,
    accounting: &SharedAccounting,
) -> Result<(), NotDecrypted<E>> {
    let mut accounting = accounting.lock();
    no_fault(&mut accounting)?;
    answer.map_err(NotDecrypted::Guest)?;
    if !accounting.is_complete(side) {
        return Err(NotDecrypted::FalseClaim(FalseClaim::Incomplete));
    }
    finish(&mut accounting)
}

/// The verdict on a command, which decrypts with a key that the host does not know. `answer` is how the
/// command ended.
///
/// # Errors
/// The command failed or has not read the whole layer, or the layer cannot be written.
pub fn of_command<E>(
    answer: Result<(), E>,
    accounting: &SharedAccounting,
) -> Result<(), NotDecrypted<E>> {
    let mut accounting = accounting.lock();
    no_fault(&mut accounting)?;
    answer.map_err(NotDecrypted::Guest)?;
    if !accounting.is_read() {
        return Err(NotDecrypted::FalseClaim(FalseClaim::Unread));
    }
    finish(&mut accounting)
}

/// Verifies the layer if the guest decrypted it itself, and writes what was held back.
fn finish<E>(accounting: &mut Accounting) -> Result<(), NotDecrypted<E>> {
    // Either failure is recorded as a fault.
    let _ = accounting.check_witness().and_then(|()| accounting.write_held());
    no_fault(accounting)
}

fn no_fault<E>(accounting: &mut Accounting) -> Result<(), NotDecrypted<E>> {
    accounting.take_fault().map_or(Ok(()), |fault| Err(NotDecrypted::Stream(fault)))
}
