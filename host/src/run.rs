//! A whole run of the decoder: from what containerd passes to the exit code.

use std::process::ExitCode;
use std::time::Instant;

use keycell_core::Limits;
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::DecoderHint;
use keycell_settings::{Destination, Request};
use keycell_walls::{memory, relro, zeroizing_alloc};

use crate::guests::native_code::NativeCode;
use crate::guests::shared::Run;
use crate::guests::steps;
use crate::guests::trap::GuestFailure;
use crate::input::payload;
use crate::report::event::Verdict;
use crate::report::failure::Ending;
use crate::report::log::Log;
use crate::report::{crash, message, stderr};
use crate::sandbox::deadline;
use crate::unix::{caller_limits, descriptors, prefault, signals};

/// Runs `ctd-decoder` with `guest` as its guest.
///
/// Exit codes: 0 if the whole layer was written and has verified; 1 if not. Standard error then says
/// why, unless nobody reads standard output any more.
pub fn main(guest: &NativeCode) -> ExitCode {
    main_within(guest, Limits::default())
}

/// Does the same as [`main`] with other limits. Tests use it, so that they do not wait for half a
/// minute.
pub fn main_within(guest: &NativeCode, limits: Limits) -> ExitCode {
    let started = Instant::now();
    // From here on, nothing ends the process without a message and, once there is a log, an event.
    signals::take_over(crash::on_signal);
    caller_limits::raise();
    crash::report_panics();
    zeroizing_alloc::when_exhausted(crash::out_of_memory);
    // This deadline holds until the guest's step gets its own: files may be on a drive that does not
    // answer.
    let timer = deadline::start();
    let wipes_stack = zeroizing_alloc::stack_can_be_wiped();
    deadline::arm(limits.unwrap_seconds);
    relro::protect();
    prefault::map();
    let _ = memory::no_dump(); // the payload may hold keys; if this fails, a wall is reported missing
    let settings = match keycell_settings::parse(std::env::args_os()) {
        Ok(Request::Decrypt(settings)) => settings,
        Ok(Request::Print(text)) => return stderr::print(&text),
        Err(error) => {
            // The requested log is not known, and containerd may lose what standard error says.
            let log = open_log(&Destination::System, started);
            return message::fail(&Diagnostic::from(error).into(), false, log);
        }
    };
    // This must happen before anything else is opened: a new file would get the number of a missing
    // descriptor.
    let payload = descriptors::inherited();
    let log = open_log(&settings.report.log, started);
    if let Some(limit) = caller_limits::too_few_descriptors() {
        return message::fail(&too_few_descriptors(limit).into(), false, log);
    }
    let payload = deadline::without(|| payload::read(payload));
    let run = Run { settings: &settings, limits, log };
    let ended = match timer {
        Ok(()) => steps::run(&run, payload, guest),
        Err(error) => Err(GuestFailure::Host(error.into()).into()),
    };
    if wipes_stack {
        zeroizing_alloc::wipe_stack();
    }
    match ended {
        Ok(()) => {
            log.end(&Verdict::Decrypted);
            ExitCode::SUCCESS
        }
        Err(Ending::Failed(failure)) => message::fail(&failure, settings.report.quiet_errors, log),
        Err(Ending::ReaderGone) => {
            log.end(&Verdict::Abandoned);
            ExitCode::FAILURE
        }
    }
}

/// Without it, the first file that cannot be opened would be named, which may be any.
fn too_few_descriptors(limit: u64) -> Diagnostic {
    let message = format!("no more than {limit} files can be open, and a run needs 8 or more");
    Diagnostic::new(message, DecoderHint::DescriptorLimit)
}

fn open_log(destination: &Destination, started: Instant) -> &'static Log {
    crash::watch(Log::open(destination, started))
}
