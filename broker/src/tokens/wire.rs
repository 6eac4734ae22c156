//! The protocol between the broker and the process that loads a module: one question, one answer.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub use keycell_broker_protocol::OaepHash;
use keycell_broker_protocol::fields::{Reader, Writer};
use keycell_broker_protocol::{Malformed, read_frame, write_frame};
use zeroize::Zeroizing;

use super::pin::Pin;

/// The longest question or answer, in bytes. A path, a URI, a PIN and a blob are much shorter.
const MAX_SIZE: usize = 64 * 1024;

/// The operation of a module.
pub(super) enum Operation {
    /// Decrypt a blob with a private key.
    Decrypt(OaepHash, Vec<u8>),
    /// Read a public key.
    PublicKey,
}

/// Selects a token, and a key in it.
#[derive(Clone, Default)]
pub(super) struct Selection {
    pub(super) slot: Option<u32>,
    pub(super) token: Option<Vec<u8>>,
    /// `manufacturer`, `model` and `serial` select one of several tokens with the same label.
    pub(super) manufacturer: Option<Vec<u8>>,
    pub(super) model: Option<Vec<u8>>,
    pub(super) serial: Option<Vec<u8>>,
    pub(super) id: Option<Vec<u8>>,
    pub(super) object: Option<Vec<u8>>,
}

/// One question.
pub(super) struct Question {
    pub(super) operation: Operation,
    pub(super) module: PathBuf,
    /// What the module may use of the file system in addition to libraries, if the operator configures
    /// it.
    pub(super) files: Option<Vec<PathBuf>>,
    pub(super) selection: Selection,
    /// The PIN; with `None`, the process does not log in.
    pub(super) pin: Option<Pin>,
    /// Whether the key came with a payload. Then the process does not log in if one more wrong PIN
    /// would lock the token, and does not reveal which tokens exist.
    pub(super) stranger: bool,
}

/// One answer.
pub(super) enum Answer {
    /// The decrypted blob, or the public key as SubjectPublicKeyInfo.
    Done(Zeroizing<Vec<u8>>),
    /// It failed: one line for the operator.
    Failed(String),
    /// It failed because the token refused the PIN.
    PinRefused(String),
    /// It failed because the token was absent, or not in a state to log in.
    Absent(String),
}

impl Question {
    /// Sends the question.
    pub(super) fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut fields = Writer::default();
        match &self.operation {
            Operation::PublicKey => fields.number(0),
            Operation::Decrypt(OaepHash::Sha1, blob) => fields.number(1).bytes(blob),
            Operation::Decrypt(OaepHash::Sha256, blob) => fields.number(2).bytes(blob),
        };
        fields.bytes(self.module.as_os_str().as_bytes());
        match &self.files {
            None => _ = fields.number(0),
            Some(files) => {
                fields.number(1).number(files.len() as u32);
                files.iter().for_each(|file| _ = fields.bytes(file.as_os_str().as_bytes()));
            }
        }
        let selection = &self.selection;
        fields.optional(selection.slot.map(u32::to_be_bytes).as_ref().map(|slot| &slot[..]));
        for attribute in [
            &selection.token,
            &selection.manufacturer,
            &selection.model,
            &selection.serial,
            &selection.id,
            &selection.object,
        ] {
            fields.optional(attribute.as_deref());
        }
        fields.optional(self.pin.as_ref().map(Pin::expose)).number(u32::from(self.stranger));
        send(&mut to, &fields.finish())
    }

    /// Reads a question.
    pub(super) fn read(mut from: impl Read) -> io::Result<Self> {
        let frame = receive(&mut from)?;
        let mut fields = Reader::new(&frame);
        let operation = match fields.number()? {
            0 => Operation::PublicKey,
            1 => Operation::Decrypt(OaepHash::Sha1, fields.bytes()?.to_vec()),
            2 => Operation::Decrypt(OaepHash::Sha256, fields.bytes()?.to_vec()),
            _ => return Err(Malformed.into()),
        };
        let module = path(fields.bytes()?);
        let files = match fields.number()? {
            0 => None,
            1 => Some(fields.list(|fields| fields.bytes().map(path))?),
            _ => return Err(Malformed.into()),
        };
        let slot = fields.optional()?.map(|slot| slot.try_into().map_err(|_| Malformed));
        let mut attribute = || fields.optional().map(|bytes| bytes.map(<[u8]>::to_vec));
        let selection = Selection {
            slot: slot.transpose()?.map(u32::from_be_bytes),
            token: attribute()?,
            manufacturer: attribute()?,
            model: attribute()?,
            serial: attribute()?,
            id: attribute()?,
            object: attribute()?,
        };
        let pin = fields.optional()?.map(Pin::new).transpose().map_err(io::Error::other)?;
        let stranger = fields.number()? == 1;
        fields.end()?;
        Ok(Self { operation, module, files, selection, pin, stranger })
    }
}

