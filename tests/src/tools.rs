//! The programs that the tests call, and how.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

/// Where Debian puts PKCS#11 modules.
const MODULES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/pkcs11", "/usr/lib/aarch64-linux-gnu/pkcs11"];

/// Something that a case cannot run without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Encrypts images and copies them.
    Skopeo,
    /// skopeo 1.18, which asks key providers, unpacked by `make tools`.
    NewSkopeo,
    /// Makes images.
    Umoci,
    /// Makes keys.
    Openssl,
    /// The content of images: a complete userland in one static file.
    Busybox,
    /// Makes OpenPGP keys, and reads messages.
    Gpg,
    /// Python with the module `jwcrypto`, which reads JWE.
    Jwcrypto,
    /// Runs a key provider of the tests.
    Python,
    /// Signs guests.
    Minisign,
    /// Keeps keys in a token.
    SoftHsm,
    /// Is a TPM.
    Swtpm,
    /// Asks and changes a TPM.
    Tpm2Tools,
    /// Wraps keys for a Tang server or a TPM.
    Clevis,
    /// Clevis' program for a TPM.
    ClevisTpm2,
    /// Reads and changes keys in JSON.
    Jose,
    /// A Tang server for one request.
    Tangd,
    /// Makes the keys of a Tang server.
    TangdKeygen,
    /// Starts a program for each connection.
    SocketActivate,
    /// Makes tokens in a TPM.
    Tpm2Ptool,
    /// The PKCS#11 module for a TPM: not a program.
    Tpm2Pkcs11,
    /// Manages the resources of a TPM.
    Tpm2Abrmd,
    /// Carries messages between programs.
    DbusDaemon,
    /// Reads tokens.
    Pkcs11Tool,
    /// Calls the decoder.
    Containerd,
    /// Runs containers.
    Runc,
    /// Serves images on the loopback interface.
    DockerRegistry,
    /// Makes namespaces.
    Unshare,
    /// Enters them.
    Nsenter,
    /// Starts a program as another user.
    Setpriv,
    /// Shows system calls.
    Strace,
    /// Runs the portable guest; `make wasmtime` builds it.
    Wasmtime,
    /// Rotates logs, as it does on every node.
    Logrotate,
    /// Reads metrics and rules as Prometheus does.
    Promtool,
    /// Python with the module `prometheus_client`, which reads OpenMetrics strictly.
    PrometheusClient,
    /// The system's log.
    Journald,
    /// Reads and installs Debian packages.
    Dpkg,
    /// Checks Debian packages.
    Lintian,
    /// Checks units.
    SystemdAnalyze,
    /// Seals credentials.
    SystemdCreds,
    /// Checks shell scripts.
    Shellcheck,
    /// Kubernetes' schemas, a module of Python; `make tools` puts it into `target/tools/python`.
    KubernetesValidate,
    /// Renders the chart; `make helm` installs it.
    Helm,
    /// Calls the Kubernetes API.
    Curl,
    /// Reads and changes JSON.
    Jq,
    /// The decoder that Keycell replaces: Go ctd-decoder of imgcrypt, unpacked by `make tools`.
    OriginalDecoder,
    /// The client of imgcrypt, `ctr-enc`, as Debian calls it.
    CtrImgcrypt,
    /// Docker's daemon, unpacked by `make tools`.
    Dockerd,
    /// Not a program: the right to mount.
    Root,
}

impl Tool {
    /// The tools that make and encrypt an image.
    pub const IMAGES: [Self; 4] = [Self::Skopeo, Self::Umoci, Self::Openssl, Self::Busybox];

