//! What the broker and the process that holds a module say to each other: one question, one answer.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub use keycell_broker_protocol::OaepHash;
use zeroize::Zeroizing;

use super::pin::Pin;

/// Bytes of a question or an answer at most: a path, a URI, a PIN and a blob are far from it.
const SIZE: usize = 64 * 1024;

/// Between two paths: no path has it.
const BETWEEN: u8 = 0;

/// What is asked of a module.
pub(super) enum Operation {
    /// Opens a blob with a private key.
    Decrypt(OaepHash, Vec<u8>),
    /// Reads a public key.
    PublicKey,
}

/// Which token and which key in it.
#[derive(Clone, Default)]
pub(super) struct Selection {
    pub(super) slot: Option<u32>,
    pub(super) token: Option<Vec<u8>>,
    /// `manufacturer`, `model` and `serial`: which one, when several tokens have the same label.
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
    /// What the module may use of the file system besides libraries, where the operator says it.
    pub(super) files: Option<Vec<PathBuf>>,
    pub(super) selection: Selection,
    /// `None`: without logging in.
    pub(super) pin: Option<Pin>,
    /// For a key that came with a payload: does not log in when one more wrong PIN would lock the
    /// token, and does not tell which tokens there are.
    pub(super) stranger: bool,
}

/// One answer.
pub(super) enum Answer {
    /// What the blob held, or the public key as SubjectPublicKeyInfo.
    Done(Zeroizing<Vec<u8>>),
    /// It failed: one line for the operator.
    Failed(String),
    /// It failed because the token refused the PIN.
    PinRefused(String),
    /// It failed because the token was not there, or not in a state to log in.
    Absent(String),
}

impl Question {
    /// Sends the question.
    pub(super) fn write(&self, mut to: impl Write) -> io::Result<()> {
        // One buffer that never grows, so that no copy of the PIN stays behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(SIZE));
        let (operation, blob): (u8, &[u8]) = match &self.operation {
            Operation::PublicKey => (0, &[]),
            Operation::Decrypt(OaepHash::Sha1, blob) => (1, blob),
            Operation::Decrypt(OaepHash::Sha256, blob) => (2, blob),
        };
        let slot = self.selection.slot.map(u32::to_be_bytes);
        let selection = &self.selection;
        let files: Option<Vec<_>> = self
            .files
            .as_ref()
            .map(|files| files.iter().map(|file| file.as_os_str().as_bytes()).collect());
        let files = files.map(|files| files.join(&BETWEEN));
        for field in [
            Some(&[operation][..]),
            Some(blob),
            Some(self.module.as_os_str().as_bytes()),
            files.as_deref(),
            slot.as_ref().map(|slot| &slot[..]),
            selection.token.as_deref(),
            selection.manufacturer.as_deref(),
            selection.model.as_deref(),
            selection.serial.as_deref(),
            selection.id.as_deref(),
            selection.object.as_deref(),
            self.pin.as_ref().map(Pin::expose),
            Some(&[u8::from(self.stranger)]),
        ] {
            // A field is its length plus one, and its bytes; zero is no field.
            let length = field.map_or(0, |field| field.len() + 1);
            let field = field.unwrap_or_default();
            if bytes.len() + 4 + field.len() > SIZE {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            // It is less than SIZE.
            bytes.extend_from_slice(&(length as u32).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        to.write_all(&bytes)
    }

    /// Reads a question to its end.
    pub(super) fn read(from: impl Read) -> io::Result<Self> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SIZE + 1));
        from.take(SIZE as u64 + 1).read_to_end(&mut bytes)?;
        let mut fields = Fields(&bytes);
        let operation = fields.required()?.to_vec();
        let blob = fields.required()?.to_vec();
        let operation = match operation[..] {
            [0] => Operation::PublicKey,
            [1] => Operation::Decrypt(OaepHash::Sha1, blob),
            [2] => Operation::Decrypt(OaepHash::Sha256, blob),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let module = PathBuf::from(OsStr::from_bytes(fields.required()?));
        let files = fields.next()?.map(|files| {
            let files = files.split(|byte| *byte == BETWEEN).filter(|file| !file.is_empty());
            files.map(|file| PathBuf::from(OsStr::from_bytes(file))).collect()
        });
        let slot = match fields.next()?.map(TryInto::try_into) {
            None => None,
            Some(Ok(slot)) => Some(u32::from_be_bytes(slot)),
            Some(Err(_)) => return Err(io::ErrorKind::InvalidData.into()),
        };
        let mut optional = || fields.next().map(|field| field.map(<[u8]>::to_vec));
        let selection = Selection {
            slot,
            token: optional()?,
            manufacturer: optional()?,
            model: optional()?,
            serial: optional()?,
            id: optional()?,
            object: optional()?,
        };
        let pin = fields.next()?.map(Pin::new).transpose().map_err(io::Error::other)?;
        let stranger = fields.required()? == [1];
        Ok(Self { operation, module, files, selection, pin, stranger })
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> io::Result<Option<&'a [u8]>> {
        let (length, rest) = self.0.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = u32::from_be_bytes(*length) as usize;
        self.0 = rest;
        let Some(length) = length.checked_sub(1) else {
            return Ok(None);
        };
        let (field, rest) = rest.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(Some(field))
    }

    fn required(&mut self) -> io::Result<&'a [u8]> {
        self.next()?.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Answer {
    /// Sends the answer.
    pub(super) fn write(&self, mut to: impl Write) -> io::Result<()> {
        let (kind, content): (u8, &[u8]) = match self {
            Self::Done(bytes) => (0, bytes),
            Self::Failed(why) => (1, why.as_bytes()),
            Self::PinRefused(why) => (2, why.as_bytes()),
            Self::Absent(why) => (3, why.as_bytes()),
        };
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        to.write_all(&[kind])?;
        to.write_all(&length.to_be_bytes())?;
        to.write_all(content)?;
        to.flush()
    }

    /// Reads one answer, not to the end of the stream.
    pub(super) fn read(mut from: impl Read) -> io::Result<Self> {
        let mut head = [0; 5];
        from.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if length > SIZE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut content = Zeroizing::new(vec![0; length]);
        from.read_exact(&mut content)?;
        let text = |content: &[u8]| String::from_utf8_lossy(content).into_owned();
        match kind {
            0 => Ok(Self::Done(content)),
            1 => Ok(Self::Failed(text(&content))),
            2 => Ok(Self::PinRefused(text(&content))),
            3 => Ok(Self::Absent(text(&content))),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
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
        assert!(Answer::read(&b"\x00\xff\xff\xff\xff"[..]).is_err());
        assert!(Answer::read(&b"\x04\0\0\0\0"[..]).is_err());
    }
}
