//! The protocol between Keycell's host and its broker, over a pair of pipes.
//!
//! A message is a frame: its length in four bytes, big-endian, and then that many bytes, which are a
//! kind and its [fields]. The host sends a request and the broker answers it, one at a time. The broker
//! is the operator's program, but its answers come from libraries of others (a PKCS#11 module, TLS). So
//! both sides treat the other's frames as hostile.
//!
//! The broker and the process that loads a PKCS#11 module exchange frames and fields of the same form.

#![forbid(unsafe_code)]

pub mod fields;

use std::fmt;
use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use fields::{Reader, Writer};

/// The longest frame, in bytes: a payload's parameters, or all files of a keys directory.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;

/// A request of the host.
pub enum Request {
    /// Lists the keys directory, or the key file, at this path. The answer is [`Response::Keys`], or
    /// [`Response::NotConfigured`] if no PKCS#11 module may be loaded.
    Keys {
        /// The path, in the system's own encoding.
        path: Vec<u8>,
    },
    /// Decrypts with RSA-OAEP in a PKCS#11 token, with an empty label.
    Token {
        /// The key.
        key: TokenKey,
        /// The hash of OAEP and of its mask generation.
        hash: OaepHash,
        /// The bytes to decrypt.
        blob: Vec<u8>,
        /// The time limit.
        milliseconds: u32,
    },
    /// Unwraps a key with a key provider.
    Provider {
        /// The name of the provider.
        name: String,
        /// The wrapped key.
        wrapped: Vec<u8>,
        /// The parameters of the payload for this provider.
        parameters: Vec<Zeroizing<Vec<u8>>>,
        /// The time limit.
        milliseconds: u32,
    },
}

/// A key in a token.
pub enum TokenKey {
    /// A key file among the configured keys: its index among the [`Found::Token`] of the answer to
    /// [`Request::Keys`], counted from 0.
    Configured(u32),
    /// A key file that came with the payload.
    Given(Zeroizing<Vec<u8>>),
}

/// The hash function of RSA-OAEP and of its mask generation (RFC 8017, section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OaepHash {
    /// SHA-1: the meaning of an empty `hash` in a wrapped blob, and the only hash that SoftHSM
    /// supports.
    Sha1,
    /// SHA-256: the default of ocicrypt.
    Sha256,
}

/// What a key file may say of the node, but not if it came with a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Variables for the module.
    Environment,
    /// The file of a PIN.
    PinSource,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "module.env",
            Self::PinSource => "pin-source",
        })
    }
}

/// The answer of the broker.
pub enum Response {
    /// The operator has not configured what the request needs.
    NotConfigured,
    /// The operator has configured key providers, and none with the name of the request.
    OtherProviders(Vec<String>),
    /// The request failed, with one line for the operator.
    Failed(String),
    /// A key file that came with the payload did not open the wrapped key.
    ClientKeyFailed {
        /// What of the key file was not used.
        dropped: Vec<Dropped>,
        /// Why it failed, in one line for the operator.
        why: String,
    },
    /// The list of the configured keys.
    Keys(Vec<Found>),
    /// The unwrapped options.
    Opened(Zeroizing<Vec<u8>>),
}

/// An entry among the configured keys.
pub enum Found {
    /// A PKCS#11 key file, in a form that may be shown: without a PIN and without the path of a module.
    Token(String),
    /// Another file, for the guest.
    File {
        /// Its path within the directory.
        name: String,
        /// Its bytes.
        content: Zeroizing<Vec<u8>>,
    },
    /// An entry that was passed over.
    Skipped {
        /// Its path within the directory.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A frame that does not have the form that the other side should have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl From<Malformed> for io::Error {
    fn from(_: Malformed) -> Self {
        io::ErrorKind::InvalidData.into()
    }
}

impl Request {
    /// The frame's bytes, without its length.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::default();
        match self {
            Self::Keys { path } => writer.number(0).bytes(path),
            Self::Token { key, hash, blob, milliseconds } => {
                writer.number(1);
                match key {
                    TokenKey::Configured(index) => writer.number(0).number(*index),
                    TokenKey::Given(file) => writer.number(1).bytes(file),
                };
                writer.number(u32::from(*hash == OaepHash::Sha256));
                writer.bytes(blob).number(*milliseconds)
            }
            Self::Provider { name, wrapped, parameters, milliseconds } => {
                writer.number(2).bytes(name.as_bytes()).bytes(wrapped);
                writer.number(parameters.len() as u32);
                parameters.iter().for_each(|parameter| _ = writer.bytes(parameter));
                writer.number(*milliseconds)
            }
        };
        writer.finish()
    }