    /// The tools that run a node, beside its containerd, and make the images that it pulls.
    pub const NODE: [Self; 9] = [
        Self::Root,
        Self::Runc,
        Self::DockerRegistry,
        Self::Unshare,
        Self::Nsenter,
        Self::Skopeo,
        Self::Umoci,
        Self::Openssl,
        Self::Busybox,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Skopeo | Self::NewSkopeo => "skopeo",
            Self::Umoci => "umoci",
            Self::Openssl => "openssl",
            Self::Busybox => "busybox",
            Self::Gpg => "gpg",
            Self::Jwcrypto | Self::Python | Self::PrometheusClient => "python3",
            Self::Promtool => "promtool",
            Self::Minisign => "minisign",
            Self::SoftHsm => "softhsm2-util",
            Self::Swtpm => "swtpm",
            Self::Tpm2Tools => "tpm2_getcap",
            Self::Clevis => "clevis",
            Self::ClevisTpm2 => "clevis-decrypt-tpm2",
            Self::Jose => "jose",
            Self::Tangd => "tangd",
            Self::TangdKeygen => "tangd-keygen",
            Self::SocketActivate => "systemd-socket-activate",
            Self::Tpm2Ptool => "tpm2_ptool",
            Self::Tpm2Pkcs11 => "libtpm2_pkcs11.so",
            Self::Tpm2Abrmd => "tpm2-abrmd",
            Self::DbusDaemon => "dbus-daemon",
            Self::Pkcs11Tool => "pkcs11-tool",
            Self::Containerd => "containerd",
            Self::Runc => "runc",
            Self::DockerRegistry => "docker-registry",
            Self::Unshare => "unshare",
            Self::Nsenter => "nsenter",
            Self::Setpriv => "setpriv",
            Self::Strace => "strace",
            Self::Wasmtime => "wasmtime",
            Self::Logrotate => "logrotate",
            Self::Journald => "systemd-journald",
            Self::Dpkg => "dpkg",
            Self::Lintian => "lintian",
            Self::SystemdAnalyze => "systemd-analyze",
            Self::SystemdCreds => "systemd-creds",
            Self::Shellcheck => "shellcheck",
            Self::KubernetesValidate => "kubernetes_validate/__main__.py",
            Self::Helm => "helm",
            Self::Curl => "curl",
            Self::Jq => "jq",
            Self::OriginalDecoder => "ctd-decoder",
            Self::CtrImgcrypt => "ctr-imgcrypt",
            Self::Dockerd => "dockerd",
            Self::Root => "root",
        }
    }

    /// Where it is.
    ///
    /// # Errors
    ///
    /// Says what is missing and what installs it.
    pub fn find(self) -> Result<PathBuf> {
        if self == Self::Root {
            ensure!(
                rustix::process::geteuid().is_root(),
                "needs root, to mount and to run containers"
            );
            return Ok(PathBuf::new());
        }
        // To ask a Python takes as long as a case, so the answer is kept.
        static JWCRYPTO: OnceLock<Option<PathBuf>> = OnceLock::new();
        static PROMETHEUS: OnceLock<Option<PathBuf>> = OnceLock::new();
        let found = match self {
            Self::Jwcrypto => JWCRYPTO.get_or_init(|| self.search()).clone(),
            Self::PrometheusClient => PROMETHEUS.get_or_init(|| self.search()).clone(),
            _ => self.search(),
        };
        found.with_context(|| {
            format!("`{}` is not installed; `make tools wasmtime helm` installs it", self.name())
        })
    }

    fn search(self) -> Option<PathBuf> {
        // What else has these names may be Keycell's, or another release.
        let unpacked = match self {
            Self::OriginalDecoder | Self::CtrImgcrypt => Some("imgcrypt-trixie/usr/bin"),
            Self::Dockerd => Some("docker.io-forky/usr/sbin"),
            Self::NewSkopeo => Some("skopeo-trixie/usr/bin"),
            _ => None,
        };
        if let Some(unpacked) = unpacked {
            let directory = crate::workspace().join("target/tools").join(unpacked);
            return Some(directory.join(self.name())).filter(|file| file.is_file());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps runc where an ordinary user's PATH does not look.
        self.under_test()
            .into_iter()
            .chain(std::env::split_paths(&path))
            .chain(["/usr/bin", "/usr/sbin", "/sbin", "/usr/libexec"].map(PathBuf::from))
            .chain(["/lib/systemd".into(), crate::workspace().join("target/tools/bin")])
            .chain([crate::workspace().join("target/tools/python")])
            .chain(MODULES.map(PathBuf::from))
            .map(|dir| dir.join(self.name()))
            .find(|file| file.is_file() && self.is_complete(file))
    }

    /// Another containerd than the one that is installed: `CONTAINERD` names the program.
    fn under_test(self) -> Option<PathBuf> {
        let named = std::env::var_os("CONTAINERD").filter(|_| self == Self::Containerd);
        Some(Path::new(&named?).parent()?.to_path_buf())
    }

    /// Whether the program has what the tests need of it. There may be several Pythons.
    fn is_complete(self, program: &Path) -> bool {
        let import = match self {
            Self::Jwcrypto => "import jwcrypto.jwe",
            Self::PrometheusClient => "import prometheus_client.openmetrics.parser",
            _ => return true,
        };
        output(Command::new(program).args(["-c", import])).is_ok()
    }

    /// Runs it and returns its stdout.
    ///
    /// # Errors
    ///
    /// With its stderr, when it fails.
    pub fn run<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Result<Vec<u8>> {
        output(Command::new(self.find()?).args(args))
    }
}

/// Runs a command to its end and returns its stdout.
///
/// # Errors
///
/// With its stderr, when it fails.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// Runs a command with `input` on its stdin and returns its stdout. Neither may be longer than a
/// pipe takes (64 KiB).
///
/// # Errors
///
/// With its stderr, when it fails.
pub fn filtered(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let program = command.get_program().display().to_string();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    child.stdin.take().context("stdin is piped")?.write_all(input)?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// Runs a command to its end, with all of `stdin`, however long, on its standard input.
///
/// # Errors
///
/// When it cannot be started. The caller judges how it ended.
pub fn fed(mut command: Command, stdin: &[&[u8]]) -> Result<Output> {
    let input = stdin.concat();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut pipe = child.stdin.take().context("no pipe")?;
    let writer = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output()?;
    // A guest that fails early does not read to the end, which is not an error.
    let _ = writer.join();
    Ok(output)
}

/// A service that ends when this process does, however this process ends.
///
/// It runs under a shell that waits for its stdin to close, and this process holds the other end.
/// `Drop` closes it, and so does the kernel when a test is killed.
#[derive(Debug)]
pub struct Service(Child);

impl Service {
    /// Starts `sh -c SCRIPT sh ARGS…`, with stdout and stderr in `log`. The script must end, and
    /// end what it started, when its stdin does.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = std::fs::File::create(log)?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self(child))
    }

    /// Ends it and waits until it has gone.
    pub fn stop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}
