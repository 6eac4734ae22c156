//! The uploads that are open, which a registry would keep for days if they were not cancelled.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::url::Url;
use crate::interrupt::OnSignal;

/// How long a registry may take to cancel an upload.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long all uploads may take to be cancelled when a signal ends the program.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(5);

/// The uploads to a repository that are open.
pub struct Uploads {
    shared: Arc<Shared>,
    _on_signal: OnSignal,
}

struct Shared {
    client: Arc<Client>,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    open: BTreeMap<u64, Place>,
    /// Whether a signal ends the program.
    ends: bool,
}

struct Place {
    /// Where the next request goes to.
    url: Url,
    /// Whether a request is being sent.
    busy: bool,
}

/// An upload that is open. It is cancelled if it is dropped before it is completed.
pub struct Open {
    number: u64,
    shared: Arc<Shared>,
}

impl Uploads {
    /// No upload, yet. A signal cancels those that are open then.
    pub fn new(client: &Arc<Client>) -> Self {
        let (client, state, idle) = (client.clone(), Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { client, state, idle });
        let of_signal = shared.clone();
        Self { shared, _on_signal: OnSignal::new(move || of_signal.end()) }
    }

    /// Keeps an upload that was just opened. If a signal ends the program, the upload is cancelled, and
    /// this does not return.
    pub fn add(&self, url: Url) -> Open {
        let mut state = self.shared.lock();
        if state.ends {
            drop(state);
            self.shared.cancel(url);
            wait_for_the_end();
        }
        state.next += 1;
        let number = state.next;
        state.open.insert(number, Place { url, busy: false });
        Open { number, shared: self.shared.clone() }
    }
}

impl Shared {
    /// Cancels all uploads. docker-registry 2.8 does not cancel one of which it gets a chunk at the
    /// same moment, so such a request may first come to its end.
    fn end(&self) {
        let begun = Instant::now();
        let mut state = self.lock();
        state.ends = true;
        let left = || PATIENCE_FOR_ALL.saturating_sub(begun.elapsed());
        let busy = |state: &mut State| state.open.values().any(|place| place.busy);
        let waited = self.idle.wait_timeout_while(state, left() / 2, busy);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let open = std::mem::take(&mut state.open);
        drop(state);
        for place in open.into_values().take_while(|_| !left().is_zero()) {
            self.cancel(place.url);
        }
    }

    fn cancel(&self, url: Url) {
        self.client.cancel(url, PATIENCE);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Sends a request of this upload. If a signal ends the program, this does not return.
    pub fn send<T>(&self, send: impl FnOnce(Url) -> T) -> T {
        let mut state = self.shared.lock();
        let ends = state.ends;
        let place = state.open.get_mut(&self.number).filter(|_| !ends);
        let url = place.map(|place| {
            place.busy = true;
            place.url.clone()
        });
        drop(state);
        let Some(url) = url else { wait_for_the_end() };
        let sent = send(url);
        if let Some(place) = self.shared.lock().open.get_mut(&self.number) {
            place.busy = false;
        }
        self.shared.idle.notify_all();
        sent
    }

    /// Sets where the next request goes to.
    pub fn set_url(&self, url: Url) {
        if let Some(place) = self.shared.lock().open.get_mut(&self.number) {
            place.url = url;
        }
    }

    /// The upload is complete.
    pub fn close(self) {
        self.shared.lock().open.remove(&self.number);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let place = self.shared.lock().open.remove(&self.number);
        if let Some(place) = place {
            self.shared.cancel(place.url);
        }
    }
}

/// Another thread removes what is not complete, and then ends the program by the signal. An error in
/// this thread would end it before.
fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}
