//! Private-key operations that the caller of this crate performs, in PKCS#11 tokens and with key
//! providers. The crate itself does no I/O.

use zeroize::Zeroizing;

use crate::pkcs11::OaepHash;

/// Performs private-key operations with keys that this crate never gets.
///
/// Its reasons for failures are shown to the operator, so they must not contain anything secret.
pub trait Broker {
    /// The keys in PKCS#11 tokens that the operator configured, in a form that may be shown.
    fn token_keys(&mut self) -> Vec<String>;

    /// RSA-OAEP (RFC 8017, section 7.1) with an empty label, in a token.
    ///
    /// # Errors
    /// Why it failed.
    fn token_decrypt(
        &mut self,
        key: TokenKey<'_>,
        hash: OaepHash,
        blob: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal>;

    /// Asks the key provider `name` to unwrap `wrapped`. `parameters` are those of the payload under
    /// the provider's name.
    ///
    /// # Errors
    /// Why it failed.
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
    /// The index of the key in [`Broker::token_keys`], counted from 0.
    Configured(usize),
    /// A PKCS#11 key file, in YAML, that came with the payload.
    Given(&'a [u8]),
}

/// Why a broker does not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The operator has not configured it.
    NotConfigured,
    /// It failed, with the reason for the operator.
    Failed(String),
}

/// A broker without any configuration.
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
