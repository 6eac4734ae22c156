//! Encrypted private keys, as openssl writes them, and where their passwords come from: a named
//! case for each file. `tests/data/encrypted-keys/README.md` says how the files were made.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};
use std::{env, fs};

use common::{base64, data, descriptor, json_data};
use getrandom::SysRng;
use libtest_mimic::{Arguments, Failed, Trial};
use ocicrypt::keyring::{KeyRing, MAX_FILES};
use ocicrypt::keys::{NotAKey, PrivateKey, Work};
use ocicrypt::payload::Payload;
use ocicrypt::unwrap::unwrap;
use serde_json::{Value, json};

const PASSWORD: &[u8] = b"secret";

/// A key that costs next to nothing to open.
const CHEAP: &str = "p-256.rounds-1.pem";

/// What any one file may take. Generous, because tests run beside each other.
const BOUND: Duration = Duration::from_secs(20);

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let names = names();
    for name in &names {
        let (kind, _) = name.split_once('.').unwrap();
        match kind {
            "p-256" | "p-384" | "p-521" | "rsa-2048" => good_trials(name, &mut trials),
            "several" | "ed25519" => {}
            _ => trials.push(trial(&format!("refused: {name}"), {
                let name = name.clone();
                move || refused(&name)
            })),
        }
    }
    let cases: [(&str, fn()); 15] = [
        ("every kind of file is there", every_kind_of_file),
        ("several blocks", several_blocks),
        ("a key of another kind", another_kind),
        ("ring: where passwords lie", where_passwords_lie),
        ("ring: what is no password", what_is_no_password),
        ("ring: line ends", line_ends),
        ("ring: order does not matter", order_does_not_matter),
        ("ring: reasons", reasons),
        ("ring: files with their passwords", files_with_their_passwords),
        ("ring: all files together are bounded", all_files_are_bounded),
        ("ring: all keys together are bounded", all_keys_are_bounded),
        ("payload: passwords in their places", payload_passwords),
        ("payload: passwords from its own list only", payload_takes_no_file),
        ("damage: every byte", every_byte),
        ("damage: every length", every_length),
    ];
    trials.extend(cases.map(|(name, case)| {
        trial(name, move || {
            case();
            Ok(())
        })
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(name: &str, run: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::test(name, run)
}

fn names() -> Vec<String> {
    let directory = format!("{}/tests/data/encrypted-keys", env!("CARGO_MANIFEST_DIR"));
    let names = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".pem") || name.ends_with(".der"));
    names.sort();
    names
}

fn file(name: &str) -> Vec<u8> {
    data(&format!("encrypted-keys/{name}"))
}

fn password_of(name: &str) -> &'static [u8] {
    if name.contains("other-password") { " p\u{e4}ss word\t ".as_bytes() } else { PASSWORD }
}

/// The first JWE that was made for the key, in a payload with these parameters.
fn payload(key: &str, parameters: &Value) -> Payload {
    let jwes = json_data("jwe.json");
    let mut cases = jwes["cases"].as_array().unwrap().iter();
    let case = cases.find(|case| case["key"] == key).unwrap();
    let descriptor = descriptor(&[case["jwe"].as_str().unwrap()]);
    let json = json!({ "DecryptConfig": { "Parameters": parameters }, "Descriptor": descriptor });
    Payload::parse(&common::any(&json)).unwrap()
}

fn opens(key: &str, ring: &KeyRing) -> bool {
    let key = unwrap(&payload(key, &Value::Null), ring, &mut SysRng);
    key.is_ok_and(|key| key.key()[..] == (0..32).collect::<Vec<u8>>()[..])
}

fn ring(files: &[(&str, &[u8])]) -> KeyRing {
    let mut ring = KeyRing::new();
    files.iter().for_each(|(name, bytes)| ring.add_file(name, bytes));
    ring
}

fn skipped(ring: &KeyRing) -> Vec<String> {
    ring.skipped().iter().map(ToString::to_string).collect()
}

