//! Why a registry does not do what it is asked for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use docker_credential::CredentialRetrievalError;
use keycell_diagnostic::hint::{ImageHint, RegistryHint};

use super::retry;
use super::saying::Saying;

/// Why a registry does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A name that is none.
    #[error("`{name}` does not name an image in a registry: {part}")]
    Name {
        /// The name as it was given.
        name: String,
        /// Its part that is wrong.
        part: Part,
    },
    /// A connection that does not come about.
    #[error("cannot connect to `{host}`: {why}")]
    Connect {
        /// The host.
        host: String,
        /// Why it does not.
        why: ConnectError,
    },
    /// A connection that broke, again and again.
    #[error("the connection to `{host}` broke: {error}")]
    Lost {
        /// The host.
        host: String,
        /// The last failure.
        error: io::Error,
    },
    /// A connection on which nothing arrives, again and again.
    #[error("`{host}` does not answer in time")]
    Silent {
        /// The host.
        host: String,
    },
    /// An answer that is not HTTP, or has no sense.
    #[error("the answer of `{host}` is malformed: {what}")]
    Malformed {
        /// The host.
        host: String,
        /// What is malformed.
        what: Malformation,
    },
    /// A certificate authority that cannot be read.
    #[error("cannot read the certificates in `{}`: {error}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why it cannot.
        error: io::Error,
    },
    /// A file of certificate authorities without any.
    #[error("`{}` has no certificate in PEM", .0.display())]
    NoAuthority(PathBuf),
    /// A file of credentials that cannot be used.
    #[error("cannot use the credentials in `{}`: {why}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why it cannot.
        why: CredentialsError,
    },
    /// Nobody is signed in.
    #[error(
        "`{host}` does not allow it without signing in, and there are no credentials for `{repository}`{saying}"
    )]
    SignIn {
        /// The registry.
        host: String,
        /// The repository, with its host.
        repository: String,
        /// What the registry says.
        saying: Saying,
    },
    /// A wrong name or password.
    #[error("`{host}` does not accept the credentials{saying}")]
    WrongCredentials {
        /// The registry, or its token server.
        host: String,
        /// The registry.
        registry: String,
        /// What it says.
        saying: Saying,
    },
    /// Who signed in may not do it.
    #[error("`{host}` denies access to `{repository}`{saying}")]
    Denied {
        /// The registry.
        host: String,
        /// The repository, with its host.
        repository: String,
        /// What the registry says.
        saying: Saying,
    },
    /// Credentials would be sent without encryption, or an answer comes without.
    #[error("`{host}` leads from https to `{location}`")]
    Insecure {
        /// The registry.
        host: String,
        /// Where it leads.
        location: String,
    },
    /// There is no such repository.
    #[error("there is no repository `{repository}`{saying}")]
    NoRepository {
        /// Whether an image was to be pushed to it.
        pushing: bool,
        /// The repository, with its host.
        repository: String,
        /// What the registry says.
        saying: Saying,
    },
    /// The repository has no such image, manifest or index.
    #[error("`{repository}` has no image `{version}`{saying}")]
    NoManifest {
        /// The repository, with its host.
        repository: String,
        /// The tag or the digest.
        version: String,
        /// What the registry says.
        saying: Saying,
    },
    /// The repository has no such layer or configuration.
    #[error("`{repository}` has no blob `{digest}`{saying}")]
    NoBlob {
        /// The repository, with its host.
        repository: String,
        /// The digest.
        digest: String,
        /// What the registry says.
        saying: Saying,
    },
    /// The storage that the registry leads to sends nothing.
    #[error("`{host}`, where `{repository}` has its data, refuses to send it: status {status}")]
    Storage {
        /// The host of the storage.
        host: String,
        /// The repository, with its host.
        repository: String,
        /// The status of HTTP.
        status: u16,
    },
    /// A request that is too long for the registry, or for the server before it.
    #[error("a request is too long for `{host}`: status 413{saying}")]
    RequestLength {
        /// The registry.
        host: String,
        /// What it says.
        saying: Saying,
    },
    /// Too many requests.
    #[error("`{host}` allows no more requests for now{saying}")]
    RateLimited {
        /// The registry.
        host: String,
        /// How long it asks to wait.
        wait: Option<Duration>,
        /// What it says.
        saying: Saying,
    },
    /// An error of the registry itself, again and again.
    #[error("`{host}` has an error of its own: status {status}{saying}")]
    Unavailable {
        /// The registry.
        host: String,
        /// The status of HTTP.
        status: u16,
        /// What the registry says.
        saying: Saying,
    },
    /// The registry has no space.
    #[error("`{host}` has no space left{saying}")]
    Full {
        /// The registry.
        host: String,
        /// What it says.
        saying: Saying,
    },
    /// Something between here and the registry asks for a password.
    #[error("a proxy on the way to `{host}` asks for a name and a password")]
    ProxySignIn {
        /// The registry.
        host: String,
    },
    /// A web page in place of a registry.
    #[error("`{host}` answers with a web page, not as a registry: status {status}")]
    WebPage {
        /// The host.
        host: String,
        /// The status of HTTP.
        status: u16,
    },
    /// Any other answer.
    #[error("`{host}` refuses the request: status {status}{saying}")]
    Refused {
        /// The registry.
        host: String,
        /// The status of HTTP.
        status: u16,
        /// What the registry says.
        saying: Saying,
        /// Whether the request was made without TLS.
        plain: bool,
    },
    /// An upload that cannot be continued, because the registry has forgotten it.
    #[error("an upload to `{repository}` broke, and the registry does not continue it")]
    UploadLost {
        /// The repository, with its host.
        repository: String,
    },
    /// The tag was written, and nobody knows whether it is right.
    #[error("`{image}` was written as `{digest}`, and cannot be read back: {why}")]
    Unread {
        /// The image.
        image: String,
        /// The digest that was written.
        digest: String,
        /// Why it cannot.
        why: Box<RegistryError>,
    },
    /// The tag names something else than what was just written.
    #[error("`{image}` was written as `{wanted}`, and the registry now has `{found}`")]
    Changed {
        /// The image.
        image: String,
        /// The digest that was written.
        wanted: String,
        /// The digest that was found.
        found: String,
    },
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Part {
    /// The host or its port.
    #[error("the host is malformed")]
    Host,
    /// The path of the repository.
    #[error("the repository is malformed")]
    Repository,
    /// Upper-case letters in the path.
    #[error("a repository has no upper-case letters")]
    UpperCase,
    /// The tag.
    #[error("the tag is malformed")]
    Tag,
    /// The digest.
    #[error("the digest is not `sha256:` and 64 hexadecimal digits")]
    Digest,
    /// A tag and a digest.
    #[error("it has both a tag and a digest")]
    TagAndDigest,
    /// A name that is too long.
    #[error("it is longer than 255 characters")]
    Length,
}

