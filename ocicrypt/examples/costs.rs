//! Measures what `src/budget.rs` counts with: nanoseconds, natively or in a sandbox.
//!
//! `make costs` runs it in wasmtime, which compiles as the decoder's engine does.

#![allow(clippy::unwrap_used, reason = "a measurement")]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use getrandom::SysRng;
use ocicrypt::bounds::Bounds;
use ocicrypt::budget::Budget;
use ocicrypt::hazmat;
use ocicrypt::jwe::{Jwe, Search};
use ocicrypt::keyring::{KeyRing, NamedKey, NamedPgpKey};
use ocicrypt::keys::{OaepHash, PrivateKey, Which};
use ocicrypt::options::PrivateOptions;
use ocicrypt::pgp::{self, PgpMessage};
use serde_json::Value;
use sha2::Digest;

const MEGABYTE: usize = 1 << 20;

fn main() {
    let data = PathBuf::from(std::env::args().nth(1).expect("the directory of the tests' data"));
    let file = |name: &str| std::fs::read(data.join(name)).unwrap();
    for name in ["rsa-1024", "rsa-2048", "rsa-4096", "rsa-8192", "rsa-three-primes"] {
        let key = PrivateKey::parse(&file(&format!("keys/{name}.pkcs8.pem")), None).keys.remove(0);
        let key = key.as_rsa().unwrap();
        let mut number = vec![0x42; key.size()];
        number[0] = 0;
        let operation = || {
            black_box(
                hazmat::decrypt_oaep(key, OaepHash::Sha1, OaepHash::Sha1, &number, &mut SysRng)
                    .is_ok(),
            );
        };
        tell(name, "operation", time(operation));
    }
    for name in
        ["rsa-2048.jwk", "rsa-2048.no-crt.jwk", "rsa-2048.no-primes.jwk", "rsa-8192.pkcs8.pem"]
    {
        let file = file(&format!("keys/{name}"));
        tell(name, "parsed", time(|| assert_eq!(PrivateKey::parse(&file, None).keys.len(), 1)));
    }
    for name in ["rounds-600000.pem", "scrypt.pem"] {
        let file = file(&format!("encrypted-keys/p-256.{name}"));
        let open = || assert_eq!(PrivateKey::parse(&file, Some(b"secret")).keys.len(), 1);
        tell(name, "opened", time(open));
    }
    jwe(&file);
    openpgp(&file);
    rest();
}

fn jwe(file: &dyn Fn(&str) -> Vec<u8>) {
    let fixtures: Value = serde_json::from_slice(&file("jwe.json")).unwrap();
    for name in [
        "ECDH-ES+A256KW A256GCM general p-256",
        "ECDH-ES+A256KW A256GCM general p-384",
        "ECDH-ES+A256KW A256GCM general p-521",
        "ECDH-ES+A256KW A256CBC-HS512 general p-256",
        "ECDH-ES+A256KW A128CBC-HS256 general p-256",
    ] {
        let mut cases = fixtures["cases"].as_array().unwrap().iter();
        let Some(case) = cases.find(|case| case["name"] == name) else {
            println!("no fixture {name}");
            continue;
        };
        let mut ring = KeyRing::new();
        let key = case["key"].as_str().unwrap();
        ring.add_file("key", &file(&format!("keys/{key}.pkcs8.pem")));
        let keys: Vec<_> = ring.keys().map(NamedKey::key).collect();
        let open = |text: &str| {
            let mut jwe = Jwe::parse(text.as_bytes()).unwrap();
            let mut bounds = Bounds { budget: Budget::new(u64::MAX), ..Bounds::default() };
            let mut search = Search::default();
            let start = Instant::now();
            black_box(jwe.open(Which::AnyKey, &keys, &mut search, &mut bounds, &mut SysRng));
            start.elapsed()
        };
        let mut json: Value = serde_json::from_str(case["jwe"].as_str().unwrap()).unwrap();
        let short = best(|| open(&json.to_string()));
        json["ciphertext"] = Base64UrlUnpadded::encode_string(&vec![7; MEGABYTE]).into();
        let long = best(|| open(&json.to_string()));
        tell(name, "operation", short);
        tell(name, "1000 bytes", per_byte(short, long, MEGABYTE));
    }
}

