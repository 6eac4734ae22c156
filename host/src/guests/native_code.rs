//! Native code of guests, compiled ahead of time. It is embedded in the program and executed in place,
//! where the system has mapped it as code, or read from the guest store into memory that no other process can write to.

use std::fs::File;
use std::io::Read;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use keycell_diagnostic::os_error;
use keycell_engine::Interruption;
use keycell_guest_store::record::Digest;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use wasmtime::component::Component;
use wasmtime::{Config, CustomCodeMemory, Engine, Module, Result};

/// Memory is protected in pages: 4 KiB on x86-64, at most 64 KiB on aarch64.
#[cfg_attr(target_arch = "x86_64", repr(C, align(4096)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C, align(65536)))]
struct PageAligned<T: ?Sized>(T);

const CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/decoder.cwasm"));

/// It lies among the program's own code, so the system maps it from the program's file as code: memory
/// that becomes executable later is what `MemoryDenyWriteExecute` of a service forbids.
#[expect(unsafe_code, reason = "the section decides that the code is executable")]
// SAFETY: the section has no other name of this kind, and these bytes are only executed where they are
// functions.
#[unsafe(link_section = ".text.keycell_guest")]
static EMBEDDED: PageAligned<[u8; CODE.len()]> =
    PageAligned(*include_bytes!(concat!(env!("OUT_DIR"), "/decoder.cwasm")));

/// The digest of the component that it was compiled from, `dist/decoder.wasm`.
const EMBEDDED_DIGEST: &str = include_str!(concat!(env!("OUT_DIR"), "/decoder.digest"));

/// A guest compiled by this project's compiler for this engine.
#[derive(Clone, Copy)]
pub struct NativeCode {
    bytes: &'static [u8],
    digest: Option<&'static str>,
    interruption: Interruption,
    memory: InPlace,
}

/// The decoder guest that this program was built with.
pub fn embedded() -> NativeCode {
    NativeCode {
        bytes: &EMBEDDED.0,
        digest: Some(EMBEDDED_DIGEST),
        interruption: Interruption::None,
        memory: InPlace::Executable,
    }
}

impl NativeCode {
    /// Takes native code from another source, for a guest other than the embedded one.
    ///
    /// # Safety
    /// The bytes are executed: they must be what [`keycell_engine`]'s compiler returned and aligned to
    /// pages, and nothing else may ever have been able to write to them.
    #[expect(unsafe_code, reason = "the caller vouches for native code")]
    pub unsafe fn from_trusted(bytes: &'static [u8]) -> Self {
        let (interruption, memory) = (Interruption::Epoch, InPlace::ReadOnly);
        Self { bytes, digest: None, interruption, memory }
    }

    /// The same code, which was compiled as the embedded guest's is: it compares no epoch. An engine refuses it if
    /// that is not so.
    #[must_use]
    pub fn uninterrupted(self) -> Self {
        Self { interruption: Interruption::None, ..self }
    }

