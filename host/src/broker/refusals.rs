//! Why key providers and tokens did not do what the guest asked for.
//!
//! A reason may name a module, a program or the file of a PIN, and quote what a provider printed. That
//! is for the operator: the guest gets a number, and the host adds the reasons to the message and the
//! log.

use crate::cleaned::{cleaned, cut};
use crate::contract::Failure;
use crate::log::Log;

/// Bytes of a reason at most: a provider's last words, and a path.
const MAX_REASON: usize = 1024;

/// Reasons that a message has at most. Those that it does not have go to the log.
const TOLD: usize = 3;

/// Reasons that are kept at most: one for each call that may be made, and a few of the host's own.
const MAX_KEPT: usize = crate::limits::BROKER_CALLS as usize + 8;

/// Bytes of the guest's own message where reasons are added to it: they must not be what is cut off.
const MAX_BEFORE: usize = 1536;

/// What a client is told of a key file that came with the image, whatever the reason: else it would
/// learn which modules, tokens and keys the node has.
const OF_A_CLIENT: &str = "the key file that came with the image did not open it; the reason is in \
    the log only";

/// The way out of that, for the operator and for the client.
const CLIENT_HINT: &str = "the key file of a client may name the modules of `client-modules` in the \
    file that `OCICRYPT_CONFIG` names, or else those that the node's own key files name; the log of \
    `ctd-decoder` has the reason";

/// The reasons so far, each with a number.
#[derive(Default)]
pub struct Refusals(Vec<Reason>);

struct Reason {
    told: String,
    /// Further words, for the log alone.
    logged: Vec<String>,
    hint: Option<&'static str>,
}

impl Refusals {
    /// Keeps a reason, and returns its number. The same reason has the same number.
    pub fn keep(&mut self, reason: &str) -> u32 {
        self.number(fit(reason), None).0
    }

    /// Keeps why a key file of a client did not open a wrapped key. All of them have the same number.
    pub fn keep_of_a_client(&mut self, reason: &str) -> u32 {
        let (number, kept) = self.number(OF_A_CLIENT.to_owned(), Some(CLIENT_HINT));
        let reason = format!("the key file of a client was refused: {}", fit(reason));
        if !kept.logged.contains(&reason) && kept.logged.len() < MAX_KEPT {
            kept.logged.push(reason);
        }
        number
    }

    fn number(&mut self, told: String, hint: Option<&'static str>) -> (u32, &mut Reason) {
        let known = self.0.iter().position(|reason| reason.told == told);
        let place = known.unwrap_or_else(|| {
            self.0.truncate(MAX_KEPT);
            self.0.push(Reason { told, logged: Vec::new(), hint });
            self.0.len() - 1
        });
        (place as u32 + 1, &mut self.0[place])
    }

    /// Adds the reasons that the failure is about, as the guest says, to its message. What is not told
    /// there is noted in the log, so that a guest cannot hide it.
    pub fn tell(&self, mut failure: Failure, log: &Log) -> Failure {
        let mut numbers = std::mem::take(&mut failure.refusals);
        numbers.retain(|number| self.of(*number).is_some());
        let mut told: Vec<u32> = Vec::new();
        for number in numbers {
            if told.len() < TOLD && !told.contains(&number) {
                told.push(number);
            }
        }
        if !told.is_empty() {
            cut(&mut failure.message, MAX_BEFORE);
        }
        for number in &told {
            let Some(reason) = self.of(*number) else { continue };
            failure.message += &format!("; ({number}) {}", reason.told);
            failure.hints.splice(0..0, reason.hint.map(str::to_owned));
        }
        for (number, reason) in (1..).zip(&self.0) {
            if !told.contains(&number) {
                log.note(&format!("refused ({number}): {}", reason.told));
            }
            reason.logged.iter().for_each(|line| log.note(line));
        }
        failure
    }

    fn of(&self, number: u32) -> Option<&Reason> {
        self.0.get((number as usize).checked_sub(1)?)
    }
}

/// Fit for a message, and not too long for it.
fn fit(reason: &str) -> String {
    let mut reason = cleaned(reason);
    cut(&mut reason, MAX_REASON);
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Destination;
    use crate::words::with_hint;

    fn told(refusals: &Refusals, numbers: &[u32]) -> Failure {
        let log = Log::open(&Destination::Off, std::time::Instant::now());
        let failure = with_hint("x".repeat(10_000), "hint");
        refusals.tell(Failure { refusals: numbers.to_vec(), ..failure }, &log)
    }

    #[test]
    fn the_same_reason_has_the_same_number() {
        let mut refusals = Refusals::default();
        let numbers = ["a", "b", "a\u{202e}", "c"].map(|reason| refusals.keep(reason));
        assert_eq!(numbers, [1, 2, 1, 3]);
        let of_clients = ["no token", "wrong PIN"].map(|reason| refusals.keep_of_a_client(reason));
        assert_eq!(of_clients, [4, 4]);
        let numbers = (0..1000).map(|n| refusals.keep(&format!("reason {n}")));
        assert!(numbers.max() <= Some(MAX_KEPT as u32 + 1));
    }

    #[test]
    fn reasons_follow_the_message_in_the_order_that_the_guest_says() {
        let mut refusals = Refusals::default();
        refusals.keep("one\nline");
        refusals.keep(&"y".repeat(100_000));
        refusals.keep_of_a_client("no token");
        let failure = told(&refusals, &[2, 0, 2, 99, u32::MAX, 1, 3]);
        assert!(failure.message.len() < 4096, "{} bytes", failure.message.len());
        let first = failure.message.find("; (2) y");
        assert!(first < failure.message.find("; (1) one line; (3) the key file"));
        assert!(first.is_some() && !failure.message.contains("no token"));
        assert_eq!(failure.hints, [CLIENT_HINT, "hint"]);
        assert_eq!(told(&refusals, &[]).message.len(), 10_000);
    }
}
