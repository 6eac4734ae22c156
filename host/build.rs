//! Builds the guest for the decoder; for the flags and the configuration alone there is nothing to do.

#[cfg(feature = "runtime")]
#[path = "build/guest.rs"]
mod guest;

#[cfg(feature = "runtime")]
fn main() -> anyhow::Result<()> {
    guest::build()
}

#[cfg(not(feature = "runtime"))]
fn main() {}
