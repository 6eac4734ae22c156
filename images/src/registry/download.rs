//! Reads a blob, and goes on where a connection broke (OCI distribution specification 1.1, section
//! "Pulling blobs"; RFC 9110, section 14).

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::http::{Method, header};

use super::answer::{About, Answer};
use super::client::{Client, Request};
use super::error::{Malformation, RegistryError};
use super::failure;
use super::retry::Failures;
use super::url::Url;
use crate::documents::Descriptor;
use crate::error::Error;

/// After how many bytes the failures before are forgotten. Fewer could be a registry that never ends.
const PROGRESS: u64 = 1024 * 1024;
/// How many bytes arrive at least in the time that a connection may be silent.
const SLOWEST: usize = 64 * 1024;

/// A blob that is read.
pub struct Download<'a> {
    client: &'a Client,
    url: Url,
    digest: String,
    /// The length of the blob, if the descriptor has it.
    size: Option<u64>,
    offset: u64,
    /// Where the last connection broke.
    broken_at: u64,
    failures: Failures,
    /// Whether a part can be asked for.
    has_parts: bool,
    body: Option<Body>,
}

struct Body {
    url: Url,
    reader: Box<dyn Read + Send>,
    /// How much of what comes is there already.
    skipped: u64,
    /// Whether it has the length that is missing.
    is_exact: bool,
    pace: Pace,
}

impl<'a> Download<'a> {
    /// Begins to read a blob.
    ///
    /// # Errors
    /// A registry that cannot be reached, or that has no such blob.
    pub fn begin(client: &'a Client, descriptor: &Descriptor) -> Result<Self, RegistryError> {
        let digest = descriptor.digest().to_owned();
        let mut download = Self {
            client,
            url: client.url(&format!("blobs/{digest}"))?,
            digest,
            size: descriptor.size,
            offset: 0,
            broken_at: 0,
            failures: Failures::default(),
            has_parts: true,
            body: None,
        };
        download.body = Some(download.request()?);
        Ok(download)
    }

    /// Asks for what is missing.
    fn request(&mut self) -> Result<Body, RegistryError> {
        let mut answer = self.ask()?;
        if answer.status() == 416 && self.offset > 0 {
            self.has_parts = false;
            answer = self.ask()?;
        }
        let skipped = match answer.status() {
            206 if starts_at(&answer) == Some(self.offset) => 0,
            206 => return Err(answer.malformed(Malformation::Part)),
            200 => self.offset,
            _ => return Err(answer.refuse(&self.client.repository, About::Blob(&self.digest))),
        };
        let length = answer.header(header::CONTENT_LENGTH).and_then(|it| it.parse::<u64>().ok());
        let is_exact = length.is_some_and(|it| Some(it + self.offset - skipped) == self.size);
        let (url, reader) = answer.into_body();
        let pace = Pace::new(self.client.patience());
        Ok(Body { url, reader: Box::new(reader), skipped, is_exact, pace })
    }

    fn ask(&mut self) -> Result<Answer, RegistryError> {
        let mut request = Request::new(Method::GET, self.url.clone()).for_blob();
        if self.offset > 0 && self.has_parts {
            request = request.header(header::RANGE, &format!("bytes={}-", self.offset));
        }
        self.client.send_again(&request, &mut self.failures)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        loop {
            if self.size == Some(self.offset) {
                if let Some(body) = self.body.take() {
                    body.end();
                }
                return Ok(0);
            }
            if self.body.is_none() {
                self.body = Some(self.request()?);
            }
            let Some(body) = &mut self.body else { continue };
            let error = match body.read(buffer) {
                Ok(0) if self.size.is_some_and(|size| self.offset < size) => {
                    io::ErrorKind::UnexpectedEof.into()
                }
                Ok(length) => {
                    self.offset += length as u64;
                    return Ok(length);
                }
                Err(error) => error,
            };
            let error = failure::classify_io(&body.url, error);
            let host = body.url.authority().to_owned();
            self.body = None;
            if self.offset - self.broken_at >= PROGRESS {
                self.failures.forget();
            }
            self.broken_at = self.offset;
            if !error.is_transient() || !self.failures.wait(&host, None) {
                return Err(error);
            }
        }
    }
}

impl Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.skipped > 0 {
            let most = usize::try_from(self.skipped).unwrap_or(usize::MAX).min(buffer.len());
            match self.pace.read(&mut self.reader, &mut buffer[..most])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.skipped -= length as u64,
            }
        }
        self.pace.read(&mut self.reader, buffer)
    }

    /// Everything has arrived. The connection can then be used again, if nothing can follow.
    fn end(mut self) {
        if self.is_exact {
            let _ = self.reader.read(&mut [0]);
        }
    }
}

/// How fast a connection has to be: a registry that sends single bytes is as good as silent.
struct Pace {
    patience: Duration,
    /// How long was waited for these bytes.
    waited: Duration,
    bytes: usize,
}

impl Pace {
    fn new(patience: Duration) -> Self {
        Self { patience, waited: Duration::ZERO, bytes: 0 }
    }

    fn read(&mut self, reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let length = reader.read(buffer)?;
        self.waited += begun.elapsed();
        self.bytes += length;
        if self.waited > self.patience {
            if self.bytes < SLOWEST && length > 0 {
                return Err(io::Error::other(ureq::Error::Timeout(ureq::Timeout::PerRead)));
            }
            *self = Self::new(self.patience);
        }
        Ok(length)
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.read_some(buffer).map_err(|error| io::Error::other(Error::from(error)))
    }
}

/// Where the part begins that the registry sends.
fn starts_at(answer: &Answer) -> Option<u64> {
    let range = answer.header(header::CONTENT_RANGE)?.trim().strip_prefix("bytes")?;
    range.trim().split('-').next()?.parse().ok()
}
