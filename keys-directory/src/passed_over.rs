//! Why a file or a directory is passed over.

use std::io;

use crate::MAX_ENTRIES;

/// Why a file or a directory is passed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassedOver {
    /// The directory holds more than [`MAX_ENTRIES`]; the rest is not visited.
    #[error("beyond the {MAX_ENTRIES} files that are looked at")]
    TooManyEntries,
    /// The file is larger than [`crate::MAX_FILE`].
    #[error("larger than 1 MiB")]
    TooLarge,
    /// The directory is nested deeper than [`crate::MAX_DEPTH`].
    #[error("directories are nested too deeply")]
    NestedTooDeeply,
    /// A pipe, a socket or a device.
    #[error("not a regular file")]
    NotRegular,
    /// The link leads out of the directory, or is absolute: absolute paths lead out, even if they lead
    /// back into the directory.
    #[error("the link leaves the keys directory or is absolute")]
    LeavingLink,
    /// The link has no target.
    #[error("the link leads nowhere, or in a circle")]
    DeadLink,
    /// The directory holds a name that WebAssembly cannot express, so it cannot be shown either.
    #[error("it holds a file whose name is not UTF-8")]
    NameNotUtf8,
    /// The operating system refuses to read it.
    #[error("{}", reason(.0))]
    Unreadable(io::Error),
}

/// The text of an error, without the number that the operating system gives it.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "not there".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::Other => error.to_string(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_file_is_described_without_numbers() {
        let text = |error: io::Error| PassedOver::Unreadable(error).to_string();
        assert_eq!(text(io::Error::from_raw_os_error(2)), "not there");
        assert_eq!(text(io::Error::from_raw_os_error(13)), "permission denied");
        assert_eq!(text(io::Error::other("name-too-long")), "name-too-long");
        assert_eq!(text(io::ErrorKind::NotADirectory.into()), "not a directory");
    }
}
