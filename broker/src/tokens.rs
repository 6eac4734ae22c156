//! PKCS #11 tokens: keys that never leave a device.
//!
//! A [`TokenKey`] is what a key file says: which key, in which token, behind which module, with
//! which PIN. A [`Policy`] is what the operator allows to be loaded. Modules are loaded into a
//! process of their own, which [`child`](crate::child) is; a program that uses this module must begin with it.
//!
//! The key files and the policy are the operator's. Key files that came with a payload are not, and
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
mod uri;
mod wire;
mod yaml;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

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

/// Bytes of a wrapped blob at most: a modulus of 16384 bits.
const BLOB: usize = 2048;

/// PINs that a token has refused, as digests of everything that decides where they are tried, with
/// what the token said. A PIN is tried once in the life of this process: a layer may have many
/// wrapped keys, and a token locks itself after a few wrong PINs.
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
    /// Reads a key file. `None`: the bytes are none, whatever else they are. An error: they are
    /// one, but of no use.
    ///
    /// A key file is YAML, at most 1 MiB, with `pkcs11` at the top. What Go ctd-decoder takes,
    /// Keycell takes, but for aliases, and for variables that the dynamic loader reads (`LD_*`): Go
    /// sets them too late to have an effect, here they would load what the policy forbids.
    ///
    /// # Errors
    ///
    /// Says what is wrong without quoting it: a PIN may stand anywhere.
    pub fn parse(bytes: &[u8]) -> Option<Result<Self, KeyFileError>> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.contains("pkcs11"))?;
        Some(match Node::parse(text) {
            Ok(root) => Self::from_node(&root, root.get("pkcs11")?),
            // It cannot be told from other files, but for the line that it must have.
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

    /// Why bytes that mention a PKCS#11 key or a PIN are no key file.
    pub(crate) fn fault(bytes: &[u8]) -> NoKeyFile {
        match std::str::from_utf8(bytes).map(Node::parse) {
            Err(_) => NoKeyFile::NotUtf8,
            Ok(Err(error)) => NoKeyFile::Yaml(error),
            Ok(Ok(_)) => NoKeyFile::NoMember,
        }
    }

    /// Its PIN, to be recognised in other files. None where there is none, or an empty one.
    pub(crate) fn known_pin(&self) -> Option<KnownPin> {
        let source = self.pin.as_ref()?;
        let pin = source.read().ok().filter(|pin| !pin.expose().trim_ascii().is_empty());
        Some(KnownPin { shown: self.shown(), file: source.file_identity(), pin })
    }

    /// The URI with its path attributes alone (RFC 7512, section 2.3), at most 200 characters:
    /// nothing in it is secret, and nothing in it is unfit for a message or a guest. That leaves out
    /// the module, the PIN and where the PIN is.
    pub fn shown(&self) -> String {
        self.uri.shown()
    }

    /// What remains of a key file that came with a payload, from whoever asks for the image: the
    /// URI with `pin-value` and `module-name`.
    ///
    /// Without `module.env`, because variables make modules read files, load others and write logs;
    /// without `pin-source`, because it makes the node read a file; without `module-path`, because the
    /// operator says which modules a stranger may use ([`Policy::for_clients_of`]). And where one more
    /// wrong PIN would lock a token, the stranger's is not tried. Go ctd-decoder takes all of it.
    pub fn of_a_stranger(self) -> Self {
        let pin = self.pin.filter(|pin| matches!(pin, PinSource::Value(_)));
        Self { pin, module_path: None, variables: Vec::new(), stranger: true, ..self }
    }

    /// Opens a blob with the private key, by RSA-OAEP with an empty label and the same hash function
    /// for its mask.
    ///
    /// Starts the program that calls it again, see [`child`].
    ///
    /// # Errors
    ///
    /// [`Refusal::NotConfigured`] when the policy allows no module at all. Otherwise the reason, which
    /// never has the PIN in it. Of a stranger's key it is for the operator alone. There must be a PIN,
    /// an empty one for a token without login.
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

    /// The module that the key would be asked through, found and allowed, but not loaded.
    ///
    /// # Errors
    ///
    /// As [`TokenKey::decrypt`], as far as that shows without the module.
    pub fn check(&self, policy: &Policy) -> Result<PathBuf, Refusal> {
        let module = self.module(policy)?;
        match &self.pin {
            None => self.fail(Error::NoPin),
            Some(pin) => pin.read().map(|_| module).or_else(|error| self.fail(error.into())),
        }
    }

    /// The public key of the same URI as SubjectPublicKeyInfo in DER (RFC 5280, section 4.1.2.7), to
    /// encrypt for it. A PIN is used when there is one.
    ///
    /// Starts the program that calls it again, see [`child`].
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
            true => policy.client_module(name),
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

    /// What decides where a PIN is tried, and the PIN.
    fn trial(&self, module: &std::path::Path, selection: &Selection, pin: &Pin) -> [u8; 32] {
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

/// The PIN of a key, to be recognised in other files.
pub(crate) struct KnownPin {
    /// The key, as it may be shown.
    pub(crate) shown: String,
    file: Option<FileIdentity>,
    pin: Option<Pin>,
}

impl KnownPin {
    /// Whether a file is the one that `pin-source` names, or holds the PIN and nothing else.
    pub(crate) fn is(&self, content: &[u8], identity: FileIdentity) -> bool {
        let same = |pin: &Pin| pin.expose().trim_ascii() == content.trim_ascii();
        self.file == Some(identity) || self.pin.as_ref().is_some_and(same)
    }
}

impl Policy {
    /// The same policy for key files of clients too: where it does not say which modules they may
    /// name (`client-modules`), they may name those that `configured`, the operator's own, lead to.
    pub fn for_clients_of(self, configured: &[TokenKey]) -> Self {
        self.or_client_modules(|policy| {
            configured.iter().filter_map(|key| key.module(policy).ok()).collect()
        })
    }
}

fn refusals() -> std::sync::MutexGuard<'static, Vec<([u8; 32], String)>> {
    // A list that is only ever added to is whole, whoever panicked.
    REFUSED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(trial: &[u8; 32]) -> Option<String> {
    refusals().iter().find(|(refused, _)| refused == trial).map(|(_, why)| why.clone())
}

/// Whether a line is `pkcs11:` with nothing but a mapping or a comment after it, as no URI is.
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

/// Characters of a path, a label or an error that a message shows.
const SHOWN: usize = 200;

pub(crate) fn printable(text: &str) -> String {
    ocicrypt::text::printable_to(text, SHOWN)
}
