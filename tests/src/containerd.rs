//! A containerd for one test, in its own namespaces.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::cri::Cri;
use crate::release::Release;
use crate::tools::{Service, Tool, output};

/// Builds the root that containerd sees, then runs it. See the comments there.
const NODE: &str = include_str!("node.sh");

/// From the start of the process to the first answer of its CRI.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// In a configuration: the node's own directory, which is known when it starts.
const DIR: &str = "@DIR@";

/// A containerd, and files that its node has and the machine does not have.
#[derive(Clone, Debug)]
pub struct Setup {
    release: Release,
    config: String,
    /// Where the node has the configuration, if it names the root and the sockets.
    place: Option<&'static str>,
    root: &'static str,
    before: String,
    files: Vec<(PathBuf, Vec<u8>, u32)>,
}

impl Setup {
    /// A node with this configuration file for containerd. Its root, its state and its socket are
    /// named on the command line.
    pub fn new(release: &Release, config: impl Into<String>) -> Self {
        Self {
            release: release.clone(),
            config: config.into(),
            place: None,
            root: "/var/lib/containerd",
            before: String::new(),
            files: Vec::new(),
        }
    }

    /// containerd's root is elsewhere.
    pub fn root(mut self, root: &'static str) -> Self {
        self.root = root;
        self
    }

    /// The configuration lies here, and says itself where root, state and socket are.
    pub fn configured_at(mut self, place: &'static str) -> Self {
        let places = format!(
            "root = \"{}\"\nstate = \"{DIR}/state\"\n[grpc]\n  address = \"{DIR}/containerd.sock\"\n",
            self.root
        );
        let version = self.config.lines().find(|line| line.starts_with("version"));
        let version = version.unwrap_or_default().to_owned();
        self.config = self.config.replacen(&version, &format!("{version}\n{places}"), 1);
        self.place = Some(place);
        self
    }

    /// A shell script that runs on the node before containerd does.
    pub fn before(mut self, script: impl Into<String>) -> Self {
        self.before = script.into();
        self
    }

    /// The decoder, at `/usr/local/bin/ctd-decoder`.
    pub fn decoder(self) -> Result<Self> {
        let program = fs::read(crate::dist("ctd-decoder")?)?;
        Ok(self.program("ctd-decoder", program))
    }

    /// A file that only root reads, below `/keys` or `/etc`.
    pub fn file(self, path: &str, content: Vec<u8>) -> Self {
        self.file_with_mode(path, content, 0o600)
    }

    /// A program, below `/usr/local/bin`.
    pub fn program(self, name: &str, content: Vec<u8>) -> Self {
        self.file_with_mode(&format!("/usr/local/bin/{name}"), content, 0o755)
    }

    /// Writes what `node.sh` reads.
    fn lay_out(&self, dir: &Path) -> Result<()> {
        let files = dir.join("files");
        fs::create_dir(&files)?;
        let write = |path: &Path, content: &[u8], mode: u32| -> Result<()> {
            let path = files.join(path.strip_prefix("/")?);
            let parent = path.parent().context("a file has a directory")?;
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
            fs::write(&path, content)?;
            Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
        };
        for (path, content, mode) in &self.files {
            write(path, content, *mode)?;
        }
        let config = self.config.replace(DIR, &dir.display().to_string());
        match self.place {
            Some(place) => write(Path::new(place), config.as_bytes(), 0o600)?,
            None => fs::write(dir.join("config.toml"), config)?,
        }
        fs::write(dir.join("before.sh"), &self.before)?;
        Ok(fs::write(dir.join("node.sh"), NODE)?)
    }

    /// containerd's.
    fn arguments(&self, dir: &Path) -> Vec<OsString> {
        if let Some(place) = self.place {
            return ["--config", place].map(OsString::from).into();
        }
        let own = |name| dir.join(name).into();
        let config: OsString = own("config.toml");
        let (state, socket) = (own("state"), own("containerd.sock"));
        let [c, r, s, a] = ["--config", "--root", "--state", "--address"].map(OsString::from);
        vec![c, config, r, self.root.into(), s, state, a, socket]
    }

    fn file_with_mode(mut self, path: &str, content: Vec<u8>, mode: u32) -> Self {
        self.files.push((path.into(), content, mode));
        self
    }
}

/// A running containerd.
///
/// It lives in mount and process namespaces whose first process ends when this one does: nothing
/// that it mounted or started outlives the test, and no path of the machine changes.
#[derive(Debug)]
pub struct Node {
    service: Service,
    cri: Cri,
    process: u32,
    cgroup: String,
    release: Release,
    dir: TempDir,
}

