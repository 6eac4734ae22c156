//! Descriptor 3: the bytes as containerd writes them, and the JSON alone, because a mutation
//! seldom gets the lengths of the protobuf message around it right.

#![no_main]

use keycell_fuzz::{Fixed, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::keyring::KeyRing;
use ocicrypt::payload::{self, Payload};
use ocicrypt::unwrap::unwrap;

fuzz_target!(|bytes: &[u8]| {
    parse(bytes);
    parse(&payload::encode(bytes));
});

fn parse(bytes: &[u8]) {
    match Payload::parse(bytes) {
        Ok(payload) => {
            for name in payload.parameters.names() {
                payload.parameters.named(name);
            }
            payload.descriptor.length();
            // Without a key this ends before any cryptography.
            if let Err(error) = unwrap(&payload, &KeyRing::new(), &mut Fixed(0)) {
                tell(&error);
            }
        }
        Err(error) => tell(&error),
    }
}
