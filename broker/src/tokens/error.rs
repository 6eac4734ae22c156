//! The errors of keys in tokens.

use super::policy::ModuleError;
use super::{pin, process, uri, yaml};

/// Why a key in a token did not do what it was asked for. The text never contains the PIN.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No RSA key makes a blob of this length.
    #[error("{0} bytes are not what RSA encrypts")]
    BlobLength(usize),
    /// The key file names no PIN.
    #[error("there is no PIN: add `pin-value` or `pin-source` to the URI's query")]
    NoPin,
    /// The PIN cannot be read.
    #[error(transparent)]
    Pin(#[from] pin::Error),
    /// The module cannot be loaded.
    #[error(transparent)]
    NoModule(#[from] ModuleError),
    /// The process with the module gave no answer.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The process with the module reports this error.
    #[error("{0}")]
    Module(String),
}

/// Why a key file cannot be used. The text quotes nothing, because a PIN may be anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// It is not YAML of the supported form.
    #[error("the key file {0}")]
    Yaml(yaml::Error),
    /// It names no key.
    #[error("the key file has no `uri` below `pkcs11`")]
    NoUri,
    /// The URI is wrong.
    #[error(transparent)]
    Uri(#[from] uri::Error),
    /// The PIN in the URI, or its `pin-source`, is wrong.
    #[error(transparent)]
    Pin(#[from] pin::Error),
    /// `module` or `env` has another form.
    #[error("`module` or its `env` is not a mapping")]
    Module,
    /// A variable has a value of another form.
    #[error("`env` has a value that is not plain text")]
    VariableValue,
    /// A variable cannot be in an environment.
    #[error("`env` has a variable that cannot be set")]
    Variable,
    /// The dynamic loader would act on the variable.
    #[error("`env` sets `{0}`, which would get past the modules that are allowed: remove it")]
    LoaderVariable(String),
}

/// Why bytes that mention a PKCS#11 key or a PIN are not a key file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoKeyFile {
    /// They are not text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// They are not YAML of the supported form.
    #[error("it {0}")]
    Yaml(yaml::Error),
    /// They are YAML of another form.
    #[error("it has no `pkcs11` at the top of its first YAML document")]
    NoMember,
}
