//! A keys directory as a tree: files and directories with odd names, links, pipes. The guest and the
//! broker each walk it in their own way, and have to find the same files: all of them are PEM, which the
//! broker hands over. A link that leaves the directory never leads to what is outside.

#![no_main]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use keycell_broker::key_files::Sorted;
use keycell_broker_protocol::Found;
use keycell_fuzz::{Fields, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::keyring::KeyRing;
use rustix::fs::{CWD, FileType, Mode, mknodat};

const NAMES: [&[u8]; 12] = [
    b"a",
    b"b",
    b"tls.key",
    b"..data",
    b"..2026_11_25_10_00_00.1",
    b"...",
    b"\xff\xfe",
    b"new\nline\x1b[2J",
    b"`$(id)`",
    b" ",
    b"-n",
    "\u{202e}\u{43a}\u{43b}\u{44e}\u{447}".as_bytes(),
];

/// What lies beside the keys directory.
const OUTSIDE: &[u8] = b"-----BEGIN OUTSIDE-----\nAAAA\n-----END OUTSIDE-----\n";

/// Entries that an input makes at most: each costs system calls.
const MOST: usize = 24;

fuzz_target!(|bytes: &[u8]| {
    let place = std::env::temp_dir().join(format!("keycell-fuzz-keys-{}", std::process::id()));
    let keys = place.join("keys");
    fs::create_dir_all(&keys).expect("a directory of our own");
    fs::write(place.join("outside"), OUTSIDE).expect("room for it");
    let leaves = plant(&keys, &place, Fields(bytes));

    let sorted = Sorted::read(&keys).expect("it is there");
    let mut of_broker = BTreeMap::new();
    for found in &sorted.found {
        match found {
            Found::File { name, content } => {
                assert!(content[..] != *OUTSIDE, "`{name}` leads outside");
                of_broker.insert(name.clone(), content.to_vec());
            }
            Found::Skipped { reason, .. } => tell(reason),
            Found::Token(_) => panic!("none was planted"),
        }
    }
    // In the sandbox no link leaves its directory. Here, where the guest's code is an ordinary
    // program, one would.
    if !leaves {
        let mut ring = KeyRing::new();
        keycell_guest::keys::add_directory(&mut ring, &keys);
        let of_guest = ring.files().map(|file| (file.name.to_owned(), file.bytes.to_vec()));
        assert_eq!(of_guest.collect::<BTreeMap<_, _>>(), of_broker);
        ring.skipped().iter().for_each(tell);
    }
    fs::remove_dir_all(&place).expect("it is ours");
});

/// Makes what the input describes, and returns whether a link leads outside.
fn plant(keys: &Path, place: &Path, mut fields: Fields<'_>) -> bool {
    let (mut here, mut depth, mut leaves) = (keys.to_owned(), 0, false);
    for number in 0..MOST {
        if fields.is_empty() {
            break;
        }
        let path = here.join(name(&mut fields));
        // What cannot be made, because it is there already, is passed over.
        match fields.u8() % 8 {
            0 | 1 => {
                // Not through a link that was made before.
                if let Ok(mut file) = fs::File::create_new(&path) {
                    writeln!(file, "-----BEGIN FILE-----\n{number:04}\n-----END FILE-----")
                        .expect("room for it");
                }
            }
            2 | 3 if depth < 12 && fs::create_dir(&path).is_ok() => {
                here = path;
                depth += 1;
            }
            4 if depth > 0 => {
                here.pop();
                depth -= 1;
            }
            5 => {
                let ups = usize::from(fields.u8() % 4);
                let mut target: PathBuf = std::iter::repeat_n("..", ups).collect();
                target.push(name(&mut fields));
                leaves |= symlink(&target, &path).is_ok() && ups > depth;
            }
            6 => {
                let target = match fields.u8() % 4 {
                    0 => place.join("outside"),
                    1 => keys.to_owned(),
                    2 => PathBuf::from("/"),
                    _ => [&"../".repeat(depth + 1), "outside"].concat().into(),
                };
                leaves |= symlink(target, &path).is_ok();
            }
            _ => _ = mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0),
        }
    }
    leaves
}

fn name<'a>(fields: &mut Fields<'_>) -> &'a OsStr {
    OsStr::from_bytes(NAMES[usize::from(fields.u8()) % NAMES.len()])
}
