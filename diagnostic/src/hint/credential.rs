//! Hints for keys that systemd hands to a unit as credentials.

use std::fmt;

/// The cause of a finding about a credential, whose text says how to solve it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialHint {
    /// The keys path has a specifier or a variable that only systemd expands.
    NotExpanded,
    /// No unit has the name of the directory.
    NoUnit,
    /// The unit has no setting that loads a credential.
    LoadsNothing {
        /// The unit.
        unit: String,
    },
    /// The unit was not started since its settings changed.
    Restart {
        /// The unit.
        unit: String,
    },
    /// There is no file at the place of a sealed credential.
    SealedFileMissing {
        /// The name of the credential.
        name: String,
        /// The file.
        file: String,
    },
    /// The file of a sealed credential holds something else.
    NotSealed {
        /// The name of the credential.
        name: String,
        /// The file.
        file: String,
    },
    /// A credential lies on the disk in clear.
    Seal {
        /// The name of the credential.
        name: String,
        /// The file with the private key.
        file: String,
    },
    /// A credential is written in the unit in clear.
    SealLiteral {
        /// The name of the credential.
        name: String,
    },
    /// A credential is sealed with a key that everybody knows.
    SealAnew {
        /// The name of the credential.
        name: String,
    },
    /// The credentials have no private key.
    NoPrivateKey {
        /// The unit.
        unit: String,
    },
    /// A copy of a sealed key lies on the disk: the file.
    RemoveCopy {
        /// The file, as a word of a shell.
        file: String,
    },
    /// A containerd runs in a mount namespace that does not have the directory.
    NotVisible {
        /// The unit of containerd.
        unit: String,
    },
}

impl fmt::Display for CredentialHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotExpanded => f.write_str(NOT_EXPANDED),
            Self::NoUnit => f.write_str(NO_UNIT),
            Self::LoadsNothing { unit } => write!(
                f,
                "`systemctl edit {unit}` adds a setting: `LoadCredentialEncrypted=node.pem` below \
                 `[Service]`; docs/systemd-credentials.md says how to seal the key"
            ),
            Self::Restart { unit } => {
                write!(f, "`systemctl daemon-reload && systemctl restart {unit}`")
            }
            Self::SealedFileMissing { name, file } => write!(
                f,
                "`systemd-creds encrypt --name={name} KEY {file}` seals the private key in the file KEY"
            ),
            Self::NotSealed { name, file } => write!(
                f,
                "`systemd-creds encrypt --name={name} {file} /etc/credstore.encrypted/{name}` seals it, \
                 and `LoadCredentialEncrypted={name}` loads the result"
            ),
            Self::Seal { name, file } => write!(
                f,
                "`systemd-creds encrypt --name={name} {file} /etc/credstore.encrypted/{name}` seals it; then \
                 put `LoadCredentialEncrypted={name}` in the place of that setting, and `shred -u {file}`"
            ),
            Self::SealLiteral { name } => write!(
                f,
                "`systemd-creds encrypt --name={name} KEY /etc/credstore.encrypted/{name}` seals the private \
                 key in the file KEY; then put `LoadCredentialEncrypted={name}` in the place of that setting"
            ),
            Self::SealAnew { name } => write!(
                f,
                "`systemd-creds encrypt --with-key=host --name={name} KEY FILE` seals the private key in \
                 the file KEY with the host key, `--with-key=tpm2` with the TPM"
            ),
            Self::NoPrivateKey { unit } => write!(
                f,
                "seal the private key of one of the images' recipients, and load it with \
                 `LoadCredentialEncrypted=` in `{unit}`"
            ),
            Self::RemoveCopy { file } => write!(f, "`shred -u {file}`"),
            Self::NotVisible { unit } => write!(
                f,
                "load the credentials in `{unit}` itself, or remove `PrivateMounts=` and other settings from it \
                 that give it a mount namespace"
            ),
        }
    }
}

const NOT_EXPANDED: &str = "containerd expands neither `%d` nor variables: write the path, such as \
    `/run/credentials/containerd.service`";
const NO_UNIT: &str = "name the directory of a unit that loads the keys, such as \
    `/run/credentials/containerd.service`";
