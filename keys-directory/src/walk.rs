//! The walk.

use std::io;
use std::path::Path;

use crate::backend::{Directory, Found, Listing};
use crate::passed_over::PassedOver;
use crate::retry::retry_while_replaced;
use crate::{MAX_DEPTH, MAX_ENTRIES};

/// Calls `visit` for every file below `directory` in the order of their names, and for everything that
/// is passed over, with the reason. The names are paths below the directory; the directory itself is
/// called `name`. At most one file is in memory at a time.
///
/// # Errors
/// The directory itself does not exist or cannot be read. Nothing has been visited then.
pub fn walk<D: Directory>(
    directory: &D,
    name: &str,
    visit: impl FnMut(&str, Result<D::File, PassedOver>),
) -> io::Result<()> {
    let listing = list(directory, Path::new(""))?;
    let mut walk = Walk { directory, visit, entries: 0 };
    walk.entries_of(listing, Path::new(""), Shown { name, prefix: "" }, 0);
    Ok(())
}

struct Walk<'a, D, V> {
    directory: &'a D,
    visit: V,
    entries: usize,
}

/// How a directory is shown.
#[derive(Clone, Copy)]
struct Shown<'a> {
    name: &'a str,
    /// What precedes the names in it.
    prefix: &'a str,
}

impl<D: Directory, V: FnMut(&str, Result<D::File, PassedOver>)> Walk<'_, D, V> {
    /// The entries of the directory at `path`.
    fn entries_of(&mut self, listing: Listing, path: &Path, shown: Shown<'_>, depth: usize) {
        let Listing { mut names, has_other_names } = listing;
        if has_other_names {
            self.pass_over(shown.name, PassedOver::NameNotUtf8);
        }
        names.sort();
        for name in names {
            let text = name.to_string_lossy();
            // `..data` and `..2026_11_23_…` of a mounted Secret: its keys are links into them.
            if text.starts_with("..") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return self.pass_over(shown.name, PassedOver::TooManyEntries);
            }
            self.entry(&path.join(&name), &format!("{}{text}", shown.prefix), depth);
        }
    }

    fn entry(&mut self, path: &Path, shown: &str, depth: usize) {
        let directory = self.directory;
        let found = retry_while_replaced(|| directory.exists(path), || directory.read(path));
        match found {
            Ok(Found::Directory) if depth < MAX_DEPTH => match list(directory, path) {
                Ok(listing) => {
                    let shown = Shown { name: shown, prefix: &format!("{shown}/") };
                    self.entries_of(listing, path, shown, depth + 1);
                }
                Err(error) => self.pass_over(shown, PassedOver::Unreadable(error)),
            },
            Ok(Found::Directory) => self.pass_over(shown, PassedOver::NestedTooDeeply),
            Ok(Found::Special) => self.pass_over(shown, PassedOver::NotRegular),
            Ok(Found::Large) => self.pass_over(shown, PassedOver::TooLarge),
            Ok(Found::File(file)) => (self.visit)(shown, Ok(file)),
            Err(error) if directory.is_link(path) => match error.kind() {
                io::ErrorKind::PermissionDenied => self.pass_over(shown, PassedOver::LeavingLink),
                _ => self.pass_over(shown, PassedOver::DeadLink),
            },
            Err(error) => self.pass_over(shown, PassedOver::Unreadable(error)),
        }
    }

    fn pass_over(&mut self, shown: &str, why: PassedOver) {
        (self.visit)(shown, Err(why));
    }
}

/// One name more than are visited, so that the walk can tell that there are more.
fn list<D: Directory>(directory: &D, path: &Path) -> io::Result<Listing> {
    retry_while_replaced(|| directory.exists(path), || directory.list(path, MAX_ENTRIES + 1))
}