fn good_trials(name: &str, trials: &mut Vec<Trial>) {
    let names = [(); 4].map(|()| name.to_owned());
    let [with, wrong, without, newline] = names;
    trials.push(trial(&format!("opens: {name}"), move || {
        let (key, _) = with.split_once('.').unwrap();
        let ring = ring(&[(&with, &file(&with)), (&format!("{with}.pass"), password_of(&with))]);
        assert_eq!(skipped(&ring), [""; 0]);
        let keys: Vec<_> = ring.keys().collect();
        let fingerprints = json_data("keys/fingerprints.json");
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].key().fingerprint().to_string(), fingerprints[key].as_str().unwrap());
        opens(key, &ring).then_some(()).ok_or_else(|| "the layer was not opened".into())
    }));
    trials.push(trial(&format!("wrong password: {name}"), move || {
        let mut passwords = vec![b"".to_vec(), b"Secret".to_vec(), b"secret\x01".to_vec()];
        passwords.push([password_of(&wrong), b"\n"].concat());
        passwords.push(vec![b's'; 100_000]);
        for password in passwords {
            let parsed = PrivateKey::parse(&file(&wrong), Some(&password));
            assert!(parsed.keys.is_empty(), "it was opened");
            assert_eq!(parsed.refused, [NotAKey::WrongPassword(form(&wrong))]);
        }
        Ok(())
    }));
    trials.push(trial(&format!("without password: {name}"), move || {
        let parsed = PrivateKey::parse(&file(&without), None);
        assert!(parsed.keys.is_empty(), "it was opened");
        assert_eq!(parsed.refused, [NotAKey::PasswordNeeded(form(&without))]);
        Ok(())
    }));
    trials.push(trial(&format!("password with a line end: {name}"), move || {
        let password = [password_of(&newline), b"\r\n"].concat();
        let ring = ring(&[(&newline, &file(&newline)), (&format!("{newline}.pass"), &password)]);
        assert_eq!(ring.len(), 1);
        Ok(())
    }));
}

fn form(name: &str) -> &'static str {
    if name.contains("dek-info") { "PEM with DEK-Info" } else { "PKCS#8" }
}

/// Named, in bounded time, and not worth a password.
fn refused(name: &str) -> Result<(), Failed> {
    let start = Instant::now();
    let with = PrivateKey::parse(&file(name), Some(PASSWORD));
    let without = PrivateKey::parse(&file(name), None);
    assert!(start.elapsed() < BOUND, "it took {:?}", start.elapsed());
    assert!(with.keys.is_empty() && without.keys.is_empty());
    let encryption = |name: &str| NotAKey::UnsupportedEncryption(name.to_owned());
    let rounds = |rounds| NotAKey::TooMuchWork(Work::Pbkdf2(rounds));
    let scrypt = |n, r, p| NotAKey::TooMuchWork(Work::Scrypt { n, r, p });
    let reason = match name {
        "bomb.rounds.der" => rounds(2_147_483_647),
        "bomb.rounds-beyond-32-bits.der" => rounds(4_294_967_297),
        "bomb.rounds-beyond-64-bits.der" => rounds(18_446_744_073_709_551_615),
        "bomb.rounds-twice.der" => rounds(9_000_000),
        "bomb.scrypt-memory.der" => scrypt(1_048_576, 8, 1),
        "bomb.scrypt-wide.der" => scrypt(2, 268_435_456, 1),
        "bomb.scrypt-long.der" => scrypt(16_384, 8, 4096),
        "bomb.scrypt-many.der" => scrypt(2, 1, 1_073_741_824),
        "bomb.scrypt-overflow.der" => scrypt(1 << 63, 1 << 63, 1 << 63),
        "unsupported.pbe-sha1-3des.pem" => encryption("PBE-SHA1-3DES"),
        "unsupported.rc2.pem" => encryption("RC2-CBC"),
        "unsupported.dek-info-camellia.pem" => encryption("CAMELLIA-256-CBC"),
        _ if name.starts_with("wrong.") => {
            assert_eq!(without.refused, [NotAKey::PasswordNeeded("PKCS#8")]);
            assert_eq!(with.refused, [NotAKey::WrongPassword("PKCS#8")]);
            return Ok(());
        }
        _ if name.starts_with("broken.") => NotAKey::Malformed("PKCS#8"),
        _ => return Err("what is expected of this file?".into()),
    };
    assert_eq!((with.refused, without.refused), (vec![reason.clone()], vec![reason]));
    Ok(())
}

