//! What `unwrap` hands back: the record with the layer's key, which the host checks, or a failure,
//! whose texts it cleans and cuts. A private key of the node may be in a text, as a whole or a line of it.

#![no_main]

use keycell_core::contract::LayerKey;
use keycell_core::layer_key::check;
use keycell_core::sanitize::{MAX_MESSAGE, cut, sanitize};
use keycell_fuzz::{Fields, data, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::text::is_invisible;

const KEY: &[u8] = data!("keys/rsa-2048.pkcs8.pem");

fuzz_target!(|bytes: &[u8]| {
    let mut fields = Fields(bytes);
    match fields.u8() % 2 {
        0 => record(fields),
        _ => failure(fields),
    }
});

fn record(mut fields: Fields<'_>) {
    let shape = fields.u8();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Right lengths are beyond a mutation's luck, so it may have them.
    let mut sized = |bit: u8, length: usize| match shape >> bit & 1 {
        0 => fields.bytes().to_vec(),
        _ => vec![fields.u8(); length],
    };
    let (key, nonce, hmac) = (sized(0, 32), sized(1, 16), sized(2, 32));
    let cipher = match shape >> 3 & 1 {
        0 => text(fields.bytes()),
        _ => "AES_256_CTR_HMAC_SHA256".to_owned(),
    };
    let digest = match shape >> 4 & 3 {
        0 => None,
        1 => Some(text(fields.bytes())),
        2 => Some(format!("sha256:{}", text(fields.bytes()))),
        _ => Some(format!("sha{}:{}", text(fields.bytes()), "0a".repeat(fields.u8().into()))),
    };
    let length = (shape >> 6 & 1 == 1).then(|| u64::from(fields.u32()));
    let record = LayerKey { cipher, key, nonce, hmac, digest, length };
    match check(&record) {
        Ok(key) => {
            assert_eq!(record.cipher, "AES_256_CTR_HMAC_SHA256");
            assert!(key.key()[..] == record.key && key.nonce()[..] == record.nonce);
            assert!(key.hmac()[..] == record.hmac && key.length() == record.length);
            assert_eq!(key.digest(), record.digest);
            assert!(check(&record).is_ok_and(|again| again.is_same(&key)));
        }
        Err(error) => tell(&error),
    }
}

fn failure(mut fields: Fields<'_>) {
    let key = String::from_utf8_lossy(KEY);
    let lines: Vec<&str> = key.lines().filter(|line| !line.starts_with('-')).collect();
    let mut text = String::from_utf8_lossy(fields.bytes()).into_owned();
    let line = lines[usize::from(fields.u8()) % (lines.len() - 1)];
    match fields.u8() % 4 {
        0 => text.push_str(&key),
        // As a guest might quote it: not in the middle of another run of letters.
        1 => text = format!("{text} {line} "),
        2 => text = format!("{text}`{line}`"),
        _ => text.push_str(&key.replacen(' ', "\u{200b} ", 1)),
    }
    text.push_str(&String::from_utf8_lossy(fields.bytes()));

    let mut shown = sanitize(&text);
    assert!(shown.len() <= MAX_MESSAGE + '…'.len_utf8());
    assert!(!shown.chars().any(|c| c.is_control() || is_invisible(c)), "{shown:?}");
    assert!(!shown.contains("-----BEGIN "), "{shown}");
    for line in &lines[..lines.len() - 1] {
        assert!(!shown.contains(line), "a line of the key is shown");
    }
    // Cleaned text stays as it is, but for the end that was cut.
    if shown.len() < MAX_MESSAGE {
        assert_eq!(sanitize(&shown), shown);
    }
    let limit = fields.u16().into();
    cut(&mut shown, limit);
    assert!(shown.len() <= limit + '…'.len_utf8());
}
