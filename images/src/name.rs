//! The names of images, in the form of skopeo: a transport, a colon, and a place.
//!
//! containers/image reads `oci:DIR@0` as the name of a directory `DIR@0`, and `oci:DIR:@0` as the first
//! image of `DIR`. Keycell reads both as the first image of `DIR`, and takes digests in the same places;
//! `oci:DIR@0:` names the only image of a directory `DIR@0`, as it does there.

mod suggestion;

use std::fmt;
use std::path::PathBuf;

use keycell_diagnostic::hint::TransportHint;

use crate::archive;
use crate::choice::{ArchiveFile, Choice, Chosen, is_image_name, split_index};
use crate::digest;
use crate::error::{ArchiveError, Error, NameError, Result};
use crate::layout;
use crate::place::{Source, Target};
use crate::registry::{self, Options, Reference};

/// The name of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// `docker://[HOST/]REPOSITORY[:TAG|@DIGEST]`.
    Registry(Reference),
    /// `oci:DIR[:NAME|@INDEX|@DIGEST]`.
    Layout {
        /// The directory of the layout.
        directory: PathBuf,
        /// Which image of it.
        choice: Choice,
    },
    /// `oci-archive:FILE[:NAME|@INDEX|@DIGEST]`; a FILE of `-` is standard input or output.
    OciArchive {
        /// The archive.
        file: ArchiveFile,
        /// Which image of it.
        choice: Choice,
    },
    /// `docker-archive:FILE[:NAME|@INDEX]`, as a source only.
    DockerArchive {
        /// The archive.
        file: ArchiveFile,
        /// Which image of it.
        choice: Choice,
    },
}

impl Name {
    /// Whether a name begins with one of the transports that there are.
    pub fn has_transport(name: &str) -> bool {
        ["docker://", "oci:", "oci-archive:", "docker-archive:"]
            .iter()
            .any(|transport| name.starts_with(transport))
    }

    /// Parses a name.
    ///
    /// # Errors
    /// A name without a transport, or of one that is not supported.
    pub fn parse(name: &str) -> Result<Self> {
        if name.is_empty() {
            return Err(NameError::Empty.into());
        }
        let rest = |transport: &str| name.strip_prefix(transport)?.strip_prefix(':');
        if let Some(rest) = rest("docker").and_then(|rest| rest.strip_prefix("//")) {
            if rest.is_empty() {
                return Err(NameError::no_place(name, "repository").into());
            }
            return Ok(Self::Registry(Reference::parse(rest)?));
        }
        if let Some(rest) = rest("oci") {
            return Self::layout(name, rest);
        }
        if let Some(rest) = rest("oci-archive") {
            let (file, choice) = place_and_choice(name, rest, "file")?;
            return Ok(Self::OciArchive { file: archive_file(file), choice });
        }
        if let Some(rest) = rest("docker-archive") {
            return Self::docker_archive(name, rest);
        }
        Err(unsupported(name).into())
    }

    fn layout(name: &str, rest: &str) -> Result<Self> {
        let (directory, choice) = place_and_choice(name, rest, "directory")?;
        match directory {
            "-" => Err(NameError::NoStream(name.to_owned()).into()),
            _ => Ok(Self::Layout { directory: directory.into(), choice }),
        }
    }

    fn docker_archive(name: &str, rest: &str) -> Result<Self> {
        let (file, choice) = split(rest);
        let choice = match choice {
            Split::Nothing => Choice::Only,
            Split::Name("") => return Err(NameError::no_place(name, "image").into()),
            Split::Name(image) if Reference::parse(image)?.version.contains(':') => {
                return Err(NameError::DigestOfDockerArchive(name.to_owned()).into());
            }
            Split::Name(image) => Choice::Named(image.to_owned()),
            Split::At(index) => match index_or_digest(index)? {
                Choice::Digest(_) => {
                    return Err(NameError::DigestOfDockerArchive(name.to_owned()).into());
                }
                choice => choice,
            },
        };
        if file.is_empty() {
            return Err(NameError::no_place(name, "file").into());
        }
        Ok(Self::DockerArchive { file: archive_file(file), choice })
    }

    /// Opens the image that has this name.
    ///
    /// # Errors
    /// No such image.
    pub fn open(&self, options: &Options) -> Result<Box<dyn Source>> {
        self.check_no_directory()?;
        match self {
            Self::Registry(reference) => registry::open(reference, options),
            Self::Layout { directory, choice } => layout::open(directory, choice),
            Self::OciArchive { file, choice } => archive::open_oci(file, choice),
            Self::DockerArchive { file, choice } => archive::open_docker(file, choice),
        }
    }

    /// Prepares a place for an image of this name. Without `replace`, an image that has the name
    /// already is an error.
    ///
    /// # Errors
    /// A place that cannot be written to, or that has such an image.
    pub fn create(&self, options: &Options, replace: bool) -> Result<Box<dyn Target>> {
        self.check_destination()?;
        self.check_no_directory()?;
        match self {
            Self::Registry(reference) => registry::create(reference, options, replace),
            Self::Layout { directory, choice } => layout::create(directory, choice, replace),
            Self::OciArchive { file, choice } => archive::create_oci(file, choice, replace),
            Self::DockerArchive { .. } => Err(NameError::ReadOnly(self.to_string()).into()),
        }
    }

    /// Checks that an image can be written to a place of this name, without a look at the place.
    ///
    /// # Errors
    /// A name that only a source can have.
    pub fn check_destination(&self) -> Result<()> {
        match self {
            Self::DockerArchive { .. } => Err(NameError::ReadOnly(self.to_string()).into()),
            Self::Layout { choice: Choice::Index(_) | Choice::Digest(_), .. }
            | Self::OciArchive { choice: Choice::Index(_) | Choice::Digest(_), .. } => {
                Err(NameError::NotADestination(self.to_string()).into())
            }
            Self::Registry(reference) if reference.digest().is_some() => {
                Err(NameError::NotADestination(self.to_string()).into())
            }
            Self::Registry(_) | Self::Layout { .. } | Self::OciArchive { .. } => Ok(()),
        }
    }

