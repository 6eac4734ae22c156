//! PKCS #11 tokens: devices whose keys never leave them.
//!
//! A [`TokenKey`] is the content of a key file: which key, in which token, through which module, with
//! which PIN. A [`Policy`] says which modules the operator allows. Modules are loaded into a separate
//! process, [`child`](crate::child); a program that uses this module must begin with it.
//!
//! The key files and the policy belong to the operator. Key files that came with a payload do not, and
//! go through [`TokenKey::of_a_stranger`]; wrapped blobs are hostile.

pub(crate) mod child;

mod error;
mod lock;
mod mentions;
mod module;
mod module_error;
mod pin;
mod policy;
mod process;
pub mod tpm;
mod tpm_cause;
mod tpm_fault;
mod uri;
mod wire;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use keycell_broker_protocol::Dropped;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use error::{Error, KeyFileError};
pub use policy::{Policy, PolicyError};
pub use wire::OaepHash;

use crate::{Failure, Refusal};
pub(crate) use error::NoKeyFile;
pub(crate) use mentions::mentions_pin;
pub(crate) use pin::FileIdentity;
use pin::{Pin, PinSource};
use policy::NoModule;
use uri::Uri;
use wire::{Answer, Operation, Question, Selection};
use yaml::Node;

/// The longest wrapped blob, in bytes: that of a modulus of 16384 bits.
const BLOB: usize = 2048;

/// PINs that a token has refused, with the token's reason. They are kept as digests of everything that
/// decides where they are tried. A PIN is tried only once in the life of this process: a layer may have
/// many wrapped keys, and a token locks itself after a few wrong PINs.
static REFUSED: Mutex<Vec<([u8; 32], String)>> = Mutex::new(Vec::new());

/// A private key in a token: a PKCS #11 key file.
///
/// ```yaml
/// pkcs11:
///   uri: pkcs11:token=node;object=images?module-name=softhsm2&pin-source=/etc/keys/pin
/// module:
///   env:
///     SOFTHSM2_CONF: /etc/keys/softhsm2.conf
/// ```
///
/// It cannot be printed, because it may hold a PIN.
pub struct TokenKey {
    uri: Uri,
    pin: Option<PinSource>,
    module_path: Option<Vec<u8>>,
    variables: Vec<(String, Zeroizing<String>)>,
    stranger: bool,
}

