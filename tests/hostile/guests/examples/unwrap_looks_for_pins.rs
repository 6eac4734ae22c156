//! Looks for the PIN of a token in everything that it is granted.

use std::fs;
use std::path::Path;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture, found, tokens};

struct LooksForPins;

impl Fixture for LooksForPins {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        // What there is to be seen: the token exists, and the other keys are here.
        let (keys, files) = (tokens::keys(), &request.key_files);
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        report.attempt("tokens", Err::<(), _>(keys.join(" ")));
        report.attempt("files", Err::<(), _>(names.join(" ")));
        let in_files = files.iter().map(|file| file.content.clone());
        let in_keys = keys.iter().map(|key| key.clone().into_bytes());
        let mut all: Vec<_> = in_files.chain(in_keys).collect();
        read_all(Path::new("/"), &mut all);
        read_all(Path::new("/keys"), &mut all);
        // Of text in UTF-16 too.
        all.iter_mut().for_each(|bytes| bytes.retain(|byte| *byte != 0));
        let words: [&[u8]; 5] = [b"Pin-", b"pin-value", b"SOFTHSM2_CONF", b"module-", b"/pin"];
        let seen = all.iter().filter(|bytes| {
            words.iter().any(|word| bytes.windows(word.len()).any(|window| window == *word))
        });
        report.attempt("a PIN", found(seen));
        Err(report.failure())
    }
}

fn read_all(directory: &Path, into: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match fs::read(entry.path()) {
            Ok(bytes) => into.push(bytes),
            Err(_) => read_all(&entry.path(), into),
        }
    }
}

fixture!(LooksForPins);
