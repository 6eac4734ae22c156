//! The encrypted content (RFC 5652, section 6.1; RFC 5083, section 2.1) and its ciphers.

use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockCipherDecrypt, BlockModeDecrypt, InnerIvInit, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use des::{Des, TdesEde3};
use zeroize::Zeroizing;

use super::Pkcs7Error;
use super::unauthenticated::UnauthenticatedText;
use crate::algorithms::Algorithm;
use crate::budget::{Budget, Exhausted, cost};
use crate::crypto::identity;
use crate::encoding::asn1::{
    CONSTRUCTED, Element, INTEGER, OCTET_STRING, Reader, SEQUENCE, SET, context, trim_integer,
};
use crate::encoding::oid::{self, Algorithm as Identifier};

/// The longest content that is decrypted, in bytes: 64 KiB. Private options take a few hundred bytes,
/// and every recipient can cost another attempt. Go ctd-decoder has no limit.
const MAX_CONTENT: usize = 64 * 1024;

/// The longest content that is not authenticated: 1 KiB. It is parsed in a time that does not depend on
/// its text, and a shorter content leaves less to distinguish. Go ctd-decoder has no limit.
const MAX_UNAUTHENTICATED: usize = 1024;

/// The length of the tag of GCM in bytes. RFC 5084 also allows twelve bytes; Go ctd-decoder and Keycell
/// require sixteen.
const TAG: usize = 16;

/// A content cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cipher {
    DesCbc,
    TripleDesCbc,
    Aes128Cbc,
    Aes192Cbc,
    Aes256Cbc,
    Aes128Gcm,
    Aes192Gcm,
    Aes256Gcm,
}

/// An encrypted content.
pub(super) struct Content {
    cipher: Cipher,
    iv: Vec<u8>,
    ciphertext: Vec<u8>,
    /// The tag, for GCM only.
    tag: Vec<u8>,
    /// Attributes that are authenticated with the content.
    attributes: Vec<u8>,
}

impl Content {
    /// Parses the rest of an `EnvelopedData`, from the `EncryptedContentInfo` on.
    ///
    /// The standard does not allow GCM there, but Go writes it, with the tag at the end of the content.
    pub(super) fn enveloped(reader: &mut Reader<'_>) -> Result<Self, Pkcs7Error> {
        let mut content = Self::read(reader)?;
        if content.is_authenticated() {
            let start = content.ciphertext.len().checked_sub(TAG);
            let start =
                start.ok_or(Pkcs7Error::Malformed("the content is shorter than its tag"))?;
            content.tag = content.ciphertext.split_off(start);
        } else {
            let block = content.iv.len();
            // CBC pads every content, so that even an empty one has a block.
            if content.ciphertext.is_empty() || !content.ciphertext.len().is_multiple_of(block) {
                return Err(Pkcs7Error::Malformed("the content has the wrong length"));
            }
            if content.ciphertext.len() > MAX_UNAUTHENTICATED {
                return Err(Pkcs7Error::Malformed(
                    "the content is not authenticated, and longer than 1 KiB",
                ));
            }
        }
        Ok(content)
    }

