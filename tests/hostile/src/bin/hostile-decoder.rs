//! `ctd-decoder` with another guest than its own.

use std::process::ExitCode;

/// It is `ctd-decoder`'s, but for what the environment asks for.
#[global_allocator]
static MEMORY: keycell_hostile::accident::Accident = keycell_hostile::accident::Accident;

fn main() -> ExitCode {
    keycell_hostile::guest::main()
}
