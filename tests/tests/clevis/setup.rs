//! A Tang server, a TPM, and a layer that is wrapped for them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::Decoder;
use keycell_tests::layout;
use keycell_tests::outcome::Outcome;
use keycell_tests::tools::{Service, Tool, output};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use keycell_tests::node::says;

/// What every case needs.
pub(crate) const TOOLS: [Tool; 6] =
    [Tool::Clevis, Tool::Jose, Tool::Tangd, Tool::TangdKeygen, Tool::SocketActivate, Tool::Curl];

const VARIABLE: &str = "OCICRYPT_KEYPROVIDER_CONFIG";

/// Starts the command that follows, and ends it with standard input.
const UNTIL_STDIN_ENDS: &str = "\"$@\" & child=$!; cat >/dev/null; kill \"$child\"; wait";

/// How long a server may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// A Tang server with keys of its own.
pub(crate) struct Tang {
    dir: TempDir,
    pub(crate) port: u16,
    thumbprint: String,
    server: Service,
}

impl Tang {
    pub(crate) fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-tang-")?;
        let (keys, log) = (dir.path().join("keys"), dir.path().join("log"));
        fs::create_dir(&keys)?;
        Tool::TangdKeygen.run([&keys])?;
        let thumbprint = signing_key(&keys)?;
        let port = free_port()?;
        let server = Service::start(
            Command::new("sh")
                .args(["-c", UNTIL_STDIN_ENDS, "sh"])
                .arg(Tool::SocketActivate.find()?)
                .args(["--accept", "--inetd", "--listen", &format!("127.0.0.1:{port}")])
                .arg(Tool::Tangd.find()?)
                .arg(&keys),
            &log,
        )?;
        answers(port)?;
        Ok(Self { dir, port, thumbprint, server })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    pub(crate) fn config(&self) -> Value {
        json!({"url": self.url(), "thp": self.thumbprint})
    }

    pub(crate) fn recipient(&self) -> String {
        format!("tang:{}", self.config())
    }

    pub(crate) fn stop(&mut self) {
        self.server.stop();
    }

    /// Takes the keys away, and makes others.
    pub(crate) fn replace_keys(&self) -> Result<()> {
        let keys = self.dir.path().join("keys");
        for entry in fs::read_dir(&keys)? {
            fs::remove_file(entry?.path())?;
        }
        Tool::TangdKeygen.run([&keys]).map(drop)
    }

    /// How many connections it has served.
    pub(crate) fn requests(&self) -> Result<usize> {
        let log = fs::read_to_string(self.dir.path().join("log"))?;
        Ok(log.lines().filter(|line| line.contains("Spawned")).count())
    }
}

/// The thumbprint of the key that signs advertisements.
fn signing_key(keys: &Path) -> Result<String> {
    for entry in fs::read_dir(keys)? {
        let path = entry?.path();
        let key: Value = serde_json::from_slice(&fs::read(&path)?)?;
        if key["alg"] == "ES512" {
            let args = ["jwk", "thp", "-a", "S256", "-i"].map(std::ffi::OsStr::new);
            let thumbprint = Tool::Jose.run(args.into_iter().chain([path.as_os_str()]))?;
            return Ok(String::from_utf8(thumbprint)?.trim().to_owned());
        }
    }
    anyhow::bail!("no signing key")
}

/// A software TPM, which Clevis reaches by `TPM2TOOLS_TCTI`.
pub(crate) struct Tpm {
    _dir: TempDir,
    port: u16,
    _server: Service,
}

impl Tpm {
    pub(crate) fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-clevis-tpm-")?;
        let port = two_free_ports()?;
        let server = Service::start(
            Command::new("sh")
                .args(["-c", UNTIL_STDIN_ENDS, "sh"])
                .arg(Tool::Swtpm.find()?)
                .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
                .args(["--tpmstate", &format!("dir={}", dir.path().display())])
                .args(["--server", &format!("type=tcp,port={port}")])
                .args(["--ctrl", &format!("type=tcp,port={}", port + 1)]),
            &dir.path().join("log"),
        )?;
        let control = port + 1;
        answers(control)?;
        Ok(Self { _dir: dir, port, _server: server })
    }

    fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// Changes a PCR, as other software does that is started.
    pub(crate) fn extend(&self, pcr: u32) -> Result<()> {
        let program = Tool::Tpm2Tools.find()?.with_file_name("tpm2_pcrextend");
        let value = format!("{pcr}:sha256={}", "1".repeat(64));
        output(Command::new(program).arg(value).env("TPM2TOOLS_TCTI", self.tcti())).map(drop)
    }
}

/// A node with the provider, and an image that is wrapped by it.
pub(crate) struct Here {
    dir: TempDir,
    tcti: Option<String>,
}

