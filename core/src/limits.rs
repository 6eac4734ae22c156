//! The limits of a guest, and the reasons for them.

/// Linear memory of an instance, in bytes: 256 MiB. A payload of 32 MiB is held up to four times while
/// it is parsed (the argument, its JSON, an annotation, and the decoded annotation).
pub const MEMORY: usize = 256 * 1024 * 1024;

/// The longest payload on descriptor 3, in bytes: 32 MiB. Registries and containerd refuse manifests
/// above 4 to 8 MiB, and the parts of them that a payload repeats are about as long.
pub const PAYLOAD: usize = 32 * 1024 * 1024;

/// The most layer keys that `unwrap` may return, if containerd's content store has several manifests
/// that name the layer. Each key costs a pass over the layer. A genuine image has one, whoever its
/// recipients are.
pub const LAYER_KEYS: usize = 16;

/// The longest single key file that the host reads, in bytes: 1 MiB.
pub const KEY_FILE: u64 = 1024 * 1024;

/// How long the steps may take. Tests use shorter times.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Seconds that `unwrap` may take. One RSA-8192 operation takes a fifth of a second, one of RSA-16384 two thirds of a second. containerd
    /// itself sets no limit.
    pub unwrap_seconds: u64,
    /// Seconds that `decrypt` may compute without moving a byte. It may wait for its streams without a
    /// limit, because a registry can be slow.
    pub stall_seconds: u64,
    /// Whether the operating system's walls are put up. Tools that measure from inside the process
    /// (valgrind) make system calls of their own, which the walls would stop.
    pub walls: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unwrap_seconds: 30, stall_seconds: 30, walls: true }
    }
}

/// Seconds that key providers and tokens may take for one layer, all together. This is enough for two
/// of them that do not answer.
pub const BROKER_SECONDS: u64 = 60;

/// Seconds that one of them may take. Go's key providers have the same limit in other programs; Go
/// ctd-decoder waits without a limit.
pub const BROKER_CALL_SECONDS: u64 = 30;

/// How often they may be asked for one layer. A wrong PIN locks a token after a few attempts.
pub const BROKER_CALLS: u32 = 64;

/// The most bytes that are kept of a guest's standard error; the rest is dropped.
pub const GUEST_STDERR: usize = 64 * 1024;

/// The most lines of it that go to the log, each as its own entry. A further entry reports how many
/// more there were.
pub const GUEST_LINES: usize = 256;

/// The size of strings and lists that one call may pass to the host, in bytes: a message, a layer key,
/// or a chunk of a layer that the guest decrypted itself.
pub const HOSTCALL: usize = 1024 * 1024;

/// The same for a core module. It is also the most that one `read` or `write` may name. It is the value
/// of `wasmtime run`, and only part of it is copied.
pub const CORE_HOSTCALL: usize = 128 * 1024 * 1024;

/// Handles that an instance may hold: open files, directories and streams.
pub const HANDLES: usize = 1024;

/// How many bytes a guest that decompresses may write for each byte that it read. No gzip stream expands
/// more: DEFLATE (RFC 1951) encodes at most 258 bytes in two bits.
pub const EXPANSION: u64 = 1032;

/// Plaintext that the guest has read and not yet written, in bytes.
pub const OUTSTANDING: usize = 1024 * 1024;
