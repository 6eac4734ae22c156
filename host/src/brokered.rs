//! What the guest may ask the broker, while it unwraps.

use keycell_broker_protocol as protocol;
use protocol::{Request, Response};
use wasmtime::Result;
use zeroize::Zeroizing;

use crate::contract::keycell::decoder::{broker, providers, tokens};
use crate::instance::Instance;

impl broker::Host for Instance {}

impl providers::Host for Instance {
    fn unwrap(
        &mut self,
        name: String,
        wrapped: Vec<u8>,
        parameters: Vec<Vec<u8>>,
    ) -> Result<Result<Vec<u8>, broker::Refusal>> {
        let parameters = parameters.into_iter().map(Zeroizing::new).collect();
        Ok(answer(self.broker.ask(|milliseconds| Request::Provider {
            name,
            wrapped,
            parameters,
            milliseconds,
        })))
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
        let key = match key {
            tokens::TokenKey::Configured(index) => protocol::TokenKey::Configured(index),
            tokens::TokenKey::Given(file) => protocol::TokenKey::Given(Zeroizing::new(file)),
        };
        let hash = match hash {
            tokens::OaepHash::Sha1 => protocol::OaepHash::Sha1,
            tokens::OaepHash::Sha256 => protocol::OaepHash::Sha256,
        };
        Ok(answer(self.broker.ask(|milliseconds| Request::Token { key, hash, blob, milliseconds })))
    }
}

fn answer(response: Response) -> Result<Vec<u8>, broker::Refusal> {
    match response {
        Response::Opened(options) => Ok(options.to_vec()),
        Response::NotConfigured => Err(broker::Refusal::NotConfigured),
        Response::Failed(_) => Err(broker::Refusal::Failed(0)),
        Response::Keys(_) => Err(broker::Refusal::Failed(0)),
    }
}
