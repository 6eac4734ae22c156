//! Makes `rpgp.json` and the keys `rpgp-*` anew, with rPGP 0.21: what GnuPG 2.2 cannot write. Not
//! a part of the workspace, because rPGP is of an older generation of crates; see README.md.

use base64::Engine;
use pgp::composed::*;
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm as Sym;
use pgp::ser::Serialize;
use pgp::types::{CompressionAlgorithm, KeyDetails, KeyVersion, Password, S2kParams, StringToKey};
use rand::thread_rng;
use serde_json::{json, Map, Value};

fn generate(version: KeyVersion, primary: KeyType, subkey: KeyType) -> SignedSecretKey {
    let mut encrypts = SubkeyParamsBuilder::default();
    encrypts.version(version).key_type(subkey).can_encrypt(EncryptionCaps::All);
    let mut key = SecretKeyParamsBuilder::default();
    key.version(version)
        .key_type(primary)
        .can_certify(true)
        .primary_user_id("test <test@example.org>".into())
        .subkeys(vec![encrypts.build().unwrap()]);
    key.build().unwrap().generate(thread_rng()).unwrap()
}

struct Made {
    keys: Map<String, Value>,
    cases: Vec<Value>,
    refused: Map<String, Value>,
    content: Vec<u8>,
}

impl Made {
    fn key(&mut self, name: &str, key: &SignedSecretKey) {
        std::fs::write(format!("keys/{name}.gpg"), key.to_bytes().unwrap()).unwrap();
        let of = |key: &dyn KeyDetails| json!(format!("{:X}", key.fingerprint()));
        let known = json!([of(&key.primary_key), of(&key.secret_subkeys[0].key)]);
        self.keys.insert(name.into(), known);
    }

    fn message(&mut self, name: &str, key: &str, message: Vec<u8>) {
        let message = base64::engine::general_purpose::STANDARD.encode(message);
        self.cases.push(json!({ "name": name, "key": key, "message": message }));
    }

    fn v1(&mut self, name: &str, file: &str, key: &SignedSecretKey) {
        let mut builder = MessageBuilder::from_bytes("", self.content.clone())
            .seipd_v1(thread_rng(), Sym::AES256);
        let subkey = SignedPublicKey::from(key.clone()).public_subkeys[0].clone();
        builder.encrypt_to_key(thread_rng(), &subkey).unwrap();
        self.message(name, file, builder.to_vec(thread_rng()).unwrap());
    }

    fn v2(&mut self, file: &str, key: &SignedSecretKey, sym: Sym, mode: AeadAlgorithm, hidden: bool) {
        let chunk = if hidden { ChunkSize::C64B } else { ChunkSize::C4KiB };
        let mut builder = MessageBuilder::from_bytes("", self.content.clone())
            .seipd_v2(thread_rng(), sym, mode, chunk);
        if hidden {
            builder.compression(CompressionAlgorithm::ZIP);
        }
        let subkey = SignedPublicKey::from(key.clone()).public_subkeys[0].clone();
        if hidden {
            builder.encrypt_to_key_anonymous(thread_rng(), &subkey).unwrap();
        } else {
            builder.encrypt_to_key(thread_rng(), &subkey).unwrap();
        }
        let what = if hidden { " hidden, small chunks" } else { "" };
        let message = builder.to_vec(thread_rng()).unwrap();
        if mode == AeadAlgorithm::Eax {
            let message = base64::engine::general_purpose::STANDARD.encode(message);
            self.refused.insert("EAX".into(), json!(message));
            return;
        }
        self.message(&format!("version 2 {sym:?} {mode:?} {file}{what}"), file, message);
    }

    fn locked(&mut self, name: &str, key: &SignedSecretKey, s2k: S2kParams) {
        let mut key = key.clone();
        key.secret_subkeys[0].key.set_password_with_s2k(&Password::from("secret"), s2k).unwrap();
        self.key(name, &key);
        self.v1(&format!("locked {name}"), name, &key);
    }
}

