//! The annotations of a layer: lines of a name and a value.

#![no_main]

use std::collections::BTreeMap;

use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;
use ocicrypt::annotation::{KEYS_PREFIX, wrapped_keys};
use ocicrypt::options::PublicOptions;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut annotations = BTreeMap::new();
    for line in text.lines() {
        let (name, value) = line.split_once(' ').unwrap_or(("jwe", line));
        annotations.insert(format!("{KEYS_PREFIX}{name}"), value.to_owned());
        if let Err(error) = PublicOptions::of_annotation(value) {
            tell(&error);
        }
    }
    let found = wrapped_keys(&annotations);
    assert!(found.is_sorted_by(|a, b| a.scheme < b.scheme));
    for keys in found {
        tell(&keys.scheme);
        assert!(keys.len() > 0 && !keys.is_empty());
        let value = &annotations[&keys.scheme.annotation()];
        let count = value.split(',').count();
        // Every item is in one of the two lists, in its place, and none is empty.
        let items = keys.items.iter().map(|(place, _)| *place);
        let mut places: Vec<_> = items.chain(keys.not_base64.iter().copied()).collect();
        places.sort_unstable();
        assert!(places.is_sorted_by(|a, b| a < b));
        assert!(places.iter().all(|place| (1..=count).contains(place)));
        assert!(keys.items.iter().all(|(_, bytes)| !bytes.is_empty()));
    }
});