fn every_kind_of_file() {
    let names = names();
    let count = |part: &str| names.iter().filter(|name| name.contains(part)).count();
    let counts = ["pbkdf2-", "scrypt-1024-", "dek-info-", "bomb.", "broken.", "hand-"].map(count);
    assert_eq!(counts, [25, 5, 12, 9, 11, 7]);
}

fn several_blocks() {
    let kinds = |password| {
        let parsed = PrivateKey::parse(&file("several.pem"), password);
        let kinds: Vec<_> = parsed.keys.iter().map(|key| key.kind().to_string()).collect();
        (kinds, parsed.refused)
    };
    let (keys, refused) = kinds(Some(PASSWORD));
    assert_eq!(keys, ["RSA-2048", "P-384", "P-256", "P-521"]);
    assert_eq!(refused, []);
    let (keys, refused) = kinds(None);
    assert_eq!(keys, ["P-384"]);
    let (dek_info, pkcs8) = ("PEM with DEK-Info", "PKCS#8");
    let needed = NotAKey::PasswordNeeded;
    assert_eq!(refused, [needed(dek_info), needed(dek_info), needed(pkcs8)]);
}

fn another_kind() {
    let parsed = PrivateKey::parse(&file("ed25519.pkcs8.pem"), Some(PASSWORD));
    assert_eq!(parsed.refused, [NotAKey::OtherKind("Ed25519".to_owned())]);
}

fn where_passwords_lie() {
    let key = file(CHEAP);
    for (name, password) in [
        ("a", "a.pass"),
        ("a.pem", "a.pem.password"),
        ("directory/a.pem", "directory/a.pem.pass"),
        ("a.pass", "a.pass.pass"),
        ("a.password.pass", "a.password.pass.password"),
    ] {
        let ring = ring(&[(name, &key), (password, PASSWORD)]);
        assert_eq!(skipped(&ring), [""; 0], "{name}");
        assert!(opens("p-256", &ring), "{name}");
    }
    // Names are compared whole, though they are cut where they are shown.
    let long = "n".repeat(300);
    assert_eq!(
        ring(&[(&long, &key), (&format!("{long}.pass"), PASSWORD), ("m.pass", b"")]).len(),
        1
    );
    // `.pass` comes first, and neither is taken for a key.
    let both = ring(&[("a", &key), ("a.password", b"another"), ("a.pass", PASSWORD)]);
    assert_eq!((both.len(), skipped(&both).len()), (1, 0));
    let both = ring(&[("a", &key), ("a.password", PASSWORD), ("a.pass", b"another")]);
    assert_eq!((both.len(), skipped(&both).len()), (0, 1));
    // A key that needs none, with one.
    let ring = ring(&[("a", &common::key_file("p-256.pkcs8.pem")), ("a.pass", b"another")]);
    assert_eq!((ring.len(), skipped(&ring).len()), (1, 0));
}

fn what_is_no_password() {
    let key = file(CHEAP);
    for name in
        ["pass", ".pass", "b.pass", "A.pass", "a.pem.pass", "a.PASS", "a.passwd", "a/a.pass"]
    {
        let ring = ring(&[("a", &key), (name, PASSWORD)]);
        assert_eq!((ring.len(), skipped(&ring).len()), (0, 2), "{name}");
    }
    // A password without its key is called what it is, and a key by such a name is a key.
    let plain = common::key_file("p-256.pkcs8.pem");
    let ring = ring(&[("b.pass", PASSWORD), ("c.password", b"\n"), ("d.pass", &plain)]);
    assert_eq!(ring.len(), 1);
    let wanted = [
        "`b.pass`: a password without its key `b`",
        "`c.password`: a password without its key `c`",
    ];
    assert_eq!(skipped(&ring), wanted);
}

