//! A keys directory that invites to leave it, and a way to see that nobody has changed it.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use tempfile::TempDir;

/// What lies beside the keys, and must not be seen.
pub const OUTSIDE: &str = "what lies outside of the keys";

/// The directory and what surrounds it.
pub struct Keys {
    dir: TempDir,
    /// What the key file holds.
    pub key: String,
}

impl Keys {
    /// A key, another in a directory, links that lead out, and what they lead to.
    ///
    /// # Errors
    /// Where the temporary directory cannot be written.
    pub fn new() -> Result<Self> {
        let keys = Self { dir: TempDir::with_prefix("keycell-hostile-")?, key: pem() };
        let (root, path) = (keys.dir.path().canonicalize()?, keys.path());
        for directory in ["outside", "keys/sub", "keys/empty", "keys/links"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::write(root.join("outside/secret"), OUTSIDE)?;
        fs::write(path.join("key.pem"), &keys.key)?;
        fs::write(path.join("sub/nested.pem"), &keys.key)?;
        let outside = root.join("outside/secret");
        let links: [(&str, &Path); 9] = [
            ("relative", "../../outside/secret".as_ref()),
            ("absolute", &outside),
            ("directory", "../../outside".as_ref()),
            ("twice", "relative".as_ref()),
            ("proc", "/proc/self".as_ref()),
            // Behind a slash the last link is followed, whatever the flags say.
            ("slash", "../../outside/".as_ref()),
            ("chain", "directory/".as_ref()),
            ("chain-of-chains", "chain/".as_ref()),
            ("proc-slash", "proc/".as_ref()),
        ];
        for (name, target) in links {
            symlink(target, path.join("links").join(name))?;
        }
        Ok(keys)
    }

    /// What is granted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    /// A file beside it for the decoder's log.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Adds what is neither a file nor a directory: a pipe that nobody writes to, a link to it, a socket
    /// and a device.
    ///
    /// # Errors
    /// Without `mkfifo` or `mknod`.
    pub fn add_special(&self) -> Result<()> {
        let made = Command::new("mkfifo").arg(self.path().join("pipe")).status()?;
        ensure!(made.success(), "mkfifo: {made}");
        // As `/dev/zero`. Only root makes it; to others it is missing, which is refused as well.
        let device = self.path().join("device");
        Command::new("mknod").arg(device).args(["c", "1", "5"]).stderr(Stdio::null()).status()?;
        symlink("pipe", self.path().join("link-to-pipe"))?;
        UnixListener::bind(self.path().join("socket"))?;
        Ok(())
    }

    /// Takes a lease on the key file: whoever opens it waits until it is given up, which it is when
    /// what this returns is dropped, or after 45 seconds.
    ///
    /// # Errors
    /// Where the system refuses it.
    #[expect(unsafe_code, reason = "there is no safe way to take a lease")]
    pub fn lease(&self) -> Result<fs::File> {
        let file = fs::File::options().write(true).open(self.path().join("key.pem"))?;
        // SAFETY: plain numbers. The kernel asks for the lease by this signal, which would end the
        // process.
        let taken = unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
            libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
        };
        ensure!(taken == 0, "no lease: {}", std::io::Error::last_os_error());
        Ok(file)
    }

    /// All that is there, with its contents, rights and times.
    ///
    /// # Errors
    /// Where something cannot be read.
    pub fn state(&self) -> Result<BTreeMap<PathBuf, String>> {
        let mut state = BTreeMap::new();
        for part in ["keys", "outside"] {
            walk(&self.dir.path().join(part), &mut state)?;
        }
        Ok(state)
    }
}

fn walk(path: &Path, state: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let found = fs::symlink_metadata(path)?;
    let mut text = format!(
        "{:o} {} {}.{:09} links {}",
        found.mode(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
        found.nlink()
    );
    if found.is_symlink() {
        text += &format!(" to {:?}", fs::read_link(path)?);
    } else if found.is_file() {
        text += &format!(" {:?}", fs::read(path)?);
    } else if found.is_dir() {
        for entry in fs::read_dir(path)? {
            walk(&entry?.path(), state)?;
        }
    }
    state.insert(path.to_owned(), text);
    Ok(())
}

/// What a key looks like: as long as one of RSA-2048, and always the same, so that no run depends
/// on which characters it happens to have.
fn pem() -> String {
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        char::from(BASE64[(state >> 58) as usize])
    };
    let mut text = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for _ in 0..26 {
        text.extend((0..64).map(|_| next()));
        text.push('\n');
    }
    // The last line of a key is short.
    text.extend((0..22).map(|_| next()));
    text + "==\n-----END PRIVATE KEY-----\n"
}
