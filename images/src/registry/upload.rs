//! Writes a blob in chunks, and goes on where a connection broke (OCI distribution specification 1.1,
//! section "Pushing a blob in chunks").
//!
//! A registry that refuses another chunk than the first gets blobs as a stream from then on.
//!
//! A chunk stays in memory until the registry has it. What was sent before cannot be sent again: an
//! upload that the registry forgets is lost if it had more than one chunk. docker-registry 2.8 forgets
//! each upload of which it got a chunk in part.

use std::io::{self, Write};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ureq::http::{Method, header};

use super::answer::{About, Answer};
use super::client::Request;
use super::error::{Malformation, RegistryError};
use super::retry::Failures;
use super::target::RegistryTarget;
use super::uploads::Open;
use crate::digest;
use crate::error::{Error, Result};
use crate::place::{Kept, NewBlob};

/// The longest chunk, in bytes. Amazon's registry takes from 5 to 10 MiB. GitHub's takes at most
/// 4 MiB, and says so with status 416.
pub const CHUNK: usize = 8 * 1024 * 1024;
/// The shortest chunk that is tried where a registry says that chunks are too long, in bytes.
pub const SHORTEST: usize = 1024 * 1024;
/// How long a registry may be silent after the last chunk: it hashes all of a blob, or copies it.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// The media type of chunks.
pub const BYTES: &str = "application/octet-stream";

/// A blob that is being written.
pub struct Upload<'a> {
    target: &'a RegistryTarget,
    open: Option<Open>,
    hash: Sha256,
    /// What is not sent yet, or not acknowledged.
    buffer: Vec<u8>,
    /// Where the buffer begins in the blob.
    start: u64,
    /// How much of the blob the registry has.
    offset: u64,
}

/// Whether a request was successful.
enum Sent {
    Yes,
    /// The registry has to be asked how much it has.
    Unclear(Option<RegistryError>, Option<Duration>),
}

impl<'a> Upload<'a> {
    /// A blob that has no bytes yet.
    pub fn new(target: &'a RegistryTarget) -> Self {
        let (buffer, hash) = (Vec::new(), Sha256::new());
        Self { target, open: None, hash, buffer, start: 0, offset: 0 }
    }

    /// Sends the buffer, and completes the blob if its digest is given.
    fn send(&mut self, digest: Option<&str>) -> Result<(), RegistryError> {
        let mut failures = Failures::default();
        loop {
            let rest = self.buffer.len() - self.sent();
            let length = rest.min(self.target.chunk());
            let last = digest.filter(|_| length == rest);
            if rest == 0 && last.is_none() {
                break;
            }
            match self.send_chunk(length, last)? {
                Sent::Yes => {
                    self.offset += length as u64;
                    failures.forget();
                    if last.is_some() {
                        break;
                    }
                }
                Sent::Unclear(error, asked) => {
                    if !failures.wait(self.target.client().host(), asked) {
                        return Err(error.unwrap_or_else(|| self.lost()));
                    }
                    if let Some(digest) = last
                        && self.target.has_blob(digest, &mut failures)?
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

    fn send_chunk(&mut self, length: usize, last: Option<&str>) -> Result<Sent, RegistryError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.target.open_upload()?,
        };
        let chunk = &self.buffer[self.sent()..][..length];
        let (offset, client) = (self.offset, self.target.client());
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
            413 | 416 => self.target.shorten_chunks(length),
            404 => self.start == 0,
            _ => answer.is_transient(),
        };
        // Some registries take one chunk and no other, and say so in as many ways.
        if !may_pass && self.start > 0 && matches!(answer.status(), 400 | 404..=499) {
            if answer.status() != 404 {
                self.target.forbid_chunks();
            }
            return Err(self.lost());
        }
        let error = answer.refuse(&self.target.client().repository, About::Other);
        if may_pass { Ok(Sent::Unclear(Some(error), asked)) } else { Err(error) }
    }

    /// Asks the registry how much it has, and goes on there.
    fn recover(&mut self, failures: &mut Failures) -> Result<(), RegistryError> {
        let Some(open) = &self.open else { return Ok(()) };
        let client = self.target.client();
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
        RegistryError::UploadLost { repository: self.target.client().repository.to_string() }
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

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == CHUNK {
            self.send(None).map_err(|error| io::Error::other(Error::from(error)))?;
        }
        let length = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..length]);
        self.hash.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewBlob for Upload<'_> {
    fn keep(mut self: Box<Self>) -> Result<Kept> {
        let size = self.start + self.buffer.len() as u64;
        let digest = digest::finish(std::mem::take(&mut self.hash));
        self.send(Some(&digest))?;
        if let Some(open) = self.open.take() {
            open.close();
        }
        Ok(Kept { digest, size })
    }
}

/// The address of an upload that a registry has just opened.
///
/// # Errors
/// A registry that opened none.
pub fn opened(answer: Answer, target: &RegistryTarget) -> Result<Open, RegistryError> {
    if answer.status() != 202 {
        return Err(match answer.is_success() {
            true => answer.malformed(Malformation::Header("Location")),
            false => answer.refuse(&target.client().repository, About::Other),
        });
    }
    Ok(target.keep_open(answer.location()?))
}
