//! Which containerd `keycell config containerd` and `keycell doctor` are about.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::running::{Processes, Running};
use super::{CONFIG, Config, Version};

/// Where distributions put the first file of their containerd's configuration. kind uses containerd's
/// own place.
const PLACES: [&str; 5] = [
    CONFIG,
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
    "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
    "/etc/k0s/containerd.toml",
    "/var/snap/microk8s/current/args/containerd.toml",
];

/// How exactly the start of a process and the change of a file are compared.
const PRECISION: Duration = Duration::from_millis(200);

/// The containerd of this node.
pub struct Found {
    /// The first file of its configuration. It need not exist.
    pub config: PathBuf,
    /// The file was named, not found.
    pub is_named: bool,
    /// The process that reads the file, if one does.
    pub running: Option<Running>,
    /// Other containerd processes that see this node's files.
    pub others: Vec<Running>,
    /// The ids of containerd processes in other mount namespaces.
    pub elsewhere: Vec<u32>,
}

impl Found {
    /// The containerd that reads `config`. Without it, the one that runs, or else the one whose
    /// configuration is at a usual place.
    pub fn new(config: Option<&Path>) -> Self {
        Self::among(Processes::find(), config)
    }

    fn among(processes: Processes, config: Option<&Path>) -> Self {
        let Processes { mut here, elsewhere } = processes;
        let at = match config {
            Some(config) => here.iter().position(|it| is_same(&it.config, config)),
            None => (!here.is_empty()).then_some(0),
        };
        let running = at.map(|at| here.remove(at));
        let usual = || {
            let mut places = PLACES.iter().map(Path::new);
            places.find(|place| place.is_file()).unwrap_or(Path::new(CONFIG)).to_owned()
        };
        let found = || running.as_ref().map_or_else(usual, |running| running.config.clone());
        Self {
            config: config.map_or_else(found, Path::to_owned),
            is_named: config.is_some(),
            running,
            others: here,
            elsewhere,
        }
    }

    /// The program: that of the process, or else `containerd` in the `PATH`.
    pub fn program(&self) -> PathBuf {
        let program = self.running.as_ref().and_then(|running| running.program.clone());
        program.unwrap_or_else(|| PathBuf::from("containerd"))
    }

    /// Its configuration, with the root and the address that its command line names.
    ///
    /// # Errors
    /// Those of [`Config::read`].
    pub fn read(&self, version: Option<Version>) -> Result<Config> {
        let mut config = Config::read(&self.config, version)?;
        if let Some(running) = &self.running {
            config.root = running.root.clone().unwrap_or(config.root);
            config.address = running.address.clone().unwrap_or(config.address);
        }
        Ok(config)
    }

    /// The files of the configuration that were written after the process was started.
    pub fn newer_files<'a>(&self, config: &'a Config) -> Vec<&'a Path> {
        let Some(started) = self.running.as_ref().and_then(|it| it.started) else {
            return Vec::new();
        };
        let is_newer = |file: &&PathBuf| {
            let written = fs::metadata(file).and_then(|file| file.modified());
            written.unwrap_or(SystemTime::UNIX_EPOCH) > started + PRECISION
        };
        config.files.iter().filter(is_newer).map(PathBuf::as_path).collect()
    }
}

/// Whether two paths name one file.
fn is_same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    a == b || real(a) == real(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(config: &Path, started: SystemTime) -> Running {
        Running {
            program: Some("/opt/containerd".into()),
            config: config.to_owned(),
            root: Some("/data".into()),
            started: Some(started),
            ..Running::default()
        }
    }

    #[test]
    fn a_named_configuration_finds_its_process() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let [a, b] = ["a.toml", "b.toml"].map(|name| dir.path().join(name));
        for file in [&a, &b] {
            fs::write(file, "version = 2\nroot = \"/other\"\n")?;
        }
        let now = SystemTime::now();
        let minute = Duration::from_secs(60);
        let processes = || Processes {
            here: vec![process(&a, now - minute), process(&b, now + minute)],
            elsewhere: vec![9],
        };
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&b, &link)?;
        for (named, expected, newer) in [(None, &a, 1), (Some(&b), &b, 0), (Some(&link), &link, 0)]
        {
            let found = Found::among(processes(), named.map(PathBuf::as_path));
            let config = found.read(None)?;
            assert_eq!((&found.config, found.others.len()), (expected, 1));
            assert_eq!(config.root, Path::new("/data"));
            assert_eq!(found.newer_files(&config).len(), newer, "{named:?}");
            assert_eq!(found.program(), Path::new("/opt/containerd"));
        }
        let absent = dir.path().join("absent.toml");
        let found = Found::among(processes(), Some(&absent));
        assert!(found.running.is_none() && found.others.len() == 2);
        assert_eq!(found.program(), Path::new("containerd"));
        Ok(())
    }
}
