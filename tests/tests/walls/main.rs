//! The operating system's walls: that they are up, that native code which has left the sandbox
//! meets them, and what is left of keys in memory.

mod escaping;
mod memory;
mod missing;
mod needed;
mod status;

use std::process::ExitCode;

use keycell_tests::suite::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    escaping::cases(&mut suite);
    status::cases(&mut suite);
    memory::cases(&mut suite);
    missing::cases(&mut suite);
    needed::cases(&mut suite);
    suite.run()
}