impl Here {
    /// A node that may ask these servers and, if `tpm2`, a TPM.
    pub(crate) fn new(allowed: &[&Tang], tpm2: bool, tpm: Option<&Tpm>) -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-clevis-")?;
        let path = |name: &str| dir.path().join(name);
        layout::make(&path("plain"))?;
        for name in ["temporary", "keys"] {
            fs::create_dir(path(name))?;
        }
        let mut args = vec!["clevis".to_owned()];
        allowed.iter().for_each(|tang| args.extend(["--tang".to_owned(), tang.url()]));
        args.extend(tpm2.then(|| "--tpm2".to_owned()));
        // Without a TPM nothing is needed but the system's programs.
        let (files, env) = match tpm {
            Some(_) => (json!([path("temporary")]), json!(["TPM2TOOLS_TCTI", "TMPDIR"])),
            None => (json!([]), json!([])),
        };
        let program = keycell_tests::dist("keycell")?;
        let cmd = json!({"path": program, "args": args, "files": files, "env": env});
        let config = json!({"key-providers": {"clevis": {"cmd": cmd}}});
        fs::write(path("providers.json"), config.to_string())?;
        Ok(Self { dir, tcti: tpm.map(Tpm::tcti) })
    }

    pub(crate) fn use_tpm(&mut self, tpm: &Tpm) {
        self.tcti = Some(tpm.tcti());
    }

    pub(crate) fn encrypt(&self, recipient: &str) -> Result<()> {
        let _ = fs::remove_dir_all(self.path("encrypted"));
        output(&mut self.encryption(recipient)?)?;
        if let Some(tcti) = &self.tcti {
            let program = Tool::Tpm2Tools.find()?.with_file_name("tpm2_flushcontext");
            for kind in ["--loaded-session", "--transient-object"] {
                output(Command::new(&program).arg(kind).env("TPM2TOOLS_TCTI", tcti))?;
            }
        }
        Ok(())
    }

    /// Encrypts for a recipient that does not work, and returns the message.
    pub(crate) fn not_encrypted(&self, recipient: &str) -> Result<String> {
        let output = self.encryption(recipient)?.stdin(Stdio::null()).output()?;
        ensure!(!output.status.success(), "it was encrypted");
        Ok(String::from_utf8(output.stderr)?)
    }

    fn encryption(&self, recipient: &str) -> Result<Command> {
        let mut command = self.keycell()?;
        command.args(["encrypt", &self.name("plain"), &self.name("encrypted")]);
        // Two layers, one at a time: this TPM has no resource manager, which would end the sessions that
        // `clevis encrypt` leaves in it, and it has room for three.
        command.args(["--jobs", "1", "--platform", "linux/amd64", "--drop-attestations"]);
        command.args(["-r", &format!("provider:clevis:{recipient}")]);
        Ok(command)
    }

    /// The decoder gives the second layer back, as containerd calls it.
    pub(crate) fn opens(&self) -> Result<()> {
        self.decode()?.is_silent_success(&layout::plain("two"))
    }

    /// The decoder fails.
    pub(crate) fn refused(&self) -> Result<Outcome> {
        let outcome = self.decode()?;
        outcome.error_without_output()?;
        Ok(outcome)
    }

    fn decode(&self) -> Result<Outcome> {
        let payload = self.path("payload");
        let mut command = self.keycell()?;
        command.args(["payload", &self.name("encrypted"), "--layer", "2", "--output"]);
        let blob = String::from_utf8(output(command.arg(&payload))?)?;
        let mut decoder = Decoder::new()?
            .keys(&self.path("keys"))
            .media_type("application/vnd.oci.image.layer.v1.tar+encrypted")
            .payload(fs::read(&payload)?)
            .layer(fs::read(blob.trim_end())?)
            .deadline(Duration::from_secs(60));
        fs::remove_file(&payload)?;
        for (name, value) in self.variables() {
            decoder = decoder.env(name, value);
        }
        decoder.run()
    }

    fn keycell(&self) -> Result<Command> {
        let mut command = Command::new(keycell_tests::dist("keycell")?);
        command.envs(self.variables());
        Ok(command)
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let text = |name: &str| self.path(name).display().to_string();
        let mut variables = vec![(VARIABLE, text("providers.json")), ("TMPDIR", text("temporary"))];
        variables.extend(self.tcti.clone().map(|tcti| ("TPM2TOOLS_TCTI", tcti)));
        variables
    }

    fn name(&self, name: &str) -> String {
        format!("oci:{}:demo", self.path(name).display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The first of two ports that follow each other, as the TCTI for swtpm expects them.
fn two_free_ports() -> Result<u16> {
    let free = (0..100).find_map(|_| {
        let first = free_port().ok()?;
        TcpListener::bind(("127.0.0.1", first.checked_add(1)?)).ok().map(|_| first)
    });
    free.context("no two free ports")
}

fn answers(port: u16) -> Result<()> {
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(started.elapsed() < STARTS_WITHIN, "nothing answers on port {port}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
