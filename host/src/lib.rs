//! The host of Keycell's stream processor: it lends a WebAssembly guest what each step needs,
//! and decides itself whether the layer came out right.
//!
//! It parses nothing that an image or a key file says: payload and keys pass through as bytes.
//! The way of one layer: [`args`], [`config`] and [`descriptors`] take what containerd gave, [`steps`] runs
//! the guest's two steps with the grants of [`instance`], [`broker`] asks providers and tokens,
//! [`cipher`] decrypts, [`ledger`] keeps the books that decide, [`message`] is all that is ever
//! said, and [`log`] tells the operator.

pub mod args;
pub mod artefact;
pub mod broker;
pub mod brokered;
pub mod cipher;
pub mod config;
pub mod contract;
pub mod deadline;
pub mod descriptors;
pub mod event;
pub mod explain;
pub mod exposure;
pub mod failures;
pub mod instance;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod linger;
pub mod log;
pub mod message;
pub mod steps;
pub mod streams;

use std::process::ExitCode;
use std::time::Instant;

use event::Verdict;
use failures::Ending;
use log::Log;

pub use artefact::Artefact;
pub use limits::Limits;

/// Everything that `ctd-decoder` does, with `guest` as its guest.
///
/// Exit codes: 0, the whole layer was written and has verified; 1, it was not, and standard error
/// says why, except where nobody reads standard output any more.
pub fn main(guest: &Artefact) -> ExitCode {
    main_within(guest, Limits::default())
}

/// [`main`] with other limits: for tests, which do not wait for half a minute.
pub fn main_within(guest: &Artefact, limits: Limits) -> ExitCode {
    let started = Instant::now();
    message::speak_on_panic();
    let job = match args::parse(std::env::args_os()) {
        Ok(args::Request::Decrypt(job)) => job,
        Ok(args::Request::Print(text)) => return message::print(&text),
        Err(failure) => return message::fail(&failure, None),
    };
    // Before anything else is opened: it would get the number of a descriptor that is missing.
    let payload = descriptors::take_payload(limits::PAYLOAD);
    let log = Log::open(&job.log, started);
    log.layer().starts(guest.digest());
    match steps::run(&job, payload, guest, limits, &log) {
        Ok(()) => {
            log.end(&Verdict::Decrypted);
            ExitCode::SUCCESS
        }
        Err(Ending::Failed(failure)) => message::fail(&failure, Some(&log)),
        Err(Ending::ReaderGone) => {
            log.end(&Verdict::Abandoned);
            ExitCode::FAILURE
        }
    }
}
