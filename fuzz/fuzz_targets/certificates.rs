//! X.509 certificates: in DER, as one of the files of a ring, and as a recipient.

#![no_main]

use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;
use ocicrypt::encrypt::Recipient;
use ocicrypt::keyring::KeyRing;
use ocicrypt::pkcs7::Certificate;

fuzz_target!(|bytes: &[u8]| {
    if let Some(certificate) = Certificate::parse(bytes) {
        tell(&certificate.public_key());
    }
    let mut ring = KeyRing::new();
    ring.add_file("certificate", bytes);
    ring.certificates().iter().for_each(|certificate| tell(&certificate.public_key()));
    ring.skipped().iter().for_each(tell);
    match Recipient::pkcs7(bytes) {
        Ok(recipient) => tell(&recipient),
        Err(error) => tell(&error),
    }
});
