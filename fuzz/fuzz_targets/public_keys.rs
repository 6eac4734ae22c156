//! Recipients: public keys in PEM, DER or JWK, and OpenPGP key rings.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;
use ocicrypt::encrypt::{Pkcs11Hash, Recipient};
use ocicrypt::pgp::PgpSelector;

fuzz_target!(|bytes: &[u8]| {
    let found = [Recipient::jwe(bytes), Recipient::pkcs11(bytes, Pkcs11Hash::Sha256)];
    for found in found {
        match found {
            Ok(recipient) => tell(&recipient),
            Err(error) => tell(&error),
        }
    }
    // 2030, when every key of the seeds is valid that has not expired by then.
    let now = UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    // The owner of the seed, by name and by number.
    let name = PgpSelector::Name("rsa-2048@example.org".to_owned());
    let id = PgpSelector::KeyId([0x2a, 0x86, 0x43, 0xe1, 0x16, 0x6e, 0x2c, 0xc8]);
    for whom in [name, id] {
        match Recipient::pgp(bytes, &whom, now) {
            Ok(recipients) => {
                assert!(!recipients.is_empty());
                recipients.iter().for_each(tell);
            }
            Err(error) => tell(&error),
        }
    }
});
