//! Trial layers: a few bytes that are encrypted here and decrypted by the decoder, which is called as
//! containerd calls it. So doctor does not predict what the decoder would do: it sees what the decoder
//! does.

use std::ffi::OsString;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use base64ct::{Base64, Encoding as _};
use getrandom::SysRng;
use ocicrypt::encrypt::{self, Recipient};
use ocicrypt::keys::PrivateKey;
use ocicrypt::layer::Encryptor;
use ocicrypt::media_type::{ENCRYPTED, TAR};
use ocicrypt::payload;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::waiting::wait;
use keycell_images::digest;

/// How long a decoder may take for a trial layer. A locked key can cost seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most that is read of what a decoder writes, in bytes. It is less than a pipe holds.
const MOST: u64 = 32 * 1024;

/// An encrypted layer and its payload.
pub struct TrialLayer {
    plain: Vec<u8>,
    encrypted: Vec<u8>,
    payload: Vec<u8>,
}

/// What a decoder does with a trial layer.
pub enum Outcome {
    /// The decoder decrypts it.
    Decrypted,
    /// The decoder refuses it, with this message and these hints.
    Refused {
        /// The message.
        message: String,
        /// The hints.
        hints: Vec<String>,
    },
}

/// How a decoder is called.
pub struct Call {
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// Its whole environment.
    pub variables: Vec<(OsString, OsString)>,
}

impl TrialLayer {
    /// A layer for a key of the node. Its payload is that of a pull by Kubernetes.
    ///
    /// # Errors
    /// A key for which no layer can be encrypted.
    pub fn for_key(key: &PrivateKey) -> Result<Self> {
        Self::new(key, &Value::Null)
    }

    /// A layer for a new key that the payload contains, as `ctr-enc` passes keys. A decoder that is well
    /// decrypts it, whatever keys the node has.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn with_its_key() -> Result<Self> {
        let der = new_key()?;
        let key = PrivateKey::parse(&der, None).keys.pop().context("no key was made")?;
        let parameters =
            json!({ "privkeys": [Base64::encode_string(&der)], "privkeys-passwords": [null] });
        Self::new(&key, &parameters)
    }

    fn new(key: &PrivateKey, parameters: &Value) -> Result<Self> {
        // SHA-256, because a decoder may accept modern algorithms only.
        let recipient = Recipient::jwe(&key.public_key_info())?.with_jwe_oaep_sha256();
        let plain = b"a trial layer of keycell doctor\n".to_vec();
        let mut encrypted = plain.clone();
        let mut encryptor = Encryptor::new(&mut SysRng)?;
        encryptor.update(&mut encrypted);
        let annotations = encrypt::annotations(&encryptor.finish(), &[recipient], &mut SysRng)?;
        let value = json!({
            "DecryptConfig": { "Parameters": parameters },
            "Descriptor": {
                "mediaType": format!("{TAR}{ENCRYPTED}"),
                "digest": digest::of(&encrypted),
                "size": encrypted.len(),
                "annotations": annotations,
            },
        });
        let payload = payload::encode(&serde_json::to_vec(&value)?);
        Ok(Self { plain, encrypted, payload })
    }

    /// Has a decoder decrypt the layer.
    ///
    /// # Errors
    /// The decoder cannot be started at all.
    pub fn try_on(&self, call: &Call) -> Result<Outcome> {
        // Both fit into a pipe, so nobody has to write while the decoder reads.
        let (layer, payload) = (filled_pipe(&self.encrypted)?, filled_pipe(&self.payload)?);
        // The shell opens the pipe as descriptor 3, and becomes the decoder.
        let fd = payload.as_raw_fd();
        let script = format!("exec \"$@\" 3</proc/{}/fd/{fd}", std::process::id());
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script, "sh"]).args(&call.words);
        shell.env_clear().envs(call.variables.iter().map(|(name, value)| (name, value)));
        // A group of its own, so that whatever it starts ends with it.
        shell.current_dir("/").process_group(0);
        shell.stdin(layer).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = shell.spawn().context("cannot start `/bin/sh`")?;
        let (status, plain, message) = attend(child)?;
        drop(payload);
        Ok(match status {
            Some(status) if status.success() && plain == self.plain => Outcome::Decrypted,
            status => refusal(status, &String::from_utf8_lossy(&message)),
        })
    }
}

