//! Private keys in a TPM 2.0: swtpm, the module of the project tpm2-pkcs11 and Debian's tools, each case with
//! a TPM of its own, through the real decoder and a real containerd.

mod abrmd;
mod doctor;
mod keys;
mod page;
mod pod;
mod refused;
mod setup;

use std::process::ExitCode;

use keycell_tests::suite::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    keys::cases(&mut suite);
    refused::cases(&mut suite);
    doctor::cases(&mut suite);
    page::cases(&mut suite);
    pod::cases(&mut suite);
    suite.run()
}
