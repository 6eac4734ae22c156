//! The bounds that errors name.

use std::time::Duration;

/// The longest request, in bytes. It contains a wrapped key, or the key of a layer and public keys.
pub const MAX_REQUEST: usize = 1 << 20;

/// How long the decoder may take. Its own limits are shorter, unless it hangs in the kernel.
pub const PATIENCE: Duration = Duration::from_secs(60);
