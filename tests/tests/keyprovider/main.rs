//! `keycell keyprovider`: skopeo opens and makes images with it, by command and by gRPC; and what
//! hostile clients, wrong sockets and wrong decoders get.

mod command;
mod fixture;
mod programs;
mod serving;
mod unwrapping;

use std::process::ExitCode;

use keycell_tests::suite::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    unwrapping::cases(&mut suite);
    command::cases(&mut suite);
    serving::cases(&mut suite);
    programs::cases(&mut suite);
    suite.run()
}
