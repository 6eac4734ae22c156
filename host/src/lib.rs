//! The host of Keycell's stream processor: it lends a WebAssembly guest what each step needs,
//! and decides itself whether the layer came out right.
//!
//! It parses nothing that an image or a key file says: payload and keys pass through as bytes.
//! The way of one layer: [`args`], [`config`] and [`descriptors`] take what containerd gave, [`store`]
//! finds the layer where that is no payload, [`walls`] are the operating system's, [`steps`] runs
//! the guest's two steps with the grants of [`instance`], [`broker`] asks providers and tokens,
//! [`cipher`] decrypts, [`ledger`] keeps the books that decide, and [`message`] is all that is ever
//! said.

pub mod args;
pub mod artefact;
pub mod broker;
pub mod brokered;
pub mod choice;
pub mod cipher;
pub mod cleaned;
pub mod command;
pub mod config;
pub mod contract;
pub mod deadline;
pub mod descriptors;
pub mod explain;
pub mod failures;
pub mod input;
pub mod installed;
pub mod instance;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod linger;
pub mod message;
pub mod record;
pub mod spool;
pub mod steps;
pub mod store;
pub mod streams;
pub mod walls;
pub mod wasip1;

use std::process::ExitCode;

use failures::Ending;

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
    message::speak_on_panic();
    let _ = keycell_walls::memory::no_dump(); // the payload may hold keys; told of later
    let job = match args::parse(std::env::args_os()) {
        Ok(args::Request::Decrypt(job)) => job,
        Ok(args::Request::Print(text)) => return message::print(&text),
        Err(failure) => return message::fail(&failure, None),
    };
    // Before anything else is opened: it would get the number of a descriptor that is missing.
    let payload = descriptors::take_payload(limits::PAYLOAD);
    let log = message::Log::open(job.log.as_deref());
    let ended = steps::run(&job, payload, guest, limits, &log);
    keycell_walls::wiping::wipe_stack();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ending::Failed(failure)) => message::fail(&failure, Some(&log)),
        Err(Ending::ReaderGone) => {
            log.write("nobody reads the plain layer any more");
            ExitCode::FAILURE
        }
    }
}
