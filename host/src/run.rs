//! The whole of a decoder: from what containerd gave to the exit code.

use std::process::ExitCode;
use std::time::Instant;

use crate::event::Verdict;
use crate::failures::Ending;
use crate::log::Log;
use crate::{Artefact, Limits, ahead, args, descriptors, limits, message, steps};

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
    keycell_walls::relocated::protect();
    ahead::map();
    message::speak_on_panic();
    let _ = keycell_walls::memory::no_dump(); // the payload may hold keys; told of later
    let job = match args::parse(std::env::args_os()) {
        Ok(args::Request::Decrypt(job)) => job,
        Ok(args::Request::Print(text)) => return message::print(&text),
        Err(failure) => return message::fail(&failure, None),
    };
    // Before anything else is opened: it would get the number of a descriptor that is missing.
    let payload = descriptors::take_payload(limits::PAYLOAD);
    let log = Log::open(&job.log, started);
    log.layer().starts();
    let ended = steps::run(&job, payload, guest, limits, &log);
    keycell_walls::wiping::wipe_stack();
    match ended {
        Ok(()) => {
            log.end(&Verdict::Decrypted);
            ExitCode::SUCCESS
        }
        Err(Ending::Failed(failure)) => message::fail(&failure, Some(&log)),
        Err(Ending::OfManifests(failure, manifests)) => {
            message::fail_naming(&failure, &manifests, Some(&log))
        }
        Err(Ending::ReaderGone) => {
            log.end(&Verdict::Abandoned);
            ExitCode::FAILURE
        }
    }
}
