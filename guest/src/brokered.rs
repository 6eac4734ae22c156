//! The host's broker, as the library wants it.

use ocicrypt::broker::{Broker, Refusal, TokenKey};
use ocicrypt::pkcs11::OaepHash;
use zeroize::Zeroizing;

use crate::component::bindings::keycell::decoder::{broker, providers, tokens};

/// What the host brokers.
pub(crate) struct Host;

impl Broker for Host {
    fn token_keys(&mut self) -> Vec<String> {
        tokens::keys()
    }

    fn token_decrypt(
        &mut self,
        key: TokenKey<'_>,
        hash: OaepHash,
        blob: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let key = match key {
            TokenKey::Configured(index) => tokens::TokenKey::Configured(index as u32),
            TokenKey::Given(file) => tokens::TokenKey::Given(file.to_vec()),
        };
        let hash = match hash {
            OaepHash::Sha1 => tokens::OaepHash::Sha1,
            OaepHash::Sha256 => tokens::OaepHash::Sha256,
        };
        tokens::decrypt(&key, hash, blob).map(Zeroizing::new).map_err(refusal)
    }

    fn provider_unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        parameters: &[Zeroizing<Vec<u8>>],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let parameters: Vec<_> = parameters.iter().map(|value| value.to_vec()).collect();
        providers::unwrap(name, wrapped, &parameters).map(Zeroizing::new).map_err(refusal)
    }
}

fn refusal(refusal: broker::Refusal) -> Refusal {
    match refusal {
        broker::Refusal::NotConfigured => Refusal::NotConfigured,
        broker::Refusal::Failed(_) => Refusal::Failed("it failed".to_owned()),
    }
}
