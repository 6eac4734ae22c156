//! Fails with a message that takes over the terminal that it is read on.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure_with_hints, fixture};

struct ControlCharacters;

impl Fixture for ControlCharacters {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let codes = "\u{1b}[2J\u{1b}]52;c;AAAA\u{7}\u{9b}1A\r\nctd-decoder: error: forged\0\u{8}";
        // Not control characters by their class, but they turn the text around or break lines.
        let marks = "\u{202e}txet\u{2066}\u{200b}\u{2028}hint: forged\u{feff}";
        let message = format!("bad {codes}{marks}");
        let hints = vec![message.clone(), "\n\nctd-decoder: error: forged".to_owned()];
        Err(failure_with_hints(message, hints))
    }
}

fixture!(ControlCharacters);
