//! A writer of JSON Web Encryption (RFC 7516), for tests: ECDH-ES+A256KW on P-256, and contents
//! that need not be what their header promises.

use aes::Aes256;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::AeadInOut;
use aes_kw::AesKw;
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use hmac::KeyInit;
use p256::SecretKey;
use p256::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::{EncodePrivateKey, EncodePublicKey};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::sealed::{hmac, random};

/// Who a layer is encrypted for: a P-256 key.
#[derive(Clone)]
pub struct Recipient(SecretKey);

impl Recipient {
    /// A new key.
    pub fn generate() -> Self {
        loop {
            // All but 2⁻³² of the numbers of 256 bits are keys.
            if let Ok(key) = SecretKey::from_slice(&random::<32>()) {
                return Self(key);
            }
        }
    }

    /// The key that has this number.
    ///
    /// # Panics
    ///
    /// On zero and on numbers that are not below the order of the curve.
    pub fn from_number(number: &[u8; 32]) -> Self {
        Self(SecretKey::from_slice(number).expect("a number in the range of the curve's order"))
    }

    /// PKCS#8 in DER.
    pub fn private_key(&self) -> Vec<u8> {
        let der = self.0.to_pkcs8_der().expect("a P-256 key has a PKCS#8 form");
        der.as_bytes().to_vec()
    }

    /// PKCS#8 in PEM.
    pub fn private_pem(&self) -> String {
        pem("PRIVATE KEY", &self.private_key())
    }

    /// `SubjectPublicKeyInfo` in PEM.
    pub fn public_pem(&self) -> String {
        let der = self.0.public_key().to_public_key_der().expect("a P-256 key has such a form");
        pem("PUBLIC KEY", der.as_bytes())
    }
}

