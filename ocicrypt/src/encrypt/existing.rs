//! The recipients that an encrypted layer has, and how some of them are removed.
//!
//! Removing a recipient cuts its wrapped key out of the messages; nothing is wrapped anew. It revokes
//! nothing: who had the layer key, or has an older manifest, can still decrypt the layer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::recipient::{Kind, Recipient};
use crate::encoding::base64;
use crate::format::annotation::{self, KEYS_PREFIX, Scheme, WrappedKeys};
use crate::pgp::PgpSelector;
use crate::{jwe, pgp, pkcs7, pkcs11};

/// A recipient of an encrypted layer. The text has the scheme and what the message tells about it, for
/// example `jwe: RSA-2048 (RSA-OAEP)`.
#[derive(Clone)]
pub struct ExistingRecipient {
    scheme: Scheme,
    /// The position of the wrapped key in its annotation, counted from 1.
    item: usize,
    /// The position in the message.
    position: usize,
    text: String,
    identity: Identity,
}

/// What a message tells about a recipient.
#[derive(Clone)]
enum Identity {
    /// Nothing that names a key.
    None,
    /// The `kid` of a JWE.
    Kid(String),
    /// The certificate of a CMS message.
    Certificate(pkcs7::Name),
    /// The key ID or the fingerprint of an OpenPGP key.
    PgpKey(Vec<u8>),
}

/// Selects recipients of an encrypted layer.
#[derive(Clone)]
#[non_exhaustive]
pub enum ExistingSelector {
    /// The owner of this public key or certificate, as far as the message names it.
    Recipient(Recipient),
    /// The OpenPGP key with this key ID or fingerprint.
    PgpKey(Vec<u8>),
    /// This key provider.
    Provider(String),
}

impl ExistingSelector {
    /// The key ID or the fingerprint of an OpenPGP key. None for a name, for which a key ring is needed.
    pub fn pgp(selector: &PgpSelector) -> Option<Self> {
        match selector {
            PgpSelector::Fingerprint(fingerprint) => Some(Self::PgpKey(fingerprint.clone())),
            PgpSelector::KeyId(id) => Some(Self::PgpKey(id.to_vec())),
            PgpSelector::Name(_) => None,
        }
    }
}

impl ExistingRecipient {
    /// All recipients among the annotations of a layer that can be told apart. Wrapped keys that are
    /// malformed have none.
    pub fn all(annotations: &BTreeMap<String, String>) -> Vec<Self> {
        let mut all = Vec::new();
        for keys in annotation::wrapped_keys(annotations) {
            for (item, bytes) in &keys.items {
                let found = found(&keys.scheme, bytes).into_iter().enumerate();
                all.extend(found.map(|(position, (text, identity))| Self {
                    scheme: keys.scheme.clone(),
                    item: *item,
                    position,
                    text,
                    identity,
                }));
            }
        }
        all
    }

