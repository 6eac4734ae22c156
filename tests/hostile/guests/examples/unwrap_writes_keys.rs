//! Changes the keys directory in every way that there is.

use std::fs::{self, OpenOptions};
use std::io::Write;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, NewTimestamp, OpenFlags, PathFlags};

struct WritesKeys;

impl Fixture for WritesKeys {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        report.attempt("create", fs::write("/keys/new", "x"));
        report.attempt("overwrite", fs::write("/keys/key.pem", "x"));
        let opened = OpenOptions::new().append(true).open("/keys/key.pem");
        report.attempt("append", opened.and_then(|mut file| file.write_all(b"x")));
        let opened = OpenOptions::new().write(true).open("/keys/key.pem");
        report.attempt("truncate", opened.and_then(|file| file.set_len(0)));
        let read = fs::File::open("/keys/key.pem");
        report.attempt("set-size", read.and_then(|file| file.set_len(0)));
        report.attempt("rename", fs::rename("/keys/key.pem", "/keys/other.pem"));
        report.attempt("hard-link", fs::hard_link("/keys/key.pem", "/keys/other.pem"));
        report.attempt("unlink", fs::remove_file("/keys/key.pem"));
        report.attempt("create-directory", fs::create_dir("/keys/made"));
        report.attempt("remove-directory", fs::remove_dir("/keys/empty"));

        let (keys, _) = &get_directories()[0];
        let now = NewTimestamp::Now;
        report.attempt("set-times", keys.set_times(now, now));
        report.attempt("set-times-at", keys.set_times_at(PathFlags::empty(), "key.pem", now, now));
        report.attempt("symlink", keys.symlink_at("key.pem", "other.pem"));
        for flags in
            [OpenFlags::CREATE, OpenFlags::TRUNCATE, OpenFlags::CREATE | OpenFlags::EXCLUSIVE]
        {
            for name in ["key.pem", "new"] {
                let opened = keys.open_at(PathFlags::empty(), name, flags, DescriptorFlags::READ);
                let written = opened.and_then(|file| file.write(b"x", 0));
                report.attempt(&format!("open-at {name} {flags:?}"), written);
            }
        }
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        let sub = keys.open_at(PathFlags::empty(), "sub", OpenFlags::DIRECTORY, flags);
        report.attempt("mutate", sub.and_then(|sub| sub.unlink_file_at("nested.pem")));
        if let Ok(file) =
            keys.open_at(PathFlags::empty(), "key.pem", OpenFlags::empty(), DescriptorFlags::READ)
        {
            report.attempt("write-via-stream", file.write_via_stream(0));
            report.attempt("append-via-stream", file.append_via_stream());
            report.attempt("write", file.write(b"x", 0));
            report.attempt("file set-times", file.set_times(now, now));
        }
        Err(report.failure())
    }
}

fixture!(WritesKeys);
