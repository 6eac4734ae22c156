//! Hints about registries.

use std::fmt;

/// Why a registry does not do what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryHint {
    /// A name that is none.
    Name,
    /// A host without an address.
    UnknownHost,
    /// Nobody listens at a host.
    NobodyListens(String),
    /// A host that breaks connections, or has errors of its own.
    Unsteady(String),
    /// A host that does not speak HTTP.
    NoHttp(String),
    /// A host that does not speak TLS.
    NoTls,
    /// A request without TLS that is refused.
    NotPlain,
    /// A certificate by an unknown authority, or a file without any authority.
    CaFile,
    /// A certificate that is not valid now.
    CertificateTime(String),
    /// A certificate for another host.
    CertificateHost(String),
    /// The certificate of an authority in place of a server's.
    CertificateOfAuthority(String),
    /// A proxy that does not connect.
    Proxy,
    /// A file of credentials that cannot be used.
    AuthFile,
    /// A helper that does not answer.
    CredentialHelper {
        /// The helper.
        helper: String,
        /// What it was asked for.
        server: String,
    },
    /// Nobody is signed in at a host.
    SignIn(String),
    /// A wrong name or password at a host.
    WrongCredentials(String),
    /// A repository that may not be read or written.
    Denied(String),
    /// A registry behind a proxy that names itself without https.
    BehindProxy(String),
    /// No such repository, or no such tag.
    WhichTag,
    /// An image without one of its blobs.
    MissingBlob,
    /// An index that lists what the registry does not have.
    Prune,
    /// A host that allows no more requests.
    RateLimit(String),
    /// A registry without space.
    Full,
    /// A web page in place of a registry.
    WebPage(String),
    /// An upload that broke.
    Again,
    /// Somebody else writes the same tag.
    SameTag,
}

impl fmt::Display for RegistryHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str(NAME),
            Self::UnknownHost => f.write_str(UNKNOWN_HOST),
            Self::NobodyListens(host) => write!(
                f,
                "see that a registry listens at `{host}`, with its port in the name if it is not 443, and \
                 that no firewall is in between"
            ),
            Self::Unsteady(host) => {
                write!(f, "try again later; the log of the registry at `{host}` tells more")
            }
            Self::NoHttp(host) => write!(
                f,
                "see that the port in `{host}` is that of a registry; without `--insecure` it is asked by https"
            ),
            Self::NoTls => f.write_str(NO_TLS),
            Self::NotPlain => f.write_str(NOT_PLAIN),
            Self::CaFile => f.write_str(CA_FILE),
            Self::CertificateTime(host) => write!(
                f,
                "renew the certificate of `{host}`, or set the clock of this machine; `--tls-verify=false` \
                 accepts any certificate"
            ),
            Self::CertificateHost(host) => write!(
                f,
                "call the registry by a name of its certificate, which `openssl s_client -connect {host}` \
                 shows; `--tls-verify=false` accepts any certificate"
            ),
            Self::CertificateOfAuthority(host) => write!(
                f,
                "issue a certificate for `{host}` with `basicConstraints=CA:FALSE`; `--tls-verify=false` \
                 accepts any certificate"
            ),
            Self::Proxy => f.write_str(PROXY),
            Self::AuthFile => f.write_str(AUTH_FILE),
            Self::CredentialHelper { helper, server } => {
                write!(f, "`echo {server} | {helper} get` must print a name and a secret as JSON")
            }
            Self::SignIn(host) => write!(
                f,
                "`docker login {host}` or `skopeo login {host}` stores credentials; `--username NAME \
                 --password-stdin` gives them at once. Registries answer so for repositories that do not exist, too"
            ),
            Self::WrongCredentials(host) => write!(
                f,
                "`docker login {host}` stores others; `--username NAME --password-stdin` and `--authfile FILE` \
                 go before what is stored"
            ),
            Self::Denied(repository) => write!(
                f,
                "give the account that signs in the right to `{repository}`, or sign in as another: `--username \
                 NAME --password-stdin`"
            ),
            Self::BehindProxy(host) => write!(
                f,
                "the proxy before `{host}` has to send the header `X-Forwarded-Proto: https` to the registry"
            ),
            Self::WhichTag => f.write_str(WHICH_TAG),
            Self::MissingBlob => f.write_str(MISSING_BLOB),
            Self::Prune => f.write_str(PRUNE),
            Self::RateLimit(host) => {
                write!(
                    f,
                    "wait, or sign in: `docker login {host}`; many registries allow more then"
                )
            }
            Self::Full => f.write_str(FULL),
            Self::WebPage(host) => write!(
                f,
                "see that `{host}` is the name of the registry itself, and that neither a proxy nor a sign-in \
                 page of the network answers in its place"
            ),
            Self::Again => f.write_str(AGAIN),
            Self::SameTag => f.write_str(SAME_TAG),
        }
    }
}

const NAME: &str = "an image in a registry is `docker://HOST/REPOSITORY:TAG` or \
    `docker://HOST/REPOSITORY@sha256:…`, with a repository in lower case";
const UNKNOWN_HOST: &str = "see that the host is spelt right: the first part of a name is a host if it has a \
    dot or a port, as in `docker://registry.example/REPOSITORY:TAG`";
const NO_TLS: &str =
    "`--tls-verify=false` also goes on without TLS, and `--insecure` never uses it";
const NOT_PLAIN: &str = "a registry that speaks TLS is reached without `--insecure`";
const CA_FILE: &str = "`--ca-file FILE` takes the certificate of the authority, in PEM; \
    `--tls-verify=false` accepts any certificate";
const PROXY: &str = "see that the address in `HTTPS_PROXY` is right, with a name and a password if the proxy \
    wants them; hosts in `NO_PROXY` are reached without it";
const AUTH_FILE: &str =
    "`--authfile FILE` takes another file, in the form of `docker login` or `skopeo login`";
const WHICH_TAG: &str =
    "`skopeo list-tags docker://HOST/REPOSITORY` lists the tags of a repository";
const MISSING_BLOB: &str = "the image is incomplete: push it to the registry again";
const PRUNE: &str = "`--prune` leaves out of an index what the source does not have: this registry takes only what \
    is complete";
const FULL: &str = "make space in the registry, or raise the quota";
const AGAIN: &str = "run the same command again: what is complete is not sent twice";
const SAME_TAG: &str =
    "see that nobody else writes the same tag, and that nothing alters images on the way";
