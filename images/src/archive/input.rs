//! The bytes of an archive, in a file: what cannot be read in place is copied to a file without a name first.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::choice::ArchiveFile;
use crate::error::{ArchiveError, Compression, Error, Result, Stream};

/// The size of a read, in bytes.
pub const CHUNK: usize = 256 * 1024;

/// Opens an archive as a file that can be read at any place.
///
/// # Errors
/// An archive that cannot be read, or is compressed with something other than gzip.
pub fn open(archive: &ArchiveFile) -> Result<File> {
    let shown = archive.to_string();
    let cannot = |error| Error::Read { shown: shown.clone(), error };
    let mut file = match archive {
        ArchiveFile::Standard if io::stdin().is_terminal() => {
            return Err(ArchiveError::Terminal(Stream::Input).into());
        }
        ArchiveFile::Standard => {
            File::from(io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?)
        }
        ArchiveFile::Path(path) => File::open(path).map_err(cannot)?,
    };
    let in_place = file.metadata().map_err(cannot)?.is_file()
        && file.stream_position().is_ok_and(|at| at == 0);
    let mut start = Vec::new();
    if in_place {
        let mut magic = [0; MAGIC];
        let length = file.read_at(&mut magic, 0).map_err(cannot)?;
        start.extend_from_slice(&magic[..length]);
    } else {
        (&file).take(MAGIC as u64).read_to_end(&mut start).map_err(cannot)?;
    }
    match compression(&start) {
        None if in_place => Ok(file),
        None => copy(start.chain(file), cannot),
        Some(Compression::Gzip) if in_place => copy(MultiGzDecoder::new(file), cannot),
        Some(Compression::Gzip) => copy(MultiGzDecoder::new(start.chain(file)), cannot),
        Some(compression) => Err(ArchiveError::Compressed { archive: shown, compression }.into()),
    }
}

/// The number of bytes at the beginning that tell a compression.
pub const MAGIC: usize = 6;

/// The compression of what begins with these bytes.
pub fn compression(start: &[u8]) -> Option<Compression> {
    let magics: [(&[u8], Compression); 4] = [
        (b"\x1f\x8b", Compression::Gzip),
        (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        (b"\xfd7zXZ\0", Compression::Xz),
        (b"BZh", Compression::Bzip2),
    ];
    magics.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, found)| found)
}

fn copy(mut from: impl Read, cannot_read: impl Fn(io::Error) -> Error) -> Result<File> {
    let mut to = Spool::new()?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(to.file),
            Ok(length) => {
                to.write_all(&buffer[..length])
                    .map_err(|error| spool_error(&to.directory, error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot_read(error)),
        }
    }
}

/// A file without a name, which is gone when nothing reads it.
pub struct Spool {
    file: File,
    directory: PathBuf,
}

impl Spool {
    /// Makes an empty file.
    ///
    /// # Errors
    /// A directory that cannot be written to.
    pub fn new() -> Result<Self> {
        let directory = directory();
        let file = tempfile::tempfile_in(&directory);
        let file = file.map_err(|error| spool_error(&directory, error))?;
        Ok(Self { file, directory })
    }

    /// The file.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let directory = &self.directory;
        let cannot = |error| io::Error::other(spool_error(directory, error));
        self.file.write(bytes).map_err(cannot)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn spool_error(directory: &Path, error: io::Error) -> Error {
    Error::from_io(error, |error| {
        ArchiveError::Spool { directory: directory.to_owned(), error }.into()
    })
}

/// Where large temporary files belong. As in containers/image, this is not `/tmp`, which is in memory on many
/// systems.
pub fn directory() -> PathBuf {
    const LARGE: &str = "/var/tmp";
    match std::env::var_os("TMPDIR") {
        Some(directory) if !directory.is_empty() => directory.into(),
        _ if Path::new(LARGE).is_dir() => LARGE.into(),
        _ => std::env::temp_dir(),
    }
}
