//! What the guest may ask the broker, while it unwraps. It learns what was opened, and of a failure its
//! number among the [`Refusals`].

use keycell_broker_protocol as protocol;
use protocol::{Request, Response};
use wasmtime::Result;
use zeroize::Zeroizing;

use crate::contract::keycell::decoder::{broker, providers, tokens};
use crate::instance::Instance;
use crate::refusals::Refusals;

impl broker::Host for Instance {}

impl providers::Host for Instance {
    fn unwrap(
        &mut self,
        name: String,
        wrapped: Vec<u8>,
        parameters: Vec<Vec<u8>>,
    ) -> Result<Result<Vec<u8>, broker::Refusal>> {
        let parameters = parameters.into_iter().map(Zeroizing::new).collect();
        let response = self.broker.ask(|milliseconds| Request::Provider {
            name,
            wrapped,
            parameters,
            milliseconds,
        });
        Ok(self.answer(response, Refusals::keep))
    }
}

impl tokens::Host for Instance {
    fn keys(&mut self) -> Result<Vec<String>> {
        Ok(self.tokens.clone())
    }

    fn decrypt(
        &mut self,
        key: tokens::TokenKey,
        hash: tokens::OaepHash,
        blob: Vec<u8>,
    ) -> Result<Result<Vec<u8>, broker::Refusal>> {
        let (key, keep): (_, Keep) = match key {
            tokens::TokenKey::Configured(index) => {
                (protocol::TokenKey::Configured(index), Refusals::keep)
            }
            tokens::TokenKey::Given(file) => {
                let file = Zeroizing::new(file);
                (protocol::TokenKey::Given(file), Refusals::keep_of_a_client)
            }
        };
        let hash = match hash {
            tokens::OaepHash::Sha1 => protocol::OaepHash::Sha1,
            tokens::OaepHash::Sha256 => protocol::OaepHash::Sha256,
        };
        let response =
            self.broker.ask(|milliseconds| Request::Token { key, hash, blob, milliseconds });
        Ok(self.answer(response, keep))
    }
}

/// How a reason is kept.
type Keep = fn(&mut Refusals, &str) -> u32;

impl Instance {
    /// The guest gets what was asked for, or a number in the place of the reason.
    fn answer(&mut self, response: Response, keep: Keep) -> Result<Vec<u8>, broker::Refusal> {
        let mut failed = |why: &str| Err(broker::Refusal::Failed(keep(&mut self.refusals, why)));
        match response {
            Response::Opened(options) => Ok(options.to_vec()),
            Response::NotConfigured => Err(broker::Refusal::NotConfigured),
            Response::Failed(why) => failed(&why),
            Response::Keys(_) => failed("the broker gave the wrong answer"),
        }
    }
}