/// The content, and how it is encrypted.
enum Content<'a> {
    /// A256GCM over this plaintext.
    Gcm(&'a [u8]),
    /// A128CBC-HS256 whose ciphertext is this, with a tag that verifies.
    Cbc(&'a [u8]),
}

/// One JWE with one recipient, in its parts.
#[derive(Clone)]
pub struct Jwe {
    /// The protected header, in base64url as it is authenticated.
    pub protected: String,
    /// The wrapped content key.
    pub encrypted_key: Vec<u8>,
    /// The initialization vector.
    pub iv: Vec<u8>,
    /// The encrypted content.
    pub ciphertext: Vec<u8>,
    /// The authentication tag.
    pub tag: Vec<u8>,
    /// The content key, which the wrapped one holds.
    pub content_key: [u8; 32],
}

impl Jwe {
    /// Encrypts `content` with A256GCM. The members of `more` join the protected header.
    pub fn seal(recipient: &Recipient, content: &[u8], more: Value) -> Self {
        Self::write(recipient, Content::Gcm(content), more)
    }

    /// A JWE with `"zip":"DEF"` around `content`.
    pub fn deflated(recipient: &Recipient, content: &[u8]) -> Self {
        let deflated = miniz_oxide::deflate::compress_to_vec(content, 9);
        Self::seal(recipient, &deflated, json!({ "zip": "DEF" }))
    }

    /// A128CBC-HS256 around a ciphertext of any length, none included: its tag is right, so a
    /// reader comes as far as the padding.
    pub fn seal_cbc(recipient: &Recipient, ciphertext: &[u8]) -> Self {
        Self::write(recipient, Content::Cbc(ciphertext), json!({}))
    }

    fn write(recipient: &Recipient, content: Content<'_>, more: Value) -> Self {
        let ephemeral = Recipient::generate().0;
        let point = ephemeral.public_key().to_sec1_point(false);
        // An uncompressed point: 4, then both coordinates.
        let (x, y) = point.as_bytes()[1..].split_at(32);
        let enc = match content {
            Content::Gcm(_) => "A256GCM",
            Content::Cbc(_) => "A128CBC-HS256",
        };
        let mut header = json!({
            "alg": "ECDH-ES+A256KW",
            "enc": enc,
            "epk": { "kty": "EC", "crv": "P-256", "x": url(x), "y": url(y) },
        });
        if let (Value::Object(header), Value::Object(more)) = (&mut header, more) {
            header.extend(more);
        }
        let protected = url(header.to_string().as_bytes());

        let shared =
            diffie_hellman(ephemeral.to_nonzero_scalar(), recipient.0.public_key().as_affine());
        let wrapping_key = concat_kdf(shared.raw_secret_bytes(), "ECDH-ES+A256KW");
        let content_key: [u8; 32] = random();
        let mut encrypted_key = vec![0; 40];
        AesKw::<Aes256>::new(&wrapping_key.into())
            .wrap_key(&content_key, &mut encrypted_key)
            .expect("32 bytes are wrapped into 40");

        let (iv, ciphertext, tag) = match content {
            Content::Gcm(plain) => gcm(&content_key, protected.as_bytes(), plain),
            Content::Cbc(ciphertext) => cbc_hs(&content_key, protected.as_bytes(), ciphertext),
        };
        Self { protected, encrypted_key, iv, ciphertext, tag, content_key }
    }

    /// The flattened JSON serialization, which Go writes for a single recipient.
    pub fn flattened(&self) -> Value {
        json!({
            "protected": self.protected,
            "encrypted_key": url(&self.encrypted_key),
            "iv": url(&self.iv),
            "ciphertext": url(&self.ciphertext),
            "tag": url(&self.tag),
        })
    }

    /// The general JSON serialization with these recipients, each an object.
    pub fn general(&self, recipients: Vec<Value>) -> Value {
        let mut all = self.flattened();
        if let Value::Object(all) = &mut all {
            all.remove("encrypted_key");
            all.insert("recipients".to_owned(), recipients.into());
        }
        all
    }

    /// What [`Jwe::general`] takes, for the one recipient that there is.
    pub fn recipient(&self) -> Value {
        Value::Object(Map::from_iter([(
            "encrypted_key".to_owned(),
            url(&self.encrypted_key).into(),
        )]))
    }

    /// The compact serialization.
    pub fn compact(&self) -> String {
        let parts = [&self.encrypted_key, &self.iv, &self.ciphertext, &self.tag];
        let parts = parts.map(|part| url(part));
        format!("{}.{}", self.protected, parts.join("."))
    }
}

/// AES-256-GCM (RFC 7518, section 5.3).
fn gcm(key: &[u8; 32], aad: &[u8], plain: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let iv: [u8; 12] = random();
    let mut text = plain.to_vec();
    let tag = Aes256Gcm::new(key.into())
        .encrypt_inout_detached(&iv.into(), aad, text.as_mut_slice().into())
        .expect("A256GCM encrypts all that a test can hold");
    (iv.to_vec(), text, tag.to_vec())
}

/// The tag of A128CBC-HS256 (RFC 7518, section 5.2.3) over a ciphertext that is taken as it is.
fn cbc_hs(key: &[u8; 32], aad: &[u8], ciphertext: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let iv: [u8; 16] = random();
    let length = (aad.len() as u64 * 8).to_be_bytes();
    let authenticated = [aad, &iv, ciphertext, &length].concat();
    let tag = hmac(&key[..16], &authenticated)[..16].to_vec();
    (iv.to_vec(), ciphertext.to_vec(), tag)
}

/// Concat KDF with SHA-256 (RFC 7518, section 4.6.2) for 256 bits, without `apu` and `apv`.
fn concat_kdf(shared: &[u8], alg: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(1u32.to_be_bytes());
    hash.update(shared);
    hash.update((alg.len() as u32).to_be_bytes());
    hash.update(alg);
    hash.update([0; 8]);
    hash.update(256u32.to_be_bytes());
    hash.finalize().into()
}

/// Base64url without padding.
pub fn url(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
