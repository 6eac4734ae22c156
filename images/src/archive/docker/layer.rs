//! The layers of an image of Docker, compressed with gzip, several at a time.

use std::io::{self, BufReader, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::{Content, Layer};
use crate::archive::entries::{Archive, Extent};
use crate::archive::input::{self, CHUNK, Spool};
use crate::digest;
use crate::error::{ArchiveError, Compression as Format, Error, Result};

/// The layers of an image.
pub struct Layers {
    /// All layers, each once.
    pub distinct: Vec<Layer>,
    /// The places of the layers of the image in `distinct`, lowest layer first.
    pub order: Vec<usize>,
}

/// A layer, as the archive and the configuration name it.
struct Named<'a> {
    path: &'a str,
    diff_id: &'a str,
    extent: Extent,
}

/// Compresses the layers with these paths and verifies them. Messages name the image as `shown`.
///
/// # Errors
/// A layer that is missing, altered, or compressed with something other than gzip.
pub fn all(
    archive: &Archive,
    paths: &[String],
    diff_ids: &[String],
    shown: &str,
) -> Result<Layers> {
    let mut named: Vec<Named<'_>> = Vec::new();
    let mut order = Vec::new();
    for (path, diff_id) in paths.iter().zip(diff_ids) {
        let extent = archive.find(path)?;
        let same = |other: &Named<'_>| other.extent == extent && other.diff_id == diff_id;
        let place = named.iter().position(same).unwrap_or_else(|| {
            named.push(Named { path, diff_id, extent });
            named.len() - 1
        });
        order.push(place);
    }
    let distinct = in_parallel(&named, |layer| layer.prepare(archive, shown))?;
    Ok(Layers { distinct, order })
}

/// Does `work` for all items, one on each processor at a time.
fn in_parallel<I: Sync, T: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let worker = || {
        while let Some((place, item)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            items.get(place).map(|item| (place, item))
        } {
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
        }
    };
    let workers = available_parallelism().map_or(1, usize::from).min(items.len());
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(worker))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

impl Named<'_> {
    fn prepare(&self, archive: &Archive, shown: &str) -> Result<Layer> {
        match input::compression(&archive.start(self.extent)?) {
            None => self.compress(archive),
            Some(Format::Gzip) => self.keep(archive),
            Some(compression) => {
                let (path, name) = (self.shown(), shown.to_owned());
                Err(ArchiveError::LayerCompressed { path, compression, name }.into())
            }
        }
    }

    /// Compresses the layer into a file without a name.
    fn compress(&self, archive: &Archive) -> Result<Layer> {
        let compressed = Hashing::new(Spool::new()?);
        let mut encoder = GzEncoder::new(compressed, Compression::default());
        let mut plain = Hashing::new(archive.read(self.extent));
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = plain.read(&mut buffer).map_err(|error| self.cannot_read(error))?;
            if length == 0 {
                break;
            }
            encoder.write_all(&buffer[..length]).map_err(|error| self.cannot_read(error))?;
        }
        let compressed = encoder.finish().map_err(|error| self.cannot_read(error))?;
        self.verify(plain.hash)?;
        Ok(Layer {
            digest: digest::finish(compressed.hash),
            size: compressed.length,
            content: Content::Compressed(compressed.inner.into_file()),
        })
    }

    /// Keeps a layer that is compressed already.
    fn keep(&self, archive: &Archive) -> Result<Layer> {
        let stored = BufReader::with_capacity(CHUNK, Hashing::new(archive.read(self.extent)));
        let mut decoder = MultiGzDecoder::new(stored);
        let mut plain = Hashing::new(&mut decoder);
        io::copy(&mut plain, &mut io::sink()).map_err(|error| self.cannot_read(error))?;
        let hash = plain.hash;
        let mut stored = decoder.into_inner();
        io::copy(&mut stored, &mut io::sink()).map_err(|error| self.cannot_read(error))?;
        self.verify(hash)?;
        let stored = stored.into_inner();
        Ok(Layer {
            digest: digest::finish(stored.hash),
            size: stored.length,
            content: Content::Stored(self.extent),
        })
    }

    fn verify(&self, hash: Sha256) -> Result<()> {
        let found = digest::finish(hash);
        if found == self.diff_id {
            return Ok(());
        }
        let wanted = self.diff_id.escape_debug().to_string();
        Err(ArchiveError::DiffId { path: self.shown(), wanted, found }.into())
    }

    fn shown(&self) -> String {
        self.path.escape_debug().to_string()
    }

    fn cannot_read(&self, error: io::Error) -> Error {
        Error::from_io(error, |error| Error::Read { shown: self.shown(), error })
    }
}

/// Hashes what is read or written.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
    length: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), length: 0 }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.note(&buffer[..length]);
        Ok(length)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.note(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
