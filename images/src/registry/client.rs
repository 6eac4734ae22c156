//! Requests to a repository, with authentication, redirects and retries.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::Options;
use super::answer::Answer;
use super::authenticator::Authenticator;
use super::credentials::Identity;
use super::error::{ConnectError, Malformation, RegistryError};
use super::http::{Call, Http, Limit};
use super::reference::Repository;
use super::retry::{self, Failures};
use super::secret::Secret;
use super::token;
use super::url::Url;

/// How often a request is redirected at most.
const MAX_REDIRECTS: u32 = 10;

/// A repository that requests are sent to.
pub struct Client {
    http: Http,
    /// The address that all requests to the registry begin with.
    base: Url,
    /// The repository.
    pub repository: Repository,
    scope: String,
    authenticator: Authenticator,
    /// Whether the registry has answered. Until then, a failure to connect is not waited out.
    reached: AtomicBool,
}

/// A request to a registry.
#[derive(Clone)]
pub struct Request<'a> {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<&'a [u8]>,
    /// The repository that a blob is taken from.
    from: Option<&'a str>,
    patience: Option<Duration>,
    limit: Limit,
}

impl<'a> Request<'a> {
    /// A request without a body, or with an empty one if the method always has one.
    pub fn new(method: Method, url: Url) -> Self {
        let body = matches!(method, Method::POST | Method::PUT | Method::PATCH).then_some(&[][..]);
        let (headers, limit) = (HeaderMap::new(), Limit::Document);
        Self { method, url, headers, body, from: None, patience: None, limit }
    }

    /// Adds a header. A value that no header can have is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, media_type: &str, body: &'a [u8]) -> Self {
        self.body = Some(body);
        self.header(header::CONTENT_TYPE, media_type)
    }

    /// Also asks for access to the repository that a blob is taken from.
    #[must_use]
    pub fn from(mut self, repository: &'a str) -> Self {
        self.from = Some(repository);
        self
    }

    /// How long the connection may be silent, in place of the usual time.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// The body of the answer is a blob.
    #[must_use]
    pub fn for_blob(mut self) -> Self {
        self.limit = Limit::Blob;
        self
    }
}

impl Client {
    /// A client for a repository, to do what `actions` says, such as `pull`.
    ///
    /// # Errors
    /// Certificate authorities that cannot be read; a registry that cannot be reached, where that
    /// decides whether it speaks TLS.
    pub fn new(
        repository: &Repository,
        actions: &str,
        options: &Options,
    ) -> Result<Self, RegistryError> {
        let Repository { host, path } = repository;
        let login = options.login.as_ref().map(|login| Identity::Password {
            username: login.username.clone(),
            password: Secret::new(login.password.to_string()),
        });
        let server = repository.server();
        let scheme = if options.plain_http { "http" } else { "https" };
        let malformed = || RegistryError::Name {
            name: repository.to_string().escape_debug().to_string(),
            part: super::Part::Host,
        };
        let base = |scheme| Url::parse(&format!("{scheme}://{server}/v2/")).ok_or_else(malformed);
        let mut client = Self {
            http: Http::new(host, options)?,
            base: base(scheme)?,
            repository: repository.clone(),
            scope: format!("repository:{path}:{actions}"),
            authenticator: Authenticator::new(repository, login, options.credentials.clone()),
            reached: AtomicBool::new(false),
        };
        if options.any_certificate && !options.plain_http && !client.speaks_tls() {
            client.base = base("http")?;
        }
        Ok(client)
    }

    /// Whether the registry is reached by TLS. A connection that breaks says nothing about it.
    fn speaks_tls(&self) -> bool {
        let ping = Request::new(Method::GET, self.base.clone());
        !matches!(
            self.exchange(&ping, &ping.url, None),
            Err(RegistryError::Connect { why: ConnectError::NoTls | ConnectError::Refused, .. })
        )
    }

    /// The address of something in the repository.
    ///
    /// # Errors
    /// A path with characters that no address can have.
    pub fn url(&self, path: &str) -> Result<Url, RegistryError> {
        let url = self.base.join(&format!("/v2/{}/{path}", self.repository.path));
        url.ok_or_else(|| RegistryError::Name {
            name: path.escape_debug().to_string(),
            part: super::Part::Repository,
        })
    }

    /// Sends a request, and repeats it as long as another attempt may succeed.
    ///
    /// # Errors
    /// No answer, or no access.
    pub fn send(&self, request: &Request<'_>) -> Result<Answer, RegistryError> {
        self.send_again(request, &mut Failures::default())
    }

