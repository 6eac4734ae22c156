//! The guest, compiled ahead of time: embedded in the program, and run from where it lies.

use std::ptr::NonNull;
use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::{Config, CustomCodeMemory, Engine, Result};

/// Memory is protected in pages: 4 KiB on x86-64, at most 64 KiB on aarch64.
#[repr(C, align(65536))]
struct PageAligned<T: ?Sized>(T);

static EMBEDDED: &PageAligned<[u8]> =
    &PageAligned(*include_bytes!(concat!(env!("OUT_DIR"), "/decoder.cwasm")));

/// The digest of the component that it was compiled from, `dist/decoder.wasm`.
const EMBEDDED_DIGEST: &str = include_str!(concat!(env!("OUT_DIR"), "/decoder.digest"));

/// A guest compiled by this project's compiler for this engine.
pub struct Artefact {
    bytes: &'static [u8],
    digest: Option<String>,
}

/// The decoder guest that this program was built with.
pub fn embedded() -> Artefact {
    Artefact { bytes: &EMBEDDED.0, digest: Some(EMBEDDED_DIGEST.to_owned()) }
}

impl Artefact {
    /// Takes native code from elsewhere, for a guest other than the embedded one.
    ///
    /// # Safety
    /// The bytes are executed: they must be what [`keycell_engine`]'s compiler returned, aligned
    /// to 64 KiB, and nobody else may ever have been able to write to them.
    #[expect(unsafe_code, reason = "the caller vouches for native code")]
    pub unsafe fn from_trusted(bytes: &'static [u8]) -> Self {
        Self { bytes, digest: None }
    }

    /// The digest of the guest that it was compiled from, if that is known: `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// An engine, and the guest in it. Nothing is copied: the code runs from where the program
    /// was mapped.
    ///
    /// # Errors
    /// Where the artefact was compiled for another engine, CPU or version.
    #[expect(unsafe_code, reason = "native code is loaded")]
    pub fn load(&self) -> Result<(Engine, Component)> {
        let mut config: Config = keycell_engine::config(None)?;
        config.with_custom_code_memory(Some(Arc::new(InPlace)));
        let engine = Engine::new(&config)?;
        let memory = NonNull::from(self.bytes);
        // SAFETY: `bytes` lives as long as the program, is written by nobody (it is `.rodata`, or
        // `from_trusted`'s caller vouched), and came from the compiler in `build.rs`.
        let component = unsafe { Component::deserialize_raw(&engine, memory)? };
        Ok((engine, component))
    }
}

/// Makes the code executable where it lies, and takes that back.
struct InPlace;

impl CustomCodeMemory for InPlace {
    fn required_alignment(&self) -> usize {
        rustix::param::page_size()
    }

    fn publish_executable(&self, code: *const u8, length: usize) -> Result<()> {
        protect(code, length, rustix::mm::MprotectFlags::EXEC)
    }

    fn unpublish_executable(&self, code: *const u8, length: usize) -> Result<()> {
        protect(code, length, rustix::mm::MprotectFlags::empty())
    }
}

/// Read-only, or read-only and executable: never writable.
#[expect(unsafe_code, reason = "memory protection is changed")]
fn protect(code: *const u8, length: usize, more: rustix::mm::MprotectFlags) -> Result<()> {
    let flags = rustix::mm::MprotectFlags::READ | more;
    // SAFETY: wasmtime calls this with the pages of the artefact's text section alone (the
    // section is padded to whole pages), which hold no Rust value that anyone writes to.
    unsafe { rustix::mm::mprotect(code.cast_mut().cast(), length, flags)? };
    Ok(())
}
