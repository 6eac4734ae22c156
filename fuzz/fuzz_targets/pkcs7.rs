//! A CMS message in BER or DER, and its decryption.

#![no_main]

use std::sync::LazyLock;

use keycell_fuzz::{Fixed, data, ring, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::bounds::Bounds;
use ocicrypt::keyring::{KeyRing, NamedKey};
use ocicrypt::options::PrivateOptions;
use ocicrypt::pkcs7::{Envelope, Search, Which};

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    ring(&[
        ("rsa-2048.pem", data!("keys/rsa-2048.pkcs8.pem")),
        ("rsa-2048.cert.pem", data!("pkcs7/rsa-2048.cert.pem")),
        // Most messages of the seeds are for the key above; shorter ones are quicker to try.
        ("rsa-1024.pem", data!("keys/rsa-1024.pkcs8.pem")),
        ("rsa-1024.cert.pem", data!("pkcs7/rsa-1024.cert.pem")),
    ])
});

fuzz_target!(|bytes: &[u8]| {
    let mut envelope = match Envelope::parse(bytes) {
        Ok(envelope) => envelope,
        Err(error) => return tell(&error),
    };
    envelope.recipients().iter().for_each(tell);
    let (mut search, mut bounds) = (Search::new(RING.keys().map(NamedKey::key), RING.certificates()), Bounds::default());
    let accept = |content: &[u8]| PrivateOptions::parse(content).map(|_| ());
    for which in [Which::Named, Which::AnyKey] {
        let opened = envelope.open(which, &mut search, &mut bounds, &mut Fixed(0), accept);
        if opened.is_some() {
            return;
        }
    }
    envelope.failures().iter().for_each(tell);
});
