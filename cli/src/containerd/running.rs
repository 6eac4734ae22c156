//! The containerd processes of this node, as `/proc` shows them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{env, fs};

use super::CONFIG;

const NAME: &str = "containerd";

/// What the kernel adds to the path of a program that was replaced since its start.
const DELETED: &[u8] = b" (deleted)";

/// A containerd that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// The process.
    pub pid: u32,
    /// The program; none if this user may not see it.
    pub program: Option<PathBuf>,
    /// The program was replaced since it was started, by an update for instance.
    pub is_replaced: bool,
    /// The first file of its configuration: `--config`, or the usual place.
    pub config: PathBuf,
    /// `--root`, which goes before the configuration.
    pub root: Option<PathBuf>,
    /// `--address`, which goes before the configuration.
    pub address: Option<PathBuf>,
    /// When it was started.
    pub started: Option<SystemTime>,
    /// `NAME=value`; empty if this user may not see them.
    pub environment: Vec<OsString>,
    /// The systemd unit whose cgroup it is in, such as `k3s.service`.
    pub unit: Option<String>,
}

/// The containerd processes.
#[derive(Debug, Default)]
pub struct Processes {
    /// Those that see the same files as this program.
    pub here: Vec<Running>,
    /// The process ids of those in another mount namespace, such as kind's: their files are others.
    pub elsewhere: Vec<u32>,
}

impl Processes {
    /// Looks for them.
    pub fn find() -> Self {
        Self::in_proc(Path::new("/proc"))
    }

    fn in_proc(proc: &Path) -> Self {
        let mut found = Self::default();
        let own = fs::read_link(proc.join("self/ns/mnt")).ok();
        let entries = fs::read_dir(proc).into_iter().flatten().flatten();
        let mut pids: Vec<u32> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        for pid in pids {
            let process = proc.join(pid.to_string());
            let Some(running) = running(proc, &process, pid) else { continue };
            match fs::read_link(process.join("ns/mnt")) {
                Ok(other) if own.as_ref().is_some_and(|own| *own != other) => {
                    found.elsewhere.push(pid);
                }
                // Who may not see the namespace may not change this node either.
                _ => found.here.push(running),
            }
        }
        // The one of the usual place first, and Docker's own last.
        found.here.sort_by_key(|it| (it.config != Path::new(CONFIG), it.is_of_docker(), it.pid));
        found
    }
}

impl Running {
    /// Docker starts it for itself, and Kubernetes does not pull with it.
    pub fn is_of_docker(&self) -> bool {
        self.config.components().any(|part| part.as_os_str() == "docker")
    }

    /// The value of a variable of its environment.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        let mut values = self.environment.iter().filter_map(|entry| {
            let rest = entry.as_bytes().strip_prefix(name.as_bytes())?;
            Some(OsStr::from_bytes(rest.strip_prefix(b"=")?))
        });
        values.next()
    }
}

/// The process, if it is a containerd that serves.
fn running(proc: &Path, process: &Path, pid: u32) -> Option<Running> {
    let exe = fs::read_link(process.join("exe")).ok();
    let (program, is_replaced) = match exe {
        Some(exe) => match exe.as_os_str().as_bytes().strip_suffix(DELETED) {
            Some(path) => (Some(PathBuf::from(OsStr::from_bytes(path))), true),
            None => (Some(exe), false),
        },
        None => (None, false),
    };
    let is_named = match &program {
        Some(program) => program.file_name() == Some(OsStr::new(NAME)),
        None => fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == NAME),
    };
    if !is_named {
        return None;
    }
    let words = zero_terminated(&fs::read(process.join("cmdline")).ok()?);
    let flags = Flags::parse(words.get(1..)?)?;
    let directory = fs::read_link(process.join("cwd")).unwrap_or(PathBuf::from("/"));
    let absolute = |path: OsString| directory.join(path);
    Some(Running {
        pid,
        program,
        is_replaced,
        config: flags.config.map_or(CONFIG.into(), absolute),
        root: flags.root.map(absolute),
        address: flags.address.map(absolute),
        started: started(proc, process),
        environment: zero_terminated(&fs::read(process.join("environ")).unwrap_or_default()),
        unit: unit(process),
    })
}

/// The flags of containerd that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flags {
    config: Option<OsString>,
    root: Option<OsString>,
    address: Option<OsString>,
}

impl Flags {
    /// Reads the words of a command line, as Go's flag package does. None for a subcommand, such as
    /// `config dump`, and for `--version`.
    fn parse(words: &[OsString]) -> Option<Self> {
        let mut flags = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let word = word.as_bytes().strip_prefix(b"-")?;
            let word = word.strip_prefix(b"-").unwrap_or(word);
            let (name, value) = match word.iter().position(|byte| *byte == b'=') {
                Some(at) => (&word[..at], Some(OsString::from_vec(word[at + 1..].to_vec()))),
                None => (word, None),
            };
            let mut value = || value.clone().or_else(|| words.next().cloned());
            match name {
                b"config" | b"c" => flags.config = value(),
                b"root" => flags.root = value(),
                b"address" | b"a" => flags.address = value(),
                b"log-level" | b"l" | b"state" => drop(value()),
                _ => return None,
            }
        }
        Some(flags)
    }
}