    /// The digest of the guest that it was compiled from, if it is known: `sha256:…`.
    pub fn digest(&self) -> Option<&'static str> {
        self.digest
    }

    /// Reads `length` bytes of native code, and accepts them if their digest is `expected`. The digest
    /// is that of the bytes that are executed, not of a file that may have changed since.
    ///
    /// # Errors
    /// The file cannot be read, or is shorter. It returns `Ok(None)` if the digest differs.
    ///
    /// # Safety
    /// `expected` must be the digest of what [`keycell_engine`]'s compiler returned.
    #[expect(unsafe_code, reason = "the caller vouches for native code; memory is mapped")]
    pub unsafe fn read(
        mut file: &File,
        length: usize,
        expected: &Digest,
    ) -> std::io::Result<Option<Self>> {
        let writable = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: this makes a new anonymous mapping at an address that the system chooses.
        let memory = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), length, writable, MapFlags::PRIVATE)?
        };
        // SAFETY: the mapping is `length` bytes long and zeroed, nothing else refers to it, and it is
        // never unmapped.
        let bytes: &'static mut [u8] =
            unsafe { std::slice::from_raw_parts_mut(memory.cast(), length) };
        file.read_exact(bytes)?;
        let bytes: &'static [u8] = bytes;
        // SAFETY: nothing writes to these pages any more.
        unsafe { rustix::mm::mprotect(memory, length, MprotectFlags::READ)? };
        // SAFETY: the caller guarantees that bytes with this digest came from the compiler.
        Ok((Digest::of(bytes) == *expected).then(|| unsafe { Self::from_trusted(bytes) }))
    }

    /// Returns an engine, and the component loaded in it. Nothing is copied: the code is executed where
    /// it is in memory.
    ///
    /// # Errors
    /// The code was compiled for another engine, CPU or version, or it is a core module.
    #[expect(unsafe_code, reason = "native code is loaded")]
    pub fn component(&self) -> Result<(Engine, Component)> {
        let (engine, memory) = (self.engine()?, NonNull::from(self.bytes));
        // SAFETY: `bytes` lives as long as the program, nothing writes to it, and it came from the
        // compiler: it is a part of this program that `build.rs` made, or the caller of `from_trusted` guaranteed
        // it.
        let component = unsafe { Component::deserialize_raw(&engine, memory)? };
        Ok((engine, component))
    }

    /// Returns an engine, and the core module loaded in it, as [`Self::component`] does.
    ///
    /// # Errors
    /// The code was compiled for another engine, CPU or version, or it is a component.
    #[expect(unsafe_code, reason = "native code is loaded")]
    pub fn module(&self) -> Result<(Engine, Module)> {
        let (engine, memory) = (self.engine()?, NonNull::from(self.bytes));
        // SAFETY: as for a component.
        let module = unsafe { Module::deserialize_raw(&engine, memory)? };
        Ok((engine, module))
    }

    /// Makes an engine that executes code in place.
    fn engine(&self) -> Result<Engine> {
        let mut config: Config = keycell_engine::config(None, self.interruption)?;
        config.with_custom_code_memory(Some(Arc::new(self.memory)));
        Engine::new(&config)
    }
}

/// The system does not let memory become executable.
#[derive(Debug, thiserror::Error)]
#[error("the system does not let the code of a guest become executable: {}", os_error(.0))]
pub struct NotExecutable(std::io::Error);

/// Code that is executed where it is.
#[derive(Clone, Copy)]
enum InPlace {
    /// It is executable from the start of the program to its end.
    Executable,
    /// It becomes executable, and ceases to be.
    ReadOnly,
}

impl CustomCodeMemory for InPlace {
    #[expect(unsafe_code, reason = "a call of libc")]
    fn required_alignment(&self) -> usize {
        // This does not use rustix, which reads the vDSO for it: valgrind has no vDSO, and reading it
        // takes time at the start.
        // SAFETY: the call returns a number; it touches no memory.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size).unwrap_or(4096) // POSIX defines it, and it is never -1
    }

    fn publish_executable(&self, code: *const u8, length: usize) -> Result<()> {
        match self {
            Self::Executable => Ok(()),
            Self::ReadOnly => Ok(protect(code, length, MprotectFlags::EXEC)?),
        }
    }

    fn unpublish_executable(&self, code: *const u8, length: usize) -> Result<()> {
        match self {
            Self::Executable => Ok(()),
            Self::ReadOnly => Ok(protect(code, length, MprotectFlags::empty())?),
        }
    }
}

/// Makes the code read-only, or read-only and executable, but never writable.
#[expect(unsafe_code, reason = "memory protection is changed")]
fn protect(
    code: *const u8,
    length: usize,
    more: MprotectFlags,
) -> std::result::Result<(), NotExecutable> {
    let flags = MprotectFlags::READ | more;
    // SAFETY: wasmtime calls this only with the pages of the code's text section (which is padded to
    // whole pages). They hold no Rust value that anything writes to.
    let protected = unsafe { rustix::mm::mprotect(code.cast_mut().cast(), length, flags) };
    protected.map_err(|error| NotExecutable(error.into()))
}
