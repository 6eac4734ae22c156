//! Single requests, without redirects, authentication or retries.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{HeaderMap, Method, Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody, Body, Error, Proxy, SendBody};

use super::Options;
use super::answer::Answer;
use super::error::RegistryError;
use super::failure;
use super::proxy::Proxies;
use super::url::Url;

/// How long a connection may take to come about, and how long it may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where Docker and containers/image keep the certificate authorities of single registries.
const AUTHORITIES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// A client for one registry, and for what it leads to.
pub struct Http {
    agent: Agent,
    patience: Duration,
    proxies: Proxies,
}

/// A request.
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// The address.
    pub url: Url,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, for the methods that have one.
    pub body: Option<&'a [u8]>,
    /// How long the connection may be silent, in place of the usual time.
    pub patience: Option<Duration>,
    /// How long all of it may take.
    pub limit: Limit,
}

/// How long an answer may take as a whole.
#[derive(Clone, Copy)]
pub enum Limit {
    /// A body that is read at once: twice as long as the connection may be silent.
    Document,
    /// A body of any length, which is measured where it is read.
    Blob,
    /// The request and its answer, together.
    Total(Duration),
}

impl Http {
    /// A client for the registry at `host`.
    ///
    /// # Errors
    /// A file with certificate authorities that cannot be read, or that has none.
    pub fn new(host: &str, options: &Options) -> Result<Self, RegistryError> {
        let patience = options.patience.unwrap_or(PATIENCE);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider)
            .disable_verification(options.any_certificate)
            .root_certs(RootCerts::Specific(Arc::new(authorities(host, options)?)))
            .build();
        let config = Config::builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("keycell/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(patience))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(patience))
            .max_idle_connections_per_host(16)
            .max_idle_connections(32)
            .build();
        Ok(Self { agent: config.new_agent(), patience, proxies: Proxies::from_env() })
    }

    /// How long a connection may be silent.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Sends a request and begins to read the answer.
    ///
    /// # Errors
    /// No answer.
    pub fn send(&self, call: &Call<'_>) -> Result<Answer, RegistryError> {
        match call.body {
            Some(body) => self.send_body(call, body),
            None => self.send_body(call, ()),
        }
    }

    /// Sends a request with a body of unknown length, and begins to read the answer.
    ///
    /// # Errors
    /// No answer.
    pub fn send_stream(
        &self,
        call: &Call<'_>,
        body: impl Read + 'static,
    ) -> Result<Answer, RegistryError> {
        self.send_body(call, SendBody::from_owned_reader(body))
    }

    fn send_body(&self, call: &Call<'_>, body: impl AsSendBody) -> Result<Answer, RegistryError> {
        let proxy = self.proxies.choose(&call.url)?;
        let mut request = Request::builder().method(call.method.clone()).uri(call.url.uri());
        if let Some(headers) = request.headers_mut() {
            headers.extend(call.headers.clone());
        }
        let request = request.body(body).map_err(Error::from);
        let response = request.and_then(|request| self.run(call, request, proxy));
        let response = response.map_err(|error| failure::classify(&call.url, error))?;
        Ok(Answer::new(call.url.clone(), response))
    }

    fn run<B: AsSendBody>(
        &self,
        call: &Call<'_>,
        request: Request<B>,
        proxy: Option<Proxy>,
    ) -> Result<Response<Body>, Error> {
        let patience = call.patience.unwrap_or(self.patience);
        let request = self.agent.configure_request(request);
        let request = request
            .proxy(proxy)
            .timeout_connect(Some(patience.min(self.patience)))
            .timeout_per_read(Some(patience))
            .timeout_recv_response(Some(patience));
        self.agent.run(match call.limit {
            Limit::Document => request.timeout_recv_body(Some(patience * 2)).build(),
            Limit::Blob => request.build(),
            Limit::Total(limit) => request.timeout_global(Some(limit)).build(),
        })
    }
}

/// The authorities that may issue the certificate of `host`: those of the system, those of the options,
/// and those that the system has for this host.
fn authorities(host: &str, options: &Options) -> Result<Vec<Certificate<'static>>, RegistryError> {
    if options.any_certificate || options.plain_http {
        return Ok(Vec::new());
    }
    // A certificate that cannot be read authorises nothing. Others may still do.
    let system = rustls_native_certs::load_native_certs().certs;
    let mut all: Vec<_> = system.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let of_host = AUTHORITIES.iter().flat_map(|directory| files(&Path::new(directory).join(host)));
    for path in options.authorities.iter().cloned().chain(of_host) {
        let pem = fs::read(&path)
            .map_err(|error| RegistryError::Authority { path: path.clone(), error })?;
        let count = all.len();
        all.extend(parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        }));
        if all.len() == count {
            return Err(RegistryError::NoAuthority(path));
        }
    }
    Ok(all)
}

/// The files of certificate authorities in a directory, which may be missing.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|it| it.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "crt")).collect()
}
