//! A process, as `/proc` shows it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::process::Pid;

use crate::error::Named;

/// The most bytes of `status` that are read. The members that matter come first.
const STATUS: u64 = 4096;

/// A process. Its directory in `/proc` is open, and shows no other process that gets the same id later.
pub(crate) struct Process {
    directory: OwnedFd,
    pub(crate) named: Named,
    /// Its parent, if there is one that this process can see.
    pub(crate) parent: Option<Pid>,
    /// Its real, effective, saved and file-system user.
    pub(crate) users: [u32; 4],
}

impl Process {
    pub(crate) fn open(pid: Pid) -> io::Result<Self> {
        let pid = pid.as_raw_nonzero().get();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, format!("/proc/{pid}"), flags, Mode::empty())?;
        let file = openat(&directory, "status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut status = Vec::new();
        File::from(file).take(STATUS).read_to_end(&mut status)?;
        Self::parse(directory, pid, &String::from_utf8_lossy(&status))
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(directory: OwnedFd, pid: i32, status: &str) -> Option<Self> {
        let line = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
        };
        // The kernel escapes line breaks in names.
        let shown = line("Name")?.chars().filter(|c| !c.is_control() && *c != '`').collect();
        let parent = Pid::from_raw(line("PPid")?.parse().ok()?);
        let users: Option<Vec<u32>> =
            line("Uid")?.split('\t').map(|uid| uid.parse().ok()).collect();
        let users = users?.try_into().ok()?;
        Some(Self { directory, named: Named { name: shown, pid }, parent, users })
    }

    /// The owner of the program that it executes.
    pub(crate) fn executable_owner(&self) -> io::Result<u32> {
        Ok(statat(&self.directory, "exe", AtFlags::empty())?.st_uid)
    }

    /// The paths of its open files, each with the number of its descriptor.
    pub(crate) fn open_files(&self) -> io::Result<Vec<(OsString, PathBuf)>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptors = openat(&self.directory, "fd", flags, Mode::empty())?;
        let mut files = Vec::new();
        for entry in Dir::read_from(&descriptors)? {
            let number = entry?.file_name().to_owned();
            // A descriptor that was closed meanwhile has no link any more.
            if let Ok(link) = readlinkat(&descriptors, &number, Vec::new()) {
                let path = PathBuf::from(OsString::from_vec(link.into_bytes()));
                files.push((OsString::from_vec(number.into_bytes()), path));
            }
        }
        Ok(files)
    }

    /// The status of the file that it holds open under this number.
    pub(crate) fn open_file(&self, number: &OsString) -> io::Result<Stat> {
        let descriptors = openat(
            &self.directory,
            "fd",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(statat(&descriptors, number, AtFlags::empty())?)
    }

    /// The root of its file system, and whether that is not the root of this process.
    pub(crate) fn root(&self) -> io::Result<(OwnedFd, bool)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(&self.directory, "root", flags, Mode::empty())?;
        let own = statat(CWD, "/", AtFlags::empty())?;
        let found = fstat(&root)?;
        let is_same_directory = (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino);
        // Two mount namespaces can have the same root.
        let namespace = readlinkat(&self.directory, "ns/mnt", Vec::new())?;
        let own = readlinkat(CWD, "/proc/self/ns/mnt", Vec::new())?;
        Ok((root, !is_same_directory || namespace != own))
    }
}
