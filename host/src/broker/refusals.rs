//! Why key providers and tokens refused what the guest asked for.
//!
//! A reason may name a module, a program or the file of a PIN, and quote what a provider printed. Only
//! the operator may see that: the guest gets a number, and the host adds the reasons to the message and
//! the log.

use keycell_broker_protocol::Dropped;
use keycell_core::limits;
use keycell_core::sanitize::{cut, sanitize};
use keycell_diagnostic::hint::DecoderHint;

use crate::report::failure::Failure;
use crate::report::log::Log;

use super::client::BrokerError;

/// The longest reason, in bytes: enough for a provider's last line and a path.
const MAX_REASON: usize = 1024;

/// The most key providers whose names are in a message.
const MAX_PROVIDERS: usize = 8;

/// The most reasons in a message. The others go to the log.
const MAX_SHOWN: usize = 3;

/// The most reasons that are kept: one for each call that may be made, and a few of the host's own.
const MAX_KEPT: usize = limits::BROKER_CALLS as usize + 8;

/// The longest message of the guest, in bytes, to which reasons are added. It is cut, so that the
/// reasons are not.
const MAX_BEFORE: usize = 1536;

/// The text that a client is shown about a key file that came with the image, whatever the reason. A
/// precise reason would reveal which modules, tokens and keys the node has.
const OF_A_CLIENT: &str = "the key file that came with the image did not open it; the reason is in \
    the log only";

/// The reasons so far, each with a number.
#[derive(Default)]
pub struct Refusals {
    reasons: Vec<Reason>,
    /// What of the key files of clients was not used.
    dropped: Vec<Dropped>,
    /// The configured key providers, in a form that may be shown, if the guest asked for another one.
    providers: Option<String>,
}

struct Reason {
    shown: String,
    /// More details, only for the log.
    logged: Vec<String>,
    hint: Option<DecoderHint>,
}

impl Refusals {
    /// Keeps a reason with what mends it, and returns its number. The same reason has the same number.
    pub fn keep(&mut self, error: &BrokerError) -> u32 {
        self.number(fit(&error.to_string()), error.hint()).0
    }

    /// Keeps why a key file of a client did not open a wrapped key, and what of it was not used. All such
    /// reasons have the same number.
    pub fn keep_of_a_client(&mut self, dropped: &[Dropped], reason: &str) -> u32 {
        for part in dropped {
            if !self.dropped.contains(part) {
                self.dropped.push(*part);
            }
        }
        let (number, kept) = self.number(OF_A_CLIENT.to_owned(), Some(DecoderHint::ClientModules));
        let reason = format!("the key file of a client was refused: {}", fit(reason));
        if !kept.logged.contains(&reason) && kept.logged.len() < MAX_KEPT {
            kept.logged.push(reason);
        }
        number
    }

    /// Keeps the names of the configured key providers, because the guest asked for another one.
    pub fn keep_providers(&mut self, names: &[String]) {
        let mut shown: Vec<_> =
            names.iter().take(MAX_PROVIDERS).map(|name| format!("`{}`", sanitize(name))).collect();
        if names.len() > MAX_PROVIDERS {
            shown.push("others".to_owned());
        }
        self.providers = Some(fit(&shown.join(", ")));
    }

    fn number(&mut self, shown: String, hint: Option<DecoderHint>) -> (u32, &mut Reason) {
        let known = self.reasons.iter().position(|reason| reason.shown == shown);
        let place = known.unwrap_or_else(|| {
            self.reasons.truncate(MAX_KEPT);
            self.reasons.push(Reason { shown, logged: Vec::new(), hint });
            self.reasons.len() - 1
        });
        (place as u32 + 1, &mut self.reasons[place])
    }

