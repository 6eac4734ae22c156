//! What the uploads to a repository have in common.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ureq::http::Method;

use super::answer::{About, Answer};
use super::client::{Client, Request};
use super::error::{Malformation, RegistryError};
use super::retry::Failures;
use super::uploads::{Open, Uploads};

/// The longest chunk, in bytes. Amazon's registry takes from 5 to 10 MiB. GitHub's takes at most
/// 4 MiB, and says so with status 416.
pub const CHUNK: usize = 5 * 1024 * 1024;
/// The shortest chunk that is tried where a registry says that chunks are too long, in bytes.
const SHORTEST: usize = 1024 * 1024;

/// What the uploads to a repository have in common.
pub struct Pusher {
    client: Arc<Client>,
    /// The uploads that are open for no blob yet.
    spare: Mutex<Vec<Open>>,
    uploads: Uploads,
    chunk: AtomicUsize,
    /// Whether the registry takes no chunks.
    no_chunks: AtomicBool,
}

impl Pusher {
    /// No upload, yet.
    pub fn new(client: Arc<Client>) -> Self {
        Self {
            uploads: Uploads::new(&client),
            client,
            spare: Mutex::default(),
            chunk: AtomicUsize::new(CHUNK),
            no_chunks: AtomicBool::new(false),
        }
    }

    /// The client of the repository.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same for a thread of its own.
    pub fn shared_client(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// The registry takes no chunks: from now on, a blob is a single request.
    pub fn forbid_chunks(&self) {
        self.no_chunks.store(true, Ordering::Relaxed);
    }

    /// Whether a blob is sent in chunks.
    pub fn takes_chunks(&self) -> bool {
        !self.no_chunks.load(Ordering::Relaxed)
    }

    /// How long chunks are at most, in bytes.
    pub fn chunk(&self) -> usize {
        self.chunk.load(Ordering::Relaxed)
    }

    /// Halves chunks if one of this length was too long. Returns false if they would be too short.
    pub fn shorten_chunks(&self, length: usize) -> bool {
        let shorter = length / 2;
        if shorter < SHORTEST {
            return false;
        }
        self.chunk.fetch_min(shorter, Ordering::Relaxed);
        true
    }

    /// An upload that is open for no blob yet.
    ///
    /// # Errors
    /// A registry that opens none.
    pub fn open_upload(&self) -> Result<Open, RegistryError> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(open) = spare {
            return Ok(open);
        }
        let url = self.client.url("blobs/uploads/")?;
        self.opened(self.client.send(&Request::new(Method::POST, url))?)
    }

    /// The upload that a registry has just opened.
    fn opened(&self, answer: Answer) -> Result<Open, RegistryError> {
        if answer.status() != 202 {
            return Err(match answer.is_success() {
                true => answer.malformed(Malformation::Header("Location")),
                false => answer.refuse(&self.client.repository, About::Other),
            });
        }
        Ok(self.uploads.add(answer.location()?))
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// A registry that does not say so.
    pub fn has_blob(&self, digest: &str, failures: &mut Failures) -> Result<bool, RegistryError> {
        let url = self.client.url(&format!("blobs/{digest}"))?;
        let answer = self.client.send_again(&Request::new(Method::HEAD, url), failures)?;
        match answer.status() {
            200..=299 => Ok(true),
            // Some registries have no HEAD. The blob is then sent again.
            404 | 405 | 501 => Ok(false),
            _ => Err(answer.refuse(&self.client.repository, About::Blob(digest))),
        }
    }

    /// Keeps an upload for the next blob.
    pub fn spare(&self, open: Open) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(open);
    }

    /// Takes a blob from another repository of the registry. A registry that does not, for whatever
    /// reason, gets the blob as any other.
    ///
    /// # Errors
    /// An address that is malformed.
    pub fn mount(&self, digest: &str, from: &str) -> Result<bool, RegistryError> {
        let path = format!("blobs/uploads/?mount={digest}&from={from}");
        let request = Request::new(Method::POST, self.client.url(&path)?).from(from);
        let Ok(answer) = self.client.send_once(&request) else { return Ok(false) };
        if answer.status() == 201 {
            return Ok(true);
        }
        if let Ok(open) = self.opened(answer) {
            self.spare(open);
        }
        Ok(false)
    }
}
