//! The walk: order, limits, links, and what is passed over.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use keycell_keys_directory::{
    Directory, Found, GrantedDirectory, Listing, MAX_DEPTH, MAX_ENTRIES, MAX_FILE, walk,
};

/// A directory that is removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("keycell-keys-directory-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("keys")).expect("a new directory");
        Self(path)
    }

    fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    fn file(&self, name: &str, content: &[u8]) {
        let path = self.keys().join(name);
        fs::create_dir_all(path.parent().expect("a name")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.keys().join(name)).expect("a link");
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The name of each visit, with the file's content or the reason.
fn visits<D: Directory>(directory: &D, text: impl Fn(D::File) -> String) -> Vec<(String, String)> {
    let mut visits = Vec::new();
    let walked = walk(directory, "/keys", |name, found| {
        let found = found.map(&text).unwrap_or_else(|why| why.to_string());
        visits.push((name.to_owned(), found));
    });
    walked.expect("a directory that can be read");
    visits
}

fn with_std(temporary: &Temporary) -> Vec<(String, String)> {
    visits(&GrantedDirectory::new(&temporary.keys()), |content| {
        String::from_utf8_lossy(&content).into_owned()
    })
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, found)| ((*name).to_owned(), (*found).to_owned())).collect()
}

#[test]
fn files_come_in_the_order_of_their_names() {
    let temporary = Temporary::new();
    temporary.file("b/c", b"3");
    temporary.file("b/a", b"2");
    temporary.file("a", b"1");
    temporary.file("c", b"4");
    let expected = pairs(&[("a", "1"), ("b/a", "2"), ("b/c", "3"), ("c", "4")]);
    assert_eq!(with_std(&temporary), expected);
}

#[test]
fn a_mounted_secret_has_each_key_once() {
    let temporary = Temporary::new();
    temporary.file("..2026_11_25/tls.key", b"key");
    temporary.link("..2026_11_25", "..data");
    temporary.link("..data/tls.key", "tls.key");
    assert_eq!(with_std(&temporary), pairs(&[("tls.key", "key")]));
}

#[test]
fn a_large_file_and_a_dead_link_are_passed_over() {
    let temporary = Temporary::new();
    temporary.file("large", &vec![0; MAX_FILE as usize + 1]);
    temporary.link("none", "dead");
    temporary.link("circle", "circle");
    let dead = "the link leads nowhere, or in a circle";
    let expected = pairs(&[("circle", dead), ("dead", dead), ("large", "larger than 1 MiB")]);
    assert_eq!(with_std(&temporary), expected);
}

#[test]
fn a_ring_of_directories_ends() {
    let temporary = Temporary::new();
    temporary.link(".", "ring");
    let name = ["ring"; MAX_DEPTH + 1].join("/");
    let expected = pairs(&[(&name, "directories are nested too deeply")]);
    assert_eq!(with_std(&temporary), expected);
}

#[test]
fn a_directory_that_is_missing_is_an_error() {
    let temporary = Temporary::new();
    let missing = GrantedDirectory::new(&temporary.keys().join("none"));
    let error = walk(&missing, "/keys", |_, _| panic!("nothing is there"));
    assert_eq!(error.expect_err("missing").kind(), io::ErrorKind::NotFound);
}

#[cfg(feature = "cap-std")]
#[test]
fn no_link_leads_out_with_cap_std() {
    let temporary = Temporary::new();
    fs::write(temporary.0.join("outside"), "secret").expect("a file");
    temporary.file("inside", b"key");
    temporary.link("../outside", "out");
    temporary.link("inside", "in");
    let directory =
        keycell_keys_directory::CapStdDirectory::open(&temporary.keys()).expect("a directory");
    let found = visits(&directory, |file| String::from_utf8_lossy(&file.content).into_owned());
    let leaves = "the link leaves the keys directory or is absolute";
    assert_eq!(found, pairs(&[("in", "key"), ("inside", "key"), ("out", leaves)]));
}

/// A directory of as many files as it is asked for.
#[derive(Default)]
struct Endless {
    reads: Cell<usize>,
    has_other_names: bool,
}

impl Directory for Endless {
    type File = ();

    fn list(&self, _: &Path, limit: usize) -> io::Result<Listing> {
        let names = (0..limit).map(|number| OsString::from(format!("{number:06}"))).collect();
        Ok(Listing { names, has_other_names: self.has_other_names })
    }

    fn read(&self, _: &Path) -> io::Result<Found<()>> {
        self.reads.set(self.reads.get() + 1);
        Ok(Found::File(()))
    }

    fn exists(&self, _: &Path) -> bool {
        true
    }

    fn is_link(&self, _: &Path) -> bool {
        false
    }
}

#[test]
fn the_number_of_entries_is_limited() {
    let endless = Endless::default();
    let found = visits(&endless, |()| String::new());
    assert_eq!(endless.reads.get(), MAX_ENTRIES);
    let last = ("/keys".to_owned(), "beyond the 16384 files that are looked at".to_owned());
    assert_eq!(found.last(), Some(&last));
}

#[test]
fn a_name_that_is_not_utf_8_is_reported_and_the_others_are_read() {
    let endless = Endless { has_other_names: true, ..Endless::default() };
    let found = visits(&endless, |()| String::new());
    let first = ("/keys".to_owned(), "it holds a file whose name is not UTF-8".to_owned());
    assert_eq!(found.first(), Some(&first));
    assert_eq!(endless.reads.get(), MAX_ENTRIES);
}
