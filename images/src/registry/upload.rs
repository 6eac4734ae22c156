//! Writes a blob in chunks, and goes on where a connection broke (OCI distribution specification 1.1,
//! section "Pushing a blob in chunks").
//!
//! A registry that refuses another chunk than the first gets blobs as a stream from then on.
//!
//! A chunk stays in memory until the registry has it: a thread sends it while the next one is filled. What
//! was sent before cannot be sent again: an upload that the registry forgets is lost if it had more than
//! one chunk. docker-registry 2.8 forgets each upload of which it got a chunk in part.

use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ureq::http::{Method, header};
use zeroize::Zeroizing;

use super::answer::{About, Answer};
use super::client::Request;
use super::error::RegistryError;
use super::pusher::{CHUNK, Pusher};
use super::retry::Failures;
use super::uploads::Open;
use crate::digest;
use crate::error::{Error, Result};
use crate::place::{Kept, NewBlob};

/// How long a registry may be silent after the last chunk: it hashes all of a blob, or copies it.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// The media type of chunks.
pub const BYTES: &str = "application/octet-stream";

/// A blob that is being written. While a chunk is sent, the next one is filled.
pub struct Upload {
    hash: Sha256,
    size: u64,
    /// What is filled.
    chunk: Chunk,
    sender: Arc<Mutex<Sender>>,
    /// The thread that sends a chunk.
    sending: Option<JoinHandle<Result<(), RegistryError>>>,
    /// Set when nobody needs the upload any more.
    stop: Arc<AtomicBool>,
}

/// A chunk can be plain, and is wiped.
type Chunk = Zeroizing<Vec<u8>>;

/// Sends one chunk after another.
struct Sender {
    pusher: Arc<Pusher>,
    open: Option<Open>,
    /// What is not sent yet, or not acknowledged.
    buffer: Chunk,
    /// Where the buffer begins in the blob.
    start: u64,
    /// How much of the blob the registry has.
    offset: u64,
    stop: Arc<AtomicBool>,
}

/// Whether a request was successful.
enum Sent {
    Yes,
    /// The registry has to be asked how much it has.
    Unclear(Option<RegistryError>, Option<Duration>),
}

impl Upload {
    /// A blob that has no bytes yet.
    pub fn new(pusher: &Arc<Pusher>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sender = Sender {
            pusher: pusher.clone(),
            open: None,
            buffer: Chunk::default(),
            start: 0,
            offset: 0,
            stop: stop.clone(),
        };
        Self {
            hash: Sha256::new(),
            size: 0,
            chunk: Chunk::default(),
            sender: Arc::new(Mutex::new(sender)),
            sending: None,
            stop,
        }
    }

    /// Begins to send the chunk that is full, after the one before.
    fn send_chunk(&mut self) -> Result<(), RegistryError> {
        self.finish_chunk()?;
        mem::swap(&mut self.chunk, &mut lock(&self.sender).buffer);
        let sender = self.sender.clone();
        let send = move || lock(&sender).send(None);
        match thread::Builder::new().spawn(send) {
            Ok(sending) => self.sending = Some(sending),
            // Without a further thread, it takes longer.
            Err(_) => lock(&self.sender).send(None)?,
        }
        Ok(())
    }

    /// Waits until the registry has the chunk that is being sent.
    fn finish_chunk(&mut self) -> Result<(), RegistryError> {
        match self.sending.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(sent)) => sent,
            Some(Err(_)) => Err(lock(&self.sender).lost()),
        }
    }
}