    /// Whether there is a directory in the place of an archive.
    fn check_no_directory(&self) -> Result<()> {
        match self {
            Self::OciArchive { file: ArchiveFile::Path(path), choice }
            | Self::DockerArchive { file: ArchiveFile::Path(path), choice }
                if path.is_dir() =>
            {
                let name = Chosen("oci", path.display(), choice).to_string();
                Err(ArchiveError::Directory { path: path.display().to_string(), name }.into())
            }
            _ => Ok(()),
        }
    }

    /// Checks that an image can be written to a place of this name, and writes nothing. Without `replace`,
    /// an image that has the name already is an error. Registries are not asked.
    ///
    /// # Errors
    /// A place that is something else, or that has such an image.
    pub fn check_place(&self, replace: bool) -> Result<()> {
        self.check_destination()?;
        self.check_no_directory()?;
        let exists = || Error::Exists { name: self.to_string() };
        match self {
            Self::Layout { directory, choice } => layout::check(directory, choice, replace),
            Self::OciArchive { file: ArchiveFile::Path(path), .. } if path.is_file() => {
                if replace {
                    Ok(())
                } else {
                    Err(exists())
                }
            }
            Self::OciArchive { file: ArchiveFile::Path(path), .. } if path.exists() => {
                Err(ArchiveError::NotAFile(path.clone()).into())
            }
            _ => Ok(()),
        }
    }

    /// Whether the image is read from standard input, or written to standard output.
    pub fn is_standard_stream(&self) -> bool {
        matches!(
            self,
            Self::OciArchive { file: ArchiveFile::Standard, .. }
                | Self::DockerArchive { file: ArchiveFile::Standard, .. }
        )
    }
}

/// What stands after a place.
enum Split<'a> {
    Nothing,
    Name(&'a str),
    /// An index or a digest.
    At(&'a str),
}

/// The first colon ends the place, as in containers/image.
fn split(rest: &str) -> (&str, Split<'_>) {
    match rest.split_once(':') {
        None => match split_index(rest) {
            Some((place, index)) => (place, Split::At(index)),
            None => (rest, Split::Nothing),
        },
        Some((place, name)) => match (name.strip_prefix('@'), digest_algorithm(place)) {
            (Some(index), _) => (place, Split::At(index)),
            (None, Some(before)) => (before, Split::At(&rest[before.len() + 1..])),
            (None, None) => (place, Split::Name(name)),
        },
    }
}

/// The part of `PLACE@sha256` before the `@`.
fn digest_algorithm(place: &str) -> Option<&str> {
    let (before, algorithm) = place.rsplit_once('@')?;
    matches!(algorithm, "sha256" | "sha384" | "sha512").then_some(before)
}

fn place_and_choice<'a>(
    name: &str,
    rest: &'a str,
    what: &'static str,
) -> Result<(&'a str, Choice)> {
    let (place, choice) = split(rest);
    if place.is_empty() {
        return Err(NameError::no_place(name, what).into());
    }
    let choice = match choice {
        // containers/image writes its own names with a colon and no name.
        Split::Nothing | Split::Name("") => Choice::Only,
        Split::Name(image) if is_image_name(image) => Choice::Named(image.to_owned()),
        Split::Name(image) => {
            return Err(NameError::Invalid(image.escape_debug().to_string()).into());
        }
        Split::At(at) => index_or_digest(at)?,
    };
    Ok((place, choice))
}

fn index_or_digest(text: &str) -> Result<Choice> {
    if text.contains(':') {
        digest::hex(text)?;
        return Ok(Choice::Digest(text.to_owned()));
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let index = if digits { text.parse().ok() } else { None };
    Ok(Choice::Index(
        index.ok_or_else(|| NameError::NotAnIndex(format!("@{}", text.escape_debug())))?,
    ))
}

fn archive_file(file: &str) -> ArchiveFile {
    match file {
        "-" => ArchiveFile::Standard,
        path => ArchiveFile::Path(path.into()),
    }
}

/// Why a name is none that begins with no transport of ours.
fn unsupported(name: &str) -> NameError {
    let transport = name.split_once(':').map(|(transport, _)| transport);
    let known = |transport, hint| NameError::Unsupported { transport, hint };
    let rest = || {
        let rest = name.split_once(':').map_or("", |(_, rest)| rest);
        let rest = if rest.is_empty() { "NAME" } else { rest };
        rest.escape_debug().to_string()
    };
    let copy = || TransportHint::Copy(name.escape_debug().to_string());
    match transport {
        Some("docker-daemon") => known("docker-daemon", TransportHint::DockerDaemon(rest())),
        Some("containers-storage") => {
            known("containers-storage", TransportHint::ContainersStorage(rest()))
        }
        Some("dir") => known("dir", copy()),
        Some("ostree") => known("ostree", TransportHint::None),
        Some("sif") => known("sif", copy()),
        Some("tarball") => known("tarball", copy()),
        Some("atomic") => known("atomic", copy()),
        _ => NameError::NoTransport {
            name: name.escape_debug().to_string(),
            suggestion: suggestion::instead_of(name),
        },
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "docker://{reference}"),
            Self::Layout { directory, choice } => Chosen("oci", directory.display(), choice).fmt(f),
            Self::OciArchive { file, choice } => Chosen("oci-archive", file, choice).fmt(f),
            Self::DockerArchive { file, choice } => Chosen("docker-archive", file, choice).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
