//! The images that a layout lists, in `index.json`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::documents::{Descriptor, Index};
use crate::error::{Error, Result};
use crate::name::Choice;
use crate::place::{MAX_DOCUMENT, parse};

/// The file that lists the images.
pub const FILE: &str = "index.json";

/// The images of the layout whose list is in `path`.
///
/// # Errors
/// A list that is missing, too long or malformed.
pub fn entries(path: &Path) -> Result<Vec<Descriptor>> {
    Ok(read(path)?.manifests)
}

/// The list in `path`.
///
/// # Errors
/// A list that is missing, too long or malformed.
pub fn read(path: &Path) -> Result<Index> {
    let shown = path.display().to_string();
    let cannot = |error| Error::Read { shown: shown.clone(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Error::TooLong(shown));
    }
    parse(&shown, &bytes)
}

/// The one image of these that is chosen. Messages name it as `shown`.
///
/// # Errors
/// No such image, or several.
pub fn choose<'a>(
    entries: &'a [Descriptor],
    choice: &Choice,
    shown: &str,
) -> Result<&'a Descriptor> {
    let is_chosen = |(place, entry): &(usize, &Descriptor)| match choice {
        Choice::Only => true,
        Choice::Named(name) => entry.tag() == Some(name),
        Choice::Index(index) => place == index,
        Choice::Digest(digest) => entry.digest() == digest,
    };
    let chosen: Vec<_> = entries.iter().enumerate().filter(is_chosen).collect();
    match chosen[..] {
        [(_, entry)] => Ok(entry),
        _ => Err(Error::HowMany { name: shown.to_owned(), count: chosen.len() }),
    }
}
