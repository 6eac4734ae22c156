//! Key providers and tokens, for an operator who decrypts by hand: in this very process.

use anyhow::Result;
use keycell_broker::Refusal as Refused;
use keycell_broker::providers::{self, Providers};
use keycell_broker::serve::configured_providers;
use keycell_broker::tokens::{self, Policy, TokenKey as Token};
use ocicrypt::broker::{Broker, Refusal, TokenKey};
use ocicrypt::keyring::KeyRing;
use ocicrypt::pkcs11::OaepHash;
use zeroize::Zeroizing;

/// What the environment configures.
pub struct Brokered {
    policy: Option<Policy>,
    tokens: Vec<Token>,
    providers: Option<Providers>,
}

impl Brokered {
    /// Finds PKCS#11 key files among the files of `ring`, and what the environment allows.
    ///
    /// # Errors
    /// A configuration that is of no use.
    pub fn find(ring: &KeyRing) -> Result<Self> {
        let failed = |refusal: Refused| anyhow::anyhow!("{refusal}");
        let policy = Policy::find(|name| std::env::var_os(name)).map_err(failed)?;
        let tokens = ring.files().filter_map(|file| Token::parse(file.bytes)?.ok()).collect();
        let providers = configured_providers().map_err(failed)?;
        Ok(Self { policy, tokens, providers })
    }
}

impl Broker for Brokered {
    fn token_keys(&mut self) -> Vec<String> {
        self.tokens.iter().map(Token::shown).collect()
    }

    fn token_decrypt(
        &mut self,
        key: TokenKey<'_>,
        hash: OaepHash,
        blob: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let (policy, TokenKey::Configured(index)) = (self.policy.as_ref(), key) else {
            return Err(Refusal::NotConfigured);
        };
        let (Some(policy), Some(token)) = (policy, self.tokens.get(index)) else {
            return Err(Refusal::NotConfigured);
        };
        let hash = match hash {
            OaepHash::Sha1 => tokens::OaepHash::Sha1,
            OaepHash::Sha256 => tokens::OaepHash::Sha256,
        };
        token.decrypt(policy, hash, blob).map_err(refusal)
    }

    fn provider_unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        parameters: &[Zeroizing<Vec<u8>>],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let providers = self.providers.as_ref().ok_or(Refusal::NotConfigured)?;
        providers.unwrap(name, wrapped, parameters, providers::TIMEOUT).map_err(refusal)
    }
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::NotConfigured => Refusal::NotConfigured,
        Refused::Failed(why) => Refusal::Failed(why),
    }
}
