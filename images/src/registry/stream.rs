//! Writes a blob in a single request, for registries that take no chunks, such as Google's Artifact
//! Registry. Nothing of it can be sent again: what fails is lost.

use std::io::{self, Read, Write};
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use sha2::{Digest as _, Sha256};
use ureq::http::{Method, header};

use super::answer::{About, Answer};
use super::client::Request;
use super::error::RegistryError;
use super::pusher::Pusher;
use super::upload::{BYTES, PATIENCE};
use super::uploads::Open;
use crate::digest;
use crate::error::Result;
use crate::place::{Kept, NewBlob};

/// The length of the pieces that wait to be sent, in bytes.
const PIECE: usize = 256 * 1024;
/// How many of them wait at most.
const WAITING: usize = 8;

/// A blob that is being written.
pub struct Stream {
    pusher: Arc<Pusher>,
    hash: Sha256,
    length: u64,
    piece: Vec<u8>,
    /// Where the pieces go. An error ends the request.
    pieces: Option<SyncSender<io::Result<Vec<u8>>>>,
    request: Option<JoinHandle<(Open, Result<Answer, RegistryError>)>>,
}

impl Stream {
    /// A blob that has no bytes yet.
    ///
    /// # Errors
    /// A registry that opens no upload.
    pub fn begin(pusher: &Arc<Pusher>) -> Result<Self> {
        let open = pusher.open_upload()?;
        let client = pusher.shared_client();
        let (sender, pieces) = sync_channel(WAITING);
        let send = move || {
            let body = Body { pieces, piece: io::Cursor::default() };
            let sent = open.send(|url| {
                let request = Request::new(Method::PATCH, url).header(header::CONTENT_TYPE, BYTES);
                client.send_stream(&request, body)
            });
            (open, sent)
        };
        Ok(Self {
            pusher: pusher.clone(),
            hash: Sha256::new(),
            length: 0,
            piece: Vec::with_capacity(PIECE),
            pieces: Some(sender),
            request: Some(thread::spawn(send)),
        })
    }

    fn send_piece(&mut self) -> Result<()> {
        let piece = mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.pieces.as_ref().map(|pieces| pieces.send(Ok(piece)));
        match sent {
            Some(Ok(())) => Ok(()),
            // The request ended before its body did.
            _ => Err(self.finish().err().unwrap_or_else(|| self.lost().into())),
        }
    }

    /// Waits for the answer, which takes the whole body.
    fn finish(&mut self) -> Result<Open> {
        self.pieces = None;
        let request = self.request.take().and_then(|request| request.join().ok());
        let (open, answer) = request.ok_or_else(|| self.lost())?;
        match answer {
            Ok(answer) if answer.is_success() => {
                open.set_url(answer.location()?);
                Ok(open)
            }
            Ok(answer) if answer.is_transient() => Err(self.lost().into()),
            Ok(answer) => Err(answer.refuse(&self.pusher.client().repository, About::Other).into()),
            Err(error) if self.pusher.client().may_pass(&error) => Err(self.lost().into()),
            Err(error) => Err(error.into()),
        }
    }

    fn lost(&self) -> RegistryError {
        RegistryError::UploadLost { repository: self.pusher.client().repository.to_string() }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        self.hash.update(&bytes[..length]);
        self.length += length as u64;
        if self.piece.len() == PIECE {
            self.send_piece().map_err(io::Error::other)?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewBlob for Stream {
    fn keep(mut self: Box<Self>) -> Result<Kept> {
        if !self.piece.is_empty() {
            self.send_piece()?;
        }
        let open = self.finish()?;
        let digest = digest::finish(mem::take(&mut self.hash));
        let client = self.pusher.client();
        let answer = open.send(|url| {
            let url = url.with_query(&format!("digest={digest}")).unwrap_or(url);
            client.send(&Request::new(Method::PUT, url).patience(PATIENCE))
        })?;
        if !answer.is_success() {
            return Err(answer.refuse(&client.repository, About::Other).into());
        }
        open.close();
        Ok(Kept { digest, size: self.length })
    }
}

impl Drop for Stream {
    /// Breaks a request that is not complete off.
    fn drop(&mut self) {
        if let Some(pieces) = self.pieces.take() {
            let _ = pieces.send(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Some(request) = self.request.take() {
            let _ = request.join();
        }
    }
}

/// The body of the request.
struct Body {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.piece.read(buffer)? {
                0 => match self.pieces.recv() {
                    Ok(piece) => self.piece = io::Cursor::new(piece?),
                    Err(_) => return Ok(0),
                },
                length => return Ok(length),
            }
        }
    }
}