/// The data of each message is replaced by a megabyte that does not verify.
fn openpgp(file: &dyn Fn(&str) -> Vec<u8>) {
    for (program, name) in [
        ("gnupg", "cipher 3DES cv25519"),
        ("gnupg", "cipher CAST5 cv25519"),
        ("gnupg", "cipher AES256 cv25519"),
        ("rpgp", "version 2 AES256 Ocb rpgp-v6-x25519"),
        ("rpgp", "version 2 AES256 Gcm rpgp-v6-x25519"),
    ] {
        let fixtures: Value =
            serde_json::from_slice(&file(&format!("pgp/{program}.json"))).unwrap();
        let mut cases = fixtures["cases"].as_array().unwrap().iter();
        let case = cases.find(|case| case["name"] == name).unwrap();
        let message = Base64::decode_vec(case["message"].as_str().unwrap()).unwrap();
        let mut ring = KeyRing::new();
        let key = case["key"].as_str().unwrap();
        ring.add_file("key", &file(&format!("pgp/keys/{key}.gpg")));
        // The first packet is short: its length is one byte.
        let (recipient, data) = message.split_at(2 + usize::from(message[1]));
        let header = match data[1] {
            0..192 => 2,
            192..224 => 3,
            _ => 6,
        };
        for (what, chunk) in [("1000 bytes", None), ("smallest chunks", Some(0))] {
            let open = |length: usize| {
                let mut body = data[header..].to_vec();
                if let (Some(chunk), 2) = (chunk, body[0]) {
                    body[3] = chunk;
                }
                body.truncate(40);
                body.resize(40 + length, 7);
                let length = (body.len() as u32).to_be_bytes();
                let message = [recipient, &[0xd2, 0xff], &length, &body].concat();
                let message = PgpMessage::parse(&message).unwrap();
                let mut work = pgp::Search::new(ring.pgp_keys().map(NamedPgpKey::key));
                let mut bounds = Bounds { budget: Budget::new(u64::MAX), ..Bounds::default() };
                let start = Instant::now();
                black_box(message.decrypt(&mut work, &mut bounds, &mut SysRng).is_ok());
                start.elapsed()
            };
            let (short, long) = (best(|| open(100)), best(|| open(100 + MEGABYTE)));
            tell(name, "operation", short);
            tell(name, what, per_byte(short, long, MEGABYTE));
        }
    }
}

fn rest() {
    let megabyte = vec![7; MEGABYTE];
    let each = |time: Duration| per_byte(Duration::ZERO, time, MEGABYTE);
    tell("SHA-1", "1000 bytes", each(time(|| _ = black_box(sha1::Sha1::digest(&megabyte)))));
    tell("SHA-256", "1000 bytes", each(time(|| _ = black_box(sha2::Sha256::digest(&megabyte)))));
    tell("SHA-512", "1000 bytes", each(time(|| _ = black_box(sha2::Sha512::digest(&megabyte)))));
    let deflated = miniz_oxide::deflate::compress_to_vec(&megabyte, 9);
    let inflate = || drop(black_box(miniz_oxide::inflate::decompress_to_vec(&deflated).unwrap()));
    tell("inflate zeros", "1000 bytes", each(time(inflate)));
    let text: Vec<u8> = (0..MEGABYTE as u64).map(|n| ((n * n) >> 7) as u8 & 0x3f).collect();
    let deflated = miniz_oxide::deflate::compress_to_vec(&text, 9);
    let inflate = || drop(black_box(miniz_oxide::inflate::decompress_to_vec(&deflated).unwrap()));
    tell("inflate", "1000 bytes", each(time(inflate)));
    for (name, part) in [("strings", "\"x\","), ("numbers", "1,"), ("objects", "{},")] {
        let json = format!("[{}1]", part.repeat(MEGABYTE / part.len()));
        let read = || _ = black_box(PrivateOptions::parse(json.as_bytes()).is_ok());
        tell("JSON", name, each(time(read)));
    }
}

fn time(mut work: impl FnMut()) -> Duration {
    best(|| {
        let start = Instant::now();
        work();
        start.elapsed()
    })
}

/// The best of some, at most a second long.
fn best(mut measure: impl FnMut() -> Duration) -> Duration {
    let start = Instant::now();
    let mut best = Duration::MAX;
    for _ in 0..20 {
        best = best.min(measure());
        if start.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    best
}

fn per_byte(short: Duration, long: Duration, bytes: usize) -> Duration {
    Duration::from_nanos((1000 * long.saturating_sub(short).as_nanos() as u64) / bytes as u64)
}

/// Of bytes, a thousand.
fn tell(name: &str, what: &str, time: Duration) {
    println!("{name:<45} {what:<24} {:>12} ns", time.as_nanos());
}
