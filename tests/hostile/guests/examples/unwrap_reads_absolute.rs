//! Reads files outside of `/keys` by their absolute names.

use std::fs;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture};

struct ReadsAbsolute;

impl Fixture for ReadsAbsolute {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        for path in ["/etc/passwd", "/etc/shadow", "/proc/self/environ", "/dev/stdin", "/"] {
            report.attempt(path, fs::read(path));
            report.attempt(&format!("list {path}"), fs::read_dir(path));
        }
        Err(report.failure())
    }
}

fixture!(ReadsAbsolute);
