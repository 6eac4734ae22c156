//! Hints for what `keycell doctor` finds about keys in a TPM.

use std::fmt;

/// What is wrong with a TPM, or with the files that its module needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TpmHint {
    /// There is no device.
    Absent,
    /// The decoder's user may not open the device, or a file.
    Closed {
        /// The command that gives the user the right.
        command: String,
        /// Whether containerd has to be started again before it has the right.
        restart: bool,
    },
    /// The TPM does not answer.
    Silent,
    /// The TPM has counted wrong PINs.
    WrongPins {
        /// The command that makes it forget them.
        command: &'static str,
    },
    /// The key file does not name the store.
    NameStore,
    /// The store does not exist.
    MakeStore {
        /// The directory.
        store: String,
    },
    /// `module-files` does not list what the module needs.
    ListFiles {
        /// The value with everything that the module needs.
        files: Vec<String>,
    },
    /// `module-files` is not set.
    Confine {
        /// What the module needs.
        files: Vec<String>,
    },
}

impl fmt::Display for TpmHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str(ABSENT),
            Self::Closed { command, restart: false } => write!(f, "`{command}`"),
            Self::Closed { command, restart: true } => {
                write!(f, "`{command}`, and restart containerd")
            }
            Self::Silent => f.write_str(SILENT),
            Self::WrongPins { command } => {
                write!(f, "correct the PIN first where it is wrong; {command} makes it forget them")
            }
            Self::NameStore => f.write_str(NAME_STORE),
            Self::MakeStore { store } => write!(
                f,
                "correct `TPM2_PKCS11_STORE`, or make the store and a key in it: `tpm2_ptool init \
                 --path {store}`, and on as docs/tpm.md shows"
            ),
            Self::ListFiles { files } => {
                write!(
                    f,
                    "write `module-files: [{}]`, and what other modules need",
                    files.join(", ")
                )
            }
            Self::Confine { files } => {
                write!(
                    f,
                    "`module-files: [{}]` below `pkcs11` leaves it these alone",
                    files.join(", ")
                )
            }
        }
    }
}

const ABSENT: &str = "switch the TPM on in the machine's firmware, or give the virtual machine one; \
    `TPM2_PKCS11_TCTI` in `module.env` of the key file names another device: `device:/dev/tpmrm1`";
const SILENT: &str =
    "`tpm2_getcap properties-variable` asks it too: if that fails as well, restart the machine";
const NAME_STORE: &str = "add `TPM2_PKCS11_STORE`, the directory that `tpm2_ptool` was given with `--path`, to \
    `module.env` of the key file";