    /// Parses the rest of an `AuthEnvelopedData`, from the `EncryptedContentInfo` on.
    pub(super) fn auth_enveloped(reader: &mut Reader<'_>) -> Result<Self, Pkcs7Error> {
        let mut content = Self::read(reader)?;
        if !content.is_authenticated() {
            return Err(Pkcs7Error::Malformed("authenticated content without a cipher for it"));
        }
        if let Some(attributes) = reader.optional(context(1) | CONSTRUCTED) {
            // They are authenticated with the tag of a SET, not with that of the field (RFC 5083, 2.2).
            content.attributes = attributes.whole.to_vec();
            content.attributes[0] = SET;
        }
        let tag = reader.any().filter(|tag| tag.tag & !CONSTRUCTED == OCTET_STRING);
        let tag = tag.and_then(|tag| tag.octets()).filter(|tag| tag.len() == TAG);
        content.tag = tag.ok_or(Pkcs7Error::Malformed("the tag has the wrong length"))?;
        Ok(content)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Pkcs7Error> {
        let malformed = Pkcs7Error::Malformed;
        let mut info = reader.inside(SEQUENCE).ok_or(malformed("no content"))?;
        let _content_type = oid::read(&mut info).ok_or(malformed("no type of content"))?;
        let algorithm = Identifier::read(&mut info).ok_or(malformed("no content cipher"))?;
        let cipher = Cipher::of(&algorithm)?;
        let iv = if cipher.is_gcm() { gcm_nonce(&algorithm) } else { cbc_iv(&algorithm) };
        let iv = iv.filter(|iv| iv.len() == cipher.iv_length());
        let iv = iv.ok_or(malformed("the parameters of the content cipher are wrong"))?.to_vec();
        let content = info.any().filter(|found| found.tag & !CONSTRUCTED == context(0));
        let ciphertext = content.and_then(|found| found.octets()).ok_or(malformed("no content"))?;
        if ciphertext.len() > MAX_CONTENT {
            return Err(malformed("the content is longer than 64 KiB"));
        }
        Ok(Self { cipher, iv, ciphertext, tag: Vec::new(), attributes: Vec::new() })
    }

    /// The length of the content key in bytes.
    pub(super) fn key_length(&self) -> usize {
        match self.cipher {
            Cipher::DesCbc => 8,
            Cipher::Aes128Cbc | Cipher::Aes128Gcm => 16,
            Cipher::TripleDesCbc | Cipher::Aes192Cbc | Cipher::Aes192Gcm => 24,
            Cipher::Aes256Cbc | Cipher::Aes256Gcm => 32,
        }
    }

    /// The identity of the content: everything that decides how a content key decrypts it.
    pub(super) fn identify(&self) -> [u8; 32] {
        identity::id(|hash| {
            hash(&[self.cipher as u8]);
            for part in [&self.iv, &self.ciphertext, &self.tag, &self.attributes] {
                hash(part);
            }
        })
    }

    /// The name of the cipher, and whether it is legacy, as all are that do not authenticate.
    pub(super) fn algorithm(&self) -> Algorithm {
        match self.cipher {
            Cipher::DesCbc => Algorithm::legacy("DES-CBC"),
            Cipher::TripleDesCbc => Algorithm::legacy("3DES-CBC"),
            Cipher::Aes128Cbc => Algorithm::legacy("AES-128-CBC"),
            Cipher::Aes192Cbc => Algorithm::legacy("AES-192-CBC"),
            Cipher::Aes256Cbc => Algorithm::legacy("AES-256-CBC"),
            Cipher::Aes128Gcm => Algorithm::modern("AES-128-GCM"),
            Cipher::Aes192Gcm => Algorithm::modern("AES-192-GCM"),
            Cipher::Aes256Gcm => Algorithm::modern("AES-256-GCM"),
        }
    }

    /// Pays for decrypting the content once, and for reading it.
    pub(super) fn pay(&self, budget: &mut Budget) -> Result<(), Exhausted> {
        let each = match self.cipher {
            Cipher::DesCbc => cost::DES,
            Cipher::TripleDesCbc => cost::TRIPLE_DES,
            Cipher::Aes128Cbc | Cipher::Aes192Cbc | Cipher::Aes256Cbc => cost::AES_CBC,
            Cipher::Aes128Gcm | Cipher::Aes192Gcm | Cipher::Aes256Gcm => cost::AES_GCM,
        };
        let length = self.ciphertext.len() + self.attributes.len();
        budget.spend_on_bytes(length, each + cost::READ)
    }

    /// Whether an alteration of the content is detected.
    pub(super) fn is_authenticated(&self) -> bool {
        self.cipher.is_gcm()
    }

    /// Decrypts authenticated content with a content key of the right length. None if the tag is
    /// wrong, or the content is not authenticated.
    pub(super) fn decrypt(&self, key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self.cipher {
            Cipher::Aes128Gcm => self.gcm::<Aes128Gcm>(key),
            Cipher::Aes192Gcm => self.gcm::<AesGcm<Aes192, U12>>(key),
            Cipher::Aes256Gcm => self.gcm::<Aes256Gcm>(key),
            _ => None,
        }
    }

    /// Decrypts content that is not authenticated. None if the key has the wrong length, or the
    /// content is authenticated.
    pub(super) fn decrypt_unauthenticated(&self, key: &[u8]) -> Option<UnauthenticatedText> {
        match self.cipher {
            Cipher::DesCbc => self.cbc::<Des>(key),
            Cipher::TripleDesCbc => self.cbc::<TdesEde3>(key),
            Cipher::Aes128Cbc => self.cbc::<Aes128>(key),
            Cipher::Aes192Cbc => self.cbc::<Aes192>(key),
            Cipher::Aes256Cbc => self.cbc::<Aes256>(key),
            _ => None,
        }
    }

    fn cbc<C>(&self, key: &[u8]) -> Option<UnauthenticatedText>
    where
        C: BlockCipherDecrypt + aes::cipher::KeyInit,
        cbc::Decryptor<C>: InnerIvInit<Inner = C> + BlockModeDecrypt,
    {
        let cipher = cbc::Decryptor::<C>::new_from_slices(key, &self.iv).ok()?;
        let mut text = Zeroizing::new(self.ciphertext.clone());
        cipher.decrypt_padded::<NoPadding>(&mut text).ok()?;
        UnauthenticatedText::new(text, self.iv.len())
    }

    fn gcm<A: AeadInOut + KeyInit>(&self, key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let cipher = A::new_from_slice(key).ok()?;
        let nonce = self.iv.as_slice().try_into().ok()?;
        let tag = self.tag.as_slice().try_into().ok()?;
        let mut text = Zeroizing::new(self.ciphertext.clone());
        let inout = text.as_mut_slice().into();
        cipher.decrypt_inout_detached(nonce, &self.attributes, inout, tag).ok()?;
        Some(text)
    }
}

impl Cipher {
    fn of(algorithm: &Identifier<'_>) -> Result<Self, Pkcs7Error> {
        Ok(match algorithm.oid {
            oid::DES_CBC => Self::DesCbc,
            oid::DES_EDE3_CBC => Self::TripleDesCbc,
            oid::AES_128_CBC => Self::Aes128Cbc,
            oid::AES_192_CBC => Self::Aes192Cbc,
            oid::AES_256_CBC => Self::Aes256Cbc,
            oid::AES_128_GCM => Self::Aes128Gcm,
            oid::AES_192_GCM => Self::Aes192Gcm,
            oid::AES_256_GCM => Self::Aes256Gcm,
            _ => return Err(Pkcs7Error::UnsupportedCipher(algorithm.shown())),
        })
    }

