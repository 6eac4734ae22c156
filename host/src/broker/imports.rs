//! What the guest may ask the broker while it unwraps. The guest gets what was opened or, for a
//! failure, its number among the [`Refusals`].

use std::sync::{Arc, Mutex};

use keycell_broker_protocol as protocol;
use keycell_core::context::BrokerImports;
use keycell_core::contract::{broker, providers, tokens};
use keycell_core::lock;
use protocol::{Request, Response};
use wasmtime::Result;
use zeroize::Zeroizing;

use super::client::{Broker, BrokerError};
use super::refusals::Refusals;

/// The broker, shared by an instance, which asks it, and the host, which reports the refusals.
#[derive(Clone)]
pub struct SharedBroker(Arc<Mutex<State>>);

struct State {
    broker: Broker,
    refusals: Refusals,
    /// The keys in tokens, in a form that may be shown.
    tokens: Vec<String>,
}

impl SharedBroker {
    /// `tokens` are the keys in tokens, in a form that may be shown.
    pub fn new(broker: Broker, tokens: Vec<String>) -> Self {
        Self(Arc::new(Mutex::new(State { broker, refusals: Refusals::default(), tokens })))
    }

    /// Ends the broker, and returns the reasons of its refusals.
    pub fn end(self) -> Refusals {
        let mut state = lock(&self.0);
        state.broker = Broker::none();
        std::mem::take(&mut state.refusals)
    }
}

impl BrokerImports for SharedBroker {
    fn seconds(&self) -> u64 {
        lock(&self.0).broker.seconds()
    }
}

impl broker::Host for SharedBroker {}

impl providers::Host for SharedBroker {
    fn unwrap(
        &mut self,
        name: String,
        wrapped: Vec<u8>,
        parameters: Vec<Vec<u8>>,
    ) -> Result<std::result::Result<Vec<u8>, broker::Refusal>> {
        let parameters = parameters.into_iter().map(Zeroizing::new).collect();
        let response = lock(&self.0).broker.ask(|milliseconds| Request::Provider {
            name,
            wrapped,
            parameters,
            milliseconds,
        });
        Ok(self.answer(response, Refusals::keep))
    }
}

impl tokens::Host for SharedBroker {
    fn keys(&mut self) -> Result<Vec<String>> {
        Ok(lock(&self.0).tokens.clone())
    }

    fn decrypt(
        &mut self,
        key: tokens::TokenKey,
        hash: tokens::OaepHash,
        blob: Vec<u8>,
    ) -> Result<std::result::Result<Vec<u8>, broker::Refusal>> {
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
        let response = lock(&self.0).broker.ask(|milliseconds| Request::Token {
            key,
            hash,
            blob,
            milliseconds,
        });
        Ok(self.answer(response, keep))
    }
}

/// The function that keeps a reason.
type Keep = fn(&mut Refusals, &str) -> u32;

impl SharedBroker {
    /// Returns what the guest asked for, or a number in place of the reason.
    fn answer(
        &self,
        response: std::result::Result<Response, BrokerError>,
        keep: Keep,
    ) -> std::result::Result<Vec<u8>, broker::Refusal> {
        let why = match response {
            Ok(Response::Opened(options)) => return Ok(options.to_vec()),
            Ok(Response::NotConfigured) => return Err(broker::Refusal::NotConfigured),
            Ok(Response::Failed(why)) => why,
            Ok(Response::Keys(_)) => BrokerError::WrongAnswer.to_string(),
            Err(error) => error.to_string(),
        };
        Err(broker::Refusal::Failed(keep(&mut lock(&self.0).refusals, &why)))
    }
}
