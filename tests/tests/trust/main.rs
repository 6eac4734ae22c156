//! Whoever can change what decides which code runs, or whom the node trusts, is found out before it
//! is used: each thing that decides ([`subjects`]) in each way of changing it ([`WAYS`]).

mod keys;
mod subjects;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use keycell_tests::node::says;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use tempfile::TempDir;

use subjects::{SUBJECTS, Subject};

/// A user that no system has.
const STRANGER: u32 = 61234;

type Spoil = fn(&Path) -> Result<()>;

/// Ways in which somebody else can change `above/directory/THING`, whose path each is given.
const WAYS: &[(&str, Spoil)] = &[
    ("writable-by-everybody", |thing| mode(thing, 0o002)),
    ("writable-by-its-group", |thing| mode(thing, 0o020)),
    ("of-somebody-else", |thing| give_away(thing)),
    ("directory-writable-by-everybody", |thing| mode(parent(thing)?, 0o002)),
    ("directory-writable-by-its-group", |thing| mode(parent(thing)?, 0o020)),
    ("directory-of-somebody-else", |thing| give_away(parent(thing)?)),
    ("above-writable-by-everybody", |thing| mode(parent(parent(thing)?)?, 0o002)),
    ("above-of-somebody-else", |thing| give_away(parent(parent(thing)?)?)),
    ("in-a-sticky-directory-of-somebody-else", |thing| {
        mode(parent(thing)?, 0o1022)?;
        give_away(parent(thing)?)
    }),
    ("of-somebody-else-in-a-sticky-directory", |thing| {
        mode(parent(thing)?, 0o1022)?;
        give_away(thing)
    }),
    ("link-in-a-writable-directory", |thing| {
        move_away(thing)?;
        mode(parent(thing)?, 0o002)
    }),
    ("link-to-a-writable-directory", |thing| {
        let moved = move_away(thing)?;
        mode(parent(&moved)?, 0o002)
    }),
    ("directory-is-a-link-in-a-writable-one", |thing| {
        let directory = parent(thing)?;
        let moved = move_away(directory)?;
        ensure!(moved.is_dir(), "`{}` is none", moved.display());
        mode(parent(directory)?, 0o002)
    }),
];

/// What is no reason to refuse it.
const HARMLESS: &[(&str, Spoil)] = &[
    ("as-it-should-be", |_| Ok(())),
    ("in-a-sticky-directory", |thing| mode(parent(thing)?, 0o1022)),
    ("link", |thing| move_away(thing).map(drop)),
];

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    for (subject, make, refusal) in SUBJECTS {
        for (way, spoil) in WAYS {
            // The kernel gives a program its own path without links, and the broker is in the same directory.
            if (*subject, *way) == ("broker", "directory-is-a-link-in-a-writable-one") {
                continue;
            }
            if is_a_link_behind_walls(subject, way) {
                continue;
            }
            suite.case(format!("{subject}/{way}"), &[Tool::Root], move || {
                let place = Place::new()?;
                let subject = make(&place.directory())?;
                spoil(&subject.thing)?;
                refuses_until_mended(&subject, refusal)
            });
        }
        for (way, spoil) in HARMLESS {
            if is_a_link_behind_walls(subject, way) {
                continue;
            }
            suite.case(format!("{subject}/{way}"), &[Tool::Root], move || {
                let place = Place::new()?;
                let subject = make(&place.directory())?;
                spoil(&subject.thing)?;
                let outcome = subject.decoder.run()?;
                ensure!((subject.is_used)(&outcome), "not used: {}", outcome.stderr);
                Ok(())
            });
        }
    }
    keys::cases(&mut suite);
    suite.run()
}

/// Behind its walls, a provider's program is executed where it lies, not through a link: the walls refuse it
/// also where nobody else can change it.
fn is_a_link_behind_walls(subject: &str, way: &str) -> bool {
    subject == "provider-command-behind-walls" && way.starts_with("link")
}

/// It is not used, and the message says why. Doing what that says, step by step, solves the problem.
fn refuses_until_mended(subject: &Subject, refusal: &[&str]) -> Result<()> {
    for step in 0..6 {
        let outcome = subject.decoder.run()?;
        if (subject.is_used)(&outcome) {
            ensure!(step > 0, "used although others can change it: {}", outcome.stderr);
            return Ok(());
        }
        says(&outcome, refusal)?;
        let command = command_in(&outcome.stderr);
        let command = command.with_context(|| format!("no command: {}", outcome.stderr))?;
        output(std::process::Command::new("sh").args(["-c", command]))?;
    }
    anyhow::bail!("six commands have not mended it")
}

/// The first command that a message names.
fn command_in(message: &str) -> Option<&str> {
    let quoted = message.split('`').skip(1).step_by(2);
    quoted.into_iter().find(|text| text.starts_with("chmod go-w ") || text.starts_with("chown "))
}

/// `above/directory`, and `elsewhere` for what links lead to.
struct Place(TempDir);

impl Place {
    fn new() -> Result<Self> {
        let place = Self(TempDir::with_prefix("keycell-trust-")?);
        for path in ["above", "above/directory", "above/elsewhere", "elsewhere"] {
            let path = place.0.path().join(path);
            fs::create_dir(&path)?;
            fs::set_permissions(path, Permissions::from_mode(0o755))?;
        }
        Ok(place)
    }

    fn directory(&self) -> std::path::PathBuf {
        self.0.path().join("above/directory")
    }
}

fn parent(path: &Path) -> Result<&Path> {
    path.parent().context("a parent")
}

/// Adds bits to the mode.
fn mode(path: &Path, bits: u32) -> Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    Ok(fs::set_permissions(path, Permissions::from_mode(mode | bits))?)
}

fn give_away(path: &Path) -> Result<()> {
    Ok(chown(path, Some(STRANGER), None)?)
}

/// Moves it to `elsewhere` beside its directory, and leaves a link.
fn move_away(path: &Path) -> Result<std::path::PathBuf> {
    let name = path.file_name().context("a name")?;
    let moved = parent(parent(path)?)?.join("elsewhere").join(name);
    fs::rename(path, &moved)?;
    symlink(&moved, path)?;
    Ok(moved)
}
