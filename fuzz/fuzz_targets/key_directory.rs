//! A whole keys directory: several files, among them passwords of others. A name and a content
//! each.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use keycell_fuzz::{Fields, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::keyring::{KeyRing, SkipReason};
use ocicrypt::keys::NotAKey;

const NAMES: [&str; 12] = [
    "a.pem",
    "a.pem.pass",
    "a.pem.password",
    "a.pem.pass.pass",
    "b.gpg",
    "b.gpg.pass",
    "b.gpg.password",
    "c",
    "c.pass",
    "..data/d.der",
    "..data/d.der.pass",
    ".pass",
];

fuzz_target!(|bytes: &[u8]| {
    let mut fields = Fields(bytes);
    let mut files = BTreeMap::new();
    while !fields.is_empty() {
        let name = NAMES[usize::from(fields.u8()) % NAMES.len()];
        files.insert(name, fields.bytes());
    }
    let ring = ring(files.iter());
    let backwards = self::ring(files.iter().rev());
    ring.skipped().iter().for_each(tell);
    ring.keys().for_each(tell);
    ring.pgp_keys().for_each(tell);
    assert_eq!(ring.keys().count(), ring.len());
    assert!(ring.files().all(|file| files[file.name] == file.bytes));
    // What is found does not depend on the order of the files, but for what all of them together
    // may cost.
    let is_costly = |ring: &KeyRing| {
        let costly =
            |reason: &SkipReason| matches!(reason, SkipReason::NotAKey(NotAKey::TooMuchWork(_)));
        ring.skipped().iter().any(|skipped| costly(&skipped.reason))
    };
    if !is_costly(&ring) && !is_costly(&backwards) {
        assert_eq!(found(&ring), found(&backwards));
    }
});

fn ring<'a>(files: impl Iterator<Item = (&'a &'a str, &'a &'a [u8])>) -> KeyRing {
    let mut ring = KeyRing::new();
    files.for_each(|(name, bytes)| ring.add_file(name, bytes));
    ring
}

fn found(ring: &KeyRing) -> (BTreeSet<String>, usize, usize) {
    let keys = ring.keys().map(|named| named.key().fingerprint().to_string()).collect();
    (keys, ring.pgp_keys().count(), ring.certificates().len())
}
