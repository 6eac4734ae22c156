//! Reads the keys and the payload in the step that writes the layer.

use std::fs;
use std::io::{self, Read};

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, Report, fixture, found};

struct ReadsKeys;

impl Fixture for ReadsKeys {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        let mut report = Report::default();
        for path in ["/keys", "/keys/key.pem", "/", ".", "/dev/fd/3", "/proc/self/fd/3"] {
            report.attempt(path, fs::read(path));
            report.attempt(&format!("list {path}"), fs::read_dir(path));
        }
        report.attempt("directories", found(wasip2::filesystem::preopens::get_directories()));
        let mut bytes = Vec::new();
        let read = io::stdin().read_to_end(&mut bytes);
        report.attempt("stdin", read.map_err(drop).and(found(&bytes).map_err(drop)));
        report.attempt("stdout", wasip2::cli::stdout::get_stdout().blocking_write_and_flush(b"x"));
        Err(report.failure())
    }
}

fixture!(ReadsKeys);
