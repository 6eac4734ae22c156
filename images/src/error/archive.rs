//! Why an archive cannot be read or written.

use std::io;
use std::path::PathBuf;

use keycell_diagnostic::hint::ImageHint;
use keycell_diagnostic::os_error;

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Standard input or standard output is a terminal.
    #[error("{0} is a terminal, and an archive is not text")]
    Terminal(Stream),
    /// A directory, a device or a pipe where an archive is to be written.
    #[error("`{0}` is there and not a regular file")]
    NotAFile(PathBuf),
    /// A directory in the place of an archive.
    #[error("`{path}` is a directory, and an archive is a file")]
    Directory {
        /// The directory.
        path: String,
        /// The name of the image in a layout.
        name: String,
    },
    /// An archive that is compressed with something other than gzip.
    #[error("`{archive}` is compressed with {compression}: only gzip is supported")]
    Compressed {
        /// The archive.
        archive: String,
        /// The compression.
        compression: Compression,
    },
    /// The copy of an archive that cannot be read in place, or of a layer that has to be compressed.
    #[error("cannot write a temporary file in `{}`: {}", .directory.display(), os_error(.error))]
    Spool {
        /// Its directory.
        directory: PathBuf,
        /// Why it cannot be written.
        error: io::Error,
    },
    /// It is no tar archive.
    #[error("`{0}` is not a tar archive")]
    NoArchive(String),
    /// Bytes that are no header of an entry.
    #[error("`{archive}` is damaged: there is no header at byte {at}")]
    Header {
        /// The archive.
        archive: String,
        /// Where a header should be.
        at: u64,
    },
    /// The archive ends in the middle of an entry.
    #[error("`{0}` is cut off")]
    CutOff(String),
    /// More entries than an image has.
    #[error("`{archive}` has more than {limit} entries")]
    TooManyEntries {
        /// The archive.
        archive: String,
        /// The highest number that is read.
        limit: usize,
    },
    /// An entry that is refused.
    #[error("`{archive}` has an entry `{path}` {problem}")]
    Entry {
        /// The archive.
        archive: String,
        /// The path of the entry, sanitized.
        path: String,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// A file that is not there.
    #[error("`{archive}` has no `{path}`")]
    Missing {
        /// The archive.
        archive: String,
        /// The path that it should have, sanitized.
        path: String,
    },
    /// The archive holds an image of another transport.
    #[error("`{archive}` has no `{path}`")]
    OtherTransport {
        /// The archive.
        archive: String,
        /// The path that it should have.
        path: &'static str,
        /// The name of the image with the right transport.
        name: String,
    },
    /// An image of Docker whose configuration and list of layers differ.
    #[error("the image has {layers} layers, and its configuration has {diff_ids} `diff_ids`")]
    Layers {
        /// The number of layers.
        layers: usize,
        /// The number of digests in the configuration.
        diff_ids: usize,
    },
    /// A layer with other bytes than the configuration says.
    #[error("the layer `{path}` was altered: `{wanted}` is `{found}`")]
    DiffId {
        /// The path of the layer, sanitized.
        path: String,
        /// The digest in the configuration, sanitized.
        wanted: String,
        /// The digest of the layer without its compression.
        found: String,
    },
    /// A layer of an archive of Docker that is compressed with something other than gzip.
    #[error("the layer `{path}` is compressed with {compression}: only gzip is supported")]
    LayerCompressed {
        /// The path of the layer, sanitized.
        path: String,
        /// The compression.
        compression: Compression,
        /// The name of the image.
        name: String,
    },
}

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stream {
    /// Standard input.
    #[error("standard input")]
    Input,
    /// Standard output.
    #[error("standard output")]
    Output,
}

/// A compression that is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Compression {
    /// RFC 1952.
    #[error("gzip")]
    Gzip,
    /// RFC 8878.
    #[error("zstd")]
    Zstd,
    /// The format of xz.
    #[error("xz")]
    Xz,
    /// The format of bzip2.
    #[error("bzip2")]
    Bzip2,
}

impl Compression {
    /// The command that decompresses a file.
    fn command(self) -> &'static str {
        match self {
            Self::Gzip => "gzip -d",
            Self::Zstd => "zstd -d",
            Self::Xz => "xz -d",
            Self::Bzip2 => "bzip2 -d",
        }
    }
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// A path that leaves the archive.
    #[error("with a path that leaves the archive")]
    Outside,
    /// A file with holes.
    #[error("that is stored as a sparse file")]
    Sparse,
    /// Several entries with this path.
    #[error("more than once")]
    Twice,
    /// A directory or a device.
    #[error("that is not a regular file")]
    NotAFile,
    /// A link to a link to a link.
    #[error("that is a link, and links to nothing in the archive")]
    Link,
    /// A name that is longer than any that is used.
    #[error("whose name or attributes are too long")]
    TooLong,
    /// A size that is no number, or other malformed attributes.
    #[error("with malformed attributes")]
    Attributes,
}

impl ArchiveError {
    /// Whether something is not in the archive.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// What mends it.
    pub fn hint(&self) -> Option<ImageHint> {
        match self {
            Self::Terminal(Stream::Input) => Some(ImageHint::PipeIn),
            Self::Terminal(Stream::Output) => Some(ImageHint::PipeOut),
            Self::NotAFile(_) => Some(ImageHint::ArchiveStream),
            Self::Compressed { archive, compression } => {
                Some(ImageHint::Decompress(format!("{} {archive}", compression.command())))
            }
            Self::Spool { .. } => Some(ImageHint::TemporaryDirectory),
            Self::Entry { problem: EntryProblem::Sparse, .. } => Some(ImageHint::NotSparse),
            Self::OtherTransport { name, .. } | Self::Directory { name, .. } => {
                Some(ImageHint::Suggestion(name.clone()))
            }
            Self::LayerCompressed { name, .. } => Some(ImageHint::Recompress(name.clone())),
            Self::NoArchive(_)
            | Self::Header { .. }
            | Self::CutOff(_)
            | Self::DiffId { .. }
            | Self::Layers { .. } => Some(ImageHint::SaveAgain),
            Self::TooManyEntries { .. } | Self::Entry { .. } | Self::Missing { .. } => None,
        }
    }
}
