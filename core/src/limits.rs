//! What a guest may use, and why so much.

/// Linear memory of an instance, in bytes: 256 MiB. A payload of 32 MiB is held up to four times
/// while it is parsed (the argument, its JSON, an annotation, that decoded).
pub const MEMORY: usize = 256 * 1024 * 1024;

/// The payload on descriptor 3, in bytes: 32 MiB. Registries and containerd refuse manifests
/// above 4 to 8 MiB, and what a payload repeats of them is about as long.
pub const PAYLOAD: usize = 32 * 1024 * 1024;

/// Layer keys that `unwrap` may return, where containerd's content store has several manifests that
/// name the layer: each costs a pass over it. A genuine image has one, whoever its recipients are.
pub const LAYER_KEYS: usize = 16;

/// A single key file that the host reads, in bytes: 1 MiB.
pub const KEY_FILE: u64 = 1024 * 1024;

/// How long the steps may take. Tests of what happens then are not as patient.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Seconds that `unwrap` may take. One RSA-8192 operation is a fifth of a second; containerd
    /// would wait for ever.
    pub unwrap_seconds: u64,
    /// Seconds that `decrypt` may compute without moving a byte. It may wait for its streams as
    /// long as they take: a registry can be slow.
    pub stall_seconds: u64,
    /// Whether the operating system's walls are put up. Tools that measure from inside of the
    /// process (valgrind) make calls of their own, which the walls would stop.
    pub walls: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unwrap_seconds: 30, stall_seconds: 30, walls: true }
    }
}

/// Seconds that key providers and tokens may take for one layer, all together: two that do not
/// answer, and then it is over.
pub const BROKER_SECONDS: u64 = 60;

/// Seconds that one of them may take: what Go's key providers have in other programs; Go
/// ctd-decoder waits for ever.
pub const BROKER_CALL_SECONDS: u64 = 30;

/// How often they may be asked for one layer: a wrong PIN locks a token after a few.
pub const BROKER_CALLS: u32 = 64;

/// What a guest may say on its standard error, in bytes; the rest is dropped.
pub const GUEST_STDERR: usize = 64 * 1024;

/// Lines of it that go to the log, each an entry of its own there; how many more there were is
/// said in another.
pub const GUEST_LINES: usize = 256;

/// Strings and lists that one call may hand to the host, in bytes: a message, a layer key, a
/// chunk of the layer that the guest decrypted itself.
pub const HOSTCALL: usize = 1024 * 1024;

/// The same for a core module, of which it is also the most that one `read` or `write` may name: as
/// much as in `wasmtime run`, and copied only in part.
pub const CORE_HOSTCALL: usize = 128 * 1024 * 1024;

/// Handles that an instance may hold: open files, directories, streams.
pub const HANDLES: usize = 1024;

/// Plaintext that the guest has read and not yet written on, in bytes.
pub const OUTSTANDING: usize = 1024 * 1024;