impl TokenKey {
    /// Reads a key file. It returns `None` if the bytes are not a key file, and an error if they are
    /// one that cannot be used.
    ///
    /// A key file is YAML of at most 1 MiB with `pkcs11` at the top. Keycell accepts what Go
    /// ctd-decoder accepts, except for aliases and for variables that the dynamic loader reads
    /// (`LD_*`): Go sets them too late to have an effect, but here they would load what the policy
    /// forbids.
    ///
    /// # Errors
    ///
    /// The error does not quote the file, because a PIN may be anywhere in it.
    pub fn parse(bytes: &[u8]) -> Option<Result<Self, KeyFileError>> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.contains("pkcs11"))?;
        Some(match Node::parse(text) {
            Ok(root) => Self::from_node(&root, root.get("pkcs11")?),
            // A file with invalid YAML counts as a key file only if it has the line that a key file
            // must have.
            Err(error) if has_line(text) => Err(KeyFileError::Yaml(error)),
            Err(_) => return None,
        })
    }

    fn from_node(root: &Node, pkcs11: &Node) -> Result<Self, KeyFileError> {
        let uri = pkcs11.get("uri").and_then(Node::text).filter(|uri| !uri.is_empty());
        let uri = Uri::parse(uri.ok_or(KeyFileError::NoUri)?)?;
        let pin = match (uri.query("pin-value"), uri.query("pin-source")) {
            (Some(value), _) => Some(PinSource::Value(Pin::new(value)?)),
            (None, Some(source)) => Some(PinSource::file(source)?),
            (None, None) => None,
        };
        let module = root.get("module").unwrap_or(&Node::Null);
        let variables = match module.get("env") {
            Some(variables) => variables.values(),
            None if module.values().is_some() => Node::Null.values(),
            None => None,
        };
        let variables = variables.ok_or(KeyFileError::Module)?;
        let variables = variables.map(|(name, value)| variable(name, value));
        Ok(Self {
            pin,
            module_path: uri.query("module-path").map(<[u8]>::to_vec),
            variables: variables.collect::<Result<_, _>>()?,
            uri,
            stranger: false,
        })
    }

    /// Why bytes that mention a PKCS#11 key or a PIN are not a key file.
    pub(crate) fn fault(bytes: &[u8]) -> NoKeyFile {
        match std::str::from_utf8(bytes).map(Node::parse) {
            Err(_) => NoKeyFile::NotUtf8,
            Ok(Err(error)) => NoKeyFile::Yaml(error),
            Ok(Ok(_)) => NoKeyFile::NoMember,
        }
    }

    /// The PIN, to recognise it in other files. None if there is none, or an empty one.
    pub(crate) fn known_pin(&self) -> Option<KnownPin> {
        let source = self.pin.as_ref()?;
        let pin = source.read().ok().filter(|pin| !pin.expose().trim_ascii().is_empty());
        Some(KnownPin { shown: self.shown(), file: source.file_identity(), pin })
    }

    /// The value of a variable that the key file sets for the module. It may be a secret.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The file that `pin-source` names.
    pub fn pin_file(&self) -> Option<&Path> {
        match &self.pin {
            Some(PinSource::File(path)) => Some(path),
            Some(PinSource::Value(_)) | None => None,
        }
    }

    /// The URI with only its path attributes (RFC 7512, section 2.3), cut to 200 characters. It
    /// contains no secret, and may be part of a message or be passed to a guest. The module, the PIN
    /// and the place of the PIN are left out.
    pub fn shown(&self) -> String {
        self.uri.shown()
    }

    /// Keeps only what is allowed for a key file that came with a payload, from a client that requests
    /// the image: the URI with `pin-value`, `module-name` and the name of the file in `module-path`.
    ///
    /// It drops `module.env`, because variables make modules read files, load others and write logs;
    /// and `pin-source`, because it makes the node read a file. `module-name` and `module-path` choose
    /// among the modules that the operator allows clients ([`Policy::for_clients_of`]); the client does
    /// not know the directories of this node. If one more wrong PIN would lock a token, the client's PIN
    /// is not tried. Go ctd-decoder accepts all of this.
    pub fn of_a_stranger(self) -> Self {
        let pin = self.pin.filter(|pin| matches!(pin, PinSource::Value(_)));
        Self { pin, variables: Vec::new(), stranger: true, ..self }
    }

    /// What [`TokenKey::of_a_stranger`] drops.
    pub fn dropped_of_a_stranger(&self) -> Vec<Dropped> {
        let parts = [
            (!self.variables.is_empty(), Dropped::Environment),
            (self.uri.query("pin-source").is_some(), Dropped::PinSource),
        ];
        parts.into_iter().filter(|(is_there, _)| *is_there).map(|(_, part)| part).collect()
    }

    /// Decrypts a blob with the private key, by RSA-OAEP with an empty label and the same hash function
    /// for its mask.
    ///
    /// This starts the running program again, see [`child`].
    ///
    /// # Errors
    ///
    /// [`Refusal::NotConfigured`] if the policy allows no module. Otherwise the reason, which never
    /// contains the PIN. For a client's key, only the operator may see the reason. There must be a PIN;
    /// it is empty for a token without login.
    pub fn decrypt(
        &self,
        policy: &Policy,
        hash: OaepHash,
        blob: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        if blob.is_empty() || blob.len() > BLOB {
            return self.fail(Error::BlobLength(blob.len()));
        }
        if self.pin.is_none() {
            return self.fail(Error::NoPin);
        }
        self.perform(policy, Operation::Decrypt(hash, blob.to_vec()))
    }

    /// Returns the module that would be used for the key. It is found and allowed, but not loaded.
    ///
    /// # Errors
    ///
    /// As [`TokenKey::decrypt`], as far as they are known without loading the module.
    pub fn check(&self, policy: &Policy) -> Result<PathBuf, Refusal> {
        let module = self.module(policy)?;
        match &self.pin {
            None => self.fail(Error::NoPin),
            Some(pin) => pin.read().map(|_| module).or_else(|error| self.fail(error.into())),
        }
    }

    /// The module that the key file names, if it is there and allowed.
    pub fn module_in(&self, policy: &Policy) -> Option<PathBuf> {
        self.module(policy).ok()
    }

    /// The public key of the same URI as SubjectPublicKeyInfo in DER (RFC 5280, section 4.1.2.7), for
    /// encryption. A PIN is used if there is one.
    ///
    /// This starts the running program again, see [`child`].
    ///
    /// # Errors
    ///
    /// As [`TokenKey::decrypt`].
    pub fn public_key(&self, policy: &Policy) -> Result<Vec<u8>, Refusal> {
        self.perform(policy, Operation::PublicKey).map(|key| key.to_vec())
    }

    fn perform(
        &self,
        policy: &Policy,
        operation: Operation,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let module = self.module(policy)?;
        let pin = self.pin.as_ref().map(PinSource::read).transpose();
        let pin =
            pin.or_else(|error| self.fail(error.into()))?.filter(|pin| !pin.expose().is_empty());
        let selection = self.selection();
        let trial = pin.as_ref().map(|pin| self.trial(&module, &selection, pin));
        if let Some(why) = trial.as_ref().and_then(refused) {
            return self.fail(Error::Module(why));
        }
        let stranger = self.stranger;
        let files = policy.files();
        let question = Question { operation, module, files, selection, pin, stranger };
        match process::ask(question, &self.variables, policy.timeout()) {
            Ok(Answer::Done(bytes)) => Ok(bytes),
            Ok(Answer::Failed(why) | Answer::Absent(why)) => self.fail(Error::Module(why)),
            Ok(Answer::PinRefused(why)) => {
                if let Some(trial) = trial {
                    refusals().push((trial, why.clone()));
                }
                self.fail(Error::Module(why))
            }
            Err(error) => self.fail(error.into()),
        }
    }

    fn module(&self, policy: &Policy) -> Result<PathBuf, Refusal> {
        let name = self.uri.query("module-name");
        let module = match self.stranger {
            true => policy.client_module(self.module_path.as_deref(), name),
            false => policy.module(self.module_path.as_deref(), name),
        };
        module.or_else(|no| match no {
            NoModule::NotThisOne(error) => self.fail(error.into()),
            NoModule::NoneAllowed => Err(Refusal::NotConfigured),
        })
    }

    fn selection(&self) -> Selection {
        let path = |name| self.uri.path(name).map(<[u8]>::to_vec);
        Selection {
            slot: self.uri.slot(),
            token: path("token"),
            manufacturer: path("manufacturer"),
            model: path("model"),
            serial: path("serial"),
            id: path("id"),
            object: path("object"),
        }
    }

    /// A digest of everything that decides where a PIN is tried, and of the PIN.
    fn trial(&self, module: &Path, selection: &Selection, pin: &Pin) -> [u8; 32] {
        let slot = selection.slot.map(u32::to_be_bytes);
        let mut hash = Sha256::new();
        let mut add = |part: Option<&[u8]>| {
            hash.update(part.map_or(0, |part| part.len() as u64 + 1).to_be_bytes());
            hash.update(part.unwrap_or_default());
        };
        add(Some(module.as_os_str().as_encoded_bytes()));
        add(slot.as_ref().map(|slot| &slot[..]));
        add(selection.token.as_deref());
        add(selection.manufacturer.as_deref());
        add(selection.model.as_deref());
        add(selection.serial.as_deref());
        add(Some(pin.expose()));
        for (name, value) in &self.variables {
            add(Some(name.as_bytes()));
            add(Some(value.as_bytes()));
        }
        hash.finalize().into()
    }

    fn fail<T>(&self, why: Error) -> Result<T, Refusal> {
        Err(Failure::Token { key: self.shown(), why }.into())
    }
}

