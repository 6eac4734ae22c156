//! `ctd-decoder` with another guest than its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    keycell_hostile::guest::main()
}
