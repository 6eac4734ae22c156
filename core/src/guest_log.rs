//! An instance's standard error, which is kept for the log up to a limit.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::{limits, lock};

/// What an instance has written to its standard error.
#[derive(Clone, Default)]
pub struct GuestLog(Arc<Mutex<Vec<u8>>>);

impl GuestLog {
    /// The text, with one message per line, without private keys that the guest may have quoted.
    pub fn text(&self) -> String {
        let bytes = lock(&self.0);
        ocicrypt::text::without_pem(&String::from_utf8_lossy(&bytes))
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = lock(&self.0);
        let room = limits::GUEST_STDERR - kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink()) // only WASI 0.3 asks for it, and that is not linked
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestLog {
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(limits::GUEST_STDERR)
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
}

#[async_trait]
impl Pollable for GuestLog {
    async fn ready(&mut self) {}
}

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}
