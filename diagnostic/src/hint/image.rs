//! Hints about images, wherever they are.

use std::fmt;

use super::RegistryHint;

/// Why an image cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageHint {
    /// A layout or an archive has several images, or none of this name: what names one.
    WhichImage(Vec<String>),
    /// The destination has an image of this name.
    Force,
    /// The destination is something else.
    OtherDestination,
    /// Layers would stay readable.
    LeaveReadable {
        /// What names them.
        layers: Vec<LayerFlag>,
        /// Whether one is in an attestation.
        is_attestation: bool,
    },
    /// Layers would stay encrypted: what names them.
    LeaveEncrypted(Vec<LayerFlag>),
    /// A layer is encrypted already.
    AddRecipients,
    /// The image has other layers.
    Inspect,
    /// The source does not have all that the index lists.
    ChoosePlatform,
    /// One login for two registries.
    AuthFile,
    /// The registry.
    Registry(RegistryHint),
    /// The name of the image has no place.
    Transports,
    /// The name has no transport, or a misspelt one: what may be meant.
    Suggestion(String),
    /// The transport is one of skopeo's that is not supported.
    Transport(TransportHint),
    /// A layout as standard input or output.
    ArchiveStream,
    /// The name of an image in a layout is invalid.
    ValidName,
    /// The transport is not one of a destination.
    WritableTransports,
    /// The destination has an index or a digest.
    DestinationName,
    /// Standard input is a terminal.
    PipeIn,
    /// Standard output is a terminal.
    PipeOut,
    /// An archive is compressed with something other than gzip: the command that decompresses it.
    Decompress(String),
    /// The directory for temporary files cannot be written to.
    TemporaryDirectory,
    /// An archive has sparse files.
    NotSparse,
    /// A layer is compressed with something other than gzip: the name of its image.
    Recompress(String),
    /// An archive is damaged.
    SaveAgain,
}

/// What names layers in a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerFlag {
    /// Their media type, which a shell takes as it is.
    MediaType(String),
    /// The number of one.
    Number(usize),
}

/// How to get at an image whose transport is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportHint {
    /// The image is in Docker, and has this name there.
    DockerDaemon(String),
    /// The image is in the storage of podman, and has this name there.
    ContainersStorage(String),
    /// The image has this name for skopeo.
    Copy(String),
    /// No tool reads it.
    None,
}

impl fmt::Display for ImageHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaveReadable { layers, is_attestation } => {
                return leave_readable(f, layers, *is_attestation);
            }
            Self::LeaveEncrypted(layers) => {
                let flags = Flags("--allow-encrypted", layers);
                let them = if layers.len() == 1 { "it as it is" } else { "them as they are" };
                return write!(f, "`{flags}` leaves {them}");
            }
            Self::OtherDestination => OTHER_DESTINATION,
            Self::AddRecipients => ADD_RECIPIENTS,
            Self::Inspect => INSPECT,
            Self::ChoosePlatform => CHOOSE_PLATFORM,
            Self::AuthFile => AUTH_FILE,
            Self::WhichImage(names) if names.is_empty() => NO_IMAGES,
            Self::WhichImage(names) => {
                return write!(f, "name one of these: `{}`", names.join("`, `"));
            }
            Self::Force => FORCE,
            Self::Transports | Self::Transport(TransportHint::None) => TRANSPORTS,
            Self::Suggestion(name) => return write!(f, "did you mean `{name}`?"),
            Self::Transport(hint) => return hint.fmt(f),
            Self::ArchiveStream => ARCHIVE_STREAM,
            Self::ValidName => VALID_NAME,
            Self::WritableTransports => WRITABLE_TRANSPORTS,
            Self::DestinationName => DESTINATION_NAME,
            Self::Registry(hint) => return hint.fmt(f),
            Self::PipeIn => PIPE_IN,
            Self::PipeOut => PIPE_OUT,
            Self::Decompress(command) => return write!(f, "`{command}` decompresses it"),
            Self::TemporaryDirectory => TEMPORARY_DIRECTORY,
            Self::NotSparse => NOT_SPARSE,
            Self::Recompress(name) => {
                return write!(
                    f,
                    "`skopeo copy {name} oci:DIR` makes a layout of it whose layers are compressed with gzip"
                );
            }
            Self::SaveAgain => SAVE_AGAIN,
        })
    }
}