    /// Reads what [`Request::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(frame);
        let request = match reader.number()? {
            0 => Self::Keys { path: reader.bytes()?.to_vec() },
            1 => Self::Token {
                key: match reader.number()? {
                    0 => TokenKey::Configured(reader.number()?),
                    1 => TokenKey::Given(Zeroizing::new(reader.bytes()?.to_vec())),
                    _ => return Err(Malformed),
                },
                hash: match reader.number()? {
                    0 => OaepHash::Sha1,
                    1 => OaepHash::Sha256,
                    _ => return Err(Malformed),
                },
                blob: reader.bytes()?.to_vec(),
                milliseconds: reader.number()?,
            },
            2 => Self::Provider {
                name: reader.text()?,
                wrapped: reader.bytes()?.to_vec(),
                parameters: reader.list(|reader| Ok(Zeroizing::new(reader.bytes()?.to_vec())))?,
                milliseconds: reader.number()?,
            },
            _ => return Err(Malformed),
        };
        reader.end()?;
        Ok(request)
    }
}

impl Response {
    /// The frame's bytes, without its length.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::default();
        match self {
            Self::NotConfigured => _ = writer.number(0),
            Self::Failed(why) => _ = writer.number(1).bytes(why.as_bytes()),
            Self::OtherProviders(names) => {
                writer.number(4).number(names.len() as u32);
                names.iter().for_each(|name| _ = writer.bytes(name.as_bytes()));
            }
            Self::ClientKeyFailed { dropped, why } => {
                writer.number(5).number(dropped.len() as u32);
                dropped.iter().for_each(|part| _ = writer.number(*part as u32));
                writer.bytes(why.as_bytes());
            }
            Self::Opened(options) => _ = writer.number(2).bytes(options),
            Self::Keys(found) => {
                writer.number(3).number(found.len() as u32);
                for found in found {
                    match found {
                        Found::Token(shown) => writer.number(0).bytes(shown.as_bytes()),
                        Found::File { name, content } => {
                            writer.number(1).bytes(name.as_bytes()).bytes(content)
                        }
                        Found::Skipped { name, reason } => {
                            writer.number(2).bytes(name.as_bytes()).bytes(reason.as_bytes())
                        }
                    };
                }
            }
        }
        writer.finish()
    }

    /// Reads what [`Response::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(frame);
        let response = match reader.number()? {
            0 => Self::NotConfigured,
            1 => Self::Failed(reader.text()?),
            2 => Self::Opened(Zeroizing::new(reader.bytes()?.to_vec())),
            3 => Self::Keys(reader.list(|reader| {
                Ok(match reader.number()? {
                    0 => Found::Token(reader.text()?),
                    1 => Found::File {
                        name: reader.text()?,
                        content: Zeroizing::new(reader.bytes()?.to_vec()),
                    },
                    2 => Found::Skipped { name: reader.text()?, reason: reader.text()? },
                    _ => return Err(Malformed),
                })
            })?),
            4 => Self::OtherProviders(reader.list(|reader| reader.text())?),
            5 => Self::ClientKeyFailed {
                dropped: reader.list(|reader| match reader.number()? {
                    0 => Ok(Dropped::Environment),
                    1 => Ok(Dropped::PinSource),
                    _ => Err(Malformed),
                })?,
                why: reader.text()?,
            },
            _ => return Err(Malformed),
        };
        reader.end()?;
        Ok(response)
    }
}

/// Writes `frame` after its length.
///
/// # Errors
/// The stream fails, or the frame is longer than [`MAX_FRAME`].
pub fn write_frame(stream: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = frame_length(frame)?;
    stream.write_all(&length)?;
    stream.write_all(frame)?;
    stream.flush()
}

/// The bytes that are written before `frame`: its length.
///
/// # Errors
/// The frame is longer than [`MAX_FRAME`].
pub fn frame_length(frame: &[u8]) -> io::Result<[u8; 4]> {
    match u32::try_from(frame.len()) {
        Ok(length) if frame.len() <= MAX_FRAME => Ok(length.to_be_bytes()),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Reads the next frame. It returns `None` if the other side has closed the stream.
///
/// # Errors
/// The stream fails, or the frame is longer than `limit` bytes or truncated.
pub fn read_frame(stream: &mut impl Read, limit: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut frame)?;
    Ok(Some(frame))
}
