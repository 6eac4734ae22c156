//! The files of a ring, and which of them are the passwords of others.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::Skipped;

/// The password of the key file `NAME` lies beside it in `NAME.pass` or, if that is not there,
/// in `NAME.password`.
pub const PASSWORD_SUFFIXES: [&str; 2] = [".pass", ".password"];

/// A file of a ring, for whoever reads keys in a form of their own.
#[derive(Clone, Copy)]
pub struct KeyFile<'a> {
    /// Its name, as it was given: not fit to be shown.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The password that lies beside it, without the end of its line.
    pub password: Option<&'a [u8]>,
}

/// Something that lies among the keys.
pub(super) enum Found {
    File { name: String, bytes: Zeroizing<Vec<u8>> },
    Skipped(Skipped),
}

pub(super) struct OfPayload {
    pub(super) name: String,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) password: Option<Zeroizing<Vec<u8>>>,
}

/// The files by their names: which is a password, and of which.
pub(super) struct Beside<'a>(BTreeMap<&'a str, &'a [u8]>);

impl<'a> Beside<'a> {
    pub(super) fn of(files: &'a [Found]) -> Self {
        let files = files.iter().filter_map(|found| match found {
            Found::File { name, bytes } => Some((name.as_str(), bytes.as_slice())),
            Found::Skipped(_) => None,
        });
        Self(files.collect())
    }

    /// The file with its password; none if it is a password itself.
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

/// The name of the file that a file of this name would be the password of.
pub(super) fn owner(name: &str) -> Option<&str> {
    PASSWORD_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix))
}

/// Editors and `echo` end a line that is none of the password: one `\n` or `\r\n` is dropped.
fn without_line_end(password: &[u8]) -> &[u8] {
    match password.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => password,
    }
}
