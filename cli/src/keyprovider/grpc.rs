//! One call of gRPC over HTTP/2: `keyprovider.KeyProviderService`, whose messages hold JSON in field 1.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use keycell_diagnostic::Diagnostic;
use prost::Message as _;
use tokio::time::timeout;
use zeroize::{Zeroize as _, Zeroizing};

use super::error::KeyproviderError;
use super::limits::MAX_REQUEST;

/// The methods of the service.
const METHODS: [&str; 2] =
    ["/keyprovider.KeyProviderService/WrapKey", "/keyprovider.KeyProviderService/UnWrapKey"];

/// How long a request may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// A message begins with a byte that says whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;

/// The longest message: its prefix, the field's tag and length, and JSON.
const MAX_MESSAGE: usize = PREFIX + 8 + MAX_REQUEST;

/// `keyProviderKeyWrapProtocolInput` and `keyProviderKeyWrapProtocolOutput`.
#[derive(prost::Message)]
struct Envelope {
    #[prost(bytes = "vec", tag = "1")]
    json: Vec<u8>,
}

impl Drop for Envelope {
    fn drop(&mut self) {
        self.json.zeroize();
    }
}

/// Reads the request of a call.
///
/// # Errors
/// It is none of this service, too long, or too slow.
pub async fn read(request: Request<RecvStream>) -> Result<Zeroizing<Vec<u8>>, KeyproviderError> {
    let path = request.uri().path();
    if request.method() != Method::POST || !METHODS.contains(&path) {
        let path = path.escape_debug().take(128).collect();
        return Err(KeyproviderError::Method(path));
    }
    let message = timeout(ARRIVAL, body(request.into_body()));
    let message = message.await.map_err(|_| KeyproviderError::SlowClient(ARRIVAL.as_secs()))??;
    let (prefix, rest) = message.split_at_checked(PREFIX).ok_or(KeyproviderError::NotGrpc)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if prefix[0] != 0 || length as usize != rest.len() {
        return Err(KeyproviderError::NotGrpc);
    }
    let envelope = Envelope::decode(rest).map_err(|_| KeyproviderError::NotGrpc)?;
    let mut envelope = envelope;
    Ok(Zeroizing::new(std::mem::take(&mut envelope.json)))
}

async fn body(mut body: RecvStream) -> Result<Zeroizing<Vec<u8>>, KeyproviderError> {
    let mut message = Zeroizing::new(Vec::with_capacity(8 << 10));
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|_| KeyproviderError::NotGrpc)?;
        if message.len() + piece.len() > MAX_MESSAGE {
            return Err(KeyproviderError::TooLong);
        }
        message.extend_from_slice(&piece);
        let _ = body.flow_control().release_capacity(piece.len());
    }
    Ok(message)
}

/// Answers a call. A client that is gone needs no answer.
pub fn respond(
    mut to: SendResponse<Bytes>,
    answer: Result<&[u8], KeyproviderError>,
) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            status(headers, error.status(), &sentence(error));
            return to.send_response(response, true).map(drop);
        }
    };
    let envelope = Envelope { json: answer.to_vec() };
    let length = envelope.encoded_len();
    let mut message = Vec::with_capacity(PREFIX + length);
    message.push(0);
    message.extend_from_slice(&(length as u32).to_be_bytes());
    message.extend_from_slice(&envelope.encode_to_vec());
    let mut stream = to.send_response(response, false)?;
    stream.send_data(message.into(), false)?;
    let mut trailers = HeaderMap::new();
    status(&mut trailers, 0, "");
    stream.send_trailers(trailers)
}

/// The error and its hints on one line.
fn sentence(error: KeyproviderError) -> String {
    let Diagnostic { message, hints } = error.into();
    hints.iter().fold(message, |text, hint| text + &format!("; hint: {hint}"))
}

fn status(headers: &mut HeaderMap, code: u8, text: &str) {
    headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    if let Ok(text) = HeaderValue::try_from(percent_encoded(text))
        && !text.is_empty()
    {
        headers.insert("grpc-message", text);
    }
}

/// The form of a message in a header: all but printable ASCII is escaped, and so is `%`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes().take(4 << 10) {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte.into()),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_a_header_is_printable_ascii() {
        assert_eq!(percent_encoded("a `b` 1%\n…"), "a `b` 1%25%0A%E2%80%A6");
    }
}