    /// Whether `selector` selects this recipient.
    pub fn is(&self, selector: &ExistingSelector) -> bool {
        match (selector, &self.identity) {
            (ExistingSelector::Provider(name), _) => {
                matches!(&self.scheme, Scheme::Provider(own) if own == name)
            }
            (ExistingSelector::PgpKey(wanted), Identity::PgpKey(own)) => is_same_key(own, wanted),
            (ExistingSelector::Recipient(recipient), identity) => match (&recipient.0, identity) {
                (Kind::Jwe(recipient), Identity::Kid(kid)) => recipient.is_named(kid),
                (Kind::Pkcs7(recipient), Identity::Certificate(name)) => recipient.is_named(name),
                (Kind::Pgp(recipient), Identity::PgpKey(own)) => {
                    is_same_key(own, recipient.fingerprint().as_bytes())
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// The annotations of a layer that has no other recipient than this one. With them, a private key
    /// shows whether the recipient is its owner.
    pub fn alone(&self, annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut alone = annotations.clone();
        alone.retain(|name, _| !name.starts_with(KEYS_PREFIX));
        let keys = WrappedKeys::of(annotations, &self.scheme);
        if let Some((_, bytes)) = keys.items.iter().find(|(item, _)| *item == self.item) {
            let count = found(&self.scheme, bytes).len();
            let others = (0..count).filter(|position| *position != self.position).collect();
            if let Some(bytes) = without(&self.scheme, bytes, &others) {
                annotation::append(&mut alone, &self.scheme, &bytes);
            }
        }
        alone
    }
}

impl fmt::Display for ExistingRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.scheme, self.text)
    }
}

/// The annotations of a layer without these recipients, which must be some of
/// [`ExistingRecipient::all`] for the same annotations. The layer stays as it is, and so do all other
/// wrapped keys, byte for byte if nothing is cut out of their message.
///
/// # Errors
/// [`RemoveError`].
pub fn remove_recipients(
    annotations: &BTreeMap<String, String>,
    recipients: &[&ExistingRecipient],
) -> Result<BTreeMap<String, String>, RemoveError> {
    let mut cuts: BTreeMap<(&Scheme, usize), BTreeSet<usize>> = BTreeMap::new();
    for recipient in recipients {
        let message = (&recipient.scheme, recipient.item);
        cuts.entry(message).or_default().insert(recipient.position);
    }
    let count: usize = cuts.values().map(BTreeSet::len).sum();
    if count == ExistingRecipient::all(annotations).len() {
        return Err(RemoveError::Last);
    }
    let mut remaining = annotations.clone();
    for ((scheme, item), positions) in cuts {
        let keys = WrappedKeys::of(annotations, scheme);
        let bytes = keys.items.iter().find(|(number, _)| *number == item).map(|(_, bytes)| bytes);
        let bytes = bytes.ok_or(RemoveError::OtherLayer)?;
        let is_whole = found(scheme, bytes).len() == positions.len();
        let rest = if is_whole {
            None
        } else {
            Some(without(scheme, bytes, &positions).ok_or(RemoveError::OtherLayer)?)
        };
        let list = remaining.get_mut(&scheme.annotation()).ok_or(RemoveError::OtherLayer)?;
        // An item that is removed becomes empty first, so that the others keep their positions.
        let items = (1..).zip(list.split(',')).map(|(number, text)| match &rest {
            _ if number != item => text.to_owned(),
            Some(rest) => base64::encode(rest),
            None => String::new(),
        });
        *list = items.collect::<Vec<_>>().join(",");
    }
    remaining.retain(|name, list| {
        let is_list = Scheme::of_annotation(name).is_some();
        if is_list {
            let items: Vec<_> = list.split(',').filter(|item| !item.is_empty()).collect();
            *list = items.join(",");
        }
        !(is_list && list.is_empty())
    });
    Ok(remaining)
}

/// Why recipients are not removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// Nobody could decrypt the layer any more.
    #[error("the last recipient cannot be removed: nobody could decrypt the layer any more")]
    Last,
    /// The recipients are those of another layer.
    #[error("the recipients are those of another layer")]
    OtherLayer,
}

/// The recipients of a wrapped key, each with its text.
fn found(scheme: &Scheme, bytes: &[u8]) -> Vec<(String, Identity)> {
    match scheme {
        Scheme::Jwe => identified(jwe::existing(bytes), Identity::Kid),
        Scheme::Pkcs7 => identified(pkcs7::existing(bytes), Identity::Certificate),
        Scheme::Pgp => identified(pgp::existing(bytes), Identity::PgpKey),
        Scheme::Pkcs11 => {
            pkcs11::existing(bytes).into_iter().map(|text| (text, Identity::None)).collect()
        }
        Scheme::Provider(_) => {
            vec![("whoever may use the key provider".to_owned(), Identity::None)]
        }
    }
}

fn identified<T>(
    found: Vec<(String, Option<T>)>,
    identity: fn(T) -> Identity,
) -> Vec<(String, Identity)> {
    let found = found.into_iter();
    found.map(|(text, name)| (text, name.map_or(Identity::None, identity))).collect()
}

/// The wrapped key without the recipients at these positions, but with at least one other.
fn without(scheme: &Scheme, bytes: &[u8], positions: &BTreeSet<usize>) -> Option<Vec<u8>> {
    if positions.is_empty() {
        return Some(bytes.to_vec());
    }
    match scheme {
        Scheme::Jwe => jwe::without(bytes, positions),
        Scheme::Pkcs7 => pkcs7::without(bytes, positions),
        Scheme::Pgp => pgp::without(bytes, positions),
        Scheme::Pkcs11 => pkcs11::without(bytes, positions),
        Scheme::Provider(_) => None,
    }
}

/// Whether a key ID or fingerprint names the same key as another one. A key ID is the end of a
/// fingerprint of version 4.
fn is_same_key(own: &[u8], wanted: &[u8]) -> bool {
    const KEY_ID: usize = 8;
    let (short, long) = if own.len() < wanted.len() { (own, wanted) } else { (wanted, own) };
    short == long || short.len() == KEY_ID && long.ends_with(short)
}
