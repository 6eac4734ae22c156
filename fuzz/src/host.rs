//! The host's own files, without wasmtime: what it does with whatever a guest hands over. They are the
//! very files of `host/src`; what stands around them here is as much of the host as they use.

#![allow(dead_code)] // what only the rest of the host uses of them

#[path = "../../host/src/cleaned.rs"]
pub mod cleaned;
#[path = "../../host/src/config.rs"]
pub mod config;
#[path = "../../host/src/ledger.rs"]
pub mod ledger;
#[path = "../../host/src/limits.rs"]
pub mod limits;
#[path = "../../host/src/record.rs"]
pub mod record;
#[path = "../../host/src/words.rs"]
pub mod words;

pub mod args {
    /// As in `host/src/args.rs`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum CipherSide {
        Host,
        Guest,
    }
}

pub mod contract {
    /// As wasmtime generates it from `wit/decoder.wit`, as far as texts go.
    pub struct Failure {
        pub message: String,
        pub hints: Vec<String>,
        pub layer_digest: Option<String>,
        pub refusals: Vec<u32>,
        pub manifests: Vec<u32>,
    }

    /// As wasmtime generates it from `wit/decoder.wit`.
    pub struct LayerKey {
        pub cipher: String,
        pub key: Vec<u8>,
        pub nonce: Vec<u8>,
        pub hmac: Vec<u8>,
        pub digest: Option<String>,
        pub length: Option<u64>,
    }

    /// As wasmtime generates it from `wit/decoder.wit`.
    pub struct CipherKey {
        pub cipher: String,
        pub key: Vec<u8>,
        pub nonce: Vec<u8>,
    }
}

pub mod streams {
    use std::cell::RefCell;
    use std::io;

    thread_local! {
        /// What reached standard output, and how much of it is taken before it breaks.
        pub static STDOUT: RefCell<(Vec<u8>, usize)> = const { RefCell::new((Vec::new(), 0)) };
    }

    /// As `host/src/streams.rs` has it, but into memory.
    pub fn write_stdout(bytes: &[u8]) -> io::Result<()> {
        STDOUT.with_borrow_mut(|(out, room)| {
            let fits = bytes.len().min(*room);
            out.extend_from_slice(&bytes[..fits]);
            *room -= fits;
            if fits < bytes.len() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        })
    }
}