/// A SEC 1 `ECPrivateKey` for P-256 (RFC 5915, section 3) without a public key.
fn new_key() -> Result<Zeroizing<Vec<u8>>> {
    // A sequence of the version, 32 bytes of key, and the curve's object identifier.
    const BEGIN: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    const END: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).context("the system has no randomness")?;
    // Above the order of the curve there are no keys: 1 of 2^32 would be.
    key[0] &= 0x7f;
    Ok(Zeroizing::new([&BEGIN, &key[..], &END].concat()))
}

/// A pipe that holds these bytes and ends after them.
fn filled_pipe(bytes: &[u8]) -> io::Result<PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(bytes)?;
    Ok(reader)
}

/// Waits until the decoder ends, or ends it. Returns its status, unless it was too slow, and what it
/// wrote to standard output and standard error.
fn attend(mut child: Child) -> io::Result<(Option<ExitStatus>, Vec<u8>, Vec<u8>)> {
    let group = Pid::from_child(&child);
    let status = wait(&mut child, PATIENCE)?;
    // This also ends processes that the decoder left behind with open pipes.
    let _ = kill_process_group(group, Signal::KILL);
    child.wait()?;
    let (mut plain, mut message) = (Vec::new(), Vec::new());
    child.stdout.take().map(|it| it.take(MOST).read_to_end(&mut plain)).transpose()?;
    child.stderr.take().map(|it| it.take(MOST).read_to_end(&mut message)).transpose()?;
    Ok((status, plain, message))
}

/// Makes a refusal of how the decoder ended and of what it wrote to standard error.
fn refusal(status: Option<ExitStatus>, text: &str) -> Outcome {
    let lines = || text.lines().map(printable).filter(|line| !line.is_empty());
    let hints = lines().filter_map(|line| Some(line.strip_prefix("hint: ")?.to_owned())).collect();
    let said = lines().find(|line| !line.starts_with("hint: "));
    let said =
        said.map(|line| line.strip_prefix("ctd-decoder: error: ").unwrap_or(&line).to_owned());
    let message = match (status, said) {
        (None, _) => format!("it does not end within {} seconds", PATIENCE.as_secs()),
        (Some(status), Some(said)) if !status.success() => said,
        (Some(status), None) if !status.success() => format!("it says nothing: {status}"),
        (Some(_), _) => "what it writes is not the layer".to_owned(),
    };
    Outcome::Refused { message, hints }
}

/// A line for a terminal.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(1024).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn what_a_decoder_says_is_split_into_message_and_hints() {
        let text = "ctd-decoder: error: no `x`\nhint: do a\nhint: do b\n";
        let Outcome::Refused { message, hints } = refusal(Some(ExitStatus::from_raw(256)), text)
        else {
            panic!()
        };
        assert_eq!((message.as_str(), hints.len()), ("no `x`", 2));
        let silent = refusal(Some(ExitStatus::from_raw(9)), "");
        let Outcome::Refused { message, .. } = silent else { panic!() };
        assert!(message.contains("signal: 9"), "{message}");
        let Outcome::Refused { message, .. } = refusal(Some(ExitStatus::from_raw(0)), "") else {
            panic!()
        };
        assert_eq!(message, "what it writes is not the layer");
    }

    #[test]
    fn a_layer_is_made_for_a_new_key() -> Result<()> {
        let one = TrialLayer::with_its_key()?;
        assert_ne!(one.encrypted, one.plain);
        assert!(
            one.payload.len() < 8 * 1024 && one.encrypted != TrialLayer::with_its_key()?.encrypted
        );
        Ok(())
    }
}
