//! Opens what is in the keys directory and is neither a file nor a directory, in every way: a pipe that
//! nobody writes to, a link to it, a socket, a device.

use std::fs;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, failure, fixture};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

struct OpensPipe;

impl Fixture for OpensPipe {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        let directories = get_directories();
        let (keys, _) = directories.first().ok_or_else(|| failure("no directory"))?;
        for name in ["pipe", "link-to-pipe", "socket", "device"] {
            report.attempt(&format!("read {name}"), fs::read(format!("/keys/{name}")));
            for links in [PathFlags::SYMLINK_FOLLOW, PathFlags::empty()] {
                for flags in [DescriptorFlags::READ, DescriptorFlags::empty()] {
                    let opened = keys.open_at(links, name, OpenFlags::empty(), flags);
                    report.attempt(&format!("open {name}"), opened);
                }
                let opened = keys.open_at(links, name, OpenFlags::DIRECTORY, DescriptorFlags::READ);
                report.attempt(&format!("open directory {name}"), opened);
            }
        }
        Err(report.failure())
    }
}

fixture!(OpensPipe);