/// The PIN of a key, to recognise it in other files.
pub(crate) struct KnownPin {
    /// The key, in a form that may be shown.
    pub(crate) shown: String,
    file: Option<FileIdentity>,
    pin: Option<Pin>,
}

impl KnownPin {
    /// Whether a file is the one that `pin-source` names, or contains only the PIN.
    pub(crate) fn is(&self, content: &[u8], identity: FileIdentity) -> bool {
        let same = |pin: &Pin| pin.expose().trim_ascii() == content.trim_ascii();
        self.file == Some(identity) || self.pin.as_ref().is_some_and(same)
    }
}

impl Policy {
    /// The same policy, also for key files of clients. If it does not say which modules they may name
    /// (`client-modules`), they may name the modules of `configured`, the operator's own keys.
    pub fn for_clients_of(self, configured: &[TokenKey]) -> Self {
        self.or_client_modules(|policy| {
            configured.iter().filter_map(|key| key.module(policy).ok()).collect()
        })
    }
}

fn refusals() -> std::sync::MutexGuard<'static, Vec<([u8; 32], String)>> {
    // Entries are only ever added to the list, so it is consistent even after a panic.
    REFUSED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(trial: &[u8; 32]) -> Option<String> {
    refusals().iter().find(|(refused, _)| refused == trial).map(|(_, why)| why.clone())
}

/// Whether a line is `pkcs11:` with only a mapping or a comment after it, which no URI has.
fn has_line(text: &str) -> bool {
    text.lines()
        .filter_map(|line| line.strip_prefix("pkcs11:"))
        .any(|rest| rest.trim().is_empty() || rest.starts_with([' ', '\t']))
}

/// A variable for a module's environment.
fn variable(name: &str, value: &Node) -> Result<(String, Zeroizing<String>), KeyFileError> {
    let value = value.text().ok_or(KeyFileError::VariableValue)?;
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return Err(KeyFileError::Variable);
    }
    if name.starts_with("LD_") || name == "GLIBC_TUNABLES" {
        return Err(KeyFileError::LoaderVariable(printable(name)));
    }
    Ok((name.to_owned(), Zeroizing::new(value.to_owned())))
}

/// How many characters of a path, a label or an error a message shows.
const SHOWN: usize = 200;

pub(crate) fn printable(text: &str) -> String {
    ocicrypt::text::printable_to(text, SHOWN)
}