impl Answer {
    /// Sends the answer.
    pub(super) fn write(&self, mut to: impl Write) -> io::Result<()> {
        let (kind, content): (u32, &[u8]) = match self {
            Self::Done(bytes) => (0, bytes),
            Self::Failed(why) => (1, why.as_bytes()),
            Self::PinRefused(why) => (2, why.as_bytes()),
            Self::Absent(why) => (3, why.as_bytes()),
        };
        let mut fields = Writer::default();
        fields.number(kind).bytes(content);
        send(&mut to, &fields.finish())
    }

    /// Reads one answer, without reading to the end of the stream.
    pub(super) fn read(mut from: impl Read) -> io::Result<Self> {
        let frame = receive(&mut from)?;
        let mut fields = Reader::new(&frame);
        let (kind, content) = (fields.number()?, fields.bytes()?);
        fields.end()?;
        let text = || String::from_utf8_lossy(content).into_owned();
        match kind {
            0 => Ok(Self::Done(Zeroizing::new(content.to_vec()))),
            1 => Ok(Self::Failed(text())),
            2 => Ok(Self::PinRefused(text())),
            3 => Ok(Self::Absent(text())),
            _ => Err(Malformed.into()),
        }
    }
}

fn send(to: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    if frame.len() > MAX_SIZE {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    write_frame(to, frame)
}

fn receive(from: &mut impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    read_frame(from, MAX_SIZE)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            operation: Operation::Decrypt(OaepHash::Sha256, b"blob".to_vec()),
            module: "/a/b.so".into(),
            files: Some(vec!["/c".into(), "/d e".into()]),
            selection: Selection {
                slot: Some(u32::MAX),
                token: Some(b"token".to_vec()),
                id: Some(Vec::new()),
                ..Selection::default()
            },
            pin: Pin::new(b"1234").ok(),
            stranger: true,
        }
    }

    #[test]
    fn a_question_arrives_as_it_was_asked() {
        let mut bytes = Vec::new();
        question().write(&mut bytes).expect("written");
        let read = Question::read(&bytes[..]).expect("read");
        let Operation::Decrypt(OaepHash::Sha256, blob) = read.operation else { panic!("not it") };
        assert_eq!(blob, b"blob");
        assert_eq!(read.module, PathBuf::from("/a/b.so"));
        assert_eq!(read.files, Some(vec!["/c".into(), "/d e".into()]));
        assert_eq!(read.selection.slot, Some(u32::MAX));
        assert_eq!(read.selection.token.as_deref(), Some(&b"token"[..]));
        assert_eq!((read.selection.model, read.selection.id), (None, Some(Vec::new())));
        assert_eq!(read.pin.as_ref().map(Pin::expose), Some(&b"1234"[..]));
        assert!(read.stranger);
    }

    #[test]
    fn what_is_cut_off_is_no_question_and_no_answer() {
        let mut bytes = Vec::new();
        question().write(&mut bytes).expect("written");
        (0..bytes.len()).for_each(|end| assert!(Question::read(&bytes[..end]).is_err(), "{end}"));
        let mut bytes = Vec::new();
        Answer::Failed("why".to_owned()).write(&mut bytes).expect("written");
        (0..bytes.len()).for_each(|end| assert!(Answer::read(&bytes[..end]).is_err(), "{end}"));
    }

    #[test]
    fn a_frame_that_is_too_long_or_of_an_unknown_kind_is_no_answer() {
        assert!(Answer::read(&b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0"[..]).is_err());
        assert!(Answer::read(&b"\0\0\0\x08\0\0\0\x03\0\0\0\0"[..]).is_ok());
        assert!(Answer::read(&b"\0\0\0\x08\0\0\0\x04\0\0\0\0"[..]).is_err());
    }
}
