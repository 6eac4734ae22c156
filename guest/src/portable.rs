//! The portable decoder: both steps and the ciphers in one plain WASI command, for any runtime.
//!
//! It needs nothing but arguments, a directory of keys, and its standard streams:
//!
//! ```text
//! wasmtime run --dir keys::/keys --dir .::/here decoder-portable.wasm \
//!     --payload /here/payload.bin <layer >plain
//! ```
//!
//! A runtime cannot pass descriptor 3, so the payload is a file, or, with `--payload -`, precedes
//! the layer on standard input, after its length: four bytes, big-endian.

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use keycell_diagnostic::hint::UnwrapHint;
use keycell_guest::failure::Failure;
use keycell_guest::{keys, steps};
use ocicrypt::algorithms::MinAlgorithms;
use ocicrypt::broker::NoBroker;
use ocicrypt::keyring::KeyRing;
use zeroize::Zeroizing;

/// The longest payload, in bytes: what `ctd-decoder` accepts.
const MAX_PAYLOAD: u64 = 32 * 1024 * 1024;

const HELP: &str = "\
Usage: decoder-portable --payload FILE|- [--keys DIR] <layer >plain

Decrypts a layer of an encrypted OCI image.

  --payload FILE  what containerd writes to descriptor 3
  --payload -     the same on standard input, before the layer: its length in four bytes,
                  big-endian, then the payload
  --keys DIR      private keys (default: /keys)

Exit codes: 0 the whole layer was written and has verified, 1 it was not.
";

fn main() -> ExitCode {
    let done = arguments().and_then(|arguments| match arguments {
        Some(arguments) => run(&arguments),
        None => {
            print!("{HELP}");
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { diagnostic, .. }) => {
            eprintln!("decoder-portable: error: {}", diagnostic.message);
            diagnostic.hints.iter().for_each(|hint| eprintln!("hint: {hint}"));
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    payload: String,
    keys: PathBuf,
}

/// `None`: help was asked for.
fn arguments() -> Result<Option<Arguments>, Failure> {
    let mut payload = None;
    let mut keys = PathBuf::from("/keys");
    let mut rest = std::env::args().skip(1);
    while let Some(flag) = rest.next() {
        match (flag.as_str(), rest.next()) {
            ("--help" | "-h", _) => return Ok(None),
            ("--payload", Some(value)) => payload = Some(value),
            ("--keys", Some(value)) => keys = value.into(),
            ("--payload" | "--keys", None) => {
                return Err(usage(&format!("`{flag}` needs a value")));
            }
            _ => return Err(usage(&format!("unexpected argument `{flag}`"))),
        }
    }
    let payload = payload.ok_or_else(|| usage("`--payload` is missing"))?;
    Ok(Some(Arguments { payload, keys }))
}

fn usage(message: &str) -> Failure {
    Failure::new(message, UnwrapHint::PortableUsage)
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut stdin = io::stdin().lock();
    let payload = match arguments.payload.as_str() {
        "-" => framed(&mut stdin),
        path => std::fs::File::open(path).and_then(|file| {
            let mut payload = Zeroizing::new(Vec::new());
            file.take(MAX_PAYLOAD).read_to_end(&mut payload)?;
            Ok(payload)
        }),
    };
    let payload = payload.map_err(|error| {
        let message = format!("cannot read the payload: {error}");
        Failure::new(message, UnwrapHint::PortablePayloadUnreadable)
    })?;
    let mut ring = KeyRing::new();
    keys::add_directory(&mut ring, &arguments.keys);
    let unwrapped = steps::unwrap(&payload, None, ring, MinAlgorithms::Legacy, &mut NoBroker)?;
    steps::decrypt(&unwrapped.opened.key, stdin, io::stdout().lock())
}

fn framed(stdin: &mut impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut length = [0; 4];
    stdin.read_exact(&mut length)?;
    let length = u64::from(u32::from_be_bytes(length));
    if length > MAX_PAYLOAD {
        return Err(io::Error::other("it is longer than 32 MiB"));
    }
    let mut payload = Zeroizing::new(vec![0; length as usize]);
    stdin.read_exact(&mut payload)?;
    Ok(payload)
}
