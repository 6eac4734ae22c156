//! A provider that is reached over ttrpc, as in the Rust ocicrypt.
//!
//! This is our own client: the protocol is a header of ten bytes and two messages, which takes a
//! hundred lines. The crate `ttrpc` 0.10 would add 22 crates that nothing else here needs, among them
//! the other implementation of protobuf with its code generator, which runs in every build, and second
//! versions of `rustix`, `thiserror` and `bitflags`. The tests run against that crate.

use std::time::Duration;

use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use zeroize::{Zeroize as _, Zeroizing};

use super::error::Error;
use super::message::{Envelope, Operation, SERVICE};
use super::{MAX_ANSWER, grpc, text};

/// The longest response in bytes: an answer, and the fields around it.
const MAX_RESPONSE: u32 = MAX_ANSWER as u32 + 4096;

/// The first stream that a client may open: clients use odd numbers.
const STREAM: u32 = 1;

/// Message types.
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// `ttrpc.Request`.
#[derive(prost::Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(bytes = "vec", tag = "3")]
    payload: Vec<u8>,
    #[prost(int64, tag = "4")]
    timeout_nano: i64,
}

/// `ttrpc.Response`.
#[derive(prost::Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(bytes = "vec", tag = "2")]
    payload: Vec<u8>,
}

/// `google.rpc.Status`.
#[derive(Clone, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Calls the service at `address`, `unix://PATH` or `unix://@NAME` for an abstract socket.
pub(super) async fn call(
    address: &str,
    operation: Operation,
    request: &[u8],
    limit: Duration,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let name = text::name(address);
    let path = address.strip_prefix("unix://").filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| Error::TtrpcAddress(name.clone()))?;
    let path = path.strip_prefix('@').map_or_else(|| path.to_owned(), |name| format!("\0{name}"));
    let connected = UnixStream::connect(path).await;
    let mut socket =
        connected.map_err(|error| Error::NotConnected { name: name.clone(), error })?;
    let payload = Zeroizing::new(Envelope { json: request.to_vec() }.encode_to_vec());
    let mut request = Request {
        service: SERVICE.to_owned(),
        method: operation.method().to_owned(),
        payload: payload.to_vec(),
        timeout_nano: i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX),
    };
    let length = request.encoded_len();
    let mut message = Zeroizing::new(Vec::with_capacity(10 + length));
    message.extend_from_slice(&header(length));
    // This never fails: the buffer is large enough.
    let encoded = request.encode(&mut *message);
    request.payload.zeroize();
    encoded.map_err(|_| Error::LongRequest)?;
    let broken = |error| Error::Closed { name: name.clone(), error };
    socket.write_all(&message).await.map_err(broken)?;

    let mut header = [0; 10];
    socket.read_exact(&mut header).await.map_err(broken)?;
    let [l0, l1, l2, l3, s0, s1, s2, s3, kind, _flags] = header;
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    if u32::from_be_bytes([s0, s1, s2, s3]) != STREAM || kind != RESPONSE {
        return Err(Error::NotTtrpc(name));
    }
    if length > MAX_RESPONSE {
        return Err(Error::Flood(name));
    }
    let mut response = Zeroizing::new(vec![0; length as usize]);
    socket.read_exact(&mut response).await.map_err(broken)?;
    let garbled = |_| Error::NotProtobuf(name.clone());
    let response = Response::decode(&response[..]).map_err(garbled)?;
    let payload = Zeroizing::new(response.payload);
    if let Some(Status { code, message }) = response.status.filter(|status| status.code != 0) {
        return Err(grpc::refusal(&name, code.into(), &message));
    }
    let mut answer = Envelope::decode(&payload[..]).map_err(garbled)?;
    Ok(Zeroizing::new(std::mem::take(&mut answer.json)))
}

fn header(length: usize) -> [u8; 10] {
    // A request is at most as long as a payload's annotation, which is far below 4 GiB.
    let [l0, l1, l2, l3] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let [s0, s1, s2, s3] = STREAM.to_be_bytes();
    [l0, l1, l2, l3, s0, s1, s2, s3, REQUEST, 0]
}
