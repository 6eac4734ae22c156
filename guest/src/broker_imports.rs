//! The host's broker, as an implementation of the library's trait.

use ocicrypt::broker::{Broker, Refusal, TokenKey};
use ocicrypt::pkcs11::OaepHash;
use zeroize::Zeroizing;

use crate::bindings::keycell::decoder::{broker, providers, tokens};

/// The broker behind the imports `providers` and `tokens`.
#[derive(Default)]
pub(crate) struct Host {
    /// The numbers of the failures, each once, in their order.
    pub(crate) refusals: Vec<u32>,
}

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
        tokens::decrypt(&key, hash, blob).map(Zeroizing::new).map_err(|why| self.refusal(why))
    }

    fn provider_unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        parameters: &[Zeroizing<Vec<u8>>],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let parameters: Vec<_> = parameters.iter().map(|value| value.to_vec()).collect();
        let opened = providers::unwrap(name, wrapped, &parameters);
        opened.map(Zeroizing::new).map_err(|why| self.refusal(why))
    }
}

impl Host {
    /// The host knows the reason, and replaces the number in the message with it.
    fn refusal(&mut self, refusal: broker::Refusal) -> Refusal {
        match refusal {
            broker::Refusal::NotConfigured => Refusal::NotConfigured,
            broker::Refusal::Failed(number) => {
                if !self.refusals.contains(&number) {
                    self.refusals.push(number);
                }
                Refusal::Failed(format!("refused ({number})"))
            }
        }
    }
}
