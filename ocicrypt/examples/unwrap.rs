//! `unwrap PAYLOAD KEY…`: finds the layer key of a payload in JSON with keys and certificates, as the guest
//! does, but with random numbers that are the same in every run. For bench/classes.py, which counts its
//! instructions.

mod fixed;

use std::error::Error;
use std::fs;

use ocicrypt::keyring::KeyRing;
use ocicrypt::payload::{self, Payload};
use ocicrypt::unwrap::unwrap;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let payload = fs::read(arguments.next().ok_or("`unwrap PAYLOAD KEY…`")?)?;
    let payload = Payload::parse(&payload::encode(&payload))?;
    let mut ring = KeyRing::new();
    for name in arguments {
        ring.add_file(&name, &fs::read(&name)?);
    }
    let key = unwrap(&payload, &ring, &mut fixed::Fixed(1));
    println!("{}", if key.is_ok() { "a layer key" } else { "no layer key" });
    Ok(())
}