/// Why a connection does not come about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name of the host has no address.
    #[error("the name has no address")]
    UnknownHost,
    /// Nobody listens.
    #[error("the connection is refused")]
    Refused,
    /// It takes too long.
    #[error("there is no answer in time")]
    Silent,
    /// Another failure of the system.
    #[error(transparent)]
    Io(io::Error),
    /// A variable that has no address of a proxy.
    #[error("`{0}` is not the address of a proxy by http or https")]
    ProxyAddress(&'static str),
    /// A proxy does not connect.
    #[error("the proxy does not connect")]
    Proxy,
    /// It speaks http, not TLS.
    #[error("it does not speak TLS")]
    NoTls,
    /// The certificate is by an unknown authority.
    #[error("the authority that issued its certificate is not known")]
    UnknownAuthority,
    /// The certificate is no longer valid.
    #[error("its certificate has expired")]
    Expired,
    /// The certificate is not valid yet.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for other names.
    #[error("its certificate is for another host")]
    OtherHost,
    /// The certificate is that of an authority itself.
    #[error("its certificate is that of a certificate authority, not that of a server")]
    IsAuthority,
    /// Another failure of TLS.
    #[error(transparent)]
    Tls(rustls::Error),
}

/// What is malformed in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformation {
    /// HTTP itself.
    #[error("it is not HTTP")]
    Http,
    /// A header that is missing or malformed.
    #[error("its header `{0}` is missing or malformed")]
    Header(&'static str),
    /// Redirect after redirect.
    #[error("it redirects too often")]
    Redirects,
    /// The token server sends no token.
    #[error("it has no token")]
    Token,
    /// A part of a blob that was not asked for.
    #[error("it is another part of the blob than was asked for")]
    Part,
    /// A manifest that is too long.
    #[error("it is longer than 16 MiB")]
    Length,
    /// A layer without its length.
    #[error("the descriptor of a layer has no size")]
    NoSize,
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(io::Error),
    /// The file is not JSON of this form.
    #[error("the file is malformed")]
    Malformed,
    /// An entry of the file is not.
    #[error("the entry of `{0}` is malformed")]
    Entry(String),
    /// A helper that is not installed.
    #[error("the credential helper `{0}` is not in `$PATH`")]
    NoHelper(String),
    /// A helper does not answer in time, or answers with something else.
    #[error("the credential helper `{helper}` does not answer for `{server}`")]
    Helper {
        /// The helper.
        helper: String,
        /// What it was asked for.
        server: String,
    },
}

