//! `ctd-decoder` with another guest: the same program but for where the guest comes from and how
//! patient it is. Both come from the environment of this program, which `ctd-decoder` never reads.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::process::ExitCode;
use std::{env, fs, io};

use keycell_host::{Limits, NativeCode, native_code};

use crate::accident;

/// The variable with the path of the artefact.
pub const GUEST: &str = "KEYCELL_HOSTILE_GUEST";

/// The variable with the seconds that `unwrap` may take and `decrypt` may stall.
pub const SECONDS: &str = "KEYCELL_HOSTILE_SECONDS";

/// The variable that says that the artefact was compiled as the embedded guest is: without an epoch.
pub const UNINTERRUPTED: &str = "KEYCELL_HOSTILE_UNINTERRUPTED";

/// The value of [`GUEST`] for the guest that `ctd-decoder` has inside.
pub const EMBEDDED: &str = "embedded";

/// Whether the environment asks for a guest.
pub fn is_wanted() -> bool {
    env::var_os(GUEST).is_some()
}

/// [`keycell_host::main`] with the guest from the environment.
pub fn main() -> ExitCode {
    let Some(path) = env::var_os(GUEST) else {
        eprintln!("no guest: `{GUEST}` is the path of an artefact");
        return ExitCode::from(2);
    };
    let guest = if path == EMBEDDED { Ok(native_code::embedded()) } else { load(&path) };
    let guest = match guest {
        Ok(guest) if env::var_os(UNINTERRUPTED).is_some() => guest.uninterrupted(),
        Ok(guest) => guest,
        Err(error) => {
            eprintln!("no guest: {error}");
            return ExitCode::from(2);
        }
    };
    let mut limits = Limits::default();
    if let Some(seconds) = env::var(SECONDS).ok().and_then(|text| text.parse().ok()) {
        limits.unwrap_seconds = seconds;
        limits.stall_seconds = seconds;
    }
    accident::prepare();
    keycell_host::main_within(&guest, limits)
}

/// What an artefact has to be aligned to.
const PAGE: usize = 64 * 1024;

/// Reads an artefact into memory that is never freed.
#[expect(unsafe_code, reason = "native code is loaded")]
fn load(path: &std::ffi::OsStr) -> io::Result<NativeCode> {
    let file = fs::read(path)?;
    let layout = Layout::from_size_align(file.len().next_multiple_of(PAGE).max(PAGE), PAGE)
        .map_err(io::Error::other)?;
    // SAFETY: the layout is at least a page; the memory is zeroed, so all of it is initialized,
    // as long as the file that is copied to its start, and never freed.
    let bytes: &'static [u8] = unsafe {
        let memory = alloc_zeroed(layout);
        if memory.is_null() {
            handle_alloc_error(layout);
        }
        memory.copy_from_nonoverlapping(file.as_ptr(), file.len());
        std::slice::from_raw_parts(memory, file.len())
    };
    // SAFETY: aligned to 64 KiB; this package's build script compiled it with the engine's
    // compiler, and nothing has a pointer to it that could write.
    Ok(unsafe { NativeCode::from_trusted(bytes) })
}
