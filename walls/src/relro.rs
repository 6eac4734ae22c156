//! Makes the data that a program's start has relocated, especially tables of functions, read-only.
//!
//! Dynamic linkers do this, and so does glibc in a statically linked program. musl does not.

#![expect(unsafe_code, reason = "the C library shows the program's headers")]

use std::ffi::{c_int, c_void};
use std::ptr;

use rustix::mm::{MprotectFlags, mprotect};

/// Takes away the right to write to the segment `PT_GNU_RELRO` (elf(5)), in whole pages. If it fails,
/// nothing else will work either, because the code of guests could not be protected.
pub fn protect() {
    // SAFETY: the function has the right signature, and the pointer that it gets is not used.
    unsafe { libc::dl_iterate_phdr(Some(protect_program), ptr::null_mut()) };
}

/// The callback for each object of the process. The first is the program itself; then the iteration
/// ends.
unsafe extern "C" fn protect_program(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: the C library passes its own description of an object, with this number of headers, which
    // is valid during the call.
    let (base, headers) = unsafe {
        let object = &*object;
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        (object.dlpi_addr, headers)
    };
    // SAFETY: the call returns a number of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_GNU_RELRO) {
        let start = base + header.p_vaddr;
        let end = (start + header.p_memsz) / page * page;
        // The region is the beginning of its segment, so nothing uses the bytes before it on its first page.
        let start = start / page * page;
        let from = ptr::with_exposed_provenance_mut(start as usize);
        // SAFETY: nothing writes there any more: only relocations, which are complete, change these
        // pages.
        let _ = unsafe { mprotect(from, (end - start) as usize, MprotectFlags::READ) };
    }
    1
}
