//! The whole of a decoder: from what containerd gave to the exit code.

use std::process::ExitCode;
use std::time::Instant;

use crate::args::Destination;
use crate::event::Verdict;
use crate::failures::Ending;
use crate::log::Log;
use crate::{
    Artefact, Limits, ahead, args, crash, deadline, descriptors, failures, limits, message,
    signals, steps,
};

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
    // From here on nothing ends the process without a message, and, once there is a log, an event.
    signals::take_over();
    message::speak_on_panic();
    keycell_walls::zeroizing_alloc::when_exhausted(crash::out_of_memory);
    // Until the guest's step has its own: files may lie on a drive that does not answer.
    let timer = deadline::start();
    let wipes_stack = keycell_walls::zeroizing_alloc::stack_can_be_wiped();
    deadline::arm(limits.unwrap_seconds);
    keycell_walls::relro::protect();
    ahead::map();
    let _ = keycell_walls::memory::no_dump(); // the payload may hold keys; told of later
    let job = match args::parse(std::env::args_os()) {
        Ok(args::Request::Decrypt(job)) => job,
        Ok(args::Request::Print(text)) => return message::print(&text),
        Err(failure) => {
            // Which log was wanted is not known, and containerd may lose what standard error says.
            let log = open_log(&Destination::System, started);
            return message::fail(&failure, log);
        }
    };
    // Before anything else is opened: it would get the number of a descriptor that is missing.
    let payload = descriptors::inherited();
    let log = open_log(&job.log, started);
    let payload = deadline::without(|| descriptors::read_payload(payload, limits::PAYLOAD));
    let ended = match timer {
        Ok(()) => steps::run(&job, payload, guest, limits, log),
        Err(error) => Err(failures::broken_host(error.into()).into()),
    };
    if wipes_stack {
        keycell_walls::zeroizing_alloc::wipe_stack();
    }
    match ended {
        Ok(()) => {
            log.end(&Verdict::Decrypted);
            ExitCode::SUCCESS
        }
        Err(Ending::Failed(failure)) if job.quiet_errors => {
            message::fail_quietly(&failure, &[], log)
        }
        Err(Ending::OfManifests(failure, manifests)) if job.quiet_errors => {
            message::fail_quietly(&failure, &manifests, log)
        }
        Err(Ending::Failed(failure)) => message::fail(&failure, log),
        Err(Ending::OfManifests(failure, manifests)) => {
            message::fail_naming(&failure, &manifests, log)
        }
        Err(Ending::ReaderGone) => {
            log.end(&Verdict::Abandoned);
            ExitCode::FAILURE
        }
    }
}

fn open_log(destination: &Destination, started: Instant) -> &'static Log {
    crash::watch(Log::open(destination, started))
}
