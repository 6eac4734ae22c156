//! Puts the private key, and what takes over a terminal, into what it says of the layer.

use std::fs;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Opened, Request, fixture, key_in};

struct NamesAKey;

impl Fixture for NamesAKey {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        Ok(key_in(&request))
    }

    fn opened() -> Opened {
        let key = fs::read_to_string("/keys/key.pem").unwrap_or_default();
        let line = key.lines().nth(1).unwrap_or_default().to_owned();
        let marks = "\u{1b}[2J\r\nforged\u{202e}\u{200b}";
        Opened {
            scheme: format!("{key}{marks}"),
            key: format!("../outside/secret{marks}{line}{}", "x ".repeat(4096)),
            fingerprint: Some(format!("SHA256:{line}")),
            layer_digest: Some(format!("sha256:{line}{marks}")),
            algorithms: vec![format!("{key}{marks}"); 40],
        }
    }
}

fixture!(NamesAKey);
