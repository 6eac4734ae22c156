//! PKCS #11 tokens: SoftHSM with keys and blobs that openssl made, a module that misbehaves, and
//! files that are not what they should be.

mod allowing;
mod choosing;
mod files;
mod misbehaving;
mod opening;
mod pins;
mod policies;
mod setup;
mod sorting;
mod strangers;
mod walls;

use std::process::ExitCode;

use keycell_broker::child;

fn main() -> ExitCode {
    // This very program is what a module is loaded into.
    if child::is_asked() {
        return child::main();
    }
    let mut suite = setup::Suite::from_args();
    opening::cases(&mut suite);
    choosing::cases(&mut suite);
    pins::cases(&mut suite);
    allowing::cases(&mut suite);
    misbehaving::cases(&mut suite);
    strangers::cases(&mut suite);
    files::cases(&mut suite);
    sorting::cases(&mut suite);
    policies::cases(&mut suite);
    walls::cases(&mut suite);
    suite.run()
}