impl CredentialsError {
    /// Never with what a helper says, which can be a password.
    pub(super) fn new(error: CredentialRetrievalError, helper: Option<String>, key: &str) -> Self {
        use CredentialRetrievalError as E;
        match (error, helper) {
            (E::HelperFailure { helper, .. }, _) => Self::Helper { helper, server: key.to_owned() },
            (E::HelperCommunicationError | E::MalformedHelperResponse, Some(helper)) => {
                Self::Helper { helper, server: key.to_owned() }
            }
            (E::CredentialDecodingError | E::CredentialMismatchError, _) => {
                Self::Entry(key.to_owned())
            }
            _ => Self::Malformed,
        }
    }
}

impl RegistryError {
    /// Whether the same request may succeed later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            // The token server had one, or the registry while a blob was read.
            Self::Lost { .. } | Self::Silent { .. } | Self::Unavailable { .. } => true,
            Self::RateLimited { wait, .. } => wait.is_none_or(|wait| wait <= retry::LONGEST),
            Self::Connect { why, .. } => {
                matches!(why, ConnectError::Refused | ConnectError::Silent | ConnectError::Io(_))
            }
            Self::Malformed { what, .. } => *what == Malformation::Http,
            _ => false,
        }
    }

    /// How long the registry asks to wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } => *wait,
            _ => None,
        }
    }

    /// What mends it.
    pub fn hint(&self) -> Option<ImageHint> {
        self.cause().map(ImageHint::Registry)
    }

    fn cause(&self) -> Option<RegistryHint> {
        Some(match self {
            Self::Name { .. } => RegistryHint::Name,
            Self::Connect { host, why } => return why.hint(host),
            Self::Lost { host, .. } | Self::Silent { host } => RegistryHint::Unsteady(host.clone()),
            Self::Malformed { host, what: Malformation::Http } => {
                RegistryHint::NoHttp(host.clone())
            }
            Self::NoAuthority(_) | Self::Authority { .. } => RegistryHint::CaFile,
            Self::Credentials { why: CredentialsError::Helper { helper, server }, .. } => {
                RegistryHint::CredentialHelper { helper: helper.clone(), server: server.clone() }
            }
            Self::Credentials { .. } => RegistryHint::AuthFile,
            Self::SignIn { repository, .. } => RegistryHint::SignIn(host_of(repository)),
            Self::WrongCredentials { registry, .. } => {
                RegistryHint::WrongCredentials(registry.clone())
            }
            Self::Denied { repository, .. } => RegistryHint::Denied(repository.clone()),
            Self::Insecure { host, .. } => RegistryHint::BehindProxy(host.clone()),
            Self::NoRepository { pushing: true, repository, .. } => {
                RegistryHint::CreateRepository(repository.clone())
            }
            Self::Storage { host, .. } => RegistryHint::Storage(host.clone()),
            Self::RequestLength { host, .. } => RegistryHint::RequestLength(host.clone()),
            Self::Unread { why, .. } => return why.cause(),
            Self::NoRepository { .. } | Self::NoManifest { .. } => RegistryHint::WhichTag,
            Self::NoBlob { .. } => RegistryHint::MissingBlob,
            Self::RateLimited { host, .. } => RegistryHint::RateLimit(host.clone()),
            Self::Unavailable { host, .. } => RegistryHint::Unsteady(host.clone()),
            Self::Full { .. } => RegistryHint::Full,
            Self::ProxySignIn { .. } => RegistryHint::Proxy,
            Self::WebPage { host, .. } => RegistryHint::WebPage(host.clone()),
            Self::Refused { saying, .. } if saying.code() == "MANIFEST_BLOB_UNKNOWN" => {
                RegistryHint::Prune
            }
            // A server that speaks TLS answers without a code of a registry.
            Self::Refused { status: 400, plain: true, saying, .. } if saying.code().is_empty() => {
                RegistryHint::NotPlain
            }
            Self::UploadLost { .. } => RegistryHint::Again,
            Self::Changed { .. } => RegistryHint::SameTag,
            Self::Malformed { .. } | Self::Refused { .. } => return None,
        })
    }
}

impl ConnectError {
    fn hint(&self, host: &str) -> Option<RegistryHint> {
        Some(match self {
            Self::UnknownHost => RegistryHint::UnknownHost,
            Self::Refused | Self::Silent | Self::Io(_) => {
                RegistryHint::NobodyListens(host.to_owned())
            }
            Self::Proxy | Self::ProxyAddress(_) => RegistryHint::Proxy,
            Self::NoTls => RegistryHint::NoTls,
            Self::UnknownAuthority => RegistryHint::CaFile,
            Self::Expired | Self::NotYetValid => RegistryHint::CertificateTime(host.to_owned()),
            Self::OtherHost => RegistryHint::CertificateHost(host.to_owned()),
            Self::IsAuthority => RegistryHint::CertificateOfAuthority(host.to_owned()),
            Self::Tls(_) => return None,
        })
    }
}

/// The host of a repository.
fn host_of(repository: &str) -> String {
    repository.split('/').next().unwrap_or(repository).to_owned()
}
