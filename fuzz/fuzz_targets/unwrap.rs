//! From a payload to the key of its layer, with keys of every scheme and with a token and a key
//! provider that answer what they like. The input is the public options and then a list of wrapped
//! keys, a scheme and a content each: the target puts base64, JSON and protobuf around them.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use keycell_fuzz::{Fields, Fixed, base64, data, ring, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::annotation::{KEYS_PREFIX, PUBLIC_OPTIONS};
use ocicrypt::broker::{Broker, Refusal, TokenKey};
use ocicrypt::encrypt::private_options;
use ocicrypt::keyring::KeyRing;
use ocicrypt::options::{PublicOptions, layer_key_of};
use ocicrypt::payload::{self, Payload};
use ocicrypt::pkcs11::OaepHash;
use ocicrypt::unwrap::{Opened, unwrap_with};
use serde_json::json;

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    ring(&[
        ("rsa-2048.pem", data!("keys/rsa-2048.pkcs8.pem")),
        ("rsa-2048.cert.pem", data!("pkcs7/rsa-2048.cert.pem")),
        ("p-256.pem", data!("keys/p-256.pkcs8.pem")),
        ("cv25519.gpg", data!("pgp/keys/cv25519.gpg")),
    ])
});

const SCHEMES: [&str; 6] = ["jwe", "pkcs7", "pgp", "pkcs11", "provider.one", "provider.two"];

/// Wrapped keys in one payload: each may cost a private-key operation.
const MOST: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let mut fields = Fields(bytes);
    let public = fields.bytes();
    let mut annotations = BTreeMap::from([(PUBLIC_OPTIONS.to_owned(), base64(public))]);
    for _ in 0..MOST {
        if fields.is_empty() {
            break;
        }
        let scheme = SCHEMES[usize::from(fields.u8()) % SCHEMES.len()];
        let list: &mut String = annotations.entry(format!("{KEYS_PREFIX}{scheme}")).or_default();
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&base64(fields.bytes()));
    }
    let json = json!({
        "DecryptConfig": { "Parameters": { "pkcs11-yamls": ["eA=="], "two": ["eQ=="] } },
        "Descriptor": {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "size": 100,
            "annotations": annotations,
        },
    });
    let payload = payload::encode(json.to_string().as_bytes());
    let payload = Payload::parse(&payload).expect("well-formed");
    match unwrap_with(&payload, &RING, &mut Echo, &mut Fixed(0)) {
        Ok(Opened { key, is_authenticated: false, .. }) => {
            // It may be a made-up one, whose nonce is no other's.
            assert_eq!(key.length(), Some(100));
        }
        Ok(Opened { key, .. }) => {
            assert_eq!(key.length(), Some(100));
            let public = PublicOptions::parse(public).expect("it was read before");
            let again = layer_key_of(&private_options(&key), &public);
            assert!(again.is_ok_and(|again| again.with_length(Some(100)).is_same(&key)));
        }
        Err(error) => tell(&error),
    }
});

/// Answers what it is asked about.
struct Echo;

impl Broker for Echo {
    fn token_keys(&mut self) -> Vec<String> {
        vec!["pkcs11:token=one".to_owned()]
    }

    fn token_decrypt(
        &mut self,
        key: TokenKey<'_>,
        _: OaepHash,
        blob: &[u8],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Refusal> {
        match key {
            TokenKey::Configured(_) => Err(Refusal::Failed("the token is gone".to_owned())),
            TokenKey::Given(file) => {
                assert_eq!(file, b"x");
                Ok(blob.to_vec().into())
            }
        }
    }

    fn provider_unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        parameters: &[zeroize::Zeroizing<Vec<u8>>],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Refusal> {
        match name {
            "two" => {
                assert!(parameters.len() == 1 && *parameters[0] == b"y");
                Ok(wrapped.to_vec().into())
            }
            _ => Err(Refusal::NotConfigured),
        }
    }
}
