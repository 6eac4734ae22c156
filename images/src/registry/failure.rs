//! What failures of the HTTP client mean.

use std::io;
use std::net::ToSocketAddrs;

use rustls::{CertificateError, Error as TlsError, InvalidMessage};
use ureq::{Error, Timeout};

use super::error::{ConnectError, Malformation, RegistryError};
use super::url::Url;

/// What a failure of a request to `url` means.
pub fn classify(url: &Url, error: Error) -> RegistryError {
    let host = url.authority().to_owned();
    let malformed = |host| RegistryError::Malformed { host, what: Malformation::Http };
    match error {
        Error::Io(error) => classify_io(url, error),
        Error::Rustls(error) => RegistryError::Connect { host, why: classify_tls(error) },
        Error::HostNotFound => RegistryError::Connect { host, why: ConnectError::UnknownHost },
        Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            RegistryError::Connect { host, why: ConnectError::Silent }
        }
        Error::Timeout(_) => RegistryError::Silent { host },
        Error::ConnectProxyFailed(_) | Error::InvalidProxyUrl => {
            RegistryError::Connect { host, why: ConnectError::Proxy }
        }
        Error::Protocol(_) | Error::LargeResponseHeader(..) | Error::BodyStalled => malformed(host),
        other => RegistryError::Lost { host, error: io::Error::other(other) },
    }
}

/// What a failure to read a body from `url` means.
pub fn classify_io(url: &Url, error: io::Error) -> RegistryError {
    let host = url.authority().to_owned();
    let error = match error.downcast::<Error>() {
        Ok(inner) => return classify(url, inner),
        Err(error) => error,
    };
    let error = match error.downcast::<TlsError>() {
        Ok(inner) => return RegistryError::Connect { host, why: classify_tls(inner) },
        Err(error) => error,
    };
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::PermissionDenied => ConnectError::Io(error),
        // What the resolver of the system reports has neither a kind nor a number.
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::InvalidData => return RegistryError::Lost { host, error },
        _ if error.raw_os_error().is_none() && !has_address(url) => ConnectError::UnknownHost,
        _ => return RegistryError::Lost { host, error },
    };
    RegistryError::Connect { host, why }
}

fn has_address(url: &Url) -> bool {
    let host = url.uri().host().unwrap_or_default();
    (host, 443).to_socket_addrs().is_ok_and(|mut addresses| addresses.next().is_some())
}

fn classify_tls(error: TlsError) -> ConnectError {
    let TlsError::InvalidCertificate(certificate) = error else {
        return match error {
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => ConnectError::NoTls,
            other => ConnectError::Tls(other),
        };
    };
    match certificate {
        CertificateError::UnknownIssuer => ConnectError::UnknownAuthority,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ConnectError::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ConnectError::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ConnectError::OtherHost
        }
        CertificateError::Other(ref other)
            if matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
        {
            ConnectError::IsAuthority
        }
        other => ConnectError::Tls(TlsError::InvalidCertificate(other)),
    }
}
