//! Key providers and tokens for `keycell`, in its own process.

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
    policy: Result<Policy, Refused>,
    tokens: Vec<Token>,
    providers: Result<Providers, Refused>,
}

impl Brokered {
    /// Finds PKCS#11 key files among the files of `ring`, and reads what the environment allows. An
    /// error in either is reported when a layer needs it; most layers do not.
    pub fn find(ring: &KeyRing) -> Self {
        let policy = Policy::find(|name| std::env::var_os(name));
        let tokens = ring.files().filter_map(|file| Token::parse(file.bytes)?.ok()).collect();
        Self {
            policy: policy.and_then(|policy| policy.ok_or(Refused::NotConfigured)),
            tokens,
            providers: configured_providers().and_then(|all| all.ok_or(Refused::NotConfigured)),
        }
    }
}

impl Brokered {
    /// The keys in tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter()
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
        let policy = self.policy.as_ref().map_err(refusal)?;
        let TokenKey::Configured(index) = key else { return Err(Refusal::NotConfigured) };
        let token = self.tokens.get(index).ok_or(Refusal::NotConfigured)?;
        let hash = match hash {
            OaepHash::Sha1 => tokens::OaepHash::Sha1,
            OaepHash::Sha256 => tokens::OaepHash::Sha256,
        };
        token.decrypt(policy, hash, blob).map_err(|refused| refusal(&refused))
    }

    fn provider_unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        parameters: &[Zeroizing<Vec<u8>>],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let providers = self.providers.as_ref().map_err(refusal)?;
        let unwrapped = providers.unwrap(name, wrapped, parameters, providers::TIMEOUT);
        unwrapped.map_err(|refused| refusal(&refused))
    }
}

fn refusal(refused: &Refused) -> Refusal {
    match refused {
        Refused::NotConfigured => Refusal::NotConfigured,
        Refused::Failed(why) => Refusal::Failed(why.to_string()),
    }
}
