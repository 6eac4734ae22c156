//! What the broker reads of PKCS#11: key files, also a client's, and the operator's list of modules. A PIN may
//! stand anywhere in them, and in no text.

#![no_main]

use keycell_broker::tokens::{Policy, TokenKey};
use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;

/// The PIN of the seeds.
const PIN: &str = "Pin-1234";

fuzz_target!(|bytes: &[u8]| {
    // A mutation may put it where it is none, in the name of a key for instance.
    let elsewhere = String::from_utf8_lossy(bytes).replace(&format!("pin-value={PIN}"), "");
    let is_secret = !elsewhere.contains(&PIN[1..]);
    let shows = |text: &str| {
        tell(&text);
        assert!(!(is_secret && text.contains(PIN)), "a PIN is shown: {text}");
    };
    match TokenKey::parse(bytes) {
        Some(Ok(key)) => {
            let shown = key.shown();
            shows(&shown);
            // What is shown is a URI again, and the same one.
            let file = format!("pkcs11: {{uri: '{}'}}", shown.replace('\'', "''"));
            if !shown.contains('…') {
                let again = TokenKey::parse(file.as_bytes()).expect("a key file");
                assert!(again.is_ok_and(|again| again.shown() == shown));
            }
            assert_eq!(key.of_a_stranger().shown(), shown);
        }
        Some(Err(refusal)) => shows(&refusal.to_string()),
        None => {}
    }
    match Policy::parse(bytes) {
        Ok(policy) => assert_eq!(policy, policy.clone()),
        Err(refusal) => shows(&refusal.to_string()),
    }
});
