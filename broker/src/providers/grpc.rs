//! A provider that is reached over gRPC, with or without TLS.

use std::error::Error as _;
use std::io;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;
use tower::service_fn;
use zeroize::Zeroizing;

use super::config::Tls;
use super::error::Error;
use super::message::{Envelope, Operation, SERVICE};
use super::{MAX_ANSWER, text, tls};

/// The most bytes of headers and trailers, which hold the status and its message.
const MAX_HEADERS: u32 = 16 << 10;

/// Calls the service at `target`. It uses TLS if `tls` is present, even if it is empty, as Go does.
pub(super) async fn call(
    target: &str,
    tls: Option<&Tls>,
    operation: Operation,
    request: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let name = text::name(target);
    let target = Target::parse(target).ok_or_else(|| Error::GrpcAddress(name.clone()))?;
    let connected = target.connect().await;
    let stream = connected.map_err(|error| Error::NotConnected { name: name.clone(), error })?;
    let Some(tls) = tls else {
        return over(stream, &format!("http://{}", target.authority()), &name, operation, request)
            .await;
    };
    let server = tls.server_name().unwrap_or(target.host());
    let stream = tls::connect(stream, server, tls)
        .await
        .map_err(|fault| Error::Tls { name: name.clone(), fault })?;
    // As in Go, the name in the certificate replaces the address.
    let authority = tls.server_name().map_or_else(|| target.authority(), bracketed);
    over(stream, &format!("https://{authority}"), &name, operation, request).await
}

/// The error for a status other than OK. The message comes from the provider, or from this end of the
/// connection.
pub(super) fn refusal(name: &str, code: Code, message: &str) -> Error {
    Error::Status { name: name.to_owned(), code, message: text::sanitized(message) }
}

/// Makes one call over an existing connection. Bytes in the buffers of HTTP/2 and TLS are not wiped:
/// they are gone when the process ends, which exists for one layer.
async fn over<S>(
    stream: S,
    origin: &str,
    name: &str,
    operation: Operation,
    request: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stream = Some(stream);
    // The connector is called again when the connection is lost: then it returns the error.
    let connector = service_fn(move |_| {
        let stream = stream.take().map(TokioIo::new);
        async { stream.ok_or_else(|| io::Error::other("the connection was closed")) }
    });
    let broken = |error: tonic::transport::Error| broken_off(origin, name, &error);
    let endpoint = Endpoint::from_shared(origin.to_owned()).map_err(broken)?;
    let endpoint = endpoint.http2_max_header_list_size(MAX_HEADERS);
    let channel = endpoint.connect_with_connector(connector).await.map_err(broken)?;
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_ANSWER + 64);
    client.ready().await.map_err(broken)?;
    let method = PathAndQuery::try_from(format!("/{SERVICE}/{}", operation.method()))
        .map_err(|_| Error::Method)?;
    let request = tonic::Request::new(Envelope { json: request.to_vec() });
    let codec = ProstCodec::<Envelope, Envelope>::default();
    match client.unary(request, method, codec).await {
        Ok(answer) => Ok(Zeroizing::new(std::mem::take(&mut answer.into_inner().json))),
        Err(status) => Err(failed(origin, name, &status)),
    }
}

fn failed(origin: &str, name: &str, status: &tonic::Status) -> Error {
    let Some(source) = status.source() else {
        // The limit is ours, and tonic reports it in this way.
        let large = status.message().contains("decoded message length too large");
        if status.code() == Code::OutOfRange && large {
            return Error::Flood(name.to_owned());
        }
        return refusal(name, status.code(), status.message());
    };
    // The error does not come from the provider: it is what happened to the connection.
    broken_off(origin, name, source)
}

/// The error for a connection that ended without an answer. A server that rejects a client's
/// certificate often just closes the connection.
fn broken_off(origin: &str, name: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let (name, cause) = (name.to_owned(), text::root(error));
    Error::BrokenOff { name, cause, tls: origin.starts_with("https:") }
}

/// The address of a service.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Tcp(String, u16),
    /// The path, or a zero byte and the name of an abstract socket.
    Unix(String),
}

impl Target {
    /// Parses the forms of Go's gRPC, and two that the Rust ocicrypt adds: `http://` and `tcp://`.
    fn parse(target: &str) -> Option<Self> {
        if let Some(name) = target.strip_prefix("unix-abstract:") {
            return Some(Self::Unix(format!("\0{name}")));
        }
        if let Some(path) = target.strip_prefix("unix:") {
            let path = match path.strip_prefix("//") {
                Some(path) => Some(path).filter(|path| path.starts_with('/'))?,
                None => path,
            };
            return Some(path).filter(|path| !path.is_empty()).map(|path| Self::Unix(path.into()));
        }
        let prefixes = ["dns:///", "dns:", "passthrough:///", "http://", "tcp://"];
        let address = prefixes.iter().find_map(|prefix| target.strip_prefix(prefix));
        let address = address.unwrap_or(target);
        let (host, port) = address.strip_suffix('/').unwrap_or(address).rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host,
            None if host.contains([':', '/']) => return None,
            None => host,
        };
        // As with Go, an address without a host is this machine's.
        let host = if host.is_empty() { "localhost" } else { host };
        Some(Self::Tcp(host.to_owned(), port))
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(host, port) => Box::new(TcpStream::connect((host.as_str(), *port)).await?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }

    /// The name that a certificate must have by default.
    fn host(&self) -> &str {
        match self {
            Self::Tcp(host, _) => host,
            Self::Unix(_) => "localhost",
        }
    }

    fn authority(&self) -> String {
        match self {
            Self::Tcp(host, port) => format!("{}:{port}", bracketed(host)),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_go_and_rust_read_them() {
        let tcp = |host: &str, port| Some(Target::Tcp(host.into(), port));
        let unix = |path: &str| Some(Target::Unix(path.into()));
        for (target, wanted) in [
            ("localhost:50051", tcp("localhost", 50051)),
            ("127.0.0.1:1", tcp("127.0.0.1", 1)),
            ("[::1]:50051", tcp("::1", 50051)),
            (":50051", tcp("localhost", 50051)),
            ("dns:///kms.example:443", tcp("kms.example", 443)),
            ("passthrough:///kms.example:443", tcp("kms.example", 443)),
            ("http://127.0.0.1:50000/", tcp("127.0.0.1", 50000)),
            ("tcp://127.0.0.1:50000", tcp("127.0.0.1", 50000)),
            ("unix:///run/kms.sock", unix("/run/kms.sock")),
            ("unix:kms.sock", unix("kms.sock")),
            ("unix-abstract:kms", unix("\0kms")),
            ("unix://run/kms.sock", None),
            ("unix:", None),
            ("https://kms.example:443", None),
            ("vsock:1:2", None),
            ("localhost", None),
            ("localhost:http", None),
            ("localhost:65536", None),
            ("::1:50051", None),
            ("", None),
        ] {
            assert_eq!(Target::parse(target), wanted, "{target}");
        }
    }
}