impl Node {
    /// Starts containerd and waits until its CRI answers.
    pub fn start(setup: &Setup) -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-node-")?;
        setup.lay_out(dir.path())?;
        let mut command = Command::new(Tool::Unshare.find()?);
        command
            .env("PATH", setup.release.path()?)
            .args(["--mount", "--pid", "--fork", "--propagation", "private", "sh"])
            .arg(dir.path().join("node.sh"))
            .arg(dir.path())
            .arg(setup.root)
            .args(setup.arguments(dir.path()));
        let service = Service::start(&mut command, &dir.path().join("containerd.log"))?;
        // No other node has a directory of that name.
        let cgroup = dir.path().file_name().context("a directory has a name")?;
        let cgroup = cgroup.display().to_string();
        let cri = Cri::at(&dir.path().join("containerd.sock"))?;
        let release = setup.release.clone();
        let mut node = Self { service, cri, process: 0, cgroup, release, dir };
        node.wait().with_context(|| format!("containerd did not start: {}", node.log()))?;
        Ok(node)
    }

    fn wait(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            match self.cri.answers() {
                Ok(()) => break,
                Err(error) if started.elapsed() > STARTS_WITHIN => return Err(error),
                Err(_) => ensure!(self.service.runs(), "it ended"),
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.process = fs::read_to_string(self.dir.path().join("init.pid"))?.trim().parse()?;
        Ok(())
    }

    /// Its CRI, for calls that are not below.
    pub fn cri(&self) -> &Cri {
        &self.cri
    }

    /// A second connection to its CRI, for another thread.
    pub fn another_cri(&self) -> Result<Cri> {
        Cri::at(&self.dir.path().join("containerd.sock"))
    }

    /// Runs an image in a pod, as a kubelet does, and returns what it prints.
    pub fn run_pod(&self, image: &str) -> Result<String> {
        let logs = self.dir.path().join("pod-logs");
        fs::create_dir_all(&logs)?;
        self.cri.run(image, &format!("/{}", self.cgroup), &logs)
    }

    /// Runs `ctr` inside the node and returns what it prints. `namespace` is containerd's word:
    /// the CRI keeps its images in `k8s.io`.
    pub fn ctr(&self, namespace: &str, args: &[&str]) -> Result<String> {
        printed(&mut self.ctr_command(namespace, args)?)
    }

    /// The same, to be started by the caller.
    pub fn ctr_command(&self, namespace: &str, args: &[&str]) -> Result<Command> {
        self.client(&self.release.ctr(), namespace, args)
    }

    /// The same with imgcrypt's client, `ctr-enc`, which passes keys to decoders.
    pub fn ctr_enc(&self, namespace: &str, args: &[&str]) -> Result<String> {
        printed(&mut self.client(&Tool::CtrImgcrypt.find()?, namespace, args)?)
    }

    fn client(&self, program: &Path, namespace: &str, args: &[&str]) -> Result<Command> {
        let mut command = self.command(program)?;
        command.arg("--address").arg(self.dir.path().join("containerd.sock"));
        command.args(["--namespace", namespace]).args(args);
        Ok(command)
    }

    /// A program of the machine, on the node.
    pub fn command(&self, program: &Path) -> Result<Command> {
        let mut command = Command::new(Tool::Nsenter.find()?);
        command.args(["--mount", "--pid", "--target"]).arg(self.process.to_string());
        command.arg(program).env("PATH", self.release.path()?);
        Ok(command)
    }

    /// The processes of this name that run in the node, by the numbers that they have there.
    pub fn processes(&self, name: &str) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/root/proc", self.process))? {
            let entry = entry?;
            // The process may have ended in the meantime.
            let command = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if command.trim() == name {
                found.extend(
                    entry.file_name().to_str().and_then(|number| number.parse::<u32>().ok()),
                );
            }
        }
        Ok(found)
    }

    /// `ctr run` of an image that the CRI has pulled: prints what the container prints.
    pub fn ctr_run(&self, image: &str) -> Result<String> {
        self.ctr_run_in("k8s.io", image)
    }

    /// The same in another of containerd's namespaces. Unpacks the image if it is not unpacked yet.
    pub fn ctr_run_in(&self, namespace: &str, image: &str) -> Result<String> {
        printed(&mut self.run_command(&self.release.ctr(), namespace, image, &[])?)
    }

    /// The same with imgcrypt's client and more of its options.
    pub fn ctr_enc_run(&self, image: &str, options: &[&str]) -> Result<String> {
        printed(&mut self.run_command(&Tool::CtrImgcrypt.find()?, "default", image, options)?)
    }

    fn run_command(
        &self,
        ctr: &Path,
        namespace: &str,
        image: &str,
        options: &[&str],
    ) -> Result<Command> {
        let cgroup = format!("/{}/ctr", self.cgroup);
        let run = ["run", "--rm", "--net-host", "--cgroup", &cgroup];
        self.client(ctr, namespace, &[&run[..], options, &[image, "ctr-run"]].concat())
    }

    /// Gives the node one more file: those that have changed since it started, too.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let root = PathBuf::from(format!("/proc/{}/root", self.process));
        Ok(fs::write(root.join(path.trim_start_matches('/')), content)?)
    }

    /// A file of the node, as it is now.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let root = PathBuf::from(format!("/proc/{}/root", self.process));
        Ok(fs::read(root.join(path.trim_start_matches('/')))?)
    }

    /// A directory that the machine and the node see under the same name.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The end of containerd's log.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.path().join("containerd.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.service.stop();
        // The containers' cgroups are the only resource that does not end with a namespace.
        if let Err(error) = remove_cgroups(&self.cgroup) {
            eprintln!("cannot remove the cgroups `{}`: {error:#}", self.cgroup);
        }
    }
}

fn printed(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output(command)?).trim().to_owned())
}

/// Removes a cgroup from the unified hierarchy or from each controller's.
fn remove_cgroups(name: &str) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let mut hierarchies = vec![root.to_path_buf()];
    for entry in fs::read_dir(root)? {
        hierarchies.push(entry?.path());
    }
    for hierarchy in hierarchies {
        remove_cgroup(&hierarchy.join(name))?;
    }
    Ok(())
}

fn remove_cgroup(dir: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    // The processes in it have been killed; the kernel may still be taking them out.
    for _ in 0..100 {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => return Ok(()),
        }
    }
    bail!("{} stays busy", dir.display())
}
