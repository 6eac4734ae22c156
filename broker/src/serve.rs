//! Answers the host's requests, one after the other, until the host closes the pipe.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use keycell_broker_protocol::{
    MAX_FRAME, OaepHash, Request, Response, TokenKey as Asked, read_frame, write_frame,
};

use crate::key_files::Sorted;
use crate::providers::Providers;
use crate::tokens::{Policy, TokenKey, printable};
use crate::{Failure, Refusal};

/// Serves until `requests` ends.
///
/// # Errors
/// A stream fails, or the host sends an invalid frame.
pub fn serve(mut requests: impl Read, mut answers: impl Write) -> io::Result<()> {
    let mut broker = Broker::default();
    while let Some(frame) = read_frame(&mut requests, MAX_FRAME)? {
        let request = Request::decode(&frame).map_err(|_| io::ErrorKind::InvalidData)?;
        let answer = broker.answer(request).unwrap_or_else(|refusal| match refusal {
            Refusal::NotConfigured => Response::NotConfigured,
            Refusal::Failed(failure) => Response::Failed(failure.to_string()),
        });
        write_frame(&mut answers, &answer.encode())?;
    }
    Ok(())
}

/// The key providers that `OCICRYPT_KEYPROVIDER_CONFIG` configures. None if it is not set.
///
/// # Errors
/// The configuration cannot be used.
pub fn configured_providers() -> Result<Option<Providers>, Refusal> {
    let path = std::env::var_os("OCICRYPT_KEYPROVIDER_CONFIG").filter(|path| !path.is_empty());
    path.map(|path| Providers::open(Path::new(&path))).transpose()
}

/// What is known from earlier requests.
#[derive(Default)]
struct Broker {
    tokens: Vec<TokenKey>,
    /// The policy, which is read at the first request for a token.
    policy: Option<Policy>,
    /// The providers, which are read at the first request for a provider.
    providers: Option<Providers>,
}

impl Broker {
    fn answer(&mut self, request: Request) -> Result<Response, Refusal> {
        match request {
            Request::Keys { path } => self.keys(Path::new(OsStr::from_bytes(&path))),
            Request::Token { key, hash, blob, milliseconds } => {
                let time = Duration::from_millis(milliseconds.into());
                match key {
                    Asked::Configured(index) => self.token(index, hash, &blob, time),
                    Asked::Given(file) => self.client_token(&file, hash, &blob, time),
                }
            }
            Request::Provider { name, wrapped, parameters, milliseconds } => {
                let providers = match self.providers.take() {
                    Some(providers) => providers,
                    None => configured_providers()?.ok_or(Refusal::NotConfigured)?,
                };
                let providers = self.providers.insert(providers);
                if providers.names().all(|known| known != name) {
                    return Ok(Response::OtherProviders(
                        providers.names().map(printable).collect(),
                    ));
                }
                let time = Duration::from_millis(milliseconds.into());
                providers.unwrap(&name, &wrapped, &parameters, time).map(Response::Opened)
            }
        }
    }

    fn keys(&mut self, path: &Path) -> Result<Response, Refusal> {
        self.policy()?;
        let sorted = Sorted::read(path).map_err(Failure::Keys)?;
        self.policy = self.policy.take().map(|policy| policy.for_clients_of(&sorted.tokens));
        self.tokens = sorted.tokens;
        Ok(Response::Keys(sorted.found))
    }

    fn token(
        &mut self,
        index: u32,
        hash: OaepHash,
        blob: &[u8],
        time: Duration,
    ) -> Result<Response, Refusal> {
        let policy = self.policy_within(time)?;
        let key = self.tokens.get(index as usize).ok_or(Refusal::NotConfigured)?;
        key.decrypt(&policy, hash, blob).map(Response::Opened)
    }

    /// Decrypts with the key that a client's key file names.
    fn client_token(
        &mut self,
        file: &[u8],
        hash: OaepHash,
        blob: &[u8],
        time: Duration,
    ) -> Result<Response, Refusal> {
        let policy = self.policy_within(time)?;
        let key = TokenKey::parse(file).ok_or(Failure::NoKeyFile)?.map_err(Failure::KeyFile)?;
        let dropped = key.dropped_of_a_stranger();
        match key.of_a_stranger().decrypt(&policy, hash, blob) {
            Ok(opened) => Ok(Response::Opened(opened)),
            Err(Refusal::NotConfigured) => Err(Refusal::NotConfigured),
            Err(Refusal::Failed(why)) => {
                Ok(Response::ClientKeyFailed { dropped, why: why.to_string() })
            }
        }
    }

    fn policy_within(&mut self, time: Duration) -> Result<Policy, Refusal> {
        self.policy()?;
        Ok(self.policy.as_ref().ok_or(Refusal::NotConfigured)?.clone().within(time))
    }

    /// Finds the policy, unless it was found before.
    fn policy(&mut self) -> Result<(), Refusal> {
        if self.policy.is_none() {
            self.policy = Policy::find(|name| std::env::var_os(name))?;
        }
        self.policy.as_ref().map(|_| ()).ok_or(Refusal::NotConfigured)
    }
}
