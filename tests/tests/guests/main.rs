//! Guests that are swapped: `keycell guest`, and `ctd-decoder --guest` with what it has installed.

mod installing;
mod programs;
mod refusals;
mod running;
mod signatures;
mod test_store;

use std::process::ExitCode;

use keycell_tests::suite::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    running::cases(&mut suite);
    refusals::cases(&mut suite);
    installing::cases(&mut suite);
    signatures::cases(&mut suite);
    programs::cases(&mut suite);
    suite.run()
}
