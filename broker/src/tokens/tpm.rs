//! What a TPM 2.0 says of itself.
//!
//! The module of the project tpm2-pkcs11 reports nearly every fault as `CKR_GENERAL_ERROR`, and no token of
//! it ever says how many tries its PIN has left: the TPM counts wrong PINs, for everything that it protects
//! together (TPM 2.0 Library, part 1, "Dictionary Attack Protection"). So the broker asks the TPM, through
//! the device that the module uses.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::fs::OFlags;

use super::printable;

/// The variable that says how the module reaches the TPM, in the words of tpm2-tss.
pub const TCTI: &str = "TPM2_PKCS11_TCTI";

/// The variable that names the directory with the tokens.
pub const STORE: &str = "TPM2_PKCS11_STORE";

/// The file in that directory.
pub const DATABASE: &str = "tpm2_pkcs11.sqlite3";

/// The directory that the module uses if [`STORE`] is not set.
pub const DEFAULT_STORE: &str = "/etc/tpm2_pkcs11";

/// The beginning of the name of the module's file.
const MODULE: &str = "libtpm2_pkcs11.";

/// The devices of a TPM, in the order in which tpm2-tss looks for them. The first one lets several programs
/// use the TPM at the same time.
const DEVICES: [&str; 2] = ["/dev/tpmrm0", "/dev/tpm0"];

/// How long a TPM may take to answer. It has nothing to compute.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer of a TPM, in bytes.
const LONGEST: usize = 4096;

/// The length of the header of commands and answers: a tag, the length of the whole, a code.
const HEADER: usize = 10;

// Properties of a TPM (TPM 2.0 Library, part 2, `TPM_PT`).
const PERMANENT: u32 = 0x200;
const FREE_OBJECTS: u32 = 0x207;
const LOCKOUT_COUNTER: u32 = 0x20e;
const MAX_AUTH_FAIL: u32 = 0x20f;
const LOCKOUT_INTERVAL: u32 = 0x210;

// Bits of `PERMANENT` (`TPMA_PERMANENT`).
const LOCKOUT_AUTH_SET: u32 = 1 << 2;
const IN_LOCKOUT: u32 = 1 << 9;

/// `TPM2_GetCapability` without a session: 32 properties from `PERMANENT` on.
const QUESTION: [u8; 22] =
    [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 2, 0, 0, 0, 0, 32];

/// A TPM, by its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpm {
    device: PathBuf,
}

/// What a TPM counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TpmState {
    /// Whether it accepts no PIN at the moment, not even the right one.
    pub is_locked_out: bool,
    /// Whether a password is needed to end that.
    pub is_lockout_protected: bool,
    /// The wrong PINs that it has counted and not yet forgotten, whoever tried them.
    pub wrong: u32,
    /// The number at which it locks itself.
    pub most: u32,
    /// After how many seconds it forgets one wrong PIN.
    pub seconds: u32,
    /// How many more objects it could load.
    pub free_objects: u32,
}

/// Why a TPM says nothing.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// There is no such device.
    #[error(
        "there is no TPM at `{0}`: switch it on in the machine's firmware, or correct `{TCTI}`"
    )]
    Absent(String),
    /// The device cannot be opened.
    #[error("the TPM's device `{device}` cannot be opened: {}", error.kind())]
    NotOpened {
        /// The device.
        device: String,
        /// The system's error.
        error: io::Error,
    },
    /// The device gives no answer, or half of one.
    #[error(
        "the TPM at `{0}` gives no answer: if `tpm2_getcap properties-variable` gets none either, restart \
         the machine"
    )]
    Silent(String),
    /// The TPM refuses to answer.
    #[error(
        "the TPM at `{device}` fails with the code {code:#x}: `tpm2_rc_decode {code:#x}` explains it"
    )]
    Refused {
        /// The device.
        device: String,
        /// The response code (TPM 2.0 Library, part 2, `TPM_RC`).
        code: u32,
    },
}

/// Whether a module, whose file or its link may have another name, is that of tpm2-pkcs11.
pub fn is_tpm_module(module: &Path) -> bool {
    let is_called = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(MODULE)
    };
    is_called(module) || module.canonicalize().is_ok_and(|target| is_called(&target))
}

impl Tpm {
    /// The TPM that the module uses with this value of [`TCTI`]. It returns None if the module reaches the
    /// TPM by other means than a device.
    pub fn of(tcti: Option<&OsStr>) -> Option<Self> {
        let tcti = tcti.map_or("", |tcti| tcti.to_str().unwrap_or(":"));
        let (name, path) = tcti.split_once(':').unwrap_or((tcti, ""));
        let library = name.strip_prefix("libtss2-tcti-").and_then(|name| name.split('.').next());
        if !tcti.is_empty() && library.unwrap_or(name) != "device" {
            return None;
        }
        let usual = || DEVICES.iter().find(|path| Path::new(path).exists()).unwrap_or(&DEVICES[0]);
        let device = if path.is_empty() { usual() } else { path };
        Some(Self { device: device.into() })
    }

