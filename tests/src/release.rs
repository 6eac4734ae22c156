//! The releases of containerd that the tests run: Debian's, those that `tests/newer-packages.sh` unpacks, or
//! the one that `CONTAINERD` names instead.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::tools::{Tool, output};

/// The packages that are unpacked: one on a line, with its suite first and its path last.
const PACKAGES: &str = include_str!("../newer-packages.txt");

/// A containerd, with `ctr` and its shims in the same directory.
#[derive(Clone, Debug)]
pub struct Release {
    directory: PathBuf,
    name: String,
    version: Version,
}

/// Major and minor number, and patch.
pub type Version = (u32, u32, u32);

impl Release {
    /// Each release once. An error is the reason why one is not there, beside what it would be called.
    pub fn all() -> Vec<(String, Result<Self>)> {
        let all = match std::env::var_os("CONTAINERD") {
            Some(program) => vec![("CONTAINERD".to_owned(), Self::at(Path::new(&program)))],
            None => Self::of_debian(),
        };
        let mut seen = BTreeSet::new();
        let all = all.into_iter().map(|(place, release)| match release {
            Ok(release) => (release.name().to_owned(), Ok(release)),
            Err(error) => (place, Err(error)),
        });
        let mut all: Vec<_> = all.filter(|(name, _)| seen.insert(name.clone())).collect();
        all.sort_by_key(|(_, release)| release.as_ref().ok().map(Self::version));
        all
    }

    fn of_debian() -> Vec<(String, Result<Self>)> {
        let installed = Tool::Containerd.find().and_then(|program| Self::at(&program));
        let mut all = vec![("installed".to_owned(), installed)];
        let pins = PACKAGES.lines().filter(|line| !line.starts_with('#'));
        let is_containerd = |pin: &&str| pin.contains("/containerd_");
        let suites = pins.filter(is_containerd).filter_map(|pin| pin.split_whitespace().next());
        for suite in suites.collect::<BTreeSet<_>>() {
            let program = format!("target/tools/containerd-{suite}/usr/bin/containerd");
            all.push((suite.to_owned(), Self::at(&crate::workspace().join(program))));
        }
        all
    }

    /// # Errors
    ///
    /// When it does not say its version.
    fn at(program: &Path) -> Result<Self> {
        let missing = || format!("`{}` is missing; `make tools` unpacks it", program.display());
        let program = program.canonicalize().with_context(missing)?;
        let directory = program.parent().context("a program has a directory")?.to_owned();
        let printed = output(Command::new(&program).arg("--version"))?;
        let printed = String::from_utf8_lossy(&printed);
        let mut words = printed.split_whitespace().skip(1);
        let (module, version) = (words.next().unwrap_or_default(), words.next());
        let version = version.with_context(|| format!("containerd says no version: {printed}"))?;
        let (name, version) = match numbers(version) {
            Some(numbers) => (format!("{}.{}", numbers.0, numbers.1), numbers),
            // Built between two releases.
            None if module.ends_with("/v2") => (version.to_owned(), (2, u32::MAX, 0)),
            None => bail!("`{version}` is no version of a release"),
        };
        let release = Self { directory, name, version };
        ensure!(release.ctr().is_file(), "`{}` is missing", release.ctr().display());
        Ok(release)
    }

    /// Its major and minor number, such as `1.6`, or its revision.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// To be compared with the version in which something appeared.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether it is of version 2, which reads version 3 of its configuration.
    pub fn is_version_2(&self) -> bool {
        self.version >= (2, 0, 0)
    }

    /// The program.
    pub fn program(&self) -> PathBuf {
        self.directory.join("containerd")
    }

    /// Its own client.
    pub fn ctr(&self) -> PathBuf {
        self.directory.join("ctr")
    }

    /// `PATH` with its own directory before all others: its shims lie there.
    ///
    /// # Errors
    ///
    /// When a directory has a colon in its name.
    pub fn path(&self) -> Result<OsString> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = [self.directory.clone()];
        Ok(std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path)))?)
    }
}

/// `1.6.20~ds1`, `v2.1.7`, `2.4.0-beta.1` and the like.
fn numbers(text: &str) -> Option<Version> {
    let mut parts = text.trim_start_matches('v').splitn(3, '.');
    let mut number = || {
        let part = parts.next()?;
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..end].parse().ok()
    };
    Some((number()?, number()?, number()?))
}
