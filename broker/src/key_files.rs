//! Sorts the configured keys: PKCS#11 key files stay in the broker, other keys are for the guest.
//!
//! A file may hold a PIN although it is not a readable key file: it has a byte that is not UTF-8, a
//! brace is missing, or it is an editor's copy. So only what is known to be something else is passed to
//! the guest: keys and certificates in PEM, DER, JWK or OpenPGP form (of those, only the key itself),
//! and the passwords that are next to them. Everything else is passed over, with its reason.

mod material;
mod walk;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use keycell_broker_protocol as protocol;
use keycell_keys_directory::{CapStdFile, PASSWORD_SUFFIXES};
use zeroize::Zeroizing;

use crate::tokens::{KeyFileError, KnownPin, NoKeyFile, TokenKey, mentions_pin, printable};
use material::key_material;
use walk::{MAX_FILES, Seen};

/// The sorted content of a keys directory.
#[derive(Default)]
pub struct Sorted {
    /// The keys in tokens, in the order of their names.
    pub tokens: Vec<TokenKey>,
    /// All entries, in that order.
    pub found: Vec<protocol::Found>,
}

impl Sorted {
    /// Reads `path`, a directory or one file. As in the guest, symbolic links that leave the directory,
    /// and files that cannot be read, are passed over.
    ///
    /// # Errors
    /// `path` itself cannot be read.
    ///
    /// # Ambient Authority
    /// Opens `path` with the rights of this process.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::of(walk::read(path)?))
    }

    /// Sorts the files that were read. All are known at this point, because a PIN's file may come
    /// before the key file that names it.
    fn of(seen: Vec<Seen>) -> Self {
        let mut sorted = Self::default();
        let mut read = Vec::with_capacity(seen.len());
        for seen in seen {
            let found = seen.found.and_then(|file| match TokenKey::parse(&file.content) {
                Some(Ok(token)) => {
                    let shown = token.shown();
                    sorted.tokens.push(token);
                    Ok(Sorting::Token(shown))
                }
                Some(Err(error)) => Err(PassedOver::Damaged(error)),
                None => Ok(Sorting::File(file)),
            });
            read.push((seen.name, found));
        }
        let pins: Vec<_> = sorted.tokens.iter().filter_map(TokenKey::known_pin).collect();
        let mut keys = BTreeSet::new();
        for (name, found) in read {
            let found = match found {
                Ok(Sorting::Token(shown)) => protocol::Found::Token(shown),
                Ok(Sorting::File(file)) => match for_the_guest(&name, file, &pins, &mut keys) {
                    Ok(content) => protocol::Found::File { name, content },
                    Err(why) => protocol::Found::Skipped { name, reason: why.to_string() },
                },
                Err(why) => protocol::Found::Skipped { name, reason: why.to_string() },
            };
            sorted.found.push(found);
        }
        sorted
    }
}

enum Sorting {
    Token(String),
    File(CapStdFile),
}

/// Returns what the guest gets of a file that is not a PKCS#11 key file. `keys` are the names of the
/// keys so far: the name of a password begins with that of its key, so it comes later.
fn for_the_guest(
    name: &str,
    file: CapStdFile,
    pins: &[KnownPin],
    keys: &mut BTreeSet<String>,
) -> Result<Zeroizing<Vec<u8>>, PassedOver> {
    if let Some(pin) = pins.iter().find(|pin| pin.is(&file.content, file.identity)) {
        return Err(PassedOver::Pin(pin.shown.clone()));
    }
    let material = key_material(&file.content);
    if mentions_pin(&file.content) {
        return Err(match material {
            Some(_) => PassedOver::BesideKey,
            None => PassedOver::AlmostToken(TokenKey::fault(&file.content)),
        });
    }
    if let Some(material) = material {
        keys.insert(name.to_owned());
        return Ok(material);
    }
    let owner = PASSWORD_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    match owner {
        Some(owner) if keys.contains(owner) => Ok(file.content),
        Some(owner) => Err(PassedOver::PasswordAlone(owner.to_owned())),
        None => Err(PassedOver::NoKey),
    }
}

/// Why a file is not passed to the guest. The reason is for the operator; the guest does not get it.
#[derive(Debug, thiserror::Error)]
enum PassedOver {
    #[error("{0}")]
    Damaged(KeyFileError),
    #[error(
        "it mentions a PKCS#11 key or a PIN but is no key file, because {0}: correct it, or remove \
         it from the keys directory"
    )]
    AlmostToken(NoKeyFile),
    #[error(
        "it holds a key but also mentions a PKCS#11 key or a PIN: remove everything but the key \
         from it"
    )]
    BesideKey,
    #[error("it holds the PIN of `{0}`")]
    Pin(String),
    #[error("the password of `{}`, and no such key is handed over", printable(.0))]
    PasswordAlone(String),
    #[error(
        "not a key in PEM, DER, JWK or OpenPGP form: where PKCS#11 modules are allowed, nothing else \
         is handed over, because it may hold a PIN"
    )]
    NoKey,
    #[error("the files are larger than {} MiB together", MAX_FILES >> 20)]
    TooMuch,
    #[error(transparent)]
    Walk(#[from] keycell_keys_directory::PassedOver),
}
