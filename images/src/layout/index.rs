//! The images that a layout lists, in `index.json`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::choice::{Choice, is_image_name};
use crate::documents::{Descriptor, IMAGE_NAME, Index};
use crate::error::{Error, Result};
use crate::place::{MAX_DOCUMENT, parse};
use crate::registry::Reference;

/// The file that lists the images.
pub const FILE: &str = "index.json";

/// The number of images that an error names.
const SHOWN: usize = 8;

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

/// The one image of these that is chosen. `named` gives the name of a choice.
///
/// containers/image takes the first image of a name, and does not look at the names that containerd and
/// Docker write; here two images of one name have to be told apart by their index or their digest.
///
/// # Errors
/// No such image, or several.
pub fn choose<'a>(
    entries: &'a [Descriptor],
    choice: &Choice,
    named: impl Fn(&Choice) -> String,
) -> Result<&'a Descriptor> {
    let chosen: Vec<&Descriptor> = match choice {
        Choice::Only => entries.iter().collect(),
        Choice::Named(name) => with_name(entries, name),
        Choice::Index(index) => entries.get(*index).into_iter().collect(),
        Choice::Digest(digest) => entries.iter().filter(|entry| entry.digest() == digest).collect(),
    };
    match chosen[..] {
        // One image may be listed under several names.
        [first, ref others @ ..] if others.iter().all(|other| other.digest == first.digest) => {
            Ok(first)
        }
        _ => Err(Error::HowMany {
            name: named(choice),
            count: chosen.len(),
            others: choices(entries).take(SHOWN).map(|choice| named(&choice)).collect(),
        }),
    }
}

/// The position of the image that has the name of a new one. Sources find it by this name, too.
///
/// # Errors
/// Several images of this name, of which none can be replaced.
pub fn holder(
    entries: &[Descriptor],
    choice: &Choice,
    named: impl Fn(&Choice) -> String,
) -> Result<Option<usize>> {
    let Choice::Named(name) = choice else { return Ok(None) };
    match with_name(entries, name)[..] {
        [] => Ok(None),
        [found] => Ok(entries.iter().position(|entry| std::ptr::eq(entry, found))),
        ref several => Err(Error::HowMany {
            name: named(choice),
            count: several.len(),
            others: destinations(entries, several).take(SHOWN).map(|it| named(&it)).collect(),
        }),
    }
}

/// What names each of the images, where possible as a destination: by a whole name of its own.
fn destinations<'a>(
    entries: &'a [Descriptor],
    several: &'a [&Descriptor],
) -> impl Iterator<Item = Choice> + 'a {
    let chosen = move || {
        let all = entries.iter().zip(choices(entries));
        let is_one = |entry| several.iter().any(|one| std::ptr::eq(*one, entry));
        all.filter(move |(entry, _)| is_one(*entry)).map(|(_, choice)| choice)
    };
    let is_name = |choice: &Choice| matches!(choice, Choice::Named(_));
    let any = chosen().any(|choice| is_name(&choice));
    chosen().filter(move |choice| !any || is_name(choice))
}

/// Whether the image has a name of any kind.
pub fn is_named(entry: &Descriptor) -> bool {
    entry.tag().is_some() || full_name(entry).is_some()
}

fn with_name<'a>(entries: &'a [Descriptor], name: &str) -> Vec<&'a Descriptor> {
    let tagged: Vec<_> = entries.iter().filter(|entry| entry.tag() == Some(name)).collect();
    if !tagged.is_empty() {
        return tagged;
    }
    let reference = Reference::parse(name).ok();
    let is_chosen = |full: String| {
        full == name || reference.is_some() && Reference::parse(&full).ok() == reference
    };
    entries.iter().filter(|entry| full_name(entry).is_some_and(is_chosen)).collect()
}

/// The name that `ctr images export` and `docker save` write. The tag of such an image is only the last
/// part of it.
fn full_name(entry: &Descriptor) -> Option<String> {
    entry.annotations().remove(IMAGE_NAME)
}

/// A choice for each image, which names no other.
fn choices(entries: &[Descriptor]) -> impl Iterator<Item = Choice> {
    let unique = |name: &String| is_image_name(name) && with_name(entries, name).len() == 1;
    entries.iter().enumerate().map(move |(index, entry)| {
        let tag = entry.tag().map(str::to_owned).filter(unique);
        let name = tag.or_else(|| full_name(entry).filter(unique));
        name.map_or(Choice::Index(index), Choice::Named)
    })
}

#[cfg(test)]
mod tests;
