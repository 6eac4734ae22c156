//! The lent cipher: WebAssembly has no instructions for AES and SHA, but the host has.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ocicrypt::layer::{self, PlainReader};
use wasmtime::component::{Resource, ResourceTable};
use wasmtime::{Result, format_err};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynInputStream, InputStream, Pollable, StreamError, StreamResult};

use crate::accounting::{Fault, SharedAccounting};
use crate::contract::cipher;
use crate::streams::Input;
use crate::{layer_key, lock};

/// The answer of `cipher.open` in an instance.
#[derive(Default)]
pub enum Cipher {
    /// There is no layer: the step is not `decrypt`.
    #[default]
    NoLayer,
    /// The host decrypts.
    Lent(Loan),
    /// The guest decrypts the layer itself, and gets the key.
    Own(Own),
    /// The cipher was already opened or refused.
    Used,
}

/// What an instance needs in order to be lent the cipher. The guest sees neither the key nor its
/// length.
pub struct Loan {
    /// The key that `unwrap` returned.
    pub key: layer::LayerKey,
    /// The handle of the encrypted layer: the only source that is accepted.
    pub source: u32,
    /// The encrypted layer itself.
    pub input: Input,
    /// Records what the cipher does.
    pub accounting: SharedAccounting,
}

/// What an instance gets if it decrypts the layer itself.
pub struct Own {
    /// The key that `unwrap` returned.
    pub key: layer::LayerKey,
    /// The handle of the encrypted layer: the only source that is accepted.
    pub source: u32,
}

impl Cipher {
    /// Answers `cipher.open` once, and only for the encrypted layer.
    ///
    /// # Errors
    /// The handle is not in `table`, which ends the instance.
    pub fn open(
        &mut self,
        source: Resource<DynInputStream>,
        table: &mut ResourceTable,
    ) -> Result<Result<Resource<DynInputStream>, cipher::Refusal>> {
        let loan = match std::mem::replace(self, Self::Used) {
            Self::NoLayer => {
                *self = Self::NoLayer;
                return Ok(Err(cipher::Refusal::NoLayer));
            }
            Self::Used => return Ok(Err(cipher::Refusal::AlreadyOpen)),
            Self::Lent(loan) if loan.source == source.rep() => loan,
            Self::Own(own) if own.source == source.rep() => {
                let key = layer_key::cipher_key(&own.key);
                return Ok(Err(cipher::Refusal::NotGranted(cipher::OwnCipher { key, source })));
            }
            Self::Lent(_) | Self::Own(_) => return Ok(Err(cipher::Refusal::OtherSource)),
        };
        loan.accounting.lock().opened = true;
        let plain = Plain {
            reader: PlainReader::new(loan.input, &loan.key),
            written: Arc::default(),
            chunk: Bytes::new(),
            accounting: loan.accounting,
        };
        table.delete(source)?;
        let plain: DynInputStream = Box::new(plain);
        Ok(Ok(table.push(plain)?))
    }
}

/// The plain layer. Its last bytes appear only after HMAC and digest have verified.
struct Plain {
    reader: PlainReader<Input>,
    /// The memory of a chunk that has been written. It is reused for the next chunk.
    written: Arc<Mutex<Option<Vec<u8>>>>,
    /// The rest of the chunk that was released last.
    chunk: Bytes,
    accounting: SharedAccounting,
}

#[async_trait]
impl InputStream for Plain {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.chunk.is_empty() && size > 0 {
            if let Some(chunk) = lock(&self.written).take() {
                self.reader.reuse(chunk);
            }
            match self.reader.next_chunk() {
                Ok(Some(chunk)) => {
                    let written = self.written.clone();
                    self.chunk = Bytes::from_owner(Chunk { bytes: chunk, written });
                }
                Ok(None) => {
                    self.accounting.lock().drained = true;
                    return Err(StreamError::Closed);
                }
                Err(error) => {
                    self.accounting.lock().fault(Fault::Layer(error));
                    return Err(refused());
                }
            }
        }
        let bytes = self.chunk.split_to(size.min(self.chunk.len()));
        match self.accounting.lock().release(&bytes) {
            Ok(()) => Ok(bytes),
            Err(_) => Err(refused()),
        }
    }

    // The same as the trait's default, without waiting first.
    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.read(size)
    }
}

/// A chunk that the guest and the accounting share. When both have dropped it, its memory is reused.
struct Chunk {
    bytes: Vec<u8>,
    written: Arc<Mutex<Option<Vec<u8>>>>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        *lock(&self.written) = Some(std::mem::take(&mut self.bytes));
    }
}

#[async_trait]
impl Pollable for Plain {
    async fn ready(&mut self) {} // reading waits, and there is no other work to do in the meantime
}

fn refused() -> StreamError {
    StreamError::LastOperationFailed(format_err!("the layer was refused"))
}