    /// The same within an operation that has failed before: all its failures count together.
    ///
    /// # Errors
    /// No answer, or no access.
    pub fn send_again(
        &self,
        request: &Request<'_>,
        failures: &mut Failures,
    ) -> Result<Answer, RegistryError> {
        let may_pass = |error: &RegistryError| self.may_pass(error);
        retry::persist(failures, self.base.authority(), may_pass, || self.send_once(request))
    }

    /// Sends a request once, and answers the challenge of the registry.
    ///
    /// # Errors
    /// No answer, or no access.
    pub fn send_once(&self, request: &Request<'_>) -> Result<Answer, RegistryError> {
        let mut scopes = vec![self.scope.clone()];
        scopes.extend(request.from.map(|path| format!("repository:{path}:pull")));
        let mut challenged = false;
        loop {
            let used = self.authenticator.header(&scopes);
            let answer = self.follow(request, used.as_ref())?;
            if answer.status() != 401 || !answer.url().is_beside(&self.base) {
                return Ok(answer);
            }
            if challenged {
                return Err(self.authenticator.refused(answer));
            }
            challenged = true;
            self.authenticator.answer(&self.http, &self.base, answer, &scopes, used.as_ref())?;
        }
    }

    /// Sends a request whose body can be read once, so that no challenge can be answered. Credentials are
    /// those of the request before.
    ///
    /// # Errors
    /// No answer.
    pub fn send_stream(
        &self,
        request: &Request<'_>,
        body: impl Read + 'static,
    ) -> Result<Answer, RegistryError> {
        let headers = self.signed(request.headers.clone(), &request.url);
        let (method, url) = (request.method.clone(), request.url.clone());
        let (patience, limit) = (None, Limit::Document);
        self.http.send_stream(&Call { method, url, headers, body: None, patience, limit }, body)
    }

    /// Cancels an upload: with one request, as who has signed in before, within the time. Nothing more can
    /// be done if it fails: the registry then removes the upload some day.
    pub fn cancel(&self, url: Url, time: Duration) {
        let headers = self.signed(HeaderMap::new(), &url);
        let (method, limit) = (Method::DELETE, Limit::Total(time));
        let _ = self.http.send(&Call { method, url, headers, body: None, patience: None, limit });
    }

    /// Adds the credentials of whoever has signed in before, if the address is one of the registry itself.
    fn signed(&self, mut headers: HeaderMap, url: &Url) -> HeaderMap {
        let known = self.authenticator.header(std::slice::from_ref(&self.scope));
        if let Some(secret) = known.filter(|_| url.is_beside(&self.base)) {
            token::insert(&mut headers, header::AUTHORIZATION, &secret);
        }
        headers
    }

    /// How long a connection may be silent.
    pub fn patience(&self) -> Duration {
        self.http.patience()
    }

    /// The host of the registry.
    pub fn host(&self) -> &str {
        self.base.authority()
    }

    /// Sends a request, and follows redirects. Only the registry itself gets `authorization`.
    fn follow(
        &self,
        request: &Request<'_>,
        authorization: Option<&Secret>,
    ) -> Result<Answer, RegistryError> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let authorization = authorization.filter(|_| url.is_beside(&self.base));
            let answer = self.exchange(request, &url, authorization)?;
            let is_redirect = match answer.status() {
                301..=303 => matches!(request.method, Method::GET | Method::HEAD),
                307 | 308 => true,
                _ => false,
            };
            if !is_redirect {
                return Ok(answer);
            }
            url = answer.location()?;
        }
        let host = url.authority().to_owned();
        Err(RegistryError::Malformed { host, what: Malformation::Redirects })
    }

    fn exchange(
        &self,
        request: &Request<'_>,
        url: &Url,
        authorization: Option<&Secret>,
    ) -> Result<Answer, RegistryError> {
        let mut headers = request.headers.clone();
        if let Some(secret) = authorization {
            token::insert(&mut headers, header::AUTHORIZATION, secret);
        }
        let method = request.method.clone();
        let Request { body, patience, limit, .. } = *request;
        let call = Call { method, url: url.clone(), headers, body, patience, limit };
        let answer = self.http.send(&call);
        if answer.is_ok() {
            self.reached.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Whether a failure may pass. One of the first connection does not.
    pub fn may_pass(&self, error: &RegistryError) -> bool {
        error.is_transient() && self.reached.load(Ordering::Relaxed)
    }
}
