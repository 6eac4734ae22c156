//! Which files a tar archive has, and where they lie in it (POSIX.1-2017 pax, GNU tar). This reads the
//! headers one by one, since the iterator of the crate `tar` keeps extended headers in memory, however long
//! they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use tar::{EntryType, Header, PaxExtensions};

use super::input;
use crate::choice::ArchiveFile;
use crate::error::{ArchiveError, EntryProblem, Error, Result};
use crate::place::MAX_DOCUMENT;

const BLOCK: u64 = 512;
/// How many entries are read. An image has two or three for each layer.
const MAX_ENTRIES: usize = 65_536;
/// The longest path that can be found, in bytes.
const MAX_PATH: usize = 512;
/// The longest extended header, in bytes.
const MAX_EXTENSION: u64 = 1024 * 1024;
/// How many links are followed.
const MAX_LINKS: usize = 8;

/// An archive, with the places of its files.
pub struct Archive {
    shown: String,
    file: File,
    entries: BTreeMap<String, Entry>,
}

/// Where a file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    at: u64,
    /// The length of the file, in bytes.
    pub length: u64,
}

enum Entry {
    File(Extent),
    /// The path that it links to, as seen from the root of the archive.
    Link(Option<String>),
    Unusable(EntryProblem),
}

impl Archive {
    /// Reads all headers.
    ///
    /// # Errors
    /// What is no tar archive, or has entries that no image has.
    pub fn open(archive: &ArchiveFile) -> Result<Self> {
        let file = input::open(archive)?;
        let shown = archive.to_string();
        let entries = Headers::new(&file, &shown)?.entries()?;
        Ok(Self { shown, file, entries })
    }

    /// The name of the archive in messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether there is an entry with this path.
    pub fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// Finds a file, also through links within the archive.
    ///
    /// # Errors
    /// No such file, or one that is there twice.
    pub fn find(&self, path: &str) -> Result<Extent> {
        let shown = |path: &str| path.escape_debug().to_string();
        let unusable = |problem| {
            let archive = self.shown.clone();
            ArchiveError::Entry { archive, path: shown(path), problem }.into()
        };
        let missing =
            || ArchiveError::Missing { archive: self.shown.clone(), path: shown(path) }.into();
        let mut at = normalized(path.as_bytes(), "").ok_or_else(missing)?;
        for followed in 0..MAX_LINKS {
            at = match self.entries.get(&at) {
                Some(Entry::File(extent)) => return Ok(*extent),
                Some(Entry::Unusable(problem)) => return Err(unusable(*problem)),
                Some(Entry::Link(Some(target))) => target.clone(),
                None if followed == 0 => return Err(missing()),
                Some(Entry::Link(None)) | None => return Err(unusable(EntryProblem::Link)),
            };
        }
        Err(unusable(EntryProblem::Link))
    }

    /// Reads what lies there.
    pub fn read(&self, extent: Extent) -> Part<'_> {
        Part { file: &self.file, extent }
    }

    /// The first bytes of what lies there.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn start(&self, extent: Extent) -> Result<Vec<u8>> {
        let mut start = Vec::new();
        let read = self.read(extent).take(input::MAGIC as u64).read_to_end(&mut start);
        read.map_err(|error| Error::Read { shown: self.shown.clone(), error })?;
        Ok(start)
    }

    /// The whole of a small file.
    ///
    /// # Errors
    /// A file that is missing or too long.
    pub fn document(&self, path: &str) -> Result<Vec<u8>> {
        let extent = self.find(path)?;
        if extent.length > MAX_DOCUMENT {
            return Err(Error::TooLong(path.escape_debug().to_string()));
        }
        let mut bytes = Vec::new();
        let read = self.read(extent).read_to_end(&mut bytes);
        read.map_err(|error| Error::Read { shown: self.shown.clone(), error })?;
        Ok(bytes)
    }
}

/// A part of a file that is read.
pub struct Part<'a> {
    file: &'a File,
    extent: Extent,
}

impl<'a> Part<'a> {
    /// The first bytes of a file.
    pub fn first(file: &'a File, length: u64) -> Self {
        Self { file, extent: Extent { at: 0, length } }
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Extent { at, length } = &mut self.extent;
        let wanted = buffer.len().min(usize::try_from(*length).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..wanted], *at)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *at += read as u64;
        *length -= read as u64;
        Ok(read)
    }
}

/// The headers of an archive, one after another.
struct Headers<'a> {
    file: &'a File,
    shown: &'a str,
    length: u64,
    at: u64,
    extension: Extension,
}

