//! `make timing` runs this host of ocicrypt/examples/timing.rs. The example is compiled to WebAssembly,
//! as `ctd-decoder` compiles its guest. Run `timing_host MODULE OPERATION` in valgrind's memcheck.
//!
//! It prints the address of each function of the module, since valgrind does not know the names of code
//! that was generated at run time: the address and the length, both hexadecimal, and the name.

use keycell_engine::Interruption;
use wasmtime::{Caller, Engine, Error, Extern, Linker, Module, OptLevel, Result, Store};

/// The operations in the order of the module's numbers.
const OPERATIONS: [&str; 8] =
    ["rsa-2048", "rsa-3072", "p-256", "p-384", "p-521", "pkcs1v15", "cbc-padding", "leak"];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(module), Some(operation)) = (arguments.next(), arguments.next()) else {
        return Err(Error::msg("`timing_host MODULE OPERATION`"));
    };
    let mut places = (0_u32..).zip(OPERATIONS);
    let place = places.find(|(_, known)| *known == operation);
    let (place, _) = place.ok_or_else(|| Error::msg("there is no such operation"))?;

    let mut config = keycell_engine::config(None, Interruption::None)?;
    config.cranelift_opt_level(OptLevel::Speed);
    // This reserves less address space than valgrind supports.
    config.memory_reservation(0).memory_guard_size(0);
    let engine = Engine::new(&config)?;
    let module = Module::from_file(&engine, module)?;
    let code = module.text().as_ptr() as usize;
    for function in module.functions() {
        let name = function.name.as_deref().unwrap_or("?");
        println!("{:x} {:x} {name}", code + function.offset, function.len);
    }

    let mut linker: Linker<()> = Linker::new(&engine);
    linker.func_wrap("timing", "operation", move || place)?;
    linker.func_wrap("timing", "undefined", mark)?;
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    // The imports of WASI must exist, but are not used.
    linker.define_unknown_imports_as_default_values(&mut store, &module)?;
    let instance = linker.instantiate(&mut store, &module)?;
    instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
    Ok(())
}

/// Marks a part of the module's memory as undefined.
fn mark(mut caller: Caller<'_, ()>, address: u32, length: u32) -> Result<()> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(Error::msg("the module has no memory"));
    };
    let memory = memory.data(&caller).get(address as usize..).unwrap_or_default();
    let memory = memory.get(..length as usize);
    request(memory.ok_or_else(|| Error::msg("no such memory"))?);
    Ok(())
}

#[expect(unsafe_code, reason = "a client request of valgrind is a sequence of instructions")]
#[cfg(target_arch = "x86_64")]
fn request(memory: &[u8]) {
    /// `VG_USERREQ__MAKE_MEM_UNDEFINED` of valgrind's memcheck.h.
    const MAKE_MEM_UNDEFINED: u64 = 0x4d43_0001;
    let request = [MAKE_MEM_UNDEFINED, memory.as_ptr() as u64, memory.len() as u64, 0, 0, 0];
    // SAFETY: outside of valgrind, the instructions rotate a register by its full width and exchange
    // another with itself. valgrind recognises them and reads the six words, which outlive the block.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            in("rax") request.as_ptr(), inout("rdx") 0_u64 => _, options(nostack),
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn request(_: &[u8]) {}
