//! Who calls the decoders: containerd, whose environment, limits and user a trial takes over.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use keycell_content_store::Pid;

use crate::containerd::{Running, search_path};

use super::user::User;

/// The program that sets limits and then becomes another one (util-linux).
const PRLIMIT: [&str; 2] = ["/usr/bin/prlimit", "/bin/prlimit"];

/// The limits that can stop a decoder, as `/proc/PID/limits` and `prlimit` name them.
const LIMITS: [(&str, &str); 6] = [
    ("Max address space", "as"),
    ("Max data size", "data"),
    ("Max stack size", "stack"),
    ("Max file size", "fsize"),
    ("Max open files", "nofile"),
    ("Max processes", "nproc"),
];

/// A containerd that runs, or the usual service.
pub struct Caller<'a>(Option<&'a Running>);

impl<'a> Caller<'a> {
    /// The containerd that runs, if one does.
    pub fn new(running: Option<&'a Running>) -> Self {
        Self(running)
    }

    /// Its process ID.
    pub fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.0?.pid).ok()?)
    }

    /// The user that it runs as.
    pub fn user(&self) -> User {
        User::of(self.pid())
    }

    /// Its directory in `/proc`.
    fn process(&self) -> Option<PathBuf> {
        self.0.map(|running| PathBuf::from(format!("/proc/{}", running.pid)))
    }

    /// Whether this user can call a decoder as containerd does: with the same rights.
    pub fn may_call(&self) -> bool {
        let user = self.process().and_then(|process| fs::metadata(process).ok());
        let user = user.map_or(0, |process| process.uid());
        rustix::process::geteuid().as_raw() == user
    }

    /// The directories in which it finds programs.
    pub fn path(&self) -> Vec<PathBuf> {
        search_path(self.0)
    }

    /// Its environment, which decoders inherit.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let environment = self.0.map(|running| running.environment.as_slice()).unwrap_or_default();
        if environment.is_empty() {
            let path = std::env::join_paths(self.path()).unwrap_or_default();
            return vec![("PATH".into(), path)];
        }
        environment.iter().filter_map(|entry| variable(entry)).collect()
    }

    /// The words before a command that give it containerd's limits, as far as this process may set them.
    /// They are empty if no containerd runs, or if its limits are those of this process.
    pub fn limits(&self) -> Vec<OsString> {
        let read = |process: &Path| fs::read_to_string(process.join("limits")).ok();
        let (Some(theirs), Some(ours)) =
            (self.process().as_deref().and_then(read), read(Path::new("/proc/self")))
        else {
            return Vec::new();
        };
        let Some(prlimit) = PRLIMIT.iter().find(|program| Path::new(program).is_file()) else {
            return Vec::new();
        };
        let flags = LIMITS.iter().filter_map(|(name, flag)| {
            let (theirs, ours) = (Limit::named(name, &theirs)?, Limit::named(name, &ours)?);
            let limit = theirs.below(ours);
            (limit != ours).then(|| format!("--{flag}={limit}").into())
        });
        let flags: Vec<OsString> = flags.collect();
        if flags.is_empty() {
            return flags;
        }
        [OsString::from(prlimit)].into_iter().chain(flags).collect()
    }
}

/// A soft and a hard limit. The largest number stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    soft: u64,
    hard: u64,
}

impl Limit {
    /// The one in a line such as `Max open files  1024  524288  files`.
    fn named(name: &str, text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let number = |word: &str| match word {
            "unlimited" => Some(u64::MAX),
            word => word.parse().ok(),
        };
        let mut words = line.split_whitespace();
        Some(Self { soft: number(words.next()?)?, hard: number(words.next()?)? })
    }

    /// This limit, where a process with the limit `own` may set it: below its hard one.
    fn below(self, own: Self) -> Self {
        let hard = self.hard.min(own.hard);
        Self { soft: self.soft.min(hard), hard }
    }
}

/// As `prlimit` takes it.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |number| match number {
            u64::MAX => "unlimited".to_owned(),
            number => number.to_string(),
        };
        write!(f, "{}:{}", word(self.soft), word(self.hard))
    }
}

/// Name and value of `NAME=value`.
fn variable(entry: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = entry.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&bytes[..equals], &bytes[equals + 1..]);
    Some((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_prints_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max file size             unlimited            unlimited            bytes     \n\
            Max open files            1024                 524288               files     \n";
        let files = Limit::named("Max open files", text);
        assert_eq!(files, Some(Limit { soft: 1024, hard: 524_288 }));
        let size = Limit::named("Max file size", text);
        assert_eq!(size.map(|limit| limit.to_string()).as_deref(), Some("unlimited:unlimited"));
        assert_eq!(Limit::named("Max stack size", text), None);
    }

    #[test]
    fn no_limit_is_above_the_own_hard_one() {
        let limit = |soft, hard| Limit { soft, hard };
        assert_eq!(limit(10, 20).below(limit(5, u64::MAX)), limit(10, 20));
        assert_eq!(limit(30, u64::MAX).below(limit(5, 20)), limit(20, 20));
        assert_eq!(limit(1, 2).below(limit(5, 20)), limit(1, 2));
    }

    #[test]
    fn without_a_containerd_the_usual_service_calls() {
        let caller = Caller::new(None);
        assert!(caller.limits().is_empty() && caller.pid().is_none());
        let [(name, value)] = &caller.variables()[..] else { panic!() };
        assert!(name == "PATH" && value.to_string_lossy().contains("/usr/bin"), "{value:?}");
    }
}
