//! The processes that this program starts of itself: one that a PKCS #11 module is loaded into, and
//! one that becomes a provider's command, within walls.

use std::process::ExitCode;

use crate::providers::confined;
use crate::tokens::child;

/// Whether this process was started as one of them, and must call [`main`] and nothing else.
///
/// It must be the very first that a program does which asks tokens
/// ([`TokenKey`](crate::tokens::TokenKey)) or providers ([`Providers`](crate::providers::Providers)),
/// because these start that program again:
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

/// Does what it was started for.
pub fn main() -> ExitCode {
    if child::is_asked() { child::main() } else { confined::main() }
}
