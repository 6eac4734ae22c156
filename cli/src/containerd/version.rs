//! The version of containerd, which decides what it hands to a decoder.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};

/// A release: major, minor and patch number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// The module of containerd 2.x, as its `--version` names it.
const MODULE_OF_2: &str = "github.com/containerd/containerd/v2";

impl Version {
    /// Asks a containerd program for its version.
    ///
    /// # Errors
    /// A program that does not exist, or does not answer as containerd does.
    pub fn of(program: &Path) -> Result<Self> {
        let shown = program.display();
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
        ensure!(output.status.success(), "`{shown} --version` fails");
        let version = Self::answered(&String::from_utf8_lossy(&output.stdout));
        version.with_context(|| format!("`{shown} --version` does not answer as containerd does"))
    }

    /// The version in a line such as
    /// `containerd github.com/containerd/containerd v1.7.24 88bf19b2105c8b17560993bee28a01ddc2f97182`.
    fn answered(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace().skip(1);
        let module = words.next().unwrap_or_default();
        let version = words.next().unwrap_or_default().parse();
        // What is built without a tag has a commit there. The module tells the series, and is newer than
        // its releases.
        match (version, module) {
            (Err(_), MODULE_OF_2) => Ok(Self::DEVELOPMENT),
            (version, _) => version,
        }
    }

    /// A containerd 2.x that is built from a commit.
    const DEVELOPMENT: Self = Self(2, u32::MAX, u32::MAX);

    /// Whether Kubernetes pulls through the transfer service, unless a setting prevents it.
    pub fn has_transfer_service(self) -> bool {
        self >= Self(2, 1, 0)
    }

    /// Whether CRI sections of 1.x in a file of version `syntax` are migrated to those of 2.x.
    pub fn migrates_cri(self, syntax: u32) -> bool {
        if self >= Self(2, 3, 0) { syntax < 4 } else { self >= Self(2, 0, 0) && syntax == 2 }
    }

    /// Whether sections that a file of version 1 calls by a short name are lost: 2.0 to 2.2 migrate
    /// version 2 alone.
    pub fn forgets_short_names(self) -> bool {
        self >= Self(2, 0, 0) && self < Self(2, 3, 0)
    }

    /// Whether a CRI pull that is local hands a payload over: the hook was missing in 2.0 and came
    /// back in 2.1.7, 2.2.2 and 2.3.
    pub fn has_payload(self) -> bool {
        match self {
            Self(2, 0, _) => false,
            Self(2, 1, patch) => patch >= 7,
            Self(2, 2, patch) => patch >= 2,
            _ => true,
        }
    }

    /// Whether the plugin sections of imported files are merged with those read before. Older
    /// releases replaced them.
    pub fn merges_plugins(self) -> bool {
        self >= Self(2, 0, 0)
    }

    /// Whether a relative glob among the imports starts at the directory of the file. Before 1.6.30
    /// and 1.7.16, it started at the working directory of containerd.
    pub fn joins_globs(self) -> bool {
        match self {
            Self(1, 6, patch) => patch >= 30,
            Self(1, 7, patch) => patch >= 16,
            Self(major, ..) => major >= 2,
        }
    }

    /// The version in which its configuration is written.
    pub fn config_version(self) -> u32 {
        if self >= Self(2, 0, 0) { 3 } else { 2 }
    }

    /// A release that reads this version of the configuration, where the program cannot be asked.
    pub fn of_config_version(version: u32) -> Self {
        if version >= 3 { Self(2, 3, 0) } else { Self(1, 7, 0) }
    }

    /// The newest version of the configuration that it reads. 1.x before 1.6.32 and 1.7.17 does not
    /// look.
    pub fn newest_config_version(self) -> u32 {
        match self {
            Self(1, 6, patch) if patch < 32 => u32::MAX,
            Self(1, 7, patch) if patch < 17 => u32::MAX,
            _ if self >= Self(2, 3, 0) => 4,
            _ => self.config_version(),
        }
    }

    /// Whether it refuses an imported file of a newer version than the first file.
    pub fn compares_versions(self) -> bool {
        self >= Self(2, 3, 0)
    }
}

impl FromStr for Version {
    type Err = Error;

    /// `2.1`, `v1.7.24`, `1.6.20~ds1`.
    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.trim_start_matches('v').split('.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<u32>()
        });
        let wanted =
            || format!("`{}` is not a version such as `1.7` or `2.1.7`", text.escape_debug());
        let numbers: Vec<_> = numbers.take(3).collect::<Result<_, _>>().with_context(wanted)?;
        match numbers[..] {
            // The newest release is what somebody means who names none.
            [major, minor] => Ok(Self(major, minor, u32::MAX)),
            [major, minor, patch] => Ok(Self(major, minor, patch)),
            _ => Err(Error::msg(wanted())),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            &Self::DEVELOPMENT => f.write_str("2.x, built from a commit"),
            Self(major, minor, u32::MAX) => write!(f, "{major}.{minor}"),
            Self(major, minor, patch) => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions_are_read() -> Result<()> {
        for (text, version) in [
            ("v1.7.24", Version(1, 7, 24)),
            ("1.6.20~ds1", Version(1, 6, 20)),
            ("v2.2.0-rc.1", Version(2, 2, 0)),
            ("2.1.5-k3s1.33", Version(2, 1, 5)),
            ("2.1", Version(2, 1, u32::MAX)),
        ] {
            assert_eq!(text.parse::<Version>()?, version, "{text}");
        }
        for text in ["", "2", "two.one", "v.1.2", "latest"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        Ok(())
    }

    #[test]
    fn what_is_built_from_a_commit_is_newer_than_releases() -> Result<()> {
        let built =
            Version::answered("containerd github.com/containerd/containerd/v2 301026e58 \n")?;
        assert_eq!(built, Version::DEVELOPMENT);
        assert!(built.has_payload() && built.has_transfer_service() && built > Version(2, 3, 4));
        assert_eq!(built.newest_config_version(), 4);
        let release = "containerd github.com/containerd/containerd/v2 2.1.9+unknown ";
        assert_eq!(Version::answered(release)?, Version(2, 1, 9));
        for line in ["containerd github.com/containerd/containerd 301026e58", "other 1", ""] {
            assert!(Version::answered(line).is_err(), "{line}");
        }
        Ok(())
    }

    #[test]
    fn the_payload_came_back_in_three_series() {
        let with = [(1, 6, 20), (2, 1, 7), (2, 2, 2), (2, 3, 0), (2, 1, u32::MAX)];
        let without = [(2, 0, 9), (2, 0, u32::MAX), (2, 1, 6), (2, 2, 1)];
        assert!(with.into_iter().all(|(a, b, c)| Version(a, b, c).has_payload()));
        assert!(!without.into_iter().any(|(a, b, c)| Version(a, b, c).has_payload()));
    }
}
