//! Answers of a registry.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::Body;
use ureq::http::{HeaderName, Response, header};

use super::error::{Malformation, RegistryError};
use super::failure;
use super::reference::Repository;
use super::saying::Saying;
use super::url::Url;

/// How much of the body of an error is read, in bytes.
const MAX_ERROR: u64 = 8192;
/// How long the body of an error is read.
const MAX_ERROR_TIME: Duration = Duration::from_secs(10);

/// What a request is about.
#[derive(Clone, Copy)]
pub enum About<'a> {
    /// A manifest or an index, by its tag or digest.
    Manifest(&'a str),
    /// A layer or a configuration, by its digest.
    Blob(&'a str),
    /// Something else.
    Other,
}

/// An answer.
pub struct Answer {
    url: Url,
    response: Response<Body>,
}

impl Answer {
    /// An answer from this address.
    pub fn new(url: Url, response: Response<Body>) -> Self {
        Self { url, response }
    }

    /// The address that answered.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Whether it is one of success.
    pub fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self.status(), 408 | 429 | 500 | 502 | 503 | 504)
    }

    /// How long the registry wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.header(header::RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
    }

    /// A header, if it is there and is text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// All challenges.
    pub fn challenges(&self) -> impl Iterator<Item = &str> {
        let headers = self.response.headers().get_all(header::WWW_AUTHENTICATE);
        headers.iter().filter_map(|value| value.to_str().ok())
    }

    /// Where it leads: never from `https` to `http`.
    ///
    /// # Errors
    /// A header that is missing or malformed, or that leads to `http`.
    pub fn location(&self) -> Result<Url, RegistryError> {
        let location = self.header(header::LOCATION).and_then(|it| self.url.join(it));
        let url = location.ok_or_else(|| self.malformed(Malformation::Header("Location")))?;
        if self.url.is_secure() && !url.is_secure() {
            let host = self.url.authority().to_owned();
            return Err(RegistryError::Insecure { host, location: url.to_string() });
        }
        Ok(url)
    }

    /// An error about this answer.
    pub fn malformed(&self, what: Malformation) -> RegistryError {
        RegistryError::Malformed { host: self.url.authority().to_owned(), what }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// A body that breaks off, or that is longer than `limit` bytes.
    pub fn read(self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let too_long = self.malformed(Malformation::Length);
        let (url, mut body) = self.into_body();
        let mut bytes = Vec::new();
        let read = body.by_ref().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| failure::classify_io(&url, error))?;
        if bytes.len() as u64 > limit { Err(too_long) } else { Ok(bytes) }
    }

    /// The body, and the address that it comes from.
    pub fn into_body(self) -> (Url, impl Read + Send + 'static) {
        (self.url, self.response.into_body().into_reader())
    }

    /// What the registry says about an error.
    pub fn saying(self) -> Saying {
        Saying::parse(&self.error_body())
    }

    /// Reads what can be read of an error. The connection can then be used again.
    fn error_body(self) -> Vec<u8> {
        let (_, body) = self.into_body();
        let begun = Instant::now();
        let (mut bytes, mut body) = (Vec::new(), body.take(MAX_ERROR));
        let mut piece = [0; 1024];
        while begun.elapsed() < MAX_ERROR_TIME {
            // An error that breaks off is still an error.
            match body.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(length) => bytes.extend_from_slice(&piece[..length]),
            }
        }
        bytes
    }

    /// The error that this answer is.
    pub fn refuse(self, repository: &Repository, about: About<'_>) -> RegistryError {
        let status = self.status();
        let host = self.url.authority().to_owned();
        let plain = !self.url.is_secure();
        let is_page =
            self.header(header::CONTENT_TYPE).is_some_and(|it| it.starts_with("text/html"));
        let wait = self.retry_after();
        let is_elsewhere = host != repository.server();
        let pushing = matches!(about, About::Other);
        let saying = self.saying();
        let repository = repository.to_string();
        match (status, about) {
            (407, _) => RegistryError::ProxySignIn { host },
            (429, _) => RegistryError::RateLimited { host, wait, saying },
            (507, _) => RegistryError::Full { host, saying },
            (500..=599, _) => RegistryError::Unavailable { host, status, saying },
            (413, _) => RegistryError::RequestLength { host, saying },
            (401 | 403, About::Blob(_) | About::Manifest(_)) if is_elsewhere => {
                RegistryError::Storage { host, repository, status }
            }
            _ if is_page => RegistryError::WebPage { host, status },
            (401 | 403, _) => RegistryError::Denied { host, repository, saying },
            (404, _) if saying.code() == "NAME_UNKNOWN" => {
                RegistryError::NoRepository { pushing, repository, saying }
            }
            (404, About::Manifest(version)) => {
                RegistryError::NoManifest { repository, version: version.to_owned(), saying }
            }
            (404, About::Blob(digest)) => {
                RegistryError::NoBlob { repository, digest: digest.to_owned(), saying }
            }
            _ => RegistryError::Refused { host, status, saying, plain },
        }
    }
}
