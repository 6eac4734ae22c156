//! Content that is not authenticated: CBC.
//!
//! An attacker who can alter such a content chooses what it decrypts to, except for one block of
//! garbage for each chosen block. If anything showed whether the padding was right, or how far the text
//! was valid JSON of private options, the attacker could learn the layer key a few bits at a time
//! (Vaudenay, 2002). So the result is always a layer key. If the text does not contain one, the layer
//! key is made up from the private key and the content, and is wrong. Both fail in the same way when
//! the layer is verified, and both take the same work.
//!
//! A text is accepted only if it has exactly the members of private options, each in the right form.
//! Otherwise a block of garbage could be in a string that is never read, and whether the layer still
//! opens would reveal whether the garbage was text.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};
use zeroize::Zeroizing;

use crate::algorithms::Algorithm;
use crate::crypto::layer::{LayerKey, LayerKeyError};
use crate::format::options::{
    FILLER, PublicOptions, layer_key_of_unauthenticated, made_up_layer_key,
};
use crate::keys::RsaKey;

/// Decrypted text. Its padding is replaced by spaces, so that its length is not secret.
pub(super) struct UnauthenticatedText {
    text: Zeroizing<Vec<u8>>,
    is_padded: Choice,
}

impl UnauthenticatedText {
    /// Removes the padding of RFC 5652, section 6.3, from blocks of `block` bytes, in constant time.
    /// None if there is no block.
    ///
    /// Go ctd-decoder panics if the padding is longer than the content; Keycell treats it as wrong.
    pub(super) fn new(mut text: Zeroizing<Vec<u8>>, block: usize) -> Option<Self> {
        let length = *text.last()?;
        let mut is_padded = !length.ct_eq(&0) & !length.ct_gt(&(block as u8));
        for (place, byte) in (0u8..).zip(text.iter_mut().rev().take(block)) {
            let is_padding = length.ct_gt(&place);
            is_padded &= !is_padding | byte.ct_eq(&length);
            byte.conditional_assign(&b' ', is_padding);
        }
        Some(Self { text, is_padded })
    }

    /// The layer key in the text, if the padding is right and there is one.
    fn layer_key(mut self, public: &PublicOptions) -> Option<LayerKey> {
        let filler = FILLER.iter().chain(std::iter::repeat(&b' '));
        for (byte, filler) in self.text.iter_mut().zip(filler) {
            byte.conditional_assign(filler, !self.is_padded);
        }
        let key = layer_key_of_unauthenticated(&self.text, public);
        key.filter(|_| self.is_padded.into())
    }
}

/// This is for `make timing`.
#[cfg(feature = "timing")]
pub fn has_padding(text: Vec<u8>) -> Option<Choice> {
    UnauthenticatedText::new(Zeroizing::new(text), 16).map(|text| text.is_padded)
}

/// The result of all contents that are not authenticated.
#[derive(Default)]
pub(crate) struct Outcome {
    opened: Option<LayerKey>,
    made_up: Option<Result<LayerKey, LayerKeyError>>,
    algorithms: Vec<Algorithm>,
}

impl Outcome {
    /// Adds an attempt: the text that `key` yielded for the content with the identity `content`.
    pub(super) fn add(
        &mut self,
        key: &RsaKey,
        content: &[u8; 32],
        text: Option<UnauthenticatedText>,
        public: &PublicOptions,
    ) {
        if self.made_up.is_none() {
            let secret = key.made_up(&[&b"layer key"[..], content].concat(), 48);
            self.made_up = Some(made_up_layer_key(&secret, public));
        }
        let found = text.and_then(|text| text.layer_key(public));
        self.opened = self.opened.take().or(found);
    }

    /// Records the algorithms that protect a content that was tried. Those of all contents are
    /// reported, because it must not be known which of them opened.
    pub(super) fn tells(&mut self, algorithms: &[Algorithm]) {
        for algorithm in algorithms {
            if !self.algorithms.contains(algorithm) {
                self.algorithms.push(algorithm.clone());
            }
        }
    }

    /// The recorded algorithms.
    pub(crate) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// The first layer key that a content had, or the made-up one. None if no key was tried; an error if
    /// the public options do not make a layer key with any content.
    pub(crate) fn layer_key(self) -> Option<Result<LayerKey, LayerKeyError>> {
        let made_up = self.made_up?;
        Some(made_up.map(|made_up| self.opened.unwrap_or(made_up)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> UnauthenticatedText {
        UnauthenticatedText::new(Zeroizing::new(bytes.to_vec()), 16).expect("there is a block")
    }

    #[test]
    fn only_the_padding_of_the_standard_counts() {
        for length in 1..=16_u8 {
            let mut blocks = [b'x'; 32];
            blocks[32 - usize::from(length)..].fill(length);
            let found = text(&blocks);
            assert!(bool::from(found.is_padded), "{length}");
            let wanted = [vec![b'x'; 32 - usize::from(length)], vec![b' '; length.into()]].concat();
            assert_eq!(*found.text, wanted);
            for place in 1..=length {
                let mut altered = blocks;
                altered[32 - usize::from(place)] ^= 0x20;
                assert!(!bool::from(text(&altered).is_padded), "{length} {place}");
            }
        }
        for last in [0, 17, 32, 255] {
            assert!(!bool::from(text(&[last; 32]).is_padded), "{last}");
        }
        assert!(UnauthenticatedText::new(Zeroizing::new(Vec::new()), 16).is_none());
    }

    fn public(more: &str) -> PublicOptions {
        let hmac = "A".repeat(43);
        let json = format!(r#"{{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"{hmac}="{more}}}"#);
        PublicOptions::parse(json.as_bytes()).expect("public options")
    }

    #[test]
    fn the_filler_is_private_options() {
        assert!(layer_key_of_unauthenticated(FILLER, &public("")).is_some());
    }

    /// If a part of the text were not checked, the layer that still opens would reveal whether garbage
    /// is text.
    #[test]
    fn every_byte_of_a_text_counts() {
        let filler = std::str::from_utf8(FILLER).expect("text");
        let (key, rest) = filler.split_once(',').expect("a comma");
        let accepted = |text: &str| layer_key_of_unauthenticated(text.as_bytes(), &public(""));
        for text in [
            format!("{key}, {rest} \n"),
            filler.replace("\"digest\"", "\n \"DiGest\""),
            filler.replace("000\"", "000\" "),
            filler.replace(
                "\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"",
                "null",
            ),
        ] {
            assert!(accepted(&text).is_some(), "{text}");
        }
        for text in [
            format!("{key},\"more\":\"x\",{rest}"),
            format!("{key},{rest}").replace("{\"nonce\"", "{\"other\":\"x\",\"nonce\""),
            format!("{},{}", key, key.replace('{', "") + "," + rest),
            filler.replace("\"digest\"", "\"symkey\""),
            filler.replace("000\"", "00g\""),
            filler.replace("sha256:", "sha256:\u{1}"),
            filler.replace("sha256:", "\u{fffd}\u{fffd}"),
            filler.replace("AAA=", "AA!="),
            format!("{filler} x"),
        ] {
            assert!(accepted(&text).is_none(), "{text}");
        }
        let other = r#","cipheroptions":{"nonce":"AAAAAAAAAAAAAAAAAAAAAQ=="}"#;
        let other = layer_key_of_unauthenticated(FILLER, &public(other));
        assert!(other.is_none(), "a public nonce that is another");
    }
}
