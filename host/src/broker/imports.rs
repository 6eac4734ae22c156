//! What the guest may ask the broker while it unwraps. The guest gets what was opened or, for a
//! failure, its number among the [`Refusals`].

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keycell_broker_protocol as protocol;
use keycell_core::context::BrokerImports;
use keycell_core::contract::{broker, providers, tokens};
use keycell_core::lock;
use protocol::{Request, Response};
use wasmtime::Result;
use zeroize::Zeroizing;

use super::client::{Broker, BrokerError};
use super::refusals::Refusals;
use crate::report::event::ProviderCalls;

/// The broker, shared by an instance, which asks it, and the host, which reports the refusals.
#[derive(Clone)]
pub struct SharedBroker(Arc<Mutex<State>>);

struct State {
    broker: Broker,
    refusals: Refusals,
    /// The keys in tokens, in a form that may be shown.
    tokens: Vec<String>,
    /// The calls of each provider, for the log.
    calls: Vec<ProviderCalls>,
}

impl SharedBroker {
    /// `tokens` are the keys in tokens, in a form that may be shown.
    pub fn new(broker: Broker, tokens: Vec<String>) -> Self {
        let (refusals, calls) = Default::default();
        Self(Arc::new(Mutex::new(State { broker, refusals, tokens, calls })))
    }

    /// Ends the broker, and returns the reasons of its refusals and the calls of its providers.
    pub fn end(self) -> (Refusals, Vec<ProviderCalls>) {
        let mut state = lock(&self.0);
        state.broker = Broker::none();
        (std::mem::take(&mut state.refusals), std::mem::take(&mut state.calls))
    }
}

impl State {
    /// Counts a call of the provider `name`. A name that no configuration has is not counted, and a
    /// call that the broker did not get is none.
    fn count(
        &mut self,
        name: String,
        response: &std::result::Result<Response, BrokerError>,
        took: Duration,
    ) {
        let failures = match response {
            Ok(Response::Opened(_)) => 0,
            Ok(Response::NotConfigured | Response::OtherProviders(_))
            | Err(BrokerError::Exhausted) => return,
            Ok(_) | Err(_) => 1,
        };
        match self.calls.iter_mut().find(|calls| calls.name == name) {
            None => self.calls.push(ProviderCalls { name, requests: 1, failures, took }),
            Some(calls) => {
                calls.requests += 1;
                calls.failures += failures;
                calls.took += took;
            }
        }
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
        let mut state = lock(&self.0);
        let (called, is_running) = (name.clone(), state.broker.is_configured());
        let started = Instant::now();
        let response = state.broker.ask(|milliseconds| Request::Provider {
            name,
            wrapped,
            parameters,
            milliseconds,
        });
        if is_running {
            state.count(called, &response, started.elapsed());
        }
        drop(state);
        Ok(self.answer(response, Asker::Node))
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
        let (key, asker) = match key {
            tokens::TokenKey::Configured(index) => {
                (protocol::TokenKey::Configured(index), Asker::Node)
            }
            tokens::TokenKey::Given(file) => {
                let file = Zeroizing::new(file);
                (protocol::TokenKey::Given(file), Asker::Client)
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
        Ok(self.answer(response, asker))
    }
}

/// Whose key or provider the broker was asked for.
#[derive(Clone, Copy)]
enum Asker {
    /// The node's.
    Node,
    /// A client's, which is not told what is wrong with the node.
    Client,
}

impl SharedBroker {
    /// Returns what the guest asked for, or a number in place of the reason.
    fn answer(
        &self,
        response: std::result::Result<Response, BrokerError>,
        asker: Asker,
    ) -> std::result::Result<Vec<u8>, broker::Refusal> {
        let refusals = &mut lock(&self.0).refusals;
        let why = match response {
            Ok(Response::Opened(options)) => return Ok(options.to_vec()),
            Ok(Response::NotConfigured) => return Err(broker::Refusal::NotConfigured),
            Ok(Response::OtherProviders(names)) => {
                refusals.keep_providers(&names);
                return Err(broker::Refusal::NotConfigured);
            }
            Ok(Response::ClientKeyFailed { dropped, why }) => {
                let number = refusals.keep_of_a_client(&dropped, &why);
                return Err(broker::Refusal::Failed(number));
            }
            Ok(Response::Failed(why)) => BrokerError::Answered(why),
            Ok(Response::Keys(_)) => BrokerError::WrongAnswer,
            Err(error) => error,
        };
        let number = match asker {
            Asker::Node => refusals.keep(&why),
            Asker::Client => refusals.keep_of_a_client(&[], &why.to_string()),
        };
        Err(broker::Refusal::Failed(number))
    }
}
