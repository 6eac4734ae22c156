//! The operator's file of key providers. A faulty entry is told when it is used, and spoils no other.

#![no_main]

use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;

use keycell_broker::providers::Providers;
use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FILE: RefCell<PathBuf> = RefCell::new(
        std::env::temp_dir().join(format!("keycell-fuzz-providers-{}", std::process::id())));
}

fuzz_target!(|bytes: &[u8]| {
    let path = FILE.with_borrow(PathBuf::clone);
    let mut file = std::fs::File::create(&path).expect("a file of our own");
    file.write_all(bytes).expect("room for it");
    drop(file);
    match Providers::open(&path) {
        Ok(providers) => assert!(providers.names().count() <= bytes.len()),
        Err(refusal) => tell(&refusal),
    }
});
