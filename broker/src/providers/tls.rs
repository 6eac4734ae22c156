//! TLS to a gRPC provider, as configured by `grpc-tls`.
//!
//! Go accepts a certificate of an authority (`CA:TRUE`) from a server if it is in `root-ca-file`.
//! rustls does not, and the message says what to do. Client keys on P-521 are not supported.

use std::io;
use std::path::Path;
use std::sync::Arc;

use keycell_trusted_path::{self as trusted, Trust};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use zeroize::Zeroizing;

use super::config::{self, Tls};
use super::text;

/// Why TLS cannot be established.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file or a name in `grpc-tls` cannot be used.
    #[error(transparent)]
    Configured(#[from] ConfigurationError),
    /// The handshake failed.
    #[error("{}", explained(.0))]
    Handshake(io::Error),
}

/// What is wrong with `grpc-tls`. The texts are paths and names, sanitized for a message.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// No certificate can have this name.
    #[error("`{0}` cannot be in a certificate; set `server-name` to what is")]
    ServerName(String),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] config::FileError),
    /// The file holds no key.
    #[error("`{0}` holds no unencrypted private key in PEM")]
    NoKey(String),
    /// The key does not belong to the certificate.
    #[error("the key in `{0}` does not belong to the certificate in `cert-file`")]
    OtherKey(String),
    /// rustls rejects the key.
    #[error("the key in `{path}` cannot be used: {}", text::root(.error))]
    UnusableKey {
        /// Its path.
        path: String,
        /// Why.
        error: Error,
    },
    /// Others can change the files that the variables for the system's authorities name.
    #[error("the certification authorities are not trusted: {0}; {mend}", mend = .0.mend())]
    UntrustedAuthorities(trusted::Error),
    /// The file holds no certificate.
    #[error("`{0}` holds no certificate in PEM, or a damaged one")]
    NoCertificate(String),
    /// The file holds certificates that rustls rejects.
    #[error("`{0}` holds no certificate that can be read")]
    UnreadableCertificates(String),
    /// The system has no certification authorities.
    #[error(
        "this system has no list of certification authorities; install `ca-certificates` or set \
         `root-ca-file`"
    )]
    NoAuthorities,
    /// rustls does not support these versions.
    #[error("{}", text::root(.0))]
    Versions(Error),
}

/// Performs the handshake with `server` over `stream`.
pub(super) async fn connect<S>(stream: S, server: &str, tls: &Tls) -> Result<TlsStream<S>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(server.to_owned())
        .map_err(|_| ConfigurationError::ServerName(text::name(server)))?;
    let connector = TlsConnector::from(Arc::new(configuration(tls)?));
    connector.connect(name, stream).await.map_err(Fault::Handshake)
}

fn configuration(tls: &Tls) -> Result<ClientConfig, ConfigurationError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(ConfigurationError::Versions)?;
    let builder = if tls.insecure_skip_verify() {
        let anyone = Arc::new(Anyone(provider));
        builder.dangerous().with_custom_certificate_verifier(anyone)
    } else {
        builder.with_root_certificates(roots(tls.root_ca_file())?)
    };
    let mut configuration = match tls.client() {
        None => builder.with_no_client_auth(),
        Some((certificates, key)) => {
            let chain = read_certificates(certificates)?;
            let shown = || text::name(&key.display().to_string());
            let pem = Zeroizing::new(config::read_file(key)?);
            let key = PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|_| ConfigurationError::NoKey(shown()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                Error::InconsistentKeys(_) => ConfigurationError::OtherKey(shown()),
                error => ConfigurationError::UnusableKey { path: shown(), error },
            })?
        }
    };
    configuration.alpn_protocols = vec![b"h2".to_vec()];
    Ok(configuration)
}

/// The authorities in a file, or those of the system.
fn roots(file: Option<&Path>) -> Result<RootCertStore, ConfigurationError> {
    let certificates = match file {
        Some(file) => read_certificates(file)?,
        None => {
            // These variables replace the system's authorities.
            let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os);
            for path in named.flat_map(|paths| std::env::split_paths(&paths).collect::<Vec<_>>()) {
                match Trust::of_this_process().check(&path) {
                    Err(error) if error.is_distrust() => {
                        return Err(ConfigurationError::UntrustedAuthorities(error));
                    }
                    _ => {}
                }
            }
            rustls_native_certs::load_native_certs().certs
        }
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    match (added, file) {
        (0, Some(file)) => {
            Err(ConfigurationError::UnreadableCertificates(text::name(&file.display().to_string())))
        }
        (0, None) => Err(ConfigurationError::NoAuthorities),
        _ => Ok(roots),
    }
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigurationError> {
    let pem = config::read_file(file)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| ConfigurationError::NoCertificate(text::name(&file.display().to_string())))
}

/// The error, and how to fix it if that is known.
fn explained(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    let hint = match tls {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "; put the certificate of its authority into `root-ca-file`"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "; set `server-name` to a name in its certificate",
        // Go accepts a certificate of an authority from a server.
        Some(Error::InvalidCertificate(CertificateError::Other(other)))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            "; make one for it with `CA:FALSE`"
        }
        Some(Error::AlertReceived(_)) => "; are `cert-file` and `key-file` those it asks for?",
        _ => "",
    };
    format!("{}{hint}", text::root(error))
}

/// `insecure-skip-verify` accepts any certificate, for tests. The server must still have its key, as
/// with Go.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
