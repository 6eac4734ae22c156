//! Reads files outside of `/keys` through links that lie in it.

use std::fs;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture};

struct ReadsThroughLinks;

impl Fixture for ReadsThroughLinks {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        let links = ["relative", "absolute", "directory/secret", "twice", "proc/environ"];
        for link in links {
            report.attempt(link, fs::read(format!("/keys/links/{link}")));
        }
        report.attempt("list directory", fs::read_dir("/keys/links/directory"));
        Err(report.failure())
    }
}

fixture!(ReadsThroughLinks);
