//! The imports of an instance.

use wasmtime::component::{Component, HasData, HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Result};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::p2::bindings::{cli, clocks, io, random};

use crate::chance::{Clock, Entropy};
use crate::context::{BrokerImports, Instance};
use crate::contract::{broker, cipher, providers, tokens, types};

/// Makes a linker with the interfaces that `guest` imports; linking the others would only take time.
/// `files` are the interfaces of the file system, which the host implements.
///
/// # Errors
/// wasmtime does not accept a definition.
pub fn linker(
    engine: &Engine,
    guest: &Component,
    files: &[(&str, Add)],
) -> Result<Linker<Instance>> {
    let component = guest.component_type();
    // The versions do not matter here: the linker looks for a compatible one.
    let imported: Vec<&str> = component
        .imports(engine)
        .map(|(name, _)| name.split_once('@').map_or(name, |(name, _version)| name))
        .collect();
    let mut linker = Linker::<Instance>::new(engine);
    for (interface, add) in INTERFACES.iter().chain(files) {
        if imported.contains(interface) {
            add(&mut linker)?;
        }
    }
    Ok(linker)
}

/// Adds one interface to a linker.
pub type Add = fn(&mut Linker<Instance>) -> Result<()>;

/// Everything that a guest can import except files and sockets, which the host defines. Clocks trap. An import
/// that only one of the steps is granted fails with a refusal in the other, because a component cannot
/// be instantiated with an import missing.
const INTERFACES: &[(&str, Add)] = &[
    ("wasi:io/error", |l| io::error::add_to_linker::<_, Table>(l, |i| &mut i.table)),
    ("wasi:io/poll", |l| io::poll::add_to_linker::<_, Table>(l, |i| &mut i.table)),
    ("wasi:io/streams", |l| io::streams::add_to_linker::<_, Table>(l, |i| &mut i.table)),
    ("wasi:cli/environment", |l| cli::environment::add_to_linker::<_, WasiCli>(l, Instance::cli)),
    ("wasi:cli/exit", |l| cli::exit::add_to_linker::<_, WasiCli>(l, Instance::cli)),
    ("wasi:cli/stdin", |l| cli::stdin::add_to_linker::<_, WasiCli>(l, Instance::cli)),
    ("wasi:cli/stdout", |l| cli::stdout::add_to_linker::<_, WasiCli>(l, Instance::cli)),
    ("wasi:cli/stderr", |l| cli::stderr::add_to_linker::<_, WasiCli>(l, Instance::cli)),
    ("wasi:cli/terminal-input", |l| {
        cli::terminal_input::add_to_linker::<_, WasiCli>(l, Instance::cli)
    }),
    ("wasi:cli/terminal-output", |l| {
        cli::terminal_output::add_to_linker::<_, WasiCli>(l, Instance::cli)
    }),
    ("wasi:cli/terminal-stdin", |l| {
        cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, Instance::cli)
    }),
    ("wasi:cli/terminal-stdout", |l| {
        cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, Instance::cli)
    }),
    ("wasi:cli/terminal-stderr", |l| {
        cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, Instance::cli)
    }),
    ("wasi:random/random", |l| {
        random::random::add_to_linker::<_, Entropy>(l, |i| Entropy(i.entropy))
    }),
    ("wasi:random/insecure", |l| {
        random::insecure::add_to_linker::<_, Entropy>(l, |i| Entropy(i.entropy))
    }),
    ("wasi:random/insecure-seed", |l| {
        random::insecure_seed::add_to_linker::<_, Entropy>(l, |i| Entropy(i.entropy))
    }),
    ("wasi:clocks/monotonic-clock", |l| {
        clocks::monotonic_clock::add_to_linker::<_, Clock<'static>>(l, Instance::clock)
    }),
    ("wasi:clocks/wall-clock", |l| {
        clocks::wall_clock::add_to_linker::<_, Clock<'static>>(l, Instance::clock)
    }),
    ("keycell:decoder/types", |l| types::add_to_linker::<_, HasSelf<Instance>>(l, |i| i)),
    ("keycell:decoder/cipher", |l| cipher::add_to_linker::<_, HasSelf<Instance>>(l, |i| i)),
    ("keycell:decoder/broker", |l| broker::add_to_linker::<_, Brokered>(l, |i| &mut *i.broker)),
    ("keycell:decoder/providers", |l| {
        providers::add_to_linker::<_, Brokered>(l, |i| &mut *i.broker)
    }),
    ("keycell:decoder/tokens", |l| tokens::add_to_linker::<_, Brokered>(l, |i| &mut *i.broker)),
];

/// The streams and their errors are in the instance's table.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// The imports that ask the broker.
struct Brokered;

impl HasData for Brokered {
    type Data<'a> = &'a mut (dyn BrokerImports + 'static);
}
