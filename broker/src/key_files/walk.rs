//! Reads all files of a keys directory, or one key file.

use std::io;
use std::path::Path;

use keycell_keys_directory::{
    CapStdDirectory, CapStdFile, PASSWORD_SUFFIXES, PassedOver as WalkPassedOver, walk,
};

use super::PassedOver;

/// The limit for all files together, in bytes: 32 MiB, as in a key ring of the library.
pub(super) const MAX_FILES: usize = 32 * 1024 * 1024;

/// The name of the directory itself in reports.
const DIRECTORY: &str = "the keys directory";

/// Reads everything in `path`, a directory or one file.
///
/// # Errors
/// `path` itself cannot be read.
///
/// # Ambient Authority
/// Opens `path` with the rights of this process.
pub(super) fn read(path: &Path) -> io::Result<Vec<Seen>> {
    let mut files = Files::default();
    if path.is_dir() {
        let directory = CapStdDirectory::open(path)?;
        let walked = walk(&directory, DIRECTORY, |name, found| match found {
            Ok(file) => files.add(name, file),
            Err(why) => files.pass_over(name, why.into()),
        });
        if let Err(error) = walked {
            files.pass_over(DIRECTORY, WalkPassedOver::Unreadable(error).into());
        }
    } else {
        files.add_single(path)?;
    }
    Ok(files.seen)
}

/// An entry of the keys directory.
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) found: Result<CapStdFile, PassedOver>,
}

#[derive(Default)]
struct Files {
    seen: Vec<Seen>,
    bytes: usize,
}

impl Files {
    /// Adds one key file and its password. The operator named this very file, so a symbolic link may
    /// lead anywhere.
    fn add_single(&mut self, path: &Path) -> io::Result<()> {
        let open = |path: &Path| std::fs::File::open(path).and_then(CapStdFile::read);
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
        self.add(&name, open(path)?);
        for suffix in PASSWORD_SUFFIXES {
            let mut beside = path.as_os_str().to_owned();
            beside.push(suffix);
            if let Ok(file) = open(Path::new(&beside)) {
                self.add(&format!("{name}{suffix}"), file);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, file: CapStdFile) {
        let together = self.bytes.saturating_add(file.content.len());
        if together > MAX_FILES {
            return self.pass_over(name, PassedOver::TooMuch);
        }
        self.bytes = together;
        self.seen.push(Seen { name: name.to_owned(), found: Ok(file) });
    }

    fn pass_over(&mut self, name: &str, why: PassedOver) {
        self.seen.push(Seen { name: name.to_owned(), found: Err(why) });
    }
}
