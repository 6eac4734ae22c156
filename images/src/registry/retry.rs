//! How often a request is repeated, and after how long.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::error::RegistryError;

/// How often a request is sent at most.
const ATTEMPTS: u32 = 6;
/// The first wait. Each further one is twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait that a registry may ask for.
pub const LONGEST: Duration = Duration::from_secs(60);

/// How long after its first failure an operation is still repeated.
const BUDGET: Duration = Duration::from_secs(300);
/// How often a wait looks whether it is to end.
const SLICE: Duration = Duration::from_millis(50);
/// A longer wait is told on standard error.
const UNNOTICED: Duration = Duration::from_secs(5);

/// The failures of an operation so far.
#[derive(Default)]
pub struct Failures {
    count: u32,
    first: Option<Instant>,
    /// Set when nobody waits for the operation any more.
    stop: Option<Arc<AtomicBool>>,
}

impl Failures {
    /// No failure yet, of an operation that ends when `stop` is set.
    pub fn until(stop: &Arc<AtomicBool>) -> Self {
        Self { stop: Some(stop.clone()), ..Self::default() }
    }

    /// Counts a failure, and waits as long as the registry at `host` asked for, or else a little longer
    /// each time. Returns false, at once, where the request is not to be repeated: it was sent too often
    /// or for too long, the registry asks for too long a wait, or nobody waits any more.
    pub fn wait(&mut self, host: &str, asked: Option<Duration>) -> bool {
        self.count += 1;
        let begun = self.first.get_or_insert_with(Instant::now).elapsed();
        let asked = asked.unwrap_or_default();
        if self.count >= ATTEMPTS || asked > LONGEST || begun + asked > BUDGET {
            return false;
        }
        if asked > UNNOTICED {
            // Who has closed standard error does not want to know.
            let _ = writeln!(io::stderr(), "`{host}` asks to wait {} s", asked.as_secs());
        }
        self.sleep(asked.max(jittered(FIRST * (1 << (self.count - 1)))))
    }

    /// Sleeps, and returns whether the operation is still to go on.
    fn sleep(&self, time: Duration) -> bool {
        let Some(stop) = &self.stop else {
            thread::sleep(time);
            return true;
        };
        let begun = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            match time.checked_sub(begun.elapsed()) {
                Some(left) => thread::sleep(left.min(SLICE)),
                None => return true,
            }
        }
        false
    }

    /// Begins to count again.
    pub fn forget(&mut self) {
        (self.count, self.first) = (0, None);
    }
}

/// Between half and all of the time, so that clients that failed together do not come back together.
fn jittered(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1024;
    time / 2 + time / 2 * u32::try_from(random).unwrap_or_default() / 1024
}

/// Repeats a request as long as another attempt may succeed: after an error if `may_pass` says so. The last
/// answer is returned, whatever its status is.
///
/// # Errors
/// No answer.
pub fn persist(
    failures: &mut Failures,
    host: &str,
    may_pass: impl Fn(&RegistryError) -> bool,
    mut send: impl FnMut() -> Result<Answer, RegistryError>,
) -> Result<Answer, RegistryError> {
    loop {
        let sent = send();
        let asked = match &sent {
            Ok(answer) if answer.is_transient() => answer.retry_after(),
            Err(error) if may_pass(error) => error.wait(),
            _ => return sent,
        };
        if !failures.wait(host, asked) {
            return sent;
        }
    }
}