fn main() {
    let jwe: Value = serde_json::from_slice(&std::fs::read("../jwe.json").unwrap()).unwrap();
    let content = jwe["plaintext"].as_str().unwrap().as_bytes().to_vec();
    let mut made =
        Made { keys: Map::new(), cases: Vec::new(), refused: Map::new(), content };
    for (version, number) in [(KeyVersion::V4, 4), (KeyVersion::V6, 6)] {
        for (kind, subkey) in [
            ("x25519", KeyType::X25519),
            ("p-384", KeyType::ECDH(ECCCurve::P384)),
            ("rsa-2048", KeyType::Rsa(2048)),
        ] {
            let primary = if number == 4 { KeyType::Ed25519Legacy } else { KeyType::Ed25519 };
            let key = generate(version, primary, subkey);
            let name = format!("rpgp-v{number}-{kind}");
            made.key(&name, &key);
            made.v1(&format!("version 1 {name}"), &name, &key);
            if kind == "x25519" {
                for mode in [AeadAlgorithm::Ocb, AeadAlgorithm::Gcm] {
                    for sym in [Sym::AES128, Sym::AES192, Sym::AES256] {
                        made.v2(&name, &key, sym, mode, false);
                    }
                    made.v2(&name, &key, Sym::AES256, mode, true);
                }
                made.v2(&name, &key, Sym::AES256, AeadAlgorithm::Eax, false);
            } else {
                made.v2(&name, &key, Sym::AES256, AeadAlgorithm::Ocb, false);
            }
        }
    }
    let key = generate(KeyVersion::V4, KeyType::Ed25519Legacy, KeyType::ECDH(ECCCurve::P256));
    let new = generate(KeyVersion::V6, KeyType::Ed25519, KeyType::X25519);
    let salt = [7; 8];
    let simple = |hash_alg| StringToKey::Simple { hash_alg };
    let salted = |hash_alg| StringToKey::Salted { hash_alg, salt };
    let iterated = |hash_alg, count| StringToKey::IteratedAndSalted { hash_alg, salt, count };
    use HashAlgorithm::*;
    for (name, sym_alg, s2k) in [
        ("simple-sha512-3des", Sym::TripleDES, simple(Sha512)),
        ("simple-sha256-aes128", Sym::AES128, simple(Sha256)),
        ("salted-sha224-aes256", Sym::AES256, salted(Sha224)),
        ("salted-sha384-cast5", Sym::CAST5, salted(Sha384)),
        ("iterated-sha224-aes192", Sym::AES192, iterated(Sha224, 96)),
        ("iterated-sha384-aes256", Sym::AES256, iterated(Sha384, 0)),
        ("iterated-sha512-aes256", Sym::AES256, iterated(Sha512, 224)),
        ("iterated-most-sha224-aes256", Sym::AES256, iterated(Sha224, 255)),
    ] {
        let iv = vec![9; sym_alg.block_size()].into();
        let params = S2kParams::Cfb { sym_alg, s2k, iv };
        made.locked(&format!("rpgp-locked-{name}"), &key, params);
    }
    for (name, key, aead_mode) in [
        ("v4-ocb", &key, AeadAlgorithm::Ocb),
        ("v6-ocb", &new, AeadAlgorithm::Ocb),
        ("v6-gcm", &new, AeadAlgorithm::Gcm),
    ] {
        let (s2k, nonce) = (iterated(Sha256, 96), vec![9; aead_mode.nonce_size()].into());
        let params = S2kParams::Aead { sym_alg: Sym::AES256, aead_mode, s2k, nonce };
        made.locked(&format!("rpgp-locked-{name}"), key, params);
    }
    let iv = vec![9; 16].into();
    let v6 = S2kParams::Cfb { sym_alg: Sym::AES256, s2k: iterated(Sha256, 96), iv };
    made.locked("rpgp-locked-v6-cfb", &new, v6);
    // What is refused by name: keys that are not used.
    let mut refused = |name: &str, key: SignedSecretKey| {
        std::fs::write(format!("keys/{name}.gpg"), key.to_bytes().unwrap()).unwrap();
    };
    refused("rpgp-x448", generate(KeyVersion::V4, KeyType::Ed25519Legacy, KeyType::X448));
    let mut argon2 = new.clone();
    let password = Password::from("secret");
    argon2.secret_subkeys[0].key.set_password(thread_rng(), &password).unwrap();
    refused("rpgp-argon2", argon2);
    let all = json!({ "cases": made.cases, "refused": made.refused });
    std::fs::write("rpgp.json", serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
    let keys = serde_json::to_string_pretty(&made.keys).unwrap() + "\n";
    std::fs::write("keys/rpgp-fingerprints.json", keys).unwrap();
}
