//! `keycell-broker`: asks key providers and PKCS#11 tokens for `ctd-decoder`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use keycell_broker::child;
use rustix::process::Signal;

/// PINs and keys are wiped when they are freed.
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
    // PINs and keys pass through: no core dump, and no life after the decoder's. A signal that can
    // be caught, so that a provider that runs is ended first.
    let _ = keycell_walls::memory::no_dump();
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    match keycell_broker::serve::serve(std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // the host sees that there is no answer
    }
}
