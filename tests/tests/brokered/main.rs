//! Keys that the node keeps elsewhere: PKCS#11 tokens and key providers, asked by the broker, each
//! by a layer that needs them and through the real decoder.

mod keycell;
mod providers;
mod tokens;

use std::process::ExitCode;

use keycell_tests::suite::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    tokens::cases(&mut suite);
    providers::cases(&mut suite);
    suite.run()
}