fn lock(sender: &Mutex<Sender>) -> MutexGuard<'_, Sender> {
    sender.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    /// Sends the buffer, and completes the blob if its digest is given.
    fn send(&mut self, digest: Option<&str>) -> Result<(), RegistryError> {
        let mut failures = Failures::until(&self.stop);
        loop {
            let rest = self.buffer.len() - self.sent();
            let length = rest.min(self.pusher.chunk());
            let last = digest.filter(|_| length == rest);
            if rest == 0 && last.is_none() {
                break;
            }
            match self.send_part(length, last)? {
                Sent::Yes => {
                    self.offset += length as u64;
                    failures.forget();
                    if last.is_some() {
                        break;
                    }
                }
                Sent::Unclear(error, asked) => {
                    if !failures.wait(self.pusher.client().host(), asked) {
                        return Err(error.unwrap_or_else(|| self.lost()));
                    }
                    if let Some(digest) = last
                        && self.pusher.has_blob(digest, &mut failures)?
                    {
                        break;
                    }
                    self.recover(&mut failures)?;
                }
            }
        }
        self.start += self.buffer.len() as u64;
        self.offset = self.start;
        self.buffer.clear();
        Ok(())
    }

    /// How much of the buffer the registry has.
    fn sent(&self) -> usize {
        usize::try_from(self.offset - self.start).unwrap_or(usize::MAX)
    }

    fn send_part(&mut self, length: usize, last: Option<&str>) -> Result<Sent, RegistryError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.pusher.open_upload()?,
        };
        let chunk = &self.buffer[self.sent()..][..length];
        let (offset, client) = (self.offset, self.pusher.client());
        let sent = open.send(|url| {
            let mut request = match last {
                Some(digest) => {
                    let url = url.with_query(&format!("digest={digest}")).unwrap_or(url);
                    Request::new(Method::PUT, url).patience(PATIENCE)
                }
                None => Request::new(Method::PATCH, url),
            }
            .body(BYTES, chunk);
            // A blob in a single request is no part of one.
            if length > 0 && !(last.is_some() && offset == 0) {
                let range = format!("{offset}-{}", offset + length as u64 - 1);
                request = request.header(header::CONTENT_RANGE, &range);
            }
            let answer = client.send_once(&request)?;
            // The signal that ends the program finds the new address.
            if answer.status() != 201 && answer.header(header::LOCATION).is_some() {
                open.set_url(answer.location()?);
            }
            Ok(answer)
        });
        self.open = Some(open);
        match sent {
            Ok(answer) => self.judge(answer, length),
            Err(error) if client.may_pass(&error) => {
                let asked = error.wait();
                Ok(Sent::Unclear(Some(error), asked))
            }
            Err(error) => Err(error),
        }
    }

    fn judge(&self, answer: Answer, length: usize) -> Result<Sent, RegistryError> {
        if answer.is_success() {
            return Ok(Sent::Yes);
        }
        let asked = answer.retry_after();
        let may_pass = match answer.status() {
            413 | 416 => self.pusher.shorten_chunks(length),
            404 => self.start == 0,
            _ => answer.is_transient(),
        };
        // Some registries take one chunk and no other, and say so in as many ways.
        if !may_pass && self.start > 0 && matches!(answer.status(), 400 | 404..=499) {
            if answer.status() != 404 {
                self.pusher.forbid_chunks();
            }
            return Err(self.lost());
        }
        let error = answer.refuse(&self.pusher.client().repository, About::Other);
        if may_pass { Ok(Sent::Unclear(Some(error), asked)) } else { Err(error) }
    }

    /// Asks the registry how much it has, and goes on there.
    fn recover(&mut self, failures: &mut Failures) -> Result<(), RegistryError> {
        let Some(open) = &self.open else { return Ok(()) };
        let client = self.pusher.client();
        let ask = |url| client.send_again(&Request::new(Method::GET, url), failures);
        let answer = open.send(ask)?;
        let end = self.start + self.buffer.len() as u64;
        if answer.is_success()
            && let Some(offset) = received(&answer)
            && (self.start..=end).contains(&offset)
        {
            if answer.header(header::LOCATION).is_some() {
                open.set_url(answer.location()?);
            }
            self.offset = offset;
            return Ok(());
        }
        if self.start > 0 {
            return Err(self.lost());
        }
        // All of the blob is still here.
        self.open = None;
        self.offset = 0;
        Ok(())
    }

    fn lost(&self) -> RegistryError {
        RegistryError::UploadLost { repository: self.pusher.client().repository.to_string() }
    }
}

/// How much of an upload the registry has. `0-0` is nothing: a single byte is never sent first.
fn received(answer: &Answer) -> Option<u64> {
    let range = answer.header(header::RANGE)?.trim();
    let (start, end) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    match (start.parse(), end.parse::<u64>()) {
        (Ok(0), Ok(0)) => Some(0),
        (Ok(0), Ok(end)) => end.checked_add(1),
        _ => None,
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.send_chunk().map_err(|error| io::Error::other(Error::from(error)))?;
        }
        let length = bytes.len().min(CHUNK - self.chunk.len());
        append(&mut self.chunk, &bytes[..length]);
        self.hash.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much memory a chunk has as long as that is enough, in bytes. Many blobs are short.
const SHORT: usize = 64 * 1024;

/// Appends to a chunk, and wipes what it held if it has to move. It moves at most once: memory that is
/// freed between other memory is not given back.
fn append(chunk: &mut Chunk, bytes: &[u8]) {
    let length = chunk.len() + bytes.len();
    if length > chunk.capacity() {
        let capacity = if length <= SHORT { SHORT } else { CHUNK };
        let mut longer = Chunk::new(Vec::with_capacity(capacity));
        longer.extend_from_slice(chunk);
        *chunk = longer;
    }
    chunk.extend_from_slice(bytes);
}

impl NewBlob for Upload {
    fn keep(mut self: Box<Self>) -> Result<Kept> {
        self.finish_chunk()?;
        let digest = digest::finish(mem::take(&mut self.hash));
        let mut sender = lock(&self.sender);
        mem::swap(&mut self.chunk, &mut sender.buffer);
        sender.send(Some(&digest))?;
        if let Some(open) = sender.open.take() {
            open.close();
        }
        drop(sender);
        Ok(Kept { digest, size: self.size })
    }
}

impl Drop for Upload {
    /// Waits for a request that is being sent, and for no other: the upload is then cancelled.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.finish_chunk();
    }
}
