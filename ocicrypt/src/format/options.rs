//! The two parts that open a layer: the private options, which are wrapped for each recipient, and the
//! public options, which are in an annotation.

use zeroize::Zeroizing;

use crate::crypto::layer::{LayerKey, LayerKeyError};
use crate::encoding::base64;
use crate::encoding::json::{Json, equal_folded};

/// Why options were refused. No message shows their content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// There is no annotation with public options.
    #[error("the layer has no annotation `{}`", super::annotation::PUBLIC_OPTIONS)]
    NoPublicOptions,
    /// The annotation is not base64.
    #[error("the annotation `{}` is not base64", super::annotation::PUBLIC_OPTIONS)]
    NotBase64,
    /// The options are not JSON.
    #[error("the {which} options are not JSON: see line {line}, column {column}")]
    NotJson {
        /// `public` or `private`.
        which: &'static str,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// A member is missing, or has another type than in the format.
    #[error("`{member}` of the {which} options is not {wanted}")]
    WrongShape {
        /// `public` or `private`.
        which: &'static str,
        /// The member.
        member: &'static str,
        /// What it should be, in words.
        wanted: &'static str,
    },
    /// The public options name no cipher.
    #[error("the public options name no cipher")]
    NoCipher,
    /// Neither part has a nonce.
    #[error("the options hold no nonce")]
    NoNonce,
    /// Both parts have a nonce, and they differ.
    #[error("the public nonce is not the one that was sealed with the key")]
    NonceMismatch,
    /// The parts do not make a layer key.
    #[error(transparent)]
    Layer(#[from] LayerKeyError),
}

/// The sealed part. It is wiped when dropped.
pub struct PrivateOptions {
    key: Zeroizing<Vec<u8>>,
    nonce: Option<Zeroizing<Vec<u8>>>,
    digest: Option<String>,
}

impl PrivateOptions {
    /// Parses `{"symkey":…,"digest":…,"cipheroptions":{"nonce":…}}`. The names of members match in any
    /// case. [`layer_key`] checks the lengths.
    ///
    /// # Errors
    /// [`OptionsError::NotJson`], [`OptionsError::WrongShape`].
    pub fn parse(json: &[u8]) -> Result<Self, OptionsError> {
        let reader = Reader::new("private", json)?;
        Ok(Self {
            digest: reader.digest()?,
            key: reader.bytes("symkey")?.unwrap_or_default(),
            nonce: reader.nonce()?,
        })
    }
}

/// The part that anyone can read and change: nothing in it is authenticated.
pub struct PublicOptions {
    cipher: String,
    hmac: Vec<u8>,
    nonce: Option<Zeroizing<Vec<u8>>>,
}

impl PublicOptions {
    /// Decodes the value of the annotation [`super::annotation::PUBLIC_OPTIONS`].
    ///
    /// # Errors
    /// [`OptionsError::NotBase64`], and as [`PublicOptions::parse`].
    pub fn of_annotation(value: &str) -> Result<Self, OptionsError> {
        Self::parse(&base64::standard(value.as_bytes()).ok_or(OptionsError::NotBase64)?)
    }

    /// Parses `{"cipher":…,"hmac":…,"cipheroptions":{}}`. The names of members match in any case.
    ///
    /// # Errors
    /// [`OptionsError::NotJson`], [`OptionsError::WrongShape`], [`OptionsError::NoCipher`].
    pub fn parse(json: &[u8]) -> Result<Self, OptionsError> {
        let reader = Reader::new("public", json)?;
        let cipher = reader.string("cipher")?.filter(|cipher| !cipher.is_empty());
        Ok(Self {
            cipher: cipher.ok_or(OptionsError::NoCipher)?.to_owned(),
            hmac: reader.bytes("hmac")?.unwrap_or_default().to_vec(),
            nonce: reader.nonce()?,
        })
    }

    /// The HMAC of the ciphertext: 32 bytes, unless it is damaged.
    #[cfg(feature = "encrypt")]
    pub(crate) fn hmac(&self) -> &[u8] {
        &self.hmac
    }
}

/// Combines both parts.
///
/// Go ctd-decoder prefers the public nonce to the sealed one, and makes one up if there is none;
/// Keycell uses the sealed one. A public nonce is used only if none is sealed, as in older images. Two
/// different nonces are refused.
///
/// # Errors
/// [`OptionsError::NoNonce`], [`OptionsError::NonceMismatch`], [`OptionsError::Layer`].
pub fn layer_key(
    private: &PrivateOptions,
    public: &PublicOptions,
) -> Result<LayerKey, OptionsError> {
    let nonce = match (&private.nonce, &public.nonce) {
        // The public nonce is known to everyone, so the comparison leaks nothing.
        (Some(sealed), Some(public)) if sealed != public => {
            return Err(OptionsError::NonceMismatch);
        }
        (Some(nonce), _) | (None, Some(nonce)) => nonce,
        (None, None) => return Err(OptionsError::NoNonce),
    };
    let digest = private.digest.as_deref();
    Ok(LayerKey::new(&public.cipher, &private.key, nonce, &public.hmac, digest)?)
}

/// Calls [`layer_key`] with private options in their JSON form.
///
/// # Errors
/// Those of [`PrivateOptions::parse`] and of [`layer_key`].
pub fn layer_key_of(sealed: &[u8], public: &PublicOptions) -> Result<LayerKey, OptionsError> {
    layer_key(&PrivateOptions::parse(sealed)?, public)
}

/// Private options that are parsed instead of invalid ones, so that the work is the same.
pub(crate) const FILLER: &[u8] = br#"{"symkey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","cipheroptions":{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#;

/// The same as [`layer_key_of`] for private options that nothing authenticates: only the members of the
/// format are allowed, each of them once. The work is the same for every text: after a mistake, a
/// string of the remaining length is parsed, and members are always decoded, those of [`FILLER`] if the
/// text has none.
pub(crate) fn layer_key_of_unauthenticated(
    text: &[u8],
    public: &PublicOptions,
) -> Option<LayerKey> {
    let filler = Json::parse(FILLER).ok()?;
    let (json, read) = match Json::parse(text) {
        Ok(json) => (Some(json), text.len()),
        Err(place) => (None, place.offset(text)),
    };
    let mut rest = vec![b'x'; text.len().saturating_sub(read)];
    if let [first, .., last] = &mut rest[..] {
        (*first, *last) = (b'"', b'"');
    }
    std::hint::black_box(Json::parse(std::hint::black_box(&rest)).is_ok());
    let [filler, own] = [Some(filler), json].map(|json| {
        let reader = json.map(|json| Reader { which: "private", json });
        reader.filter(Reader::has_only_the_members_of_private_options)
    });
    let is_own = own.is_some();
    let reader = own.or(filler)?;
    // All members are decoded before any of them is checked.
    let (key, nonce, digest) = (reader.bytes("symkey"), reader.nonce(), reader.digest());
    let (key, nonce, digest) = (key.ok()?.unwrap_or_default(), nonce.ok()?, digest.ok()?);
    let key = layer_key(&PrivateOptions { key, nonce, digest }, public);
    key.ok().filter(|_| is_own)
}

/// Makes a layer key from 48 secret bytes. It replaces a key that could not be unwrapped.
///
/// # Errors
/// [`LayerKeyError`]: the public options cannot be used with any key.
pub(crate) fn made_up_layer_key(
    secret: &[u8],
    public: &PublicOptions,
) -> Result<LayerKey, LayerKeyError> {
    let (key, nonce) = secret.split_at(secret.len().min(32));
    // The HMAC is compared first and never matches, so the digest's value does not matter. But its
    // presence could be noticed.
    let digest = format!("sha256:{}", "0".repeat(64));
    LayerKey::new(&public.cipher, key, nonce, &public.hmac, Some(&digest))
}

/// Reads members of one part as Go's `encoding/json` does.
struct Reader<'a> {
    which: &'static str,
    json: Json<'a>,
}

