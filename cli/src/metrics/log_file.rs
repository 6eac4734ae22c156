//! Reads a log file from where the last run stopped, also after logrotate has renamed or copied it.
//!
//! A file is known by the digest of its first line, which has a time and a process. So it makes no
//! difference whether logrotate renames the file or copies and truncates it, and what it names the
//! copy; and the number of an inode that is used again does no harm.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::event::{self, Line};
use super::lines;

/// The most bytes of the first line by which a file is known.
const HEAD: usize = 4096;

/// The most files of one log that are read: the newest ones.
const MAX_FILES: usize = 64;

/// How much of each file of a log is read, by the digest of its first line.
pub type Positions = BTreeMap<String, u64>;

/// Reads what was appended since `positions`, and updates them.
///
/// # Errors
/// A file or its directory cannot be read. That the log does not exist is none: no layer was logged
/// yet.
pub fn read(
    log: &Path,
    positions: &mut Positions,
    mut each: impl FnMut(&Line),
) -> Result<(), (PathBuf, io::Error)> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |error| (path, error)
    };
    // Of a file and its copy, the longer one has all that the shorter one has.
    let mut found: BTreeMap<String, (PathBuf, u64)> = BTreeMap::new();
    for path in files(log).map_err(failed(log))? {
        let Some(mut file) = open(&path).map_err(failed(&path))? else { continue };
        let length = file.metadata().map_err(failed(&path))?.len();
        let Some(head) = head(&mut file).map_err(failed(&path))? else { continue };
        let longest = found.get(&head).is_none_or(|(_, known)| *known < length);
        if longest {
            found.insert(head, (path, length));
        }
    }
    positions.retain(|head, _| found.contains_key(head));
    for (head, (path, _)) in found {
        let position = positions.entry(head).or_default();
        let Some(mut file) = open(&path).map_err(failed(&path))? else { continue };
        file.seek(SeekFrom::Start(*position)).map_err(failed(&path))?;
        let read = lines::for_each(&mut BufReader::new(file), |line| {
            *position += line.length;
            each(&line.text.map_or(Line::Garbage, event::of_file));
        });
        read.map_err(failed(&path))?;
    }
    Ok(())
}

/// The log and what logrotate made of it, but for what is compressed: `log.json.1`, `log.json-20260101`,
/// and with `extension .json` also `log-20260101.json`.
fn files(log: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = match log.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let (name, stem, extension) =
        (text(log.file_name()), text(log.file_stem()), text(log.extension()));
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut rotated = Vec::new();
    for entry in entries {
        let entry = entry?;
        let found = entry.file_name().to_string_lossy().into_owned();
        let is_suffix = |rest: &str| {
            rest.starts_with(['.', '-'])
                && rest[1..].starts_with(|c: char| c.is_ascii_digit())
                && rest[1..].chars().all(|c| c.is_ascii_digit() || "-_T".contains(c))
        };
        let before_extension = || {
            let rest = found.strip_prefix(&stem)?.strip_suffix(&extension)?.strip_suffix('.')?;
            is_suffix(rest).then_some(())
        };
        let is_rotated = found.strip_prefix(&name).is_some_and(is_suffix)
            || (!extension.is_empty() && before_extension().is_some());
        // A file that vanishes meanwhile was read in the last run, or is deleted.
        if let (true, Ok(metadata)) = (is_rotated, entry.metadata()) {
            rotated.push((metadata.modified()?, entry.path()));
        }
    }
    rotated.sort();
    let newest = rotated.into_iter().rev().take(MAX_FILES - 1).map(|(_, path)| path);
    Ok(newest.chain([log.to_owned()]).collect())
}

/// Opens a regular file. None if there is none.
fn open(path: &Path) -> io::Result<Option<File>> {
    // Opening a pipe without a writer would block.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => {
            let file = opened?;
            Ok(file.metadata()?.is_file().then_some(file))
        }
    }
}