    fn is_gcm(self) -> bool {
        matches!(self, Self::Aes128Gcm | Self::Aes192Gcm | Self::Aes256Gcm)
    }

    fn iv_length(self) -> usize {
        match self {
            Self::DesCbc | Self::TripleDesCbc => 8,
            Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc => 16,
            Self::Aes128Gcm | Self::Aes192Gcm | Self::Aes256Gcm => 12,
        }
    }
}

/// The parameters of CBC are only the initialization vector.
fn cbc_iv<'a>(algorithm: &Identifier<'a>) -> Option<&'a [u8]> {
    let found: Element<'a> = algorithm.parameters?;
    (found.tag == OCTET_STRING).then_some(found.content)
}

/// `GCMParameters` (RFC 5084, section 3.2): nonce and length of the tag.
///
/// Go writes and reads them in a malformed form: in a SEQUENCE whose tag says that it has no elements
/// (`10`), with another SEQUENCE inside, and the nonce under `[4]`. Keycell reads both forms.
fn gcm_nonce<'a>(algorithm: &Identifier<'a>) -> Option<&'a [u8]> {
    let found = algorithm.parameters.filter(|found| found.tag | CONSTRUCTED == SEQUENCE)?;
    let mut parameters = Reader::new(found.content);
    let mut inner = parameters.inside(SEQUENCE).unwrap_or(Reader::new(found.content));
    let nonce = inner.any().filter(|nonce| [OCTET_STRING, context(4)].contains(&nonce.tag))?;
    let tag_length = trim_integer(inner.element(INTEGER)?.content);
    (tag_length == [TAG as u8]).then_some(nonce.content)
}
