//! Text from outside, and what is left of it in a message.

#![no_main]

use keycell_fuzz::Fields;
use libfuzzer_sys::fuzz_target;
use ocicrypt::text::{is_invisible, printable_to, redacted, without_pem};

fuzz_target!(|bytes: &[u8]| {
    let mut fields = Fields(bytes);
    let length = usize::from(fields.u8());
    let text = String::from_utf8_lossy(fields.0);

    let shown = printable_to(&text, length);
    assert!(shown.chars().count() <= length + 1);
    assert!(!shown.chars().any(|c| c.is_control() || is_invisible(c) || c == '`'));
    if shown.chars().count() <= length {
        assert_eq!(printable_to(&shown, length), shown);
    }

    // Nothing is added but the mark that something is missing, and nothing changes its place.
    for left in [redacted(&text), without_pem(&text)] {
        let mut rest = text.chars();
        assert!(left.chars().filter(|c| *c != '…').all(|c| rest.any(|other| other == c)));
    }
    let once = redacted(&text);
    assert_eq!(redacted(&once), once);
    // No run of hexadecimal that is as long as a key.
    for run in once.split(|c: char| !c.is_ascii_alphanumeric()) {
        assert!(run.len() < 44 || !run.bytes().all(|byte| byte.is_ascii_hexdigit()), "{run}");
    }
    assert!(!without_pem(&text).contains("-----BEGIN "), "{text:?}");
});
