//! The lent cipher: WebAssembly has no instructions for AES and SHA, the host has.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ocicrypt::layer::{self, PlainReader};
use wasmtime::component::Resource;
use wasmtime::{Result, format_err};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynInputStream, InputStream, Pollable, StreamError, StreamResult};

use crate::contract::LayerKey;
use crate::contract::keycell::decoder::{cipher, types};
use crate::input::Input;
use crate::instance::Instance;
use crate::ledger::{Fault, Ledger, lock};

pub use crate::record::checked;

/// What an instance needs to be lent the cipher.
pub struct Loan {
    /// The key that `unwrap` returned: the only one that is accepted.
    pub key: layer::LayerKey,
    /// The handle of the encrypted layer: the only source that is accepted.
    pub source: u32,
    /// The encrypted layer itself.
    pub input: Input,
    /// Where it is written down what the cipher did.
    pub ledger: Ledger,
}

impl types::Host for Instance {}

impl cipher::Host for Instance {
    fn open(
        &mut self,
        key: LayerKey,
        source: Resource<DynInputStream>,
    ) -> Result<Result<Resource<DynInputStream>, cipher::Refusal>> {
        let Some(loan) = &mut self.loan else {
            return Ok(Err(cipher::Refusal::NotGranted(source)));
        };
        if std::mem::replace(&mut loan.ledger.books().opened, true) {
            return Ok(Err(cipher::Refusal::AlreadyOpen));
        }
        if source.rep() != loan.source {
            return Ok(Err(cipher::Refusal::OtherSource));
        }
        if !checked(&key).is_ok_and(|key| key.is_same(&loan.key)) {
            return Ok(Err(cipher::Refusal::OtherKey));
        }
        let plain = Plain {
            reader: PlainReader::new(std::mem::take(&mut loan.input), &loan.key),
            written: Arc::default(),
            chunk: Bytes::new(),
            ledger: loan.ledger.clone(),
        };
        self.table.delete(source)?;
        let plain: DynInputStream = Box::new(plain);
        Ok(Ok(self.table.push(plain)?))
    }
}

/// The plain layer, whose tail appears only when HMAC and digest have verified.
struct Plain {
    reader: PlainReader<Input>,
    /// Memory of a chunk that has been written, for one that will be read.
    written: Arc<Mutex<Option<Vec<u8>>>>,
    /// What is left of the chunk that was given out last.
    chunk: Bytes,
    ledger: Ledger,
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
                    self.ledger.books().drained = true;
                    return Err(StreamError::Closed);
                }
                Err(error) => {
                    self.ledger.books().fault(Fault::Layer(error));
                    return Err(refused());
                }
            }
        }
        let bytes = self.chunk.split_to(size.min(self.chunk.len()));
        match self.ledger.books().release(&bytes) {
            Ok(()) => Ok(bytes),
            Err(_) => Err(refused()),
        }
    }

    // As the trait has it, without waiting in between.
    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.read(size)
    }
}

/// A chunk on its way through guest and ledger. Whoever needs it last gives its memory back.
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
    async fn ready(&mut self) {} // reading waits, and there is no other work to do meanwhile
}

fn refused() -> StreamError {
    StreamError::LastOperationFailed(format_err!("the layer was refused"))
}
