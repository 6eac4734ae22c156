//! Looks for a time among what it may know of the key files: whoever else reads one moves its access
//! time, which makes a clock of it.

use keycell_hostile_guests::{
    Failure, Fixture, LayerKey, Report, Request, failure, fixture, found,
};
use wasip2::clocks::wall_clock::Datetime;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, DescriptorStat, OpenFlags, PathFlags};

struct ReadsAccessTimes;

/// A time that says something, if there is one.
fn times(stat: DescriptorStat) -> Result<(), &'static str> {
    let all = [
        stat.data_access_timestamp,
        stat.data_modification_timestamp,
        stat.status_change_timestamp,
    ];
    let tells = |time: &Datetime| time.seconds != 0 || time.nanoseconds != 0;
    found(all.into_iter().flatten().filter(tells))
}

impl Fixture for ReadsAccessTimes {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        let directories = get_directories();
        let (keys, _) = directories.first().ok_or_else(|| failure("no directory"))?;
        let stat = |name| {
            let links = PathFlags::SYMLINK_FOLLOW;
            keys.stat_at(links, name).map_err(|error| failure(&format!("{name}: {error:?}")))
        };
        report.attempt("key.pem", times(stat("key.pem")?));
        report.attempt("sub", times(stat("sub")?));
        report.attempt("links", times(stat("links")?));
        report.attempt("/keys", times(keys.stat().map_err(|_| failure("no stat"))?));
        for (name, how) in [("key.pem", OpenFlags::empty()), ("sub", OpenFlags::DIRECTORY)] {
            let opened = keys.open_at(PathFlags::empty(), name, how, DescriptorFlags::READ);
            let opened = opened.map_err(|error| failure(&format!("{name}: {error:?}")))?;
            report.attempt(
                &format!("opened {name}"),
                times(opened.stat().map_err(|_| failure("no stat"))?),
            );
        }
        let metadata = std::fs::metadata("/keys/key.pem").map_err(|_| failure("no metadata"))?;
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        let read = metadata.accessed().ok().filter(|time| *time != epoch);
        report.attempt("the standard library's", found(read));
        Err(report.failure())
    }
}

fixture!(ReadsAccessTimes);