    /// Its device.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Asks the TPM. Nothing in it changes.
    ///
    /// # Errors
    /// It cannot be asked, or does not answer within 3 seconds.
    ///
    /// # Ambient Authority
    /// Opens the device.
    pub fn state(&self) -> Result<TpmState, TpmError> {
        let device = || printable(&self.device.to_string_lossy());
        let mut options = File::options();
        options.read(true).write(true).custom_flags(OFlags::NOCTTY.bits() as i32);
        let file = options.open(&self.device).map_err(|error| match error.kind() {
            ErrorKind::NotFound => TpmError::Absent(device()),
            _ => TpmError::NotOpened { device: device(), error },
        })?;
        let (sender, receiver) = channel();
        // A device that hangs would hang this process.
        std::thread::spawn(move || sender.send(converse(file)));
        let answer = receiver.recv_timeout(PATIENCE).ok().and_then(Result::ok);
        let answer = answer.ok_or_else(|| TpmError::Silent(device()))?;
        match code(&answer) {
            Some(0) => state(&answer).ok_or_else(|| TpmError::Silent(device())),
            Some(code) => Err(TpmError::Refused { device: device(), code }),
            None => Err(TpmError::Silent(device())),
        }
    }
}

impl TpmState {
    /// How many wrong PINs it takes until it is locked out.
    pub fn tries_left(&self) -> u32 {
        if self.is_locked_out { 0 } else { self.most.saturating_sub(self.wrong) }
    }

    /// The command that makes the TPM forget all wrong PINs.
    pub fn reset(&self) -> &'static str {
        match self.is_lockout_protected {
            false => "`tpm2_dictionarylockout --clear-lockout`",
            true => {
                "`tpm2_dictionarylockout --clear-lockout --auth PASSWORD`, with the password of the \
                 lockout hierarchy,"
            }
        }
    }
}

fn converse(mut device: File) -> io::Result<Vec<u8>> {
    device.write_all(&QUESTION)?;
    let mut answer = vec![0; LONGEST];
    let mut length = 0;
    let whole = |answer: &[u8]| number(answer, 2).map_or(HEADER, |length| length as usize);
    while length < HEADER || length < whole(&answer).min(LONGEST) {
        match device.read(&mut answer[length..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
    answer.truncate(length);
    Ok(answer)
}

fn code(answer: &[u8]) -> Option<u32> {
    number(answer, 6)
}

/// Reads the properties behind the header, which follow a flag, the kind of capability and their number.
fn state(answer: &[u8]) -> Option<TpmState> {
    let pairs = answer.get(HEADER + 9..)?.chunks_exact(8);
    let pairs: Vec<_> =
        pairs.filter_map(|pair| Some((number(pair, 0)?, number(pair, 4)?))).collect();
    let property = |wanted| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let permanent = property(PERMANENT)?;
    Some(TpmState {
        is_locked_out: permanent & IN_LOCKOUT != 0,
        is_lockout_protected: permanent & LOCKOUT_AUTH_SET != 0,
        wrong: property(LOCKOUT_COUNTER)?,
        most: property(MAX_AUTH_FAIL)?,
        seconds: property(LOCKOUT_INTERVAL)?,
        free_objects: property(FREE_OBJECTS)?,
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(tcti: &str) -> Option<PathBuf> {
        Tpm::of(Some(OsStr::new(tcti))).map(|tpm| tpm.device)
    }

    #[test]
    fn a_device_is_named_as_tpm2_tss_names_it() {
        assert_eq!(device("device:/dev/tpmrm1"), Some("/dev/tpmrm1".into()));
        assert_eq!(device("libtss2-tcti-device.so.0:/dev/tpm0"), Some("/dev/tpm0".into()));
        for tcti in ["", "device", "device:"] {
            let found = device(tcti).expect("a device");
            assert!(found.to_string_lossy().starts_with("/dev/tpm"), "{}", found.display());
        }
        for tcti in ["swtpm:path=/run/tpm", "tabrmd", "tabrmd:bus_type=system", "cmd:nc x", ":"] {
            assert_eq!(device(tcti), None, "{tcti}");
        }
    }

    #[test]
    fn the_state_is_read_from_an_answer() {
        let mut answer = vec![0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 5];
        for (name, value) in [
            (PERMANENT, IN_LOCKOUT | 1),
            (FREE_OBJECTS, 3),
            (LOCKOUT_COUNTER, 32),
            (MAX_AUTH_FAIL, 32),
            (LOCKOUT_INTERVAL, 600),
        ] {
            answer.extend(u32::to_be_bytes(name));
            answer.extend(u32::to_be_bytes(value));
        }
        let found = state(&answer).expect("a state");
        assert!(found.is_locked_out && !found.is_lockout_protected);
        assert_eq!((found.wrong, found.most, found.seconds, found.free_objects), (32, 32, 600, 3));
        assert_eq!(found.tries_left(), 0);
        for length in 0..answer.len() {
            assert_eq!(state(&answer[..length]), None, "{length} bytes");
        }
    }
}