impl<'a> Reader<'a> {
    fn new(which: &'static str, json: &'a [u8]) -> Result<Self, OptionsError> {
        let json = Json::parse(json).map_err(|at| OptionsError::NotJson {
            which,
            line: at.line,
            column: at.column,
        })?;
        let reader = Self { which, json };
        match reader.json.as_object() {
            Some(_) => Ok(reader),
            None => Err(reader.wrong("the whole", "an object")),
        }
    }

    fn string(&self, member: &'static str) -> Result<Option<&str>, OptionsError> {
        let value = self.json.field(member);
        value.map(|value| value.as_str().ok_or_else(|| self.wrong(member, "a string"))).transpose()
    }

    fn bytes(&self, member: &'static str) -> Result<Option<Zeroizing<Vec<u8>>>, OptionsError> {
        let text = self.string(member)?;
        let decode = |text: &str| base64::standard(text.as_bytes());
        text.map(|text| decode(text).ok_or_else(|| self.wrong(member, "base64"))).transpose()
    }

    /// The names within `cipheroptions` are the keys of a Go map, so their case matters.
    fn nonce(&self) -> Result<Option<Zeroizing<Vec<u8>>>, OptionsError> {
        let Some(options) = self.json.field("cipheroptions") else {
            return Ok(None);
        };
        if options.as_object().is_none() {
            return Err(self.wrong("cipheroptions", "an object"));
        }
        match options.member("nonce") {
            None | Some(Json::Null) => Ok(None),
            Some(value) => {
                let nonce = value.as_str().and_then(|text| base64::standard(text.as_bytes()));
                Ok(Some(nonce.ok_or_else(|| self.wrong("cipheroptions.nonce", "base64"))?))
            }
        }
    }

    fn digest(&self) -> Result<Option<String>, OptionsError> {
        let digest = self.string("digest")?.filter(|digest| !digest.is_empty());
        Ok(digest.map(str::to_owned))
    }

    /// Whether there are no other members, and none occurs twice.
    fn has_only_the_members_of_private_options(&self) -> bool {
        const ALL: [&str; 3] = ["symkey", "digest", "cipheroptions"];
        let members = self.json.as_object().unwrap_or_default();
        let count = |name: &str| {
            members.iter().filter(|(found, _)| equal_folded(found.as_str(), name)).count()
        };
        let options = self.json.field("cipheroptions").and_then(Json::as_object);
        let options = options.unwrap_or_default();
        ALL.iter().all(|name| count(name) <= 1)
            && ALL.iter().map(|name| count(name)).sum::<usize>() == members.len()
            && options.len() <= 1
            && options.iter().all(|(name, _)| name.as_str() == "nonce")
    }

    fn wrong(&self, member: &'static str, wanted: &'static str) -> OptionsError {
        OptionsError::WrongShape { which: self.which, member, wanted }
    }
}
