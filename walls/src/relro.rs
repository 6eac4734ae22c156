//! What a program's start has relocated, tables of functions above all, stays as it is from then on.
//!
//! Dynamic linkers see to that, and glibc in a program that is linked statically. musl does not.

#![expect(unsafe_code, reason = "the C library shows the program's headers")]

use std::ffi::{c_int, c_void};
use std::ptr;

use rustix::mm::{MprotectFlags, mprotect};

/// Takes away the right to write to what `PT_GNU_RELRO` (elf(5)) names: the pages that lie wholly in it. Where it
/// fails, nothing else will work either: guests' code could not be protected.
pub fn protect() {
    // SAFETY: the function takes what it is called with, and nothing is asked of it beyond the call.
    unsafe { libc::dl_iterate_phdr(Some(protect_program), ptr::null_mut()) };
}

/// Called with each object of the process; the first is the program itself, and ends it.
unsafe extern "C" fn protect_program(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: the C library's own description of an object, with so many headers, for the time of the call.
    let (base, headers) = unsafe {
        let object = &*object;
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        (object.dlpi_addr, headers)
    };
    // SAFETY: a number of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_GNU_RELRO) {
        let start = base + header.p_vaddr;
        let end = (start + header.p_memsz) / page * page;
        // The segment begins with it: what comes before on its first page belongs to nothing.
        let start = start / page * page;
        let from = ptr::with_exposed_provenance_mut(start as usize);
        // SAFETY: nothing writes there: the linker has put together what only relocations change.
        let _ = unsafe { mprotect(from, (end - start) as usize, MprotectFlags::READ) };
    }
    1
}
