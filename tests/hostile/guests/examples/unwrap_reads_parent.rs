//! Reads files outside of `/keys` over `..`.

use std::fs;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

struct ReadsParent;

impl Fixture for ReadsParent {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        for path in ["/keys/../outside/secret", "/keys/sub/../../outside/secret"] {
            report.attempt(path, fs::read(path));
        }
        // The library of the language resolves nothing here, the host sees the path as it is.
        let (keys, _) = &get_directories()[0];
        let raw = [
            "../outside/secret",
            "sub/../../outside/secret",
            "./../outside/secret",
            "..",
            "/etc/passwd",
            "sub/../../../../../../../../etc/passwd",
            "../keys/../outside/secret",
        ];
        for path in raw {
            let opened = keys.open_at(
                PathFlags::SYMLINK_FOLLOW,
                path,
                OpenFlags::empty(),
                DescriptorFlags::READ,
            );
            report.attempt(&format!("open-at {path}"), opened);
            report.attempt(&format!("stat-at {path}"), keys.stat_at(PathFlags::empty(), path));
        }
        Err(report.failure())
    }
}

fixture!(ReadsParent);
