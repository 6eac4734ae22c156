//! The processes in which this program starts itself again: one that loads a PKCS #11 module, and one
//! that becomes a provider's command, within walls.

use std::process::ExitCode;

use crate::providers::confined;
use crate::tokens::child;

/// Whether this process was started as one of them, and must call only [`main`].
///
/// A program that uses tokens ([`TokenKey`](crate::tokens::TokenKey)) or providers
/// ([`Providers`](crate::providers::Providers)) must call this first, because these start that program
/// again:
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use keycell_broker::child;
///
/// fn main() -> ExitCode {
///     if child::is_asked() {
///         return child::main();
///     }
///     // …
///     ExitCode::SUCCESS
/// }
/// ```
pub fn is_asked() -> bool {
    child::is_asked() || confined::is_asked()
}

/// Does what the process was started for.
pub fn main() -> ExitCode {
    if child::is_asked() { child::main() } else { confined::main() }
}
