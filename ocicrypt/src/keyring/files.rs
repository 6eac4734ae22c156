//! The files of a ring, and which of them are passwords of others.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::Skipped;

/// The password for the key file `NAME` is in `NAME.pass` or, if that does not exist, in
/// `NAME.password`, in the same directory.
pub const PASSWORD_SUFFIXES: [&str; 2] = [".pass", ".password"];

/// A file of a ring, for code that reads keys in another form.
#[derive(Clone, Copy)]
pub struct KeyFile<'a> {
    /// Its name as it was given; it is not sanitized.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The password for it, without the line end.
    pub password: Option<&'a [u8]>,
}

/// An entry among the keys.
pub(super) enum Found {
    File { name: String, bytes: Zeroizing<Vec<u8>> },
    Skipped(Skipped),
}

pub(super) struct OfPayload {
    pub(super) name: String,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) password: Option<Zeroizing<Vec<u8>>>,
}

/// The files by name, to find the password for each.
pub(super) struct Beside<'a>(BTreeMap<&'a str, &'a [u8]>);

impl<'a> Beside<'a> {
    pub(super) fn of(files: &'a [Found]) -> Self {
        let files = files.iter().filter_map(|found| match found {
            Found::File { name, bytes } => Some((name.as_str(), bytes.as_slice())),
            Found::Skipped(_) => None,
        });
        Self(files.collect())
    }

    /// The file with its password; none if it is itself a password.
    pub(super) fn key_file(&self, found: &'a Found) -> Option<KeyFile<'a>> {
        let Found::File { name, bytes } = found else { return None };
        if owner(name).is_some_and(|owner| self.0.contains_key(owner)) {
            return None;
        }
        let mut passwords = PASSWORD_SUFFIXES.iter();
        let password =
            passwords.find_map(|suffix| self.0.get(format!("{name}{suffix}").as_str()).copied());
        Some(KeyFile { name, bytes, password: password.map(without_line_end) })
    }
}

/// The name of the file whose password a file with this name would be.
pub(super) fn owner(name: &str) -> Option<&str> {
    PASSWORD_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix))
}

/// Removes one `\n` or `\r\n` at the end, which editors and `echo` add and which is not part of the
/// password.
fn without_line_end(password: &[u8]) -> &[u8] {
    match password.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => password,
    }
}
