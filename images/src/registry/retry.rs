//! How often a request is repeated, and after how long.

use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::Duration;

use super::answer::Answer;
use super::error::RegistryError;

/// How often a request is sent at most.
pub const ATTEMPTS: u32 = 6;
/// The first wait. Each further one is twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait that a registry may ask for.
const LONGEST: Duration = Duration::from_secs(60);

/// The failures of a request so far.
#[derive(Default)]
pub struct Failures(u32);

impl Failures {
    /// Counts a failure, and waits as long as the registry asked for, or else a little longer each
    /// time. Returns false, at once, where the request is not to be repeated: it was sent too often,
    /// or the registry asks for too long a wait.
    pub fn wait(&mut self, asked: Option<Duration>) -> bool {
        self.0 += 1;
        if self.0 >= ATTEMPTS || asked.is_some_and(|asked| asked > LONGEST) {
            return false;
        }
        thread::sleep(asked.unwrap_or_default().max(jittered(FIRST * (1 << (self.0 - 1)))));
        true
    }

    /// Begins to count again.
    pub fn forget(&mut self) {
        self.0 = 0;
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
    may_pass: impl Fn(&RegistryError) -> bool,
    mut send: impl FnMut() -> Result<Answer, RegistryError>,
) -> Result<Answer, RegistryError> {
    let mut failures = Failures::default();
    loop {
        let sent = send();
        let asked = match &sent {
            Ok(answer) if answer.is_transient() => answer.retry_after(),
            Err(error) if may_pass(error) => None,
            _ => return sent,
        };
        if !failures.wait(asked) {
            return sent;
        }
    }
}