impl fmt::Display for TransportHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DockerDaemon(name) => write!(
                f,
                "`docker save -o app.tar {name}` writes it to an archive, which `docker-archive:app.tar` names"
            ),
            Self::ContainersStorage(name) => write!(
                f,
                "`podman save --format oci-archive -o app.tar {name}` writes it to an archive, which \
                 `oci-archive:app.tar` names"
            ),
            Self::Copy(name) => write!(
                f,
                "name a layout here, such as `oci:DIR`: `skopeo copy` copies between `{name}` and it"
            ),
            Self::None => f.write_str(TRANSPORTS),
        }
    }
}

const NO_IMAGES: &str = "it lists no image at all: write one to it first";
const FORCE: &str = "`--force` replaces it; another name keeps both";
const OTHER_DESTINATION: &str =
    "name a directory that is empty, holds a layout, or is not there yet";
const ADD_RECIPIENTS: &str = "with `--keys` and a key that opens it, the recipients are added";
const INSPECT: &str = "`keycell inspect` lists the layers";
const CHOOSE_PLATFORM: &str =
    "`--platform` chooses among those that are there, and `--prune` leaves the others out";
const AUTH_FILE: &str = "`docker login` or `skopeo login` keeps a password for each registry, and `--authfile` names their file";

fn leave_readable(
    f: &mut fmt::Formatter<'_>,
    layers: &[LayerFlag],
    is_attestation: bool,
) -> fmt::Result {
    if is_attestation {
        f.write_str("`--drop-attestations` leaves attestations out; ")?;
    }
    let them = them(layers);
    write!(f, "`{}` leaves {them} readable", Flags("--allow-unencrypted", layers))?;
    // No other flag takes numbers.
    if layers.iter().any(|layer| matches!(layer, LayerFlag::Number(_))) {
        return Ok(());
    }
    let flags = Flags("--media-type", layers);
    write!(f, "; `{flags}` encrypts {them} for `keycell decrypt` alone")
}

fn them(layers: &[LayerFlag]) -> &'static str {
    if layers.len() == 1 { "it" } else { "them" }
}

/// A flag for each of some layers.
struct Flags<'a>(&'static str, &'a [LayerFlag]);

impl fmt::Display for Flags<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let Self(flag, layers) = self;
        for (index, layer) in layers.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { " " };
            match layer {
                LayerFlag::MediaType(media_type) => write!(f, "{separator}{flag} {media_type}")?,
                LayerFlag::Number(number) => write!(f, "{separator}{flag} {number}")?,
            }
        }
        if layers.len() > SHOWN { f.write_str(" …") } else { Ok(()) }
    }
}

const TRANSPORTS: &str = "an image is named by `docker://[HOST/]REPOSITORY[:TAG|@DIGEST]`, \
    `oci:DIR[:NAME|@INDEX|@DIGEST]`, `oci-archive:FILE[:NAME|@INDEX|@DIGEST]`, or, as a source, \
    `docker-archive:FILE[:NAME|@INDEX]`; a FILE of `-` is standard input or output";
const ARCHIVE_STREAM: &str = "`oci-archive:-` reads an archive from standard input, or writes one to \
    standard output; `oci:./-` names a directory `-`";
const VALID_NAME: &str =
    "a name has letters and digits of ASCII, with one of `-._:@+/`, or `--`, between them";
const WRITABLE_TRANSPORTS: &str = "write to `oci-archive:FILE`, `oci:DIR` or `docker://NAME`: what \
    `docker load` reads cannot say that a layer is encrypted";
const PIPE_IN: &str = "let another program write the archive, as in `docker save app | keycell inspect \
    docker-archive:-`, or name its file";
const PIPE_OUT: &str = "redirect it to a file or to another program, or name a file";
const TEMPORARY_DIRECTORY: &str = "`TMPDIR` names another directory";
const NOT_SPARSE: &str = "write the archive without `--sparse`";
const SAVE_AGAIN: &str = "it was damaged, or never complete: save the image again";
const DESTINATION_NAME: &str = "name it `:NAME`, or leave it out; a directory whose own name ends like that is \
    named with a colon at the end";
