//! How a decoder handles input that is damaged, hostile or simply not what it should be.
//!
//! Wherever a key fits, the layer is decrypted, no matter what else is there. Everywhere else: exit 1, one
//! error that says what was found, a hint, and never a complete layer on stdout, in bounded time
//! and memory. One case for each row of a table; the modules are the tables.

mod descriptors;
mod jwe;
mod keys;
mod layer;
mod limits;
mod links;
mod options;
mod oracle;
mod payload;
mod pgp;
mod pkcs7;
mod work;
mod wrapped;

use std::process::ExitCode;

use keycell_tests::suite::{Cases, Suite};

fn main() -> ExitCode {
    let mut cases = Cases(Suite::from_args());
    payload::add(&mut cases);
    keys::add(&mut cases);
    links::add(&mut cases);
    layer::add(&mut cases);
    options::add(&mut cases);
    jwe::add(&mut cases);
    pkcs7::add(&mut cases);
    pgp::add(&mut cases);
    oracle::add(&mut cases);
    work::add(&mut cases);
    descriptors::add(&mut cases);
    limits::add(&mut cases);
    cases.0.run()
}
