//! The user that containerd runs as, whose rights the broker has.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use keycell_content_store::Pid;

/// The bits of a mode that let a class of users read.
pub const READ: u32 = 0o4;

/// The bits that let them read and write.
pub const READ_WRITE: u32 = 0o6;

/// The bits that let them make files in a directory.
pub const MAKE_FILES: u32 = 0o3;

/// The bit that lets them enter a directory.
const ENTER: u32 = 0o1;

/// A user, with its groups.
pub struct User {
    /// Its number.
    pub uid: u32,
    groups: Vec<u32>,
}

impl User {
    /// The user of a process; root, as which containerd usually runs, if there is none.
    pub fn of(process: Option<Pid>) -> Self {
        let status = process.map(|pid| format!("/proc/{}/status", pid.as_raw_nonzero()));
        let status = status.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        Self::parse(&status)
    }

    /// Reads the effective user and the groups in proc_pid_status(5).
    fn parse(status: &str) -> Self {
        let numbers = |name: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().split_whitespace().flat_map(str::parse).collect()
        };
        let effective = |name: &str| numbers(name).get(1).copied().unwrap_or_default();
        let mut groups = numbers("Groups:");
        groups.push(effective("Gid:"));
        Self { uid: effective("Uid:"), groups }
    }

    /// Its name, or its number if it has none.
    pub fn name(&self) -> String {
        name("/etc/passwd", self.uid)
    }

    /// Whether it may access a file in this way, and enter the directories above it. Links are followed.
    ///
    /// # Errors
    /// The file or a directory cannot be looked at.
    pub fn may(&self, path: &Path, bits: u32) -> io::Result<bool> {
        let path = path.canonicalize()?;
        for directory in path.ancestors().skip(1) {
            if !self.has(directory, ENTER)? {
                return Ok(false);
            }
        }
        self.has(&path, bits)
    }

    fn has(&self, path: &Path, bits: u32) -> io::Result<bool> {
        let found = fs::metadata(path)?;
        let class = if self.uid == found.uid() {
            found.mode() >> 6
        } else if self.groups.contains(&found.gid()) {
            found.mode() >> 3
        } else {
            found.mode()
        };
        Ok(self.uid == 0 || class & bits == bits)
    }
}

/// The name of a group, or its number if it has none.
pub fn group_name(group: u32) -> String {
    name("/etc/group", group)
}

/// The first field of the line with this number in passwd(5) or group(5).
fn name(file: &str, number: u32) -> String {
    let number = number.to_string();
    let lines = fs::read_to_string(file).unwrap_or_default();
    let is_meant = |line: &&str| line.split(':').nth(2) == Some(&number);
    let found = lines.lines().find(is_meant).and_then(|line| line.split(':').next());
    found.map_or(number.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_status_is_read_as_the_kernel_prints_it() {
        let user = User::parse("Name:\tx\nUid:\t0\t7\t0\t0\nGid:\t1\t8\t1\t1\nGroups:\t4 111 \n");
        assert_eq!((user.uid, user.groups), (7, vec![4, 111, 8]));
        let root = User::parse("");
        assert_eq!((root.name().as_str(), root.uid, root.groups), ("root", 0, vec![0]));
    }

    #[test]
    fn the_class_of_the_user_decides() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let file = directory.path().join("file");
        fs::write(&file, "")?;
        let group = fs::metadata(&file)?.gid();
        let owner = fs::metadata(&file)?.uid();
        let other = User { uid: owner + 1, groups: vec![group + 1] };
        let member = User { uid: owner + 1, groups: vec![group] };
        for (mode, others, members) in [
            (0o660, false, true),
            (0o606, true, false),
            (0o604, false, false),
            (0o640, false, false),
        ] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
            assert_eq!(other.has(&file, READ_WRITE)?, others, "{mode:o}");
            assert_eq!(member.has(&file, READ_WRITE)?, members, "{mode:o}");
        }
        assert!(other.may(&directory.path().join("none"), READ).is_err());
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
        assert!(!other.may(&file, READ)?);
        Ok(())
    }
}
