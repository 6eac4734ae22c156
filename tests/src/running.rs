//! A decoder that is stopped for inspection: before `unwrap` is over, while the layer
//! flows, and at its very end.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64ct::{Base64, Encoding};
use serde_json::json;
use tempfile::TempDir;

use crate::payload::Payload;
use crate::sealed::Sealed;

/// The annotation with what the provider of [`Running`] opens.
pub const PROVIDER_KEYS: &str = "org.opencontainers.image.enc.keys.provider.slow";

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A decoder whose layer key comes from a key provider that waits: the first step is not over
/// until [`Running::go_on`].
pub struct Running {
    /// Its process.
    pub child: Child,
    stdin: Option<ChildStdin>,
    /// The output so far.
    came: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    sealed: Sealed,
    fed: usize,
    dir: TempDir,
}

impl Running {
    /// Starts `program` with `args`, for `sealed`, whose `payload` gets an annotation for the
    /// provider.
    ///
    /// # Errors
    /// When it does not start, or does not reach the provider.
    pub fn start(
        program: &[&Path],
        args: &[&str],
        sealed: &Sealed,
        payload: Payload,
    ) -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-running-")?;
        let path = |name: &str| dir.path().join(name);
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        let options = Base64::encode_string(sealed.private.to_string().as_bytes());
        let answer = json!({ "keyunwrapresults": { "optsdata": options } });
        fs::write(path("answer"), answer.to_string())?;
        let script = format!(
            "#!/bin/sh\ncat >/dev/null\necho $$ >{0}/asked\n\
             while [ ! -e {0}/go ]; do sleep 0.02; done\ncat {0}/answer\n",
            dir.path().display()
        );
        fs::write(path("provider"), script)?;
        fs::set_permissions(path("provider"), Permissions::from_mode(0o755))?;
        let config =
            json!({ "key-providers": { "slow": { "cmd": { "path": path("provider") } } } });
        fs::write(path("providers.json"), config.to_string())?;
        let wrapped = Base64::encode_string(b"wrapped");
        fs::write(path("payload"), payload.annotation(PROVIDER_KEYS, &wrapped).bytes())?;

        // A shell passes the payload on descriptor 3, and is replaced by the decoder.
        let mut child = Command::new("sh")
            .args(["-c", r#"file=$1; shift; exec "$@" 3<"$file""#, "sh"])
            .arg(path("payload"))
            .args(program)
            .args(args)
            .env("OCICRYPT_KEYPROVIDER_CONFIG", path("providers.json"))
            .env_remove("OCICRYPT_CONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no stdout")?;
        let came = Arc::new(Mutex::new(Vec::new()));
        let reader = Some(std::thread::spawn({
            let came = came.clone();
            move || collect(stdout, &came)
        }));
        let mut running = Self { child, stdin, came, reader, sealed: sealed.clone(), fed: 0, dir };
        let asked = running.dir.path().join("asked");
        running.wait_until("the provider was not asked", || asked.exists())?;
        Ok(running)
    }

    /// The process identifier of the decoder.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process identifier of the provider that waits.
    ///
    /// # Errors
    /// When the provider was not asked.
    pub fn provider(&self) -> Result<u32> {
        Ok(fs::read_to_string(self.dir.path().join("asked"))?.trim().parse()?)
    }

    /// Lets the provider answer, and the layer begin: some of it has come out, and the rest is
    /// not there yet.
    ///
    /// # Errors
    /// When there is no output.
    pub fn go_on(&mut self) -> Result<()> {
        self.answer()?;
        let half = self.sealed.encrypted.len() / 2;
        let stdin = self.stdin.as_mut().context("stdin is open")?;
        stdin.write_all(&self.sealed.encrypted[..half])?;
        self.fed = half;
        let came = self.came.clone();
        self.wait_until("nothing came out", || came.lock().is_ok_and(|came| !came.is_empty()))?;
        // All output that is possible has come, and the decoder waits for more input.
        let pid = self.pid();
        self.wait_until("it does not wait for its input", || is_reading(pid))
    }

    /// Lets the provider answer, and nothing more.
    ///
    /// # Errors
    /// Where the answer cannot be written.
    pub fn answer(&self) -> Result<()> {
        Ok(fs::write(self.dir.path().join("go"), "")?)
    }

    /// Sends the rest of the layer, and waits until the output ends.
    ///
    /// # Errors
    /// When the output is not the layer, or the decoder fails nevertheless.
    pub fn finish(&mut self) -> Result<()> {
        self.feed()?;
        self.came_out()?;
        let ended = self.child.wait()?;
        ensure!(ended.success(), "{ended}: {}", self.said());
        Ok(())
    }

    /// Begins to give it the rest of the layer.
    ///
    /// # Errors
    /// When the rest was sent already.
    pub fn feed(&mut self) -> Result<()> {
        let mut stdin = self.stdin.take().context("stdin is open")?;
        let rest = self.sealed.encrypted[self.fed..].to_vec();
        // A decoder that ends early breaks the pipe; its output is what counts.
        std::thread::spawn(move || stdin.write_all(&rest).is_ok());
        Ok(())
    }

    /// Waits until the output ends.
    ///
    /// # Errors
    /// When the output is not the layer.
    pub fn came_out(&mut self) -> Result<()> {
        let reader = self.reader.take().context("it has not ended before")?;
        reader.join().map_err(|_| anyhow!("the reader panicked"))?;
        let whole = self.came.lock().is_ok_and(|came| *came == self.sealed.plain);
        ensure!(whole, "something else came out: {}", self.said());
        Ok(())
    }

    /// The fields of `/proc/PID/status`.
    ///
    /// # Errors
    /// When the process has gone.
    pub fn status(pid: u32) -> Result<BTreeMap<String, String>> {
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Ok(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// Its parent's children: the broker is the decoder's.
    ///
    /// # Errors
    /// When no child has that name.
    pub fn child_of(parent: u32, name: &str) -> Result<u32> {
        for entry in fs::read_dir("/proc")?.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
            let Ok(status) = Self::status(pid) else { continue };
            if status.get("PPid") == Some(&parent.to_string())
                && status.get("Name").is_some_and(|its| name.starts_with(its.as_str()))
            {
                return Ok(pid);
            }
        }
        bail!("{parent} has no child `{name}`")
    }

    /// Where the process keeps what it needs.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// What it says on standard error, after which it is ended.
    pub fn said(&mut self) -> String {
        let mut said = String::new();
        let _ = self.child.kill();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut said);
        }
        said
    }

    fn wait_until(&mut self, otherwise: &str, condition: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !condition() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || started.elapsed() > PATIENCE {
                bail!("{otherwise}: {ended:?} {}", self.said());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = fs::write(self.dir.path().join("go"), "");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end: a decoder must not wait for a reader.
fn collect(mut stdout: ChildStdout, came: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = stdout.read(&mut buffer) {
        if let Ok(mut came) = came.lock() {
            came.extend_from_slice(&buffer[..length]);
        }
    }
}

/// Whether the process sleeps in `read` of descriptor 0 (proc(5), `syscall`).
fn is_reading(pid: u32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.starts_with(&format!("{} 0x0 ", libc::SYS_read))
}
