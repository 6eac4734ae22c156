//! Unwrapping: `ctd-decoder --unwrap`, once for each request.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use base64ct::{Base64, Encoding as _};
use keycell_trusted_path::Trust;
use ocicrypt::payload;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use zeroize::Zeroizing;

use crate::waiting::wait;

use super::error::KeyproviderError;
use super::limits::PATIENCE;
use super::options;

/// The most that is read of what it writes, in bytes. A key of a layer takes 250.
const MOST: u64 = 16 << 10;

/// A layer that is not compressed, so that the decoder keeps the digest that is sealed with its key.
const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+encrypted";

/// How the decoder is called.
pub struct Decoder {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Decoder {
    /// A decoder with the operator's keys and configuration.
    ///
    /// # Errors
    /// This program's own path is not known.
    pub fn new(
        path: Option<PathBuf>,
        keys: Option<PathBuf>,
        config: Option<PathBuf>,
    ) -> Result<Self, KeyproviderError> {
        let beside = || Ok(std::env::current_exe()?.with_file_name("ctd-decoder"));
        let path = path.map_or_else(beside, std::path::absolute);
        let path = path.map_err(KeyproviderError::DecoderNotStarted)?;
        let named = [("--config", config), ("--decryption-keys-path", keys)];
        let named = named.into_iter().filter_map(|(name, path)| Some((name, path?)));
        let mut arguments = vec![OsString::from("--unwrap")];
        arguments.extend(named.flat_map(|(name, path)| [name.into(), path.into_os_string()]));
        Ok(Self { path, arguments })
    }

    /// Checks that nobody else can change the decoder, and that it is of this release.
    ///
    /// # Errors
    /// It is missing, or not what it should be.
    pub fn check(&self) -> Result<(), KeyproviderError> {
        let path = || self.path.clone();
        Trust::of_this_process().open_file(&self.path).map_err(|error| match error {
            keycell_trusted_path::Error::Unreadable { error, .. } => {
                KeyproviderError::NoDecoder { path: path(), error }
            }
            error => KeyproviderError::DecoderUntrusted { path: path(), error },
        })?;
        let mut command = Command::new(&self.path);
        let child = command.arg("--version").env_clear().process_group(0).stdin(Stdio::null());
        let child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let ended = attend(child.map_err(KeyproviderError::DecoderNotStarted)?)?;
        let said = String::from_utf8_lossy(&ended.output).trim().to_owned();
        if said != concat!("ctd-decoder ", env!("CARGO_PKG_VERSION"), " (Keycell)") {
            let found = said.lines().next().map(printable).filter(|line| !line.is_empty());
            let found = found.map_or("unknown".to_owned(), |line| format!("`{line}`"));
            return Err(KeyproviderError::DecoderVersion { path: path(), found });
        }
        Ok(())
    }

    /// Has the decoder unwrap one wrapped key. Returns the private options of a layer.
    ///
    /// # Errors
    /// The decoder refuses, with its own words; or it is missing, of another release, or too slow.
    pub fn unwrap(&self, annotation: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyproviderError> {
        self.check()?;
        let payload = payload_of(annotation)?;
        // The shell opens the file as descriptor 3, and becomes the decoder.
        let path = format!("/proc/{}/fd/{}", std::process::id(), payload.as_raw_fd());
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("exec \"$@\" 3<{path}"), "sh"]);
        shell.arg(&self.path).args(&self.arguments);
        // Neither is the request's: the one names this provider, the other is containerd's layer.
        shell.env_remove("OCICRYPT_KEYPROVIDER_CONFIG").env_remove("STREAM_PROCESSOR_MEDIATYPE");
        shell.process_group(0);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = attend(shell.spawn().map_err(KeyproviderError::DecoderNotStarted)?)?;
        drop(payload);
        if !ended.status.success() {
            return Err(refusal(ended.status, &String::from_utf8_lossy(&ended.message)));
        }
        match options::key_of(&ended.output) {
            Ok(_) => Ok(ended.output),
            Err(_) => Err(KeyproviderError::DecoderAnswer),
        }
    }
}

/// The payload of a layer whose key is wrapped like this. It contains nothing else of the request.
fn payload_of(annotation: &[u8]) -> Result<File, KeyproviderError> {
    let value = json!({
        "DecryptConfig": { "Parameters": null },
        "Descriptor": {
            "mediaType": MEDIA_TYPE,
            "annotations": {
                "org.opencontainers.image.enc.keys.jwe": Base64::encode_string(annotation),
                "org.opencontainers.image.enc.pubopts":
                    Base64::encode_string(options::made_up_public().as_bytes()),
            },
        },
    });
    let bytes = payload::encode(value.to_string().as_bytes());
    let file = memfd_create("payload", MemfdFlags::CLOEXEC).map(File::from);
    let written = file.map_err(io::Error::from).and_then(|mut file| {
        file.write_all(&bytes)?;
        Ok(file)
    });
    written.map_err(KeyproviderError::DecoderNotStarted)
}

/// How a decoder ended.
struct Ended {
    status: ExitStatus,
    output: Zeroizing<Vec<u8>>,
    message: Vec<u8>,
}

/// Waits until the decoder ends, or ends it.
fn attend(mut child: Child) -> Result<Ended, KeyproviderError> {
    let group = Pid::from_child(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // A decoder that writes more than a pipe holds would wait for a reader.
    let output = thread::spawn(move || read(stdout));
    let message = thread::spawn(move || read(stderr));
    let status = wait(&mut child, PATIENCE);
    // This also ends processes that the decoder left behind with open pipes.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
    let output = output.join().unwrap_or_default();
    let message = message.join().unwrap_or_default();
    let status = status.map_err(KeyproviderError::DecoderNotStarted)?;
    let status = status.ok_or(KeyproviderError::Late)?;
    Ok(Ended { status, output, message: message.to_vec() })
}

fn read(pipe: Option<impl io::Read>) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST as usize));
    if let Some(pipe) = pipe {
        let _ = pipe.take(MOST).read_to_end(&mut bytes);
    }
    bytes
}

/// Makes an error of how the decoder ended and of what it wrote to standard error.
fn refusal(status: ExitStatus, text: &str) -> KeyproviderError {
    let lines = || text.lines().map(printable).filter(|line| !line.is_empty());
    let hints = lines().filter_map(|line| Some(line.strip_prefix("hint: ")?.to_owned()));
    let said = lines().find_map(|line| Some(line.strip_prefix("ctd-decoder: error: ")?.to_owned()));
    let message = said.unwrap_or_else(|| format!("the decoder failed without a message: {status}"));
    KeyproviderError::Refused { message, hints: hints.collect() }
}

/// A line for a terminal and for the status of gRPC.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(1024).collect::<String>().trim().to_owned()
}