fn zero_terminated(bytes: &[u8]) -> Vec<OsString> {
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// When a process was started: its age is the time since the boot without that until its start.
fn started(proc: &Path, process: &Path) -> Option<SystemTime> {
    let uptime = fs::read_to_string(proc.join("uptime")).ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name, in brackets, may have spaces; the start is field 22, and the state field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: f64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let age = uptime - ticks / rustix::param::clock_ticks_per_second() as f64;
    SystemTime::now().checked_sub(Duration::try_from_secs_f64(age.max(0.0)).ok()?)
}

/// The last part of the cgroup's path that is a service.
fn unit(process: &Path) -> Option<String> {
    let cgroups = fs::read_to_string(process.join("cgroup")).ok()?;
    let mut parts = cgroups.lines().flat_map(|line| line.rsplit('/'));
    parts.find(|part| part.ends_with(".service")).map(str::to_owned)
}

/// The directories in which a containerd finds programs: those of the one that runs, or else of
/// systemd's services.
pub fn search_path(running: Option<&Running>) -> Vec<PathBuf> {
    let path = running.and_then(|running| running.variable("PATH"));
    env::split_paths(path.unwrap_or(OsStr::new(SERVICE_PATH))).collect()
}

/// The `PATH` of a service of systemd.
const SERVICE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use anyhow::Result;

    use super::*;

    /// A process in a directory that is laid out as `/proc`.
    fn process(proc: &Path, pid: u32, exe: &str, words: &[&str], namespace: &str) -> Result<()> {
        let directory = proc.join(pid.to_string());
        fs::create_dir_all(directory.join("ns"))?;
        symlink(exe, directory.join("exe"))?;
        symlink("/srv", directory.join("cwd"))?;
        symlink(namespace, directory.join("ns/mnt"))?;
        fs::write(directory.join("cmdline"), words.join("\0") + "\0")?;
        fs::write(directory.join("environ"), "PATH=/a:/b\0CONTAINERD_DISABLE_PIGZ=1\0")?;
        fs::write(directory.join("cgroup"), "0::/system.slice/k3s.service/init\n")?;
        let zeros = "0 ".repeat(18);
        fs::write(directory.join("stat"), format!("{pid} (a) b) S {zeros}500 0 0"))?;
        Ok(())
    }

    #[test]
    fn processes_that_serve_are_found() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let proc = dir.path();
        fs::write(proc.join("uptime"), "100.00 5.0\n")?;
        process(proc, 9, "/usr/bin/keycell", &["keycell"], "mnt:[1]")?;
        symlink("9", proc.join("self"))?;
        let docker = "/var/run/docker/containerd/containerd.toml";
        process(proc, 10, "/usr/bin/containerd", &["containerd", "--config", docker], "mnt:[1]")?;
        let words = [
            "/x/containerd",
            "-c",
            "etc/c.toml",
            "-a",
            "/a.sock",
            "--root=/data",
            "--log-level",
            "debug",
        ];
        process(proc, 11, "/x/containerd (deleted)", &words, "mnt:[1]")?;
        process(proc, 12, "/usr/local/bin/containerd", &["containerd"], "mnt:[2]")?;
        process(proc, 13, "/usr/bin/containerd-shim-runc-v2", &["containerd"], "mnt:[1]")?;
        process(
            proc,
            14,
            "/usr/bin/containerd",
            &["containerd", "-c", "a", "config", "dump"],
            "mnt:[1]",
        )?;
        process(proc, 15, "/usr/bin/containerd", &["containerd", "--version"], "mnt:[1]")?;
        process(proc, 16, "/usr/bin/containerd", &["containerd"], "mnt:[1]")?;
        let found = Processes::in_proc(proc);
        assert_eq!(found.elsewhere, [12]);
        let pids: Vec<_> = found.here.iter().map(|it| it.pid).collect();
        assert_eq!(pids, [16, 11, 10]);
        let other = &found.here[1];
        assert_eq!(other.config, Path::new("/srv/etc/c.toml"));
        assert_eq!((other.root.as_deref(), other.is_replaced), (Some(Path::new("/data")), true));
        assert_eq!(other.program.as_deref(), Some(Path::new("/x/containerd")));
        assert_eq!(other.address.as_deref(), Some(Path::new("/a.sock")));
        assert_eq!(other.unit.as_deref(), Some("k3s.service"));
        assert_eq!(search_path(Some(other)), [Path::new("/a"), Path::new("/b")]);
        // It was started at second 5 of 100.
        let age = other.started.and_then(|started| started.elapsed().ok()).unwrap_or_default();
        assert!((94..97).contains(&age.as_secs()), "{age:?}");
        Ok(())
    }

    #[test]
    fn this_process_started_a_moment_ago() {
        let proc = Path::new("/proc");
        let age = started(proc, Path::new("/proc/self")).and_then(|it| it.elapsed().ok());
        assert!(age.is_some_and(|age| age < Duration::from_secs(600)), "{age:?}");
    }
}
