//! Writes a JWE in the form that Go writes: the JSON serialization (RFC 7516, section 7.2), flattened
//! for one recipient and general for several.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use rsa::rand_core::TryCryptoRng;
use serde_json::{Map, Value, json};

use super::agreement::{WrapAlgorithm, derive};
use crate::crypto::aes_kw::wrap_aes_key;
use crate::crypto::rng::random;
use crate::encoding::base64::encode_url;
use crate::encoding::text::printable;
use crate::keys::public::{EcPublicKey, NamedPublicKey, PublicKey, RsaPublicKey};
use crate::keys::{Fingerprint, KeyKind, OaepHash, PublicKeyError, WrapError};

/// The content encryption of every JWE that is written.
const ENC: &str = "A256GCM";

/// A public key, and how the content key is wrapped for it.
#[derive(Clone)]
pub(crate) struct JweRecipient {
    way: Way,
    /// The name of the key: its own, or its fingerprint. A decoder with many keys finds the key by it.
    kid: String,
    /// Whether the key names its algorithm.
    is_named: bool,
}

#[derive(Clone)]
enum Way {
    Oaep(RsaPublicKey, OaepHash),
    Agreement(EcPublicKey, WrapAlgorithm),
}

impl Way {
    fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Oaep(key, _) => key.fingerprint(),
            Self::Agreement(key, _) => key.fingerprint(),
        }
    }
}

impl JweRecipient {
    pub(crate) fn new(named: NamedPublicKey) -> Result<Self, PublicKeyError> {
        let way = match (named.key, named.alg.as_deref()) {
            (PublicKey::Rsa(key), None | Some("RSA-OAEP")) => Some(Way::Oaep(key, OaepHash::Sha1)),
            (PublicKey::Rsa(key), Some("RSA-OAEP-256")) => Some(Way::Oaep(key, OaepHash::Sha256)),
            (PublicKey::Rsa(_), Some(_)) => None,
            (PublicKey::Ec(key), None) => Some(Way::Agreement(key, WrapAlgorithm::Aes256)),
            (PublicKey::Ec(key), Some(name)) => {
                WrapAlgorithm::named(name).map(|alg| Way::Agreement(key, alg))
            }
        };
        let is_named = named.alg.is_some();
        let alg = named.alg.unwrap_or_default();
        let way = way.ok_or_else(|| PublicKeyError::Algorithm(printable(&alg)))?;
        let kid = named.kid.unwrap_or_else(|| way.fingerprint().to_string());
        Ok(Self { way, kid, is_named })
    }

    /// The same with this hash for RSAES-OAEP. Keys of other kinds, and those that name their
    /// algorithm, stay unchanged.
    pub(crate) fn with_oaep(self, hash: OaepHash) -> Self {
        let way = match self.way {
            Way::Oaep(key, _) if !self.is_named => Way::Oaep(key, hash),
            way => way,
        };
        Self { way, ..self }
    }

    pub(crate) fn kind(&self) -> KeyKind {
        match &self.way {
            Way::Oaep(key, _) => KeyKind::Rsa { bits: key.bits() },
            Way::Agreement(key, _) => key.kind(),
        }
    }

    /// Whether a `kid` names this key, by its own name or by its fingerprint.
    pub(crate) fn is_named(&self, kid: &str) -> bool {
        self.kid == kid || self.way.fingerprint().is_text(kid)
    }

    /// The hash of RSAES-OAEP, if it is used.
    pub(crate) fn oaep(&self) -> Option<OaepHash> {
        match &self.way {
            Way::Oaep(_, hash) => Some(*hash),
            Way::Agreement(..) => None,
        }
    }

    /// Whether the key names its algorithm.
    pub(crate) fn names_algorithm(&self) -> bool {
        self.is_named
    }

    /// Wraps the content key. Returns the wrapped key and the header of the recipient.
    fn wrap<R: TryCryptoRng + ?Sized>(
        &self,
        content_key: &[u8; 32],
        rng: &mut R,
    ) -> Result<(Vec<u8>, Map<String, Value>), WrapError> {
        let mut header = Map::new();
        header.insert("kid".to_owned(), json!(self.kid));
        let (alg, wrapped) = match &self.way {
            Way::Oaep(key, hash) => {
                let alg = match hash {
                    OaepHash::Sha256 => "RSA-OAEP-256",
                    _ => "RSA-OAEP",
                };
                (alg, key.encrypt_oaep(*hash, content_key, rng)?)
            }
            Way::Agreement(key, alg) => {
                let agreed = key.agree(rng)?;
                let (x, y) = agreed.point[1..].split_at(agreed.point.len() / 2);
                let (crv, x, y) = (key.kind().to_string(), encode_url(x), encode_url(y));
                let epk = json!({ "kty": "EC", "crv": crv, "x": x, "y": y });
                header.insert("epk".to_owned(), epk);
                let block = derive(&agreed.shared, alg.name(), b"", b"", alg.key_length());
                let wrapped = wrap_aes_key(&block[..alg.key_length()], content_key);
                (alg.name(), wrapped.expect("both keys have a length of AES"))
            }
        };
        header.insert("alg".to_owned(), json!(alg));
        Ok((wrapped, header))
    }
}

/// Encrypts `plain` for all recipients. There must be at least one.
pub(crate) fn encrypt<R: TryCryptoRng + ?Sized>(
    recipients: &[&JweRecipient],
    plain: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, WrapError> {
    let content_key = random::<32, R>(rng)?;
    let wrapped = recipients.iter().map(|recipient| recipient.wrap(&content_key, rng));
    let mut wrapped = wrapped.collect::<Result<Vec<_>, _>>()?;
    // The header of a single recipient is authenticated with the content.
    let mut protected = match &mut wrapped[..] {
        [(_, header)] => std::mem::take(header),
        _ => Map::new(),
    };
    protected.insert("enc".to_owned(), json!(ENC));
    let protected = encode_url(Value::from(protected).to_string().as_bytes());
    let iv = random::<12, R>(rng)?;
    let mut text = plain.to_vec();
    let cipher = Aes256Gcm::new((&*content_key).into());
    let buffer = text.as_mut_slice().into();
    let tag = cipher.encrypt_inout_detached((&*iv).into(), protected.as_bytes(), buffer);
    let tag = tag.expect("options are shorter than the 64 GiB that GCM can encrypt");
    let mut jwe = json!({
        "protected": protected,
        "iv": encode_url(&*iv),
        "ciphertext": encode_url(&text),
        "tag": encode_url(&tag),
    });
    if let [(key, _)] = &wrapped[..] {
        jwe["encrypted_key"] = json!(encode_url(key));
    } else {
        let recipients = wrapped
            .iter()
            .map(|(key, header)| json!({ "header": header, "encrypted_key": encode_url(key) }));
        jwe["recipients"] = recipients.collect();
    }
    Ok(jwe.to_string().into_bytes())
}