    /// Adds to the failure's message the reasons that, according to the guest, caused it. The other
    /// reasons are noted in the log, so that a guest cannot hide them.
    pub fn add_to(&self, mut failure: Failure, numbers: Vec<u32>, log: &Log) -> Failure {
        let mut numbers = numbers;
        numbers.retain(|number| self.of(*number).is_some());
        let mut shown: Vec<u32> = Vec::new();
        for number in numbers {
            if shown.len() < MAX_SHOWN && !shown.contains(&number) {
                shown.push(number);
            }
        }
        if !shown.is_empty() {
            cut(&mut failure.diagnostic.message, MAX_BEFORE);
        }
        for number in &shown {
            let Some(reason) = self.of(*number) else { continue };
            failure.diagnostic.message += &format!("; ({number}) {}", reason.shown);
            if reason.shown == OF_A_CLIENT && !self.dropped.is_empty() {
                let names: Vec<_> = self.dropped.iter().map(|part| format!("`{part}`")).collect();
                failure.diagnostic.message +=
                    &format!("; of such a file, Keycell does not use {}", names.join(" and "));
            }
            failure.diagnostic.hints.splice(0..0, reason.hint.clone().map(Into::into));
        }
        if let Some(names) = &self.providers {
            failure.diagnostic.message += &match names.as_str() {
                "" => "; no key provider is configured".to_owned(),
                names => format!("; the key providers that are configured: {names}"),
            };
        }
        for (number, reason) in (1..).zip(&self.reasons) {
            if !shown.contains(&number) {
                log.note(&format!("refused ({number}): {}", reason.shown));
            }
            reason.logged.iter().for_each(|line| log.note(line));
        }
        failure
    }

    fn of(&self, number: u32) -> Option<&Reason> {
        self.reasons.get((number as usize).checked_sub(1)?)
    }
}

/// Sanitizes the reason for a message, and cuts it to the longest length.
fn fit(reason: &str) -> String {
    let mut reason = sanitize(reason);
    cut(&mut reason, MAX_REASON);
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use keycell_diagnostic::Diagnostic;
    use keycell_settings::Destination;

    fn shown(refusals: &Refusals, numbers: &[u32]) -> Diagnostic {
        let log = Log::open(&Destination::Off, std::time::Instant::now());
        let hint = DecoderHint::OfGuest("hint".to_owned());
        let failure = Diagnostic::new("x".repeat(10_000), hint).into();
        refusals.add_to(failure, numbers.to_vec(), &log).diagnostic
    }

    #[test]
    fn the_same_reason_has_the_same_number() {
        let mut refusals = Refusals::default();
        let mut keep = |reason: &str| refusals.keep(&BrokerError::Answered(reason.to_owned()));
        let numbers = ["a", "b", "a\u{202e}", "c"].map(&mut keep);
        assert_eq!(numbers, [1, 2, 1, 3]);
        let of_clients =
            ["no token", "wrong PIN"].map(|reason| refusals.keep_of_a_client(&[], reason));
        assert_eq!(of_clients, [4, 4]);
        assert_eq!(refusals.keep_of_a_client(&[Dropped::PinSource], "no token"), 4);
        let numbers =
            (0..1000).map(|n| refusals.keep(&BrokerError::Answered(format!("reason {n}"))));
        assert!(numbers.max() <= Some(MAX_KEPT as u32 + 1));
    }

    #[test]
    fn reasons_follow_the_message_in_the_order_that_the_guest_says() {
        let mut refusals = Refusals::default();
        refusals.keep(&BrokerError::Answered("one\nline".to_owned()));
        refusals.keep(&BrokerError::Answered("y".repeat(100_000)));
        refusals.keep_of_a_client(&[Dropped::Environment, Dropped::PinSource], "no token");
        refusals.keep_providers(&["a".to_owned(), "b".to_owned()]);
        let failure = shown(&refusals, &[2, 0, 2, 99, u32::MAX, 1, 3]);
        assert!(failure.message.len() < 4096, "{} bytes", failure.message.len());
        let first = failure.message.find("; (2) y");
        assert!(first < failure.message.find("; (1) one line; (3) the key file"));
        assert!(first.is_some() && !failure.message.contains("no token"));
        assert!(
            failure
                .message
                .contains("of such a file, Keycell does not use `module.env` and `pin-source`")
        );
        assert!(failure.message.ends_with("; the key providers that are configured: `a`, `b`"));
        let hints = [DecoderHint::ClientModules, DecoderHint::OfGuest("hint".to_owned())];
        assert_eq!(failure.hints, hints.map(Into::into));
        assert!(shown(&refusals, &[]).message.starts_with(&"x".repeat(10_000)));
    }
}
