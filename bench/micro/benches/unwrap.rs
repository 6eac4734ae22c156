//! From the bytes of a payload and of a key file to the key of the layer: both are parsed, and the
//! private key is used. All of it natively; in the guest it takes longer.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use getrandom::SysRng;
use keycell_bench_micro::layer;
use ocicrypt::encrypt::{self, Recipient};
use ocicrypt::keyring::KeyRing;
use ocicrypt::payload::{self, Payload};
use ocicrypt::unwrap::unwrap;
use serde_json::json;

fn unwrapping(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unwrap");
    for name in ["rsa-2048", "rsa-4096", "p-256", "p-384", "p-521"] {
        let recipient = Recipient::jwe(&data(&format!("encrypt/{name}.pub.pem")));
        let case = Case::new(recipient.expect("a recipient"), &[&format!("keys/{name}.pkcs8.pem")]);
        group.bench_function(format!("JWE {name}"), |bencher| bencher.iter(|| case.run()));
    }
    let recipient = Recipient::pkcs7(&data("pkcs7/rsa-2048.cert.pem")).expect("a recipient");
    let case = Case::new(recipient, &["pkcs7/rsa-2048.cert.pem", "keys/rsa-2048.pkcs8.pem"]);
    group.bench_function("PKCS#7 rsa-2048", |bencher| bencher.iter(|| case.run()));
    for name in ["rsa-2048", "cv25519"] {
        let case = Case::new(pgp(name), &[&format!("pgp/keys/{name}.gpg")]);
        group.bench_function(format!("OpenPGP {name}"), |bencher| bencher.iter(|| case.run()));
    }
    group.finish();
}

/// What the decoder is given.
struct Case {
    payload: Vec<u8>,
    files: Vec<(String, Vec<u8>)>,
}

impl Case {
    fn new(recipient: Recipient, files: &[&str]) -> Self {
        let (layer, key) = layer(1024);
        let annotations = encrypt::annotations(&key, &[recipient], &mut SysRng);
        let descriptor = json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "size": layer.len(),
            "annotations": annotations.expect("the key can be wrapped"),
        });
        let json = json!({ "DecryptConfig": { "Parameters": null }, "Descriptor": descriptor });
        let files = files.iter().map(|name| ((*name).to_owned(), data(name))).collect();
        Self { payload: payload::encode(json.to_string().as_bytes()), files }
    }

    fn run(&self) {
        let payload = Payload::parse(&self.payload).expect("a payload");
        let mut ring = KeyRing::new();
        for (name, content) in &self.files {
            ring.add_file(name, content);
        }
        black_box(unwrap(&payload, &ring, &mut SysRng).expect("the key opens it"));
    }
}

/// A recipient from the tests' keys, which are valid in 2030.
fn pgp(name: &str) -> Recipient {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(60 * 365 * 24 * 60 * 60);
    let whom = format!("{name}@example.org").parse().expect("an address");
    let found = Recipient::pgp(&data(&format!("encrypt/pgp/{name}.gpg")), &whom, now);
    found.expect("a recipient").remove(0)
}

/// The keys of ocicrypt's own tests.
fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/../../ocicrypt/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

criterion_group!(benches, unwrapping);
criterion_main!(benches);
