//! Returns a key that is none. Which one, the payload says.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, fixture, key_in, note};

struct MalformedKeys;

impl Fixture for MalformedKeys {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        let mut key = key_in(&request);
        match note(&request) {
            "short key" => key.key.truncate(31),
            "long key" => key.key.push(0),
            "no key" => key.key.clear(),
            "short nonce" => key.nonce.truncate(15),
            "long nonce" => key.nonce.push(0),
            "short hmac" => key.hmac.truncate(31),
            "no hmac" => key.hmac.clear(),
            "unknown cipher" => key.cipher = "AES_256_ECB\u{1b}[31m".to_owned(),
            "no cipher" => key.cipher.clear(),
            "long cipher" => key.cipher = "A".repeat(500_000),
            "short digest" => key.digest = Some("sha256:00".to_owned()),
            "unknown digest" => key.digest = Some(format!("md5:{}", "0".repeat(32))),
            "empty digest" => key.digest = Some(String::new()),
            "digest of letters" => key.digest = Some(format!("sha256:{}", "z".repeat(64))),
            "other digest" => key.digest = Some(format!("sha256:{}", "0".repeat(64))),
            "short length" => key.length = Some(999),
            "no length at all" => key.length = Some(0),
            "huge key" => key.key = vec![0; 64 << 20],
            _ => {}
        }
        Ok(key)
    }
}

fixture!(MalformedKeys);
