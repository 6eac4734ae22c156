//! The annotations of an encrypted layer: wrapped keys by scheme, and the public options.

use std::collections::BTreeMap;
use std::fmt;

use crate::encoding::base64;
use crate::encoding::text::printable;

/// The annotation that holds the public options, in base64.
pub const PUBLIC_OPTIONS: &str = "org.opencontainers.image.enc.pubopts";

/// The prefix of the names of all annotations with wrapped keys.
pub const KEYS_PREFIX: &str = "org.opencontainers.image.enc.keys.";

/// A way to wrap the key of a layer. Schemes are tried in the order of the variants: cheap and local
/// ones first.
///
/// Go ctd-decoder tries them in random order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// JSON Web Encryption (RFC 7516).
    Jwe,
    /// Cryptographic Message Syntax (RFC 5652), with X.509 certificates.
    Pkcs7,
    /// OpenPGP (RFC 9580).
    Pgp,
    /// A key in a PKCS#11 token.
    Pkcs11,
    /// A key provider: a program or service that the operator has named.
    Provider(String),
}

impl Scheme {
    /// The scheme that the annotation `name` belongs to. None for other annotations.
    pub fn of_annotation(name: &str) -> Option<Self> {
        match name.strip_prefix(KEYS_PREFIX)? {
            "jwe" => Some(Self::Jwe),
            "pkcs7" => Some(Self::Pkcs7),
            "pgp" => Some(Self::Pgp),
            "pkcs11" => Some(Self::Pkcs11),
            other => {
                let provider = other.strip_prefix("provider.").filter(|name| !name.is_empty());
                provider.map(|name| Self::Provider(name.to_owned()))
            }
        }
    }
}

#[cfg(feature = "encrypt")]
impl Scheme {
    /// The name of the annotation that holds the wrapped keys of the scheme.
    pub fn annotation(&self) -> String {
        match self {
            Self::Jwe => format!("{KEYS_PREFIX}jwe"),
            Self::Pkcs7 => format!("{KEYS_PREFIX}pkcs7"),
            Self::Pgp => format!("{KEYS_PREFIX}pgp"),
            Self::Pkcs11 => format!("{KEYS_PREFIX}pkcs11"),
            Self::Provider(name) => format!("{KEYS_PREFIX}provider.{name}"),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwe => f.write_str("jwe"),
            Self::Pkcs7 => f.write_str("pkcs7"),
            Self::Pgp => f.write_str("pgp"),
            Self::Pkcs11 => f.write_str("pkcs11"),
            Self::Provider(name) => write!(f, "provider.{}", printable(name)),
        }
    }
}

/// The wrapped keys of one scheme that could be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKeys {
    /// How they are wrapped.
    pub scheme: Scheme,
    /// The items in their order, each with its position in the list, counted from 1.
    pub items: Vec<(usize, Vec<u8>)>,
    /// The positions of items that are not base64.
    pub not_base64: Vec<usize>,
}

impl WrappedKeys {
    /// Splits the value of an annotation at its commas and decodes each item. Empty items are ignored.
    ///
    /// Go ctd-decoder abandons a scheme at the first item that is not base64; Keycell skips the item.
    pub fn parse(scheme: Scheme, value: &str) -> Self {
        let mut keys = Self { scheme, items: Vec::new(), not_base64: Vec::new() };
        for (index, item) in value.split(',').enumerate() {
            match base64::standard(item.as_bytes()) {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => keys.items.push((index + 1, bytes.to_vec())),
                None => keys.not_base64.push(index + 1),
            }
        }
        keys
    }

    /// The wrapped keys of this scheme among the annotations of a layer.
    #[cfg(feature = "encrypt")]
    pub(crate) fn of(annotations: &BTreeMap<String, String>, scheme: &Scheme) -> Self {
        let value = annotations.get(&scheme.annotation()).map(String::as_str).unwrap_or_default();
        Self::parse(scheme.clone(), value)
    }

    /// How many wrapped keys there are, whether they are well-formed or not.
    pub fn len(&self) -> usize {
        self.items.len() + self.not_base64.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All wrapped keys among the annotations of a layer, in the order in which to try the schemes.
pub fn wrapped_keys(annotations: &BTreeMap<String, String>) -> Vec<WrappedKeys> {
    let mut found: Vec<_> = annotations
        .iter()
        .filter_map(|(name, value)| Some(WrappedKeys::parse(Scheme::of_annotation(name)?, value)))
        .filter(|keys| !keys.is_empty())
        .collect();
    found.sort_by(|a, b| a.scheme.cmp(&b.scheme));
    found
}

/// Adds a wrapped key to the end of the list of its scheme.
#[cfg(feature = "encrypt")]
pub(crate) fn append(annotations: &mut BTreeMap<String, String>, scheme: &Scheme, wrapped: &[u8]) {
    let list = annotations.entry(scheme.annotation()).or_default();
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(&base64::encode(wrapped));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_place_in_the_list() {
        let keys = WrappedKeys::parse(Scheme::Jwe, ",aGk=,%%%,,\r\naG8=");
        assert_eq!(keys.items, [(2, b"hi".to_vec()), (5, b"ho".to_vec())]);
        assert_eq!(keys.not_base64, [3]);
        assert_eq!(keys.len(), 3);
        assert!(WrappedKeys::parse(Scheme::Jwe, ",,\n,").is_empty());
    }

    #[test]
    fn schemes_come_in_a_fixed_order() {
        let names =
            ["provider.b", "provider.a", "pkcs11", "pgp", "pkcs7", "jwe", "other", "provider."];
        let annotations: BTreeMap<_, _> =
            names.map(|name| (format!("{KEYS_PREFIX}{name}"), "aGk=".to_owned())).into();
        let schemes = wrapped_keys(&annotations).into_iter().map(|keys| keys.scheme.to_string());
        let wanted = ["jwe", "pkcs7", "pgp", "pkcs11", "provider.a", "provider.b"];
        assert_eq!(schemes.collect::<Vec<_>>(), wanted);
    }
}
