//! Private-key operations that are done elsewhere, by whoever calls this crate: in PKCS#11 tokens
//! and by key providers. The crate itself does no I/O.

use zeroize::Zeroizing;

use crate::pkcs11::OaepHash;

/// Does private-key operations with keys that never come here.
///
/// What it answers on failure is shown to the operator: it must not hold anything secret.
pub trait Broker {
    /// The keys in PKCS#11 tokens that the operator configured, as they may be shown.
    fn token_keys(&mut self) -> Vec<String>;

    /// RSA-OAEP (RFC 8017, section 7.1) with an empty label, in a token.
    ///
    /// # Errors
    /// Why it did not happen.
    fn token_decrypt(
        &mut self,
        key: TokenKey<'_>,
        hash: OaepHash,
        blob: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal>;

    /// Has the key provider `name` unwrap `wrapped`. `parameters` are those that the payload has
    /// under its name.
    ///
    /// # Errors
    /// Why it did not happen.
    fn provider_unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        parameters: &[Zeroizing<Vec<u8>>],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal>;
}

/// A key in a token.
#[derive(Clone, Copy)]
pub enum TokenKey<'a> {
    /// The place of the key in [`Broker::token_keys`], counted from 0.
    Configured(usize),
    /// A PKCS#11 key file, in YAML, that came with the payload.
    Given(&'a [u8]),
}

/// Why a broker does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The operator has not configured it.
    NotConfigured,
    /// It failed: why, in words for the operator.
    Failed(String),
}

/// A broker for which the operator has configured nothing.
pub struct NoBroker;

impl Broker for NoBroker {
    fn token_keys(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn token_decrypt(
        &mut self,
        _: TokenKey<'_>,
        _: OaepHash,
        _: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        Err(Refusal::NotConfigured)
    }

    fn provider_unwrap(
        &mut self,
        _: &str,
        _: &[u8],
        _: &[Zeroizing<Vec<u8>>],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        Err(Refusal::NotConfigured)
    }
}