/// What an extended header says about the next entry.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<'a> Headers<'a> {
    fn new(file: &'a File, shown: &'a str) -> Result<Self> {
        let metadata = file.metadata();
        let cannot = |error| Error::Read { shown: shown.to_owned(), error };
        let length = metadata.map_err(cannot)?.len();
        Ok(Self { file, shown, length, at: 0, extension: Extension::default() })
    }

    fn entries(mut self) -> Result<BTreeMap<String, Entry>> {
        let mut entries = BTreeMap::new();
        while let Some(header) = self.next()? {
            let size = self.size(&header)?;
            let data = Extent { at: self.at, length: size };
            self.skip(size)?;
            match header.entry_type() {
                EntryType::XGlobalHeader => {}
                EntryType::XHeader => self.extend(data)?,
                EntryType::GNULongName => self.extension.path = Some(self.long_name(data)?),
                EntryType::GNULongLink => self.extension.link = Some(self.long_name(data)?),
                _ => self.add(&header, data, &mut entries)?,
            }
        }
        Ok(entries)
    }

    /// The next header, or none at the end.
    fn next(&mut self) -> Result<Option<Header>> {
        if self.at == self.length && self.at > 0 {
            return Ok(None);
        }
        let mut header = Header::new_old();
        let bytes = header.as_mut_bytes();
        match self.file.read_exact_at(bytes, self.at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(match self.at {
                    0 => ArchiveError::NoArchive(self.shown.to_owned()).into(),
                    _ => self.cut_off(),
                });
            }
            Err(error) => return Err(Error::Read { shown: self.shown.to_owned(), error }),
        }
        if self.at > 0 && bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        // The checksum itself counts as eight spaces.
        let sum = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]);
        if !header.cksum().is_ok_and(|found| found == sum) {
            let archive = self.shown.to_owned();
            return Err(match self.at {
                0 => ArchiveError::NoArchive(archive).into(),
                at => ArchiveError::Header { archive, at }.into(),
            });
        }
        self.at += BLOCK;
        Ok(Some(header))
    }

    /// The length of the data after a header. As in Go, links, directories and devices have none.
    fn size(&self, header: &Header) -> Result<u64> {
        let kind = header.entry_type();
        if kind.is_hard_link()
            || kind.is_symlink()
            || kind.is_dir()
            || kind.is_character_special()
            || kind.is_block_special()
            || kind.is_fifo()
        {
            return Ok(0);
        }
        let extends = kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions()
            || kind.is_gnu_longname()
            || kind.is_gnu_longlink();
        let of_extension = self.extension.size.filter(|_| !extends);
        let size = of_extension.map_or_else(|| header.entry_size(), Ok);
        size.map_err(|_| self.refuse(&header.path_bytes(), EntryProblem::Attributes))
    }

    fn skip(&mut self, size: u64) -> Result<()> {
        let end = self.at.checked_add(size).filter(|end| *end <= self.length);
        let end = end.ok_or_else(|| self.cut_off())?;
        // The padding of the last entry may be missing.
        self.at = end.next_multiple_of(BLOCK).min(self.length);
        Ok(())
    }

    fn extension_bytes(&self, data: Extent) -> Result<Vec<u8>> {
        if data.length > MAX_EXTENSION {
            return Err(self.refuse(b"", EntryProblem::TooLong));
        }
        let mut bytes = Vec::new();
        let read = Part { file: self.file, extent: data }.read_to_end(&mut bytes);
        read.map_err(|error| Error::Read { shown: self.shown.to_owned(), error })?;
        Ok(bytes)
    }

    fn long_name(&self, data: Extent) -> Result<Vec<u8>> {
        let mut bytes = self.extension_bytes(data)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        Ok(bytes)
    }

    fn extend(&mut self, data: Extent) -> Result<()> {
        let bytes = self.extension_bytes(data)?;
        for record in PaxExtensions::new(&bytes) {
            let malformed = || self.refuse(b"", EntryProblem::Attributes);
            let record = record.map_err(|_| malformed())?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => self.extension.path = Some(value.to_owned()),
                b"linkpath" => self.extension.link = Some(value.to_owned()),
                b"size" => {
                    let size = record.value().ok().and_then(|size| size.parse().ok());
                    self.extension.size = Some(size.ok_or_else(malformed)?);
                }
                key if key.starts_with(b"GNU.sparse.") => self.extension.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        header: &Header,
        data: Extent,
        entries: &mut BTreeMap<String, Entry>,
    ) -> Result<()> {
        let extension = std::mem::take(&mut self.extension);
        let path = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = header.entry_type();
        if extension.sparse || kind.is_gnu_sparse() {
            return Err(self.refuse(&path, EntryProblem::Sparse));
        }
        let rooted = path.starts_with(b"/");
        let Some(normal) = normalized(&path, "").filter(|_| !rooted) else {
            return Err(self.refuse(&path, EntryProblem::Outside));
        };
        if kind.is_dir() || path.ends_with(b"/") || normal.len() > MAX_PATH {
            return Ok(());
        }
        let link = || {
            let target = extension.link.or_else(|| Some(header.link_name_bytes()?.into_owned()));
            target.unwrap_or_default()
        };
        let parent = normal.rsplit_once('/').map_or("", |(parent, _)| parent);
        let entry = match kind {
            EntryType::Regular | EntryType::Continuous => Entry::File(data),
            EntryType::Symlink => Entry::Link(normalized(&link(), parent)),
            EntryType::Link => Entry::Link(normalized(&link(), "")),
            _ => Entry::Unusable(EntryProblem::NotAFile),
        };
        if entries.len() >= MAX_ENTRIES {
            let archive = self.shown.to_owned();
            return Err(ArchiveError::TooManyEntries { archive, limit: MAX_ENTRIES }.into());
        }
        let twice = |entry: &mut Entry| *entry = Entry::Unusable(EntryProblem::Twice);
        entries.entry(normal).and_modify(twice).or_insert(entry);
        Ok(())
    }

    fn cut_off(&self) -> Error {
        ArchiveError::CutOff(self.shown.to_owned()).into()
    }

    fn refuse(&self, path: &[u8], problem: EntryProblem) -> Error {
        let path = String::from_utf8_lossy(&path[..path.len().min(MAX_PATH)]);
        let path = path.escape_debug().to_string();
        ArchiveError::Entry { archive: self.shown.to_owned(), path, problem }.into()
    }
}

/// A path from the root of the archive, or none if it leaves the archive. A relative path begins at `parent`.
fn normalized(path: &[u8], parent: &str) -> Option<String> {
    // Paths that are not UTF-8 are never looked for.
    let path = String::from_utf8_lossy(path);
    let mut components: Vec<&str> = parent.split('/').filter(|part| !part.is_empty()).collect();
    if path.starts_with('/') {
        components.clear();
    }
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()?),
            name => components.push(name),
        }
    }
    Some(components.join("/"))
}
