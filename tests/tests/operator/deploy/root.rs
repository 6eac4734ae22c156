//! A directory that stands for the root of a node, and a node: a process with that root, in namespaces of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use keycell_tests::tools::{Service, Tool, output};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::deploy;

/// containerd's configuration, from the root of the node.
pub(crate) const CONFIG: &str = "etc/containerd/config.toml";

/// Makes a root with the machine's programs in it, and `text` as the configuration of a containerd.
pub(crate) fn root(dir: &Path, config: &str, text: &str, program: &str) -> Result<PathBuf> {
    let host = dir.join("host");
    let config = host.join(config);
    fs::create_dir_all(config.parent().context("no directory")?)?;
    fs::write(&config, text)?;
    for program in [Tool::Containerd.find()?, keycell_tests::dist("keycell")?, "/bin/true".into()] {
        borrow(&program, &host)?;
    }
    let program = host.join(program);
    fs::create_dir_all(program.parent().context("no directory")?)?;
    fs::copy(Tool::Containerd.find()?, program)?;
    // Every node has it: the standard input of programs that get none.
    fs::create_dir_all(host.join("dev"))?;
    let (null, mode) = (host.join("dev/null"), Mode::from_raw_mode(0o666));
    mknodat(CWD, null, FileType::CharacterDevice, mode, makedev(1, 3))?;
    Ok(host)
}

/// Copies the libraries of a program, so that it runs in `root`.
fn borrow(program: &Path, root: &Path) -> Result<()> {
    let Ok(listed) = output(Command::new("ldd").arg(program)) else { return Ok(()) };
    for word in String::from_utf8(listed)?.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(word.trim_start_matches('/'));
        fs::create_dir_all(to.parent().context("no directory")?)?;
        fs::copy(word, to)?;
    }
    Ok(())
}

/// A call of the script on a root. Nothing restarts there.
pub(crate) fn script(verb: &str, host: &Path, keys: &Path) -> Result<Command> {
    let mut command = Command::new(deploy("node.sh"));
    command.arg(verb).env("HOST", host).env("KEYS", keys).env("RESTART", "no");
    command.env("SOURCE", keycell_tests::dist("keycell")?.parent().context("no directory")?);
    Ok(command)
}

/// A root whose first process runs in namespaces of its own, where `systemctl` works.
pub(crate) struct Node {
    service: Service,
    pub(crate) name: &'static str,
    /// The directory that is its root.
    pub(crate) root: PathBuf,
    /// The same as its first process has it, with its `/proc`.
    host: PathBuf,
}

impl Node {
    pub(crate) fn start(dir: &Path, name: &'static str) -> Result<Self> {
        let dir = dir.join(name);
        let root = root(&dir, CONFIG, "version = 2\n", "usr/bin/containerd")?;
        for folder in ["bin", "proc", "old", "run/systemd/system"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::copy(Tool::Busybox.find()?, root.join("bin/busybox"))?;
        symlink("busybox", root.join("bin/sh"))?;
        let systemctl = root.join("usr/bin/systemctl");
        fs::copy(keycell_tests::workspace().join(SYSTEMCTL), &systemctl)?;
        fs::set_permissions(systemctl, PermissionsExt::from_mode(0o755))?;
        let mut command = Command::new(Tool::Unshare.find()?);
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"])
            .args(["sh", "-euc", FIRST_PROCESS, "sh"])
            .arg(&root);
        let service = Service::start(&mut command, &dir.join("log"))?;
        let mut node = Self { service, name, root, host: PathBuf::new() };
        node.host = node.first_process(&dir)?;
        Ok(node)
    }

    /// Waits until it has its root. Its number is in a file of that root.
    fn first_process(&mut self, dir: &Path) -> Result<PathBuf> {
        for _ in 0..200 {
            let number = fs::read_to_string(self.root.join("first-process")).unwrap_or_default();
            if let Ok(number) = number.trim().parse::<u32>() {
                fs::remove_file(self.root.join("first-process"))?;
                return Ok(format!("/proc/{number}/root").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("no node: {}", fs::read_to_string(dir.join("log"))?)
    }

    /// A call of the script on this node, which can restart containerd there. The script is in the node's PID namespace,
    /// as every container of a node is.
    pub(crate) fn script(&self, verb: &str) -> Result<Command> {
        let inner = script(verb, &self.host, &self.root)?;
        let mut command = Command::new(Tool::Nsenter.find()?);
        command.arg(self.namespace("pid", "pid"));
        // A script that waits for ever is a failure.
        command.args(["timeout", "120"]).arg(inner.get_program()).args(inner.get_args());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("RESTART", "yes").env("SETTLE_SECONDS", "0.1").env("NODE", self.name);
        Ok(command)
    }

    /// As its operator does.
    pub(crate) fn restart(&self) -> Result<()> {
        let mut command = Command::new(Tool::Nsenter.find()?);
        command.args([self.namespace("mount", "mnt"), self.namespace("pid", "pid")]);
        output(command.args(["/usr/bin/systemctl", "restart", "containerd"])).map(drop)
    }

    /// An argument of nsenter.
    fn namespace(&self, option: &str, name: &str) -> String {
        format!("--{option}={}", self.host.join("proc/1/ns").join(name).display())
    }

    /// When containerd was restarted: the beginning and the end of each, in hundredths of a second.
    pub(crate) fn restarts(&self) -> Result<Vec<(u64, u64)>> {
        let noted = fs::read_to_string(self.root.join("restarts")).unwrap_or_default();
        let hundredths = |word: &str| Ok::<u64, anyhow::Error>(word.replace('.', "").parse()?);
        let pair = |line: &str| {
            let (begin, end) = line.split_once(' ').context("no pair")?;
            Ok((hundredths(begin)?, hundredths(end)?))
        };
        noted.lines().map(pair).collect()
    }

    /// Makes containerd fail with a decoder in its configuration, or not any more.
    pub(crate) fn breaks(&self, does: bool) -> Result<()> {
        let mark = self.root.join("breaks");
        if does {
            fs::write(mark, "")?
        } else {
            fs::remove_file(mark)?
        }
        Ok(())
    }

    pub(crate) fn has_configuration(&self) -> bool {
        self.root.join("etc/containerd/conf.d/90-keycell.toml").is_file()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.service.stop();
    }
}

const SYSTEMCTL: &str = "tests/tests/operator/deploy/systemctl.sh";

/// Makes `$1` the root, notes its own number as the machine counts, and waits for the end of standard input.
const FIRST_PROCESS: &str = r#"
    read -r number _ </proc/self/stat
    mount --rbind "$1" "$1"
    cd "$1"
    mount -t proc proc proc
    /usr/sbin/pivot_root . old
    exec /bin/busybox chroot . /bin/busybox sh -euc '
        /bin/busybox umount -l /old
        echo "$1" >/first-process
        read -r end || true' sh "$number"
"#;

/// Standard output and standard error of a call that must succeed, or must fail.
pub(crate) fn said(command: &mut Command, succeeds: bool) -> Result<String> {
    let Output { status, stdout, stderr } = command.output()?;
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    ensure!(status.success() == succeeds, "{command:?}: {status}\n{text}");
    Ok(text)
}