fn line_ends() {
    let key = file(CHEAP);
    let opens = |end: &str| {
        let password = [PASSWORD, end.as_bytes()].concat();
        ring(&[("a", &key), ("a.pass", &password)]).len() == 1
    };
    for end in ["", "\n", "\r\n"] {
        assert!(opens(end), "{end:?}");
    }
    for end in ["\r", "\n\n", "\r\n\r\n", "\n\r", " ", " \n", "\t\n"] {
        assert!(!opens(end), "{end:?}");
    }
    for password in ["\nsecret", "\u{feff}secret", " secret", "\n", "\r\n", ""] {
        assert!(ring(&[("a", &key), ("a.pass", password.as_bytes())]).is_empty(), "{password:?}");
    }
}

fn order_does_not_matter() {
    let (encrypted, plain) = (file("p-384.pkcs8.pem"), common::key_file("p-256.pkcs8.pem"));
    let files: [(&str, &[u8]); 4] =
        [("a.pem", &encrypted), ("a.pem.pass", PASSWORD), ("b.pem", &plain), ("c", b"?")];
    for order in [[0, 1, 2, 3], [1, 0, 3, 2], [1, 2, 3, 0], [3, 0, 2, 1]] {
        let mut ring = KeyRing::new();
        for place in order {
            let (name, bytes) = files[place];
            ring.add_file(name, bytes);
            // Asking before all is there must not spoil the answer.
            let _ = (ring.len(), ring.skipped().len());
        }
        let mut names: Vec<_> = ring.keys().map(|key| key.name().to_owned()).collect();
        let encrypted_first =
            order.iter().position(|place| *place == 0) < order.iter().position(|place| *place == 2);
        assert_eq!(names[0] == "a.pem", encrypted_first, "{order:?}");
        names.sort();
        assert_eq!(names, ["a.pem", "b.pem"], "{order:?}");
        assert_eq!(
            skipped(&ring),
            ["`c`: not a key in PEM, DER, JWK or OpenPGP form"],
            "{order:?}"
        );
    }
}

fn reasons() {
    let ring = ring(&[
        ("needed.pem", &file(CHEAP)),
        ("wrong.pem", &file("rsa-2048.dek-info-des3.pem")),
        ("wrong.pem.pass", b"a secret that no message shows"),
        ("rc2.pem", &file("unsupported.rc2.pem")),
        ("bomb.der", &file("bomb.scrypt-memory.der")),
    ]);
    let wanted = [
        "`needed.pem`: an encrypted key (PKCS#8), and a password is needed: put it into \
         `needed.pem.pass`",
        "`wrong.pem`: an encrypted key (PEM with DEK-Info) that the password does not open, \
         unless it is damaged",
        "`rc2.pem`: an encrypted key in a way that is not supported (RC2-CBC): `openssl pkcs8 \
         -topk8 -v2 aes256` writes one that is",
        "`bomb.der`: a key that asks for too much work (scrypt with N = 1048576, \
         r = 8, p = 1)",
    ];
    assert_eq!(skipped(&ring), wanted);
}

fn files_with_their_passwords() {
    let ring =
        ring(&[("b.password", b"two\r\n"), ("a", b"1"), ("b", b"2"), ("a.pass", b""), ("c", b"3")]);
    let files: Vec<_> = ring.files().map(|file| (file.name, file.bytes, file.password)).collect();
    let [one, two, three] = [&b"1"[..], b"2", b"3"];
    assert_eq!(files, [("a", one, Some(&b""[..])), ("b", two, Some(b"two")), ("c", three, None)]);
}

fn all_files_are_bounded() {
    let mut ring = KeyRing::new();
    let large = vec![b'a'; 1024 * 1024];
    for index in 0..=MAX_FILES / large.len() {
        ring.add_file(&index.to_string(), &large);
    }
    let skipped = skipped(&ring);
    let count = skipped.iter().filter(|text| text.contains("larger than 32 MiB together")).count();
    assert_eq!((skipped.len(), count), (33, 1));
}

/// Each of them is fine; what they ask for together is not.
fn all_keys_are_bounded() {
    let mut ring = KeyRing::new();
    let (slow, cheap) = (file("p-256.rounds-600000.pem"), file("p-384.pkcs8.pem"));
    for index in 0..200 {
        ring.add_file(&format!("{index}"), &slow);
        ring.add_file(&format!("{index}.pass"), b"wrong");
    }
    ring.add_file("z", &cheap);
    ring.add_file("z.pass", PASSWORD);
    let start = Instant::now();
    // What is too much for one leaves the rest to the next.
    assert!(opens("p-384", &ring));
    assert!(start.elapsed() < 3 * BOUND, "it took {:?}", start.elapsed());
    let skipped = skipped(&ring);
    let count = skipped.iter().filter(|text| text.contains("too much work (together")).count();
    assert!((150..200).contains(&count), "{count}");
}

