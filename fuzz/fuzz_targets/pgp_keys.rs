//! An OpenPGP key file, binary or armored. Its keys are unlocked and tried on messages that hide
//! their recipient.

#![no_main]

use std::sync::LazyLock;

use base64ct::{Base64, Encoding};
use keycell_fuzz::{Fixed, base64, data, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::bounds::Bounds;
use ocicrypt::keyring::{KeyRing, NamedPgpKey};
use ocicrypt::payload::{self, Payload};
use ocicrypt::pgp::{PgpMessage, Search};

static MESSAGES: LazyLock<Vec<PgpMessage>> = LazyLock::new(|| {
    let mut found = Vec::new();
    for json in [&data!("pgp/gnupg.json")[..], data!("pgp/rpgp.json")] {
        let json: serde_json::Value = serde_json::from_slice(json).expect("a fixture");
        for case in json["cases"].as_array().expect("a fixture") {
            let name = case["name"].as_str().expect("a fixture");
            if ["hidden recipient", "hidden recipient cv25519"].contains(&name)
                || name.contains("Ocb") && name.contains("hidden")
            {
                let message = Base64::decode_vec(case["message"].as_str().expect("a fixture"));
                found.push(PgpMessage::parse(&message.expect("a fixture")).expect("a fixture"));
            }
        }
    }
    found
});

fuzz_target!(|bytes: &[u8]| {
    let file = base64(bytes);
    let json = format!(
        r#"{{"DecryptConfig":{{"Parameters":{{"gpg-privatekeys":["{file}"],"gpg-privatekeys-passwords":["c2VjcmV0"]}}}}}}"#
    );
    let payload = Payload::parse(&payload::encode(json.as_bytes())).expect("well-formed");
    let mut ring = KeyRing::new();
    ring.add_parameters(&payload.parameters);
    ring.skipped().iter().for_each(tell);
    ring.pgp_keys().for_each(tell);
    let mut work = Search::new(ring.pgp_keys().take(4).map(NamedPgpKey::key));
    for message in MESSAGES.iter() {
        if let Err(errors) = message.decrypt(&mut work, &mut Bounds::default(), &mut Fixed(0)) {
            errors.iter().for_each(tell);
        }
    }
});
