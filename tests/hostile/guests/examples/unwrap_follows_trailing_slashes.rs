//! Leaves `/keys` through links and paths that end with a slash (RUSTSEC-2026-0269): behind one, a kernel follows
//! a link although it was asked not to, so a library that resolves paths by itself must not pass it on.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

struct FollowsTrailingSlashes;

/// Links that lead out, and links to those; `slash` and `chain` end with one themselves.
const LINKS: [&str; 6] = ["directory", "slash", "chain", "chain-of-chains", "proc", "proc-slash"];

/// What is written behind a link.
const ENDS: [&str; 5] = ["", "/", "//", "/.", "/./"];

impl Fixture for FollowsTrailingSlashes {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        let (keys, _) = &get_directories()[0];
        for link in LINKS {
            for end in ENDS {
                let path = format!("links/{link}{end}");
                report.attempt(&format!("list {path}"), named(listed(keys, &path)));
            }
            let path = format!("links/{link}/");
            report.attempt(&format!("stat {path}"), named(stat(keys, &path)));
            let file = if link.starts_with("proc") { "status" } else { "secret" };
            let path = format!("links/{link}/{file}");
            report.attempt(&format!("read {path}"), named(read(keys, &path)));
        }
        Err(report.failure())
    }
}

/// The name of an error: all of the attempts have to fit into one message.
fn named(outcome: Result<(), ErrorCode>) -> Result<(), &'static str> {
    outcome.map_err(|error| error.name())
}

/// A directory, whether the last link is to be followed or not.
fn listed(keys: &Descriptor, path: &str) -> Result<(), ErrorCode> {
    let open = |follow| keys.open_at(follow, path, OpenFlags::DIRECTORY, DescriptorFlags::READ);
    let directory = open(PathFlags::empty()).or_else(|_| open(PathFlags::SYMLINK_FOLLOW))?;
    directory.read_directory().map(drop)
}

/// What a path leads to. (The link itself may be looked at.)
fn stat(keys: &Descriptor, path: &str) -> Result<(), ErrorCode> {
    keys.stat_at(PathFlags::SYMLINK_FOLLOW, path).map(drop)
}

fn read(keys: &Descriptor, path: &str) -> Result<(), ErrorCode> {
    let flags = DescriptorFlags::READ;
    let file = keys.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), flags)?;
    file.read(100, 0).map(drop)
}

fixture!(FollowsTrailingSlashes);
