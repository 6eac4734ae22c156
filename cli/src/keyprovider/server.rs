//! The server: connections, their limits, and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use keycell_diagnostic::Diagnostic;
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::output::tell;

use super::error::KeyproviderError;
use super::socket::Socket;
use super::unwrap::Decoder;
use super::{Files, answer, grpc};

/// The most connections. Further ones wait until one ends.
const CONNECTIONS: usize = 256;

/// The most requests of one connection at a time.
const STREAMS: u32 = 64;

/// The most decoders at a time: each takes a processor, and some ten MiB.
const DECODERS: usize = 4;

/// The most requests that wait for a decoder.
const WAITING: usize = 256;

/// How long a connection may be without a request.
const IDLE: Duration = Duration::from_secs(30);

/// How long a request may wait for its turn.
const TURN: Duration = Duration::from_secs(60);

/// How long requests may take when the server ends.
const END: Duration = Duration::from_secs(10);

/// The longest list of headers, in bytes.
const MAX_HEADERS: u32 = 16 << 10;

struct Service {
    decoder: Decoder,
    decoders: Semaphore,
    /// Requests that are not yet answered.
    open: AtomicUsize,
}

/// Serves until a signal ends it.
///
/// # Errors
/// The socket or the decoder cannot be used.
pub fn run(address: &str, group: Option<&str>, decoder: Decoder) -> Result<()> {
    decoder.check().map_err(Diagnostic::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the server")?;
    let ended = runtime.block_on(async {
        // Signals that arrive from here on remove the socket.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let socket = Socket::open(address, group).map_err(Diagnostic::from)?;
        socket.listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
        tell(format_args!("keycell: note: the key provider listens on `{address}`\n"));
        let decoders = Semaphore::new(DECODERS);
        let service = Arc::new(Service { decoder, decoders, open: AtomicUsize::new(0) });
        let (end, ending) = watch::channel(false);
        tokio::select! {
            () = accept(listener, service.clone(), ending) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        drop(socket);
        let _ = end.send(true);
        let is_done = async {
            // Each connection holds a receiver of the end.
            end.closed().await;
        };
        if timeout(END, is_done).await.is_err() {
            tell("keycell: warning: requests were not answered when the server ended\n");
        }
        anyhow::Ok(())
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// Accepts connections. A client that hangs only holds its own.
async fn accept(listener: UnixListener, service: Arc<Service>, ending: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, for example: others may be closed soon.
                tell(format_args!("keycell: warning: cannot accept a connection: {error}\n"));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (service, ending) = (service.clone(), ending.clone());
        tokio::spawn(async move {
            let _permit = permit;
            serve(stream, service, ending).await;
        });
    }
}

/// Serves one connection. Whatever a client does wrong ends its connection.
async fn serve(stream: UnixStream, service: Arc<Service>, mut ending: watch::Receiver<bool>) {
    let Ok(peer) = stream.peer_cred() else { return };
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(STREAMS).max_header_list_size(MAX_HEADERS);
    let Ok(Ok(mut connection)) = timeout(IDLE, builder.handshake::<_, Bytes>(stream)).await else {
        return;
    };
    let requests = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = tokio::select! {
            accepted = timeout(IDLE, connection.accept()) => accepted,
            _ = ending.changed(), if !*ending.borrow() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        match accepted {
            Ok(Some(Ok((request, to)))) => {
                let (service, requests) = (service.clone(), requests.clone());
                requests.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    call(&service, request, to, peer).await;
                    requests.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Err(_) if requests.load(Ordering::Relaxed) > 0 => {}
            _ => return,
        }
    }
}

/// Answers one call, and logs who asked.
async fn call(
    service: &Arc<Service>,
    request: http::Request<RecvStream>,
    to: SendResponse<Bytes>,
    peer: UCred,
) {
    let started = Instant::now();
    let method = request.uri().path().rsplit('/').next().unwrap_or_default();
    let method: String = method.escape_debug().take(32).collect();
    let open = service.open.fetch_add(1, Ordering::Relaxed);
    let answer = match open < WAITING {
        true => answered(service, request).await,
        false => Err(KeyproviderError::Busy),
    };
    service.open.fetch_sub(1, Ordering::Relaxed);
    log(&method, peer, started.elapsed(), answer.as_ref().err());
    let _ = match answer {
        Ok(json) => grpc::respond(to, Ok(&json)),
        Err(error) => grpc::respond(to, Err(error)),
    };
}

async fn answered(
    service: &Arc<Service>,
    request: http::Request<RecvStream>,
) -> Result<Zeroizing<Vec<u8>>, KeyproviderError> {
    let json = grpc::read(request).await?;
    let turn = timeout(TURN, service.decoders.acquire()).await;
    let _turn = turn.ok().and_then(Result::ok).ok_or(KeyproviderError::Busy)?;
    let service = service.clone();
    let answer = spawn_blocking(move || answer(&json, &service.decoder, Files::Refuse));
    answer.await.unwrap_or(Err(KeyproviderError::Broken))
}

/// An event for each call, on standard error: in a unit, that is the journal.
fn log(method: &str, peer: UCred, took: Duration, error: Option<&KeyproviderError>) {
    let verdict = error.map_or("answered".to_owned(), |error| format!("refused: {error}"));
    let pid = peer.pid().map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let (uid, gid, took) = (peer.uid(), peer.gid(), took.as_millis());
    tell(format_args!(
        "keycell: keyprovider: {method} for uid {uid}, gid {gid}{pid}: {verdict} ({took} ms)\n"
    ));
}
