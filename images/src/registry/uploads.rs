//! The uploads that are open, which a registry would keep for days if they were not cancelled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::Method;

use super::client::{Client, Request};
use super::url::Url;
use crate::interrupt::OnSignal;

/// How long a registry may take to cancel an upload.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a registry may take to cancel all uploads when a signal ends the program.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(5);

/// The uploads to a repository that are open.
pub struct Uploads {
    state: Arc<Mutex<State>>,
    _on_signal: OnSignal,
}

#[derive(Default)]
struct State {
    next: u64,
    open: BTreeMap<u64, Url>,
    /// Whether a signal ends the program.
    ends: bool,
}

/// An upload that is open. It is cancelled if it is dropped before it is completed.
pub struct Open {
    number: u64,
    client: Arc<Client>,
    state: Arc<Mutex<State>>,
}

impl Uploads {
    /// No upload, yet. A signal cancels those that are open then.
    pub fn new(client: &Arc<Client>) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let (client, of_signal) = (client.clone(), state.clone());
        let _on_signal = OnSignal::new(move || {
            let mut state = lock(&of_signal);
            state.ends = true;
            let open = std::mem::take(&mut state.open);
            drop(state);
            let begun = Instant::now();
            for url in open.into_values() {
                if begun.elapsed() < PATIENCE_FOR_ALL {
                    cancel(&client, url);
                }
            }
        });
        Self { state, _on_signal }
    }

    /// Keeps an upload that was just opened. None, and the upload is cancelled, if a signal ends the
    /// program.
    pub fn add(&self, client: &Arc<Client>, url: Url) -> Option<Open> {
        let mut state = lock(&self.state);
        if state.ends {
            drop(state);
            cancel(client, url);
            return None;
        }
        state.next += 1;
        let number = state.next;
        state.open.insert(number, url);
        Some(Open { number, client: client.clone(), state: self.state.clone() })
    }
}

impl Open {
    /// Where the next request goes to. None if the upload was cancelled.
    pub fn url(&self) -> Option<Url> {
        lock(&self.state).open.get(&self.number).cloned()
    }

    /// Sets where the next request goes to.
    pub fn set_url(&self, url: Url) {
        if let Some(open) = lock(&self.state).open.get_mut(&self.number) {
            *open = url;
        }
    }

    /// The upload is complete, or the registry has forgotten it.
    pub fn close(self) {
        lock(&self.state).open.remove(&self.number);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let url = lock(&self.state).open.remove(&self.number);
        if let Some(url) = url {
            cancel(&self.client, url);
        }
    }
}

/// Nothing more can be done if this fails: the registry then cancels the upload some day.
fn cancel(client: &Client, url: Url) {
    let _ = client.send_once(&Request::new(Method::DELETE, url).patience(PATIENCE));
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
