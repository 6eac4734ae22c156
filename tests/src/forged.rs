//! Encrypted images that were altered by somebody who knows what is in them and not the key.
//!
//! The layer cipher is a stream cipher: who knows the plaintext can make the ciphertext of another
//! one, of which nothing but the HMAC is wrong. The image's configuration has the digest of what it
//! decrypts to, and the manifest that of the ciphertext, so a decoder that let it pass would be
//! believed.

use anyhow::Result;

use crate::archive::{packed, tar};
use crate::image::LayerKind;
use crate::imported;
use crate::jwe::Recipient;
use crate::sealed::{Sealed, random};

/// What was done to the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// Nothing.
    None,
    /// One bit of a file at its beginning.
    First,
    /// One in its middle.
    Middle,
    /// One at its end.
    Last,
    /// A file at the end is missing.
    CutOff,
    /// A file at the end was added.
    Appended,
}

/// Every alteration.
pub const ALTERATIONS: [Alteration; 5] = [
    Alteration::First,
    Alteration::Middle,
    Alteration::Last,
    Alteration::CutOff,
    Alteration::Appended,
];

/// A layer, and what it was altered to.
pub struct Forged {
    /// Archives: what was encrypted, and what the ciphertext is of now.
    genuine: Vec<u8>,
    altered: Vec<u8>,
}

impl Forged {
    /// A layer with a file of this size.
    pub fn new(size: usize, alteration: Alteration) -> Self {
        let genuine: Vec<u8> = random::<256>().iter().copied().cycle().take(size).collect();
        let mut file = genuine.clone();
        match alteration {
            Alteration::First => file[0] ^= 1,
            Alteration::Middle => file[size / 2] ^= 1,
            Alteration::Last => file[size - 1] ^= 1,
            Alteration::None | Alteration::CutOff | Alteration::Appended => {}
        }
        let (first, last) = (("file", &file[..]), ("last", &b"last"[..]));
        let altered = match alteration {
            Alteration::CutOff => tar([first]),
            Alteration::Appended => tar([first, last, ("more", b"more")]),
            _ => tar([first, last]),
        };
        Self { genuine: tar([("file", &genuine[..]), last]), altered }
    }

    /// What containerd calls the image of this number.
    pub fn name(number: usize) -> String {
        format!("keycell.test/forged:{number}")
    }

    /// An archive of an OCI layout, for `ctr images import`.
    ///
    /// # Errors
    ///
    /// A plaintext that cannot be predicted.
    pub fn image(&self, kind: LayerKind, recipient: &Recipient, number: usize) -> Result<Vec<u8>> {
        let genuine = packed(&self.genuine, kind);
        let sealed = Sealed::new(genuine);
        let encrypted = sealed.encrypted_as(&packed(&self.altered, kind))?;
        let mut layer = sealed.descriptor(&[sealed.wrapped_for(recipient).compact()]);
        layer.media_type = format!("{}+encrypted", kind.media_type());
        Ok(imported::image(&Self::name(number), layer, encrypted, &self.altered))
    }
}
