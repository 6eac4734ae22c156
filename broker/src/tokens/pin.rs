//! PINs: what they are, and the files that hold them.

use std::fs::{File, metadata};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::printable;
use super::uri::decode;

/// Which file it is, whatever its name: its device and its inode.
pub(crate) type FileIdentity = (u64, u64);

/// Bytes of a PIN at most. Tokens allow far less.
const SIZE: usize = 1024;

/// Why there is no PIN. It never quotes what may be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is too long.
    #[error("the PIN is longer than 1 KiB")]
    TooLong,
    /// `pin-source` names no file.
    #[error("`pin-source` is not an absolute path or a `file:` URI")]
    Source,
    /// The file that `pin-source` names is of no use.
    #[error("the PIN cannot be read from `{path}` (`pin-source`): {fault}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        fault: FileFault,
    },
}

/// Why the file of a PIN is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// Reading it failed.
    #[error("{0}")]
    Unreadable(std::io::ErrorKind),
    /// It is something else than a regular file.
    #[error("it is not a regular file")]
    NotRegular,
    /// It is too long for a PIN.
    #[error("it holds more than 1 KiB")]
    TooLong,
}

/// A PIN. It wipes itself and cannot be printed.
#[derive(Clone)]
pub(super) struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// Takes bytes for a PIN.
    ///
    /// # Errors
    ///
    /// When they are too many.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > SIZE {
            return Err(Error::TooLong);
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    /// The PIN, to hand it to the token.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Where a PIN comes from.
pub(super) enum PinSource {
    /// `pin-value`: it stands in the URI.
    Value(Pin),
    /// `pin-source`: it stands in a file.
    File(PathBuf),
}

impl PinSource {
    /// Takes the value of `pin-source`: an absolute path or a `file:` URI. The file is not read.
    ///
    /// # Errors
    ///
    /// When it is something else, as a command to run would be. The value is not quoted, for it may
    /// be a PIN that somebody gave the wrong name.
    pub(super) fn file(value: &[u8]) -> Result<Self, Error> {
        let value = std::str::from_utf8(value).map_err(|_| Error::Source)?;
        let path = value.strip_prefix("file:").unwrap_or(value);
        let path = match path.strip_prefix("//") {
            // An authority stands before the path: this machine or nothing.
            Some(rest) if path.len() < value.len() => {
                rest.strip_prefix("localhost").unwrap_or(rest)
            }
            _ => path,
        };
        let path = decode(path).filter(|path| path.starts_with(b"/")).ok_or(Error::Source)?;
        Ok(Self::File(std::ffi::OsString::from_vec(path.to_vec()).into()))
    }

    /// Which file the PIN stands in, whatever its name.
    pub(super) fn file_identity(&self) -> Option<FileIdentity> {
        match self {
            Self::Value(_) => None,
            Self::File(path) => metadata(path).ok().map(|file| (file.dev(), file.ino())),
        }
    }

    /// The PIN. Go takes a file with its line end; Keycell takes one line end away, which is never
    /// part of a PIN.
    ///
    /// # Errors
    ///
    /// Says why the file cannot be read, never what is in it.
    pub(super) fn read(&self) -> Result<Pin, Error> {
        let path = match self {
            Self::Value(pin) => return Ok(pin.clone()),
            Self::File(path) => path,
        };
        let refuse = |fault| Error::File { path: printable(&path.to_string_lossy()), fault };
        let unreadable = |error: std::io::Error| refuse(FileFault::Unreadable(error.kind()));
        // Looked at before it is opened: opening a pipe would wait for a writer.
        let is_file = metadata(path).map_err(unreadable)?.is_file();
        if !is_file {
            return Err(refuse(FileFault::NotRegular));
        }
        // One buffer that never grows, so that no copy of the PIN stays behind.
        let mut pin = Zeroizing::new(Vec::with_capacity(SIZE + 3));
        File::open(path)
            .and_then(|file| file.take(SIZE as u64 + 3).read_to_end(&mut pin))
            .map_err(unreadable)?;
        let end = pin.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        Pin::new(end.unwrap_or(&pin)).map_err(|_| refuse(FileFault::TooLong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(value: &str) -> Option<String> {
        match PinSource::file(value.as_bytes()) {
            Ok(PinSource::File(path)) => Some(path.to_string_lossy().into_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_source_is_a_path_or_a_file_uri() {
        for (value, expected) in [
            ("/a/b", "/a/b"),
            ("file:/a/b", "/a/b"),
            ("file:///a/b", "/a/b"),
            ("file://localhost/a/b", "/a/b"),
            ("file:/a%20b", "/a b"),
        ] {
            assert_eq!(path(value).as_deref(), Some(expected), "{value}");
        }
        for value in
            ["", "1234", "a/b", "|/bin/cat", "file:a", "file:", "file://elsewhere/a", "http://a/b"]
        {
            let error = PinSource::file(value.as_bytes()).err().expect("refused").to_string();
            assert!(!error.contains("1234"), "{error}");
        }
    }

    #[test]
    fn a_file_is_read_without_its_line_end() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("pin");
        let read = |content: &[u8]| {
            std::fs::write(&file, content).expect("written");
            PinSource::File(file.clone()).read().map(|pin| pin.expose().to_vec())
        };
        assert_eq!(read(b"1234"), Ok(b"1234".to_vec()));
        assert_eq!(read(b"1234\n"), Ok(b"1234".to_vec()));
        assert_eq!(read(b"1234\r\n"), Ok(b"1234".to_vec()));
        assert_eq!(read(b"1234 \n\n"), Ok(b"1234 \n".to_vec()));
        assert_eq!(read(b""), Ok(Vec::new()));
        assert_eq!(read(&[b'1'; SIZE]), Ok(vec![b'1'; SIZE]));
        let error = read(&[b'1'; 100_000]).expect_err("too long").to_string();
        assert!(error.ends_with("it holds more than 1 KiB"), "{error}");
        for other in [dir.path().to_owned(), dir.path().join("none"), "/dev/zero".into()] {
            let error = PinSource::File(other).read().err().expect("refused").to_string();
            assert!(error.contains("`pin-source`"), "{error}");
        }
        Ok(())
    }
}
