//! PINs, and the files that hold them.

use std::fs::{File, metadata};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::printable;
use super::uri::decode;

/// The identity of a file, independent of its name: its device and its inode.
pub(crate) type FileIdentity = (u64, u64);

/// The longest PIN, in bytes. Tokens allow far fewer.
const SIZE: usize = 1024;

/// Why there is no PIN. The text never quotes anything that may be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is too long.
    #[error("the PIN is longer than 1 KiB")]
    TooLong,
    /// `pin-source` names no file.
    #[error("`pin-source` is not an absolute path or a `file:` URI")]
    Source,
    /// The file that `pin-source` names cannot be used.
    #[error("the PIN cannot be read from `{path}` (`pin-source`): {fault}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        fault: FileFault,
    },
}

/// Why the file of a PIN cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// Reading it failed.
    #[error("{0}")]
    Unreadable(std::io::ErrorKind),
    /// It is not a regular file.
    #[error("it is not a regular file")]
    NotRegular,
    /// It is too long for a PIN.
    #[error("it holds more than 1 KiB")]
    TooLong,
}

/// A PIN. It is wiped when it is dropped, and cannot be printed.
#[derive(Clone)]
pub(super) struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// Makes a PIN of bytes.
    ///
    /// # Errors
    ///
    /// There are too many bytes.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > SIZE {
            return Err(Error::TooLong);
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    /// The PIN, to pass it to the token.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Where a PIN comes from.
pub(super) enum PinSource {
    /// `pin-value`: the PIN is in the URI.
    Value(Pin),
    /// `pin-source`: the PIN is in a file.
    File(PathBuf),
}

impl PinSource {
    /// Parses the value of `pin-source`: an absolute path or a `file:` URI. The file is not read.
    ///
    /// # Errors
    ///
    /// The value is something else, for example a command to run. It is not quoted, because it may be a
    /// PIN under the wrong name.
    pub(super) fn file(value: &[u8]) -> Result<Self, Error> {
        let value = std::str::from_utf8(value).map_err(|_| Error::Source)?;
        let path = value.strip_prefix("file:").unwrap_or(value);
        let path = match path.strip_prefix("//") {
            // The authority before the path must be this machine or empty.
            Some(rest) if path.len() < value.len() => {
                rest.strip_prefix("localhost").unwrap_or(rest)
            }
            _ => path,
        };
        let path = decode(path).filter(|path| path.starts_with(b"/")).ok_or(Error::Source)?;
        Ok(Self::File(std::ffi::OsString::from_vec(path.to_vec()).into()))
    }

    /// The identity of the file that holds the PIN, independent of its name.
    pub(super) fn file_identity(&self) -> Option<FileIdentity> {
        match self {
            Self::Value(_) => None,
            Self::File(path) => metadata(path).ok().map(|file| (file.dev(), file.ino())),
        }
    }

    /// Reads the PIN. Go includes the line end of the file; Keycell removes one line end, which is
    /// never part of a PIN.
    ///
    /// # Errors
    ///
    /// Why the file cannot be read. The error never shows its content.
    pub(super) fn read(&self) -> Result<Pin, Error> {
        let path = match self {
            Self::Value(pin) => return Ok(pin.clone()),
            Self::File(path) => path,
        };
        let refuse = |fault| Error::File { path: printable(&path.to_string_lossy()), fault };
        let unreadable = |error: std::io::Error| refuse(FileFault::Unreadable(error.kind()));
        // The type is checked before the file is opened, because opening a pipe would wait for a
        // writer.
        let is_file = metadata(path).map_err(unreadable)?.is_file();
        if !is_file {
            return Err(refuse(FileFault::NotRegular));
        }
        // The buffer never grows, so that no copy of the PIN stays behind.
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
