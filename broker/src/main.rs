//! `keycell-broker`: asks key providers and PKCS#11 tokens for `ctd-decoder`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use keycell_broker::child;
use rustix::process::Signal;

/// The allocator wipes PINs and keys when they are freed.
#[global_allocator]
static MEMORY: keycell_walls::zeroizing_alloc::ZeroizingAlloc =
    keycell_walls::zeroizing_alloc::ZeroizingAlloc;

const HELP: &str = "\
keycell-broker asks key providers and PKCS#11 tokens for `ctd-decoder`, which starts it where
`OCICRYPT_KEYPROVIDER_CONFIG` or `OCICRYPT_CONFIG` configures one of them. It belongs beside
`ctd-decoder` and is not called by hand.
";

fn main() -> ExitCode {
    if child::is_asked() {
        return child::main();
    }
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--version" | "-V") => {
            println!("keycell-broker {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some("--help" | "-h") => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(_) => {
            eprint!("keycell-broker: error: it takes no arguments\nhint: {HELP}");
            return ExitCode::FAILURE;
        }
    }
    // PINs and keys pass through this process, so it must leave no core dump and must not outlive the
    // decoder. The signal is one that can be caught, so that a running provider is ended first.
    let _ = keycell_walls::memory::no_dump();
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    match keycell_broker::serve::serve(std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // the host sees that there is no answer
    }
}