fn payload_passwords() {
    let (pkcs8, dek_info) = (file("p-521.pkcs8.pem"), file("p-256.dek-info-aes128.pem"));
    let opened = |passwords: Value| {
        let parameters = json!({
            "privkeys": [base64(&pkcs8), null, base64(&dek_info)],
            "privkeys-passwords": passwords,
        });
        let payload = payload("p-256", &parameters);
        let mut ring = KeyRing::new();
        ring.add_parameters(&payload.parameters);
        let names: Vec<_> = ring.keys().map(|key| key.name().to_owned()).collect();
        let opened = unwrap(&payload, &ring, &mut SysRng).is_ok();
        assert_eq!(opened, names.contains(&"privkeys[2]".to_owned()));
        (names, skipped(&ring))
    };
    let (secret, wrong) = (base64(PASSWORD), base64(b"secret\n"));
    let (names, skipped) = opened(json!([secret, null, secret]));
    assert_eq!((names, skipped.len()), (vec!["privkeys[0]".into(), "privkeys[2]".to_owned()], 0));
    // Bytes of a payload are taken as they are.
    let (names, skipped) = opened(json!([wrong, secret, secret]));
    assert_eq!(names, ["privkeys[2]"]);
    assert!(skipped[0].starts_with("`privkeys[0]`: an encrypted key (PKCS#8) that the password"));
    for none in [json!(null), json!([]), json!([null]), json!([null, secret, ""])] {
        let (names, skipped) = opened(none);
        assert_eq!((names.len(), skipped.len()), (0, 2));
        assert!(skipped[1].ends_with("put it into the same place of `privkeys-passwords`"));
    }
    let (names, _) = opened(json!([secret]));
    assert_eq!(names, ["privkeys[0]"]);
}

/// A file may not stand in for the password of a key that came in another way.
fn payload_takes_no_file() {
    let parameters = json!({ "privkeys": [base64(&file(CHEAP))] });
    let payload = payload("p-256", &parameters);
    let mut ring = ring(&[("privkeys[0].pass", PASSWORD)]);
    ring.add_parameters(&payload.parameters);
    assert!(ring.is_empty());
}

/// Damage that goes unnoticed must do no harm either: there is no key, or one that can be used.
fn exercise(bytes: &[u8]) {
    for password in [None, Some(PASSWORD)] {
        for key in PrivateKey::parse(bytes, password).keys {
            let _ = key.fingerprint();
        }
    }
}

const DAMAGED: [&str; 8] = [
    CHEAP,
    "p-256.pkcs8.der",
    "p-256.hand-key-length.der",
    "p-256.hand-scrypt-key-length.der",
    "p-256.pbkdf2-sha1-des.pem",
    "p-256.dek-info-des.pem",
    "p-256.dek-info-aes256.pem",
    "p-521.dek-info-aes256.pem",
];

fn every_byte() {
    for name in DAMAGED {
        let good = file(name);
        for position in 0..good.len() {
            let flipped = [1, 2, 0x40].map(|mask| good[position] ^ mask);
            for value in [0, 0x7f, 0x80, 0xff].into_iter().chain(flipped) {
                let mut changed = good.clone();
                changed[position] = value;
                exercise(&changed);
            }
        }
    }
}

fn every_length() {
    for name in DAMAGED {
        let good = file(name);
        for length in 0..good.len() {
            exercise(&good[..length]);
            exercise(&good[length..]);
            // A byte that is missing, or stands twice.
            exercise(&[&good[..length], &good[length + 1..]].concat());
            exercise(&[&good[..=length], &good[length..]].concat());
        }
        // Without its last line end, which is none of the key.
        let keys = PrivateKey::parse(good.trim_ascii_end(), Some(PASSWORD)).keys.len();
        assert_eq!(keys, 1, "{name}");
    }
}