/// The digest of the first line. None if that is not complete yet.
fn head(file: &mut File) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    BufReader::with_capacity(HEAD, file.take(HEAD as u64)).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") && line.len() < HEAD {
        return Ok(None);
    }
    let digest = Sha256::digest(&line);
    Ok(Some(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    struct Log {
        dir: tempfile::TempDir,
        positions: Positions,
        written: u32,
    }

    impl Log {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            Self { dir, positions: Positions::new(), written: 0 }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn append(&mut self, name: &str, text: &str) {
            let mut options = OpenOptions::new();
            let mut file = options.append(true).create(true).open(self.path(name)).expect("a file");
            file.write_all(text.as_bytes()).expect("written");
        }

        fn events(&mut self, name: &str, count: u32) {
            for _ in 0..count {
                self.written += 1;
                let time = self.written;
                self.append(
                    name,
                    &format!("{{\"time\":{time},\"event\":\"layer\",\"verdict\":\"failed\"}}\n"),
                );
            }
        }

        fn rename(&self, from: &str, to: &str) {
            fs::rename(self.path(from), self.path(to)).expect("renamed");
        }

        /// How many events and how many other lines are new.
        fn new_lines(&mut self) -> (u32, u32) {
            let (mut events, mut others) = (0, 0);
            let log = self.path("log.json");
            read(&log, &mut self.positions, |line| match line {
                Line::Layer(_) => events += 1,
                _ => others += 1,
            })
            .expect("the log can be read");
            (events, others)
        }
    }

    #[test]
    fn each_event_is_read_once() {
        let mut log = Log::new();
        assert_eq!(log.new_lines(), (0, 0));
        log.events("log.json", 3);
        assert_eq!((log.new_lines(), log.new_lines()), ((3, 0), (0, 0)));
        log.append("log.json", "{\"time\":");
        assert_eq!(log.new_lines(), (0, 0));
        log.append("log.json", "0}\n");
        assert_eq!((log.new_lines(), log.new_lines()), ((0, 1), (0, 0)));
    }

    #[test]
    fn renamed_files_are_read_to_their_end() {
        for names in [["log.json.1", "log.json.2"], ["log.json-20260101", "log.json-20251231"]] {
            let mut log = Log::new();
            log.events("log.json", 3);
            assert_eq!(log.new_lines(), (3, 0));
            log.events("log.json", 2);
            log.rename("log.json", names[1]);
            log.events("log.json", 4);
            log.rename("log.json", names[0]);
            log.events("log.json", 1);
            log.events(names[0], 1); // of a decoder that had opened it before
            assert_eq!((log.new_lines(), log.new_lines()), ((8, 0), (0, 0)), "{names:?}");
            fs::remove_file(log.path(names[1])).expect("removed");
            assert_eq!((log.new_lines(), log.positions.len()), ((0, 0), 2));
        }
        let mut log = Log::new();
        log.events("log-20260101.json", 1);
        assert_eq!(log.new_lines(), (1, 0));
    }

    #[test]
    fn a_copy_is_not_counted_again() {
        let mut log = Log::new();
        log.events("log.json", 3);
        assert_eq!(log.new_lines(), (3, 0));
        log.events("log.json", 2);
        fs::copy(log.path("log.json"), log.path("log.json.1")).expect("copied");
        log.events("log.json", 1); // of a decoder that comes before the log is truncated
        assert_eq!(log.new_lines(), (3, 0));
        fs::write(log.path("log.json"), "").expect("truncated");
        assert_eq!(log.new_lines(), (0, 0));
        log.events("log.json", 4);
        assert_eq!((log.new_lines(), log.new_lines()), ((4, 0), (0, 0)));
    }

    #[test]
    fn what_is_no_log_is_not_read() {
        let mut log = Log::new();
        log.events("log.json", 1);
        for other in [
            "log.json.gz",
            "log.json.1.gz",
            "log.json.bak",
            "log-x.json",
            "log.jsonl",
            "other.json",
        ] {
            log.events(other, 1);
        }
        fs::create_dir(log.path("log.json.3")).expect("a directory");
        assert_eq!(log.new_lines(), (1, 0));
        log.append("log.json", &format!("\0\n{}\n\n", "x".repeat(2 * lines::MAX_LINE)));
        log.events("log.json", 1);
        assert_eq!(log.new_lines(), (1, 3));
    }
}
