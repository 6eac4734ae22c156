//! How to fix a decoder that cannot work: the hints of the host.

use std::fmt;
use std::path::PathBuf;

/// A cause that a person can fix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecoderHint {
    /// A hint that a guest gave for its own failure, in its own words.
    OfGuest(String),

    // Flags and configuration.
    /// The command line is wrong.
    ListFlags,
    /// The wrong flag is a key in this configuration file.
    FlagIsConfigured {
        /// The file.
        file: PathBuf,
    },
    /// Two flags exclude each other.
    OneOfVerifyFirstAndGuestCipher,
    /// Others than root can change the configuration.
    ProtectConfiguration {
        /// How to take that right from them.
        fix: String,
    },
    /// The configuration cannot be read.
    NameOtherConfiguration,
    /// The configuration is not TOML.
    ConfigurationSyntax,
    /// A value in the configuration has a type that no flag has.
    ConfigurationTypes,
    /// A key in the configuration is not known, but is like this one.
    SimilarKey {
        /// The other key.
        key: String,
    },
    /// A key in the configuration is not known, and is like none.
    KnownKeys {
        /// All keys.
        keys: Vec<String>,
    },

    // Keys.
    /// `--decryption-keys-path` names something that does not exist.
    KeysMissing {
        /// The path.
        path: PathBuf,
    },
    /// No key is configured.
    KeysNotConfigured,
    /// The keys cannot be read.
    KeysUnreadable,
    /// The broker does not exist, or cannot start.
    BrokerMissing,
    /// Others can change the broker's program.
    ProtectBroker {
        /// The command that takes that right away.
        fix: String,
    },
    /// The broker broke down.
    BrokerFailed,
    /// The file of the key providers does not exist.
    ProviderFileMissing,
    /// The broker cannot use the configuration of PKCS#11 modules, or the keys: its answer says why.
    BrokerRefused,
    /// The key file of a client was refused.
    ClientModules,

    // The payload, and the layer in containerd's content store.
    /// The payload is longer than the limit.
    PayloadTooLong,
    /// Descriptor 3 cannot be read.
    PayloadUnreadable,
    /// Standard output is closed.
    OpenStandardOutput,
    /// Have containerd pass a payload; `or` says that another hint comes before.
    PassPayload {
        /// Whether this is an alternative to another hint.
        or: bool,
    },
    /// `--content-store off` is given.
    ContentStoreOff,
    /// There is no content store at any place that was looked at.
    ContentStoreAbsent {
        /// The directories that were looked at.
        looked_at: Vec<String>,
    },
    /// The containerd that calls is not known, so its own content store is not.
    CallerUnknown {
        /// Why: a statement about a process.
        why: String,
    },
    /// `--content-store` names something else.
    ContentStoreIsOther,
    /// The content store cannot be read by this user.
    ContentStoreClosed,
    /// Something in the content store cannot be read.
    ContentStoreUnreadable,
    /// The content store has no manifest of an encrypted image, and may be another containerd's.
    ContentStoreBare,
    /// The content store of the containerd that calls has no manifest of an encrypted image.
    ContentStoreEmptied,
    /// The content store is searched too slowly.
    SlowContentStore,
    /// The content store has too many images.
    RemoveUnneededImages,
    /// The content store has too many images, or hostile ones.
    RemoveUntrustedImages,
    /// Several layers in the content store begin alike.
    RemoveImitations,
    /// Manifests contradict each other: find the images that they belong to.
    FindImagesOfManifests {
        /// The content stores that hold the manifests.
        stores: Vec<PathBuf>,
    },
    /// Manifests contradict each other: remove the image that is not trusted.
    RemoveUntrustedImage,
    /// Manifests contradict each other, which a payload avoids.
    PayloadIsNeverAmbiguous,
    /// Several keys fit, and only reading the whole layer tells which is right.
    TryAllKeys,

    // Streams.
    /// The disk that standard output leads to is full.
    DiskFull,
    /// The caller's limit on the length of files.
    FileSizeLimit,
    /// Standard output cannot be written to.
    StandardOutput,
    /// Standard input cannot be read.
    StandardInput,
    /// The layer is not genuine, or its key is wrong.
    NotGenuine,
    /// The layer ended early.
    CutOff,
    /// The layer is longer than the payload says.
    PullAgain,
    /// The digest of another layer was sealed with the key.
    SealedDigest,
    /// The spool's directory cannot be used.
    SpoolDirectory,
    /// The memory for the spool is not enough.
    SpoolInMemory,
    /// The layer is longer than the spool may become.
    SpoolLimit,

    // Guests.
    /// The guest failed; the embedded guest should not.
    GuestBroken,
    /// A command that is a guest failed.
    CommandFailed,
    /// The guest imports or exports something else than the contract.
    GuestForeign,
    /// The guest needs more memory than it is granted.
    GuestMemory,
    /// The caller's limits leave too little memory.
    MemoryLimit,
    /// The caller's limit on addresses leaves too few for a guest.
    AddressLimit {
        /// The limit.
        mebibytes: u64,
    },
    /// The caller's limit on open files.
    DescriptorLimit,
    /// The caller forbids that memory becomes executable.
    ExecutableMemory,
    /// The engine cannot start.
    HostLimits,
    /// A command that is a guest cannot verify first.
    CommandCannotVerifyFirst,
    /// A guest that is a command is asked to decompress the layer.
    CommandCannotDecompress,
    /// A command that is a guest is granted a directory, not a file.
    CommandNeedsDirectory,
    /// A command that is a guest cannot be used with PKCS#11 tokens.
    CommandWithTokens,
    /// The installed guest has no verified signature.
    SignGuest {
        /// The command that installs it with a signature.
        command: String,
    },
    /// The installed guest cannot be read.
    ReinstallGuest {
        /// The command that installs it.
        command: String,
    },
    /// The installed guest was compiled for something else.
    RebuildGuest {
        /// The command that compiles it.
        command: String,
    },
    /// The installed guest was compiled for another processor.
    RebuildGuestForEveryCpu {
        /// The command that compiles it.
        command: String,
    },

    // The operating system.
    /// A wall is missing, and all are required.
    WallMissing,
    /// The process cannot become the configured user.
    User,
    /// Standard error is quiet; the log, if there is one, has the reason.
    QuietErrors {
        /// Where the log is.
        log: Option<String>,
    },
}

impl fmt::Display for DecoderHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfGuest(hint) => f.write_str(hint),
            Self::FlagIsConfigured { file } => {
                write!(f, "it stands in `{}`, whose keys are flags", file.display())
            }
            Self::ProtectConfiguration { fix } => {
                write!(f, "{fix}: this file decides who sees keys")
            }
            Self::ProtectBroker { fix } => write!(f, "{fix}: this program sees keys and PINs"),
            Self::SimilarKey { key } => write!(f, "did you mean `{key}`?"),
            Self::KnownKeys { keys } => write!(f, "the keys are {}", quoted(keys)),
            Self::KeysMissing { path } => write!(
                f,
                "`{}`, which `--decryption-keys-path` names, does not exist",
                path.display()
            ),
            Self::PassPayload { or: true } => write!(f, "or {PASS_A_PAYLOAD}"),
            Self::PassPayload { or: false } => f.write_str(PASS_A_PAYLOAD),
            Self::PayloadIsNeverAmbiguous => {
                write!(f, "a payload names the image, so it is never ambiguous: {PASS_A_PAYLOAD}")
            }
            Self::ContentStoreAbsent { looked_at } => write!(
                f,
                "`--content-store DIR` names containerd's root directory, which `containerd \
                 config dump` shows as `root`; looked at {}",
                quoted(looked_at)
            ),
            Self::CallerUnknown { why } => {
                write!(f, "the containerd that calls was not found: {why}")
            }
            Self::FindImagesOfManifests { stores } => {
                write!(
                    f,
                    "find the image of each manifest: `ctr -n k8s.io images ls | grep DIGEST`; where \
                     that shows none, an index names the manifest, and `grep -l DIGEST"
                )?;
                for store in stores {
                    write!(f, " {}/blobs/sha256/*", store.display())?;
                }
                f.write_str("` shows the index's digest")
            }
            Self::AddressLimit { mebibytes } => write!(
                f,
                "`LimitAS` of the service that starts the decoder, containerd's, is {mebibytes} MiB: \
                 a guest reserves 4 GiB of addresses and uses little memory. Remove `LimitAS` and \
                 bound the memory by `MemoryMax`, or start the decoder as root with \
                 `CAP_SYS_RESOURCE`, which raises the limit by itself"
            ),
            Self::SignGuest { command } => write!(f, "`{command}` takes a signature of minisign"),
            Self::ReinstallGuest { command } => write!(f, "`{command}` installs it anew"),
            Self::RebuildGuest { command } => write!(f, "`{command}` compiles it again"),
            Self::RebuildGuestForEveryCpu { command } => {
                write!(f, "`{command} --cpu baseline` compiles it for every CPU")
            }
            Self::QuietErrors { log: Some(log) } => {
                write!(f, "`quiet-errors` is on: the reason and the hints are in {log}")
            }
            other => f.write_str(fixed(other)),
        }
    }
}

/// The hints without values.
fn fixed(hint: &DecoderHint) -> &'static str {
    use DecoderHint as Hint;
    match hint {
        Hint::ListFlags => "`ctd-decoder --help` lists the flags",
        Hint::OneOfVerifyFirstAndGuestCipher => {
            "it is the host that checks the layer first, and `--cipher guest` keeps the layer from \
             the host: choose one"
        }
        Hint::NameOtherConfiguration => {
            "`--config` names another file; without one the defaults apply"
        }
        Hint::ConfigurationSyntax => {
            "a line is `key = \"value\"`, and a key is a flag of `ctd-decoder --help`"
        }
        Hint::ConfigurationTypes => "a value is a string, `true`, `false` or a decimal number",
        Hint::QuietErrors { .. } => {
            "`quiet-errors` is on: there is no log with the reason: `log` names one"
        }
        hint => of_input(hint),
    }
}

/// Hints about keys, payload and content store.
fn of_input(hint: &DecoderHint) -> &'static str {
    use DecoderHint as Hint;
    match hint {
        Hint::KeysNotConfigured => "`--decryption-keys-path` was not given",
        Hint::KeysUnreadable => {
            "`--decryption-keys-path` is the directory with the private keys, or one key file; the \
             decoder runs as the user that containerd runs as"
        }
        Hint::BrokerMissing => {
            "`keycell-broker` of the same release belongs beside `ctd-decoder`; where neither a key \
             provider nor a PKCS#11 token is used, remove `OCICRYPT_KEYPROVIDER_CONFIG`, \
             `OCICRYPT_CONFIG` and `/etc/ocicrypt.conf`"
        }
        Hint::BrokerFailed => {
            "do limits of containerd's service (`MemoryMax`, `LimitNOFILE`, `LimitNPROC`) leave \
             `keycell-broker` too little? it has to be of the same release as `ctd-decoder`"
        }
        Hint::ProviderFileMissing => {
            "put the file of the key providers there, or take `OCICRYPT_KEYPROVIDER_CONFIG` out of \
             the environment of containerd and of its stream processors"
        }
        Hint::BrokerRefused => {
            "correct what the message names; where no PKCS#11 token is used, remove \
             `OCICRYPT_CONFIG` and `/etc/ocicrypt.conf`"
        }
        Hint::ClientModules => {
            "the key file of a client may name the modules of `client-modules` in the file that \
             `OCICRYPT_CONFIG` names, or else those that the node's own key files name; the log of \
             `ctd-decoder` has the reason"
        }
        Hint::PayloadTooLong => {
            "containerd writes the image's annotations there; is another program's file open as \
             descriptor 3?"
        }
        Hint::PayloadUnreadable => {
            "containerd passes a pipe there; is another program's file open as descriptor 3?"
        }
        Hint::ContentStoreOff => {
            "remove `--content-store off`: the decoder then finds the layer's manifest by itself"
        }
        Hint::ContentStoreIsOther => {
            "`--content-store` is containerd's root directory, which `containerd config dump` shows \
             as `root`: the blobs lie in `io.containerd.content.v1.content/blobs/sha256` below it"
        }
        Hint::ContentStoreClosed => {
            "the decoder has to run as the user that containerd runs as, usually root"
        }
        Hint::ContentStoreUnreadable => {
            "what cannot be read may be the manifest of this image, so no other one is used: check \
             the disk, or remove the image that has this blob and pull it again"
        }
        Hint::ContentStoreBare => {
            "is this the store of the containerd that calls? `--content-store DIR` names the root \
             directory of another; if the manifest is gone, pull the image again"
        }
        Hint::ContentStoreEmptied => {
            "the manifest has been removed meanwhile, for instance by containerd's garbage \
             collection: pull the image again"
        }
        Hint::SlowContentStore => "look why the disk is slow, or remove images that are not needed",
        Hint::RemoveUnneededImages => "remove images that are not needed: `crictl rmi --prune`",
        Hint::RemoveUntrustedImages => {
            "remove images that are not needed or not trusted: `crictl rmi --prune`"
        }
        Hint::RemoveImitations => {
            "somebody copied the beginning of this layer: remove the images that are not trusted"
        }
        Hint::RemoveUntrustedImage => {
            "remove the image that is not trusted, `ctr -n k8s.io images rm --sync IMAGE` or \
             `crictl rmi IMAGE`, and pull again"
        }
        Hint::TryAllKeys => {
            "`--verify-first` tries them all, since it reads the whole layer before it writes"
        }
        hint => of_streams(hint),
    }
}

/// Hints about the layer's streams and the spool.
fn of_streams(hint: &DecoderHint) -> &'static str {
    use DecoderHint as Hint;
    match hint {
        Hint::OpenStandardOutput => {
            "containerd opens a pipe there for its stream processors; by hand, `>FILE`"
        }
        Hint::DiskFull => {
            "the disk is full, and the layer is not the cause: free space where standard output \
             leads to, then decrypt it again"
        }
        Hint::FileSizeLimit => {
            "`LimitFSIZE` of the service that starts the decoder, containerd's, is the longest file \
             that it may write: raise it, or remove it"
        }
        Hint::StandardOutput => {
            "standard output is the pipe that containerd unpacks from; by hand, look at the file \
             that it leads to"
        }
        Hint::StandardInput => {
            "standard input is the pipe that containerd writes the layer to; by hand, `<FILE`"
        }
        Hint::NotGenuine => {
            "remove the image and pull it again; if that fails too, the layer in the registry is not \
             the one that was encrypted, or its wrapped key is for other keys (that shows only now \
             where it is `pkcs7` in CBC, which is not authenticated)"
        }
        Hint::CutOff => {
            "containerd's log has why it stopped, such as a pull that was cancelled, a connection \
             that broke or a disk that cannot be read: fix that and pull the image again"
        }
        Hint::PullAgain => "remove the image and pull it again",
        Hint::SealedDigest => {
            "whoever encrypted this image sealed another layer's digest: have it encrypted again"
        }
        Hint::SpoolDirectory => {
            "`--verify-first` keeps the whole encrypted layer in the directory of `--spool` before \
             it writes anything: it needs space for the largest layer, or choose another one"
        }
        Hint::SpoolInMemory => "`--spool DIR` keeps the encrypted layer on a disk instead",
        Hint::SpoolLimit => {
            "`--spool-limit` is the longest layer that `--verify-first` keeps, in MiB"
        }
        hint => of_guests(hint),
    }
}

/// Hints about guests and the operating system's walls.
fn of_guests(hint: &DecoderHint) -> &'static str {
    use DecoderHint as Hint;
    match hint {
        Hint::GuestBroken => {
            "the layer was not released; with the embedded guest this is a bug, please report it"
        }
        Hint::CommandFailed => {
            "the layer was not released; the log has everything that the guest wrote"
        }
        Hint::GuestForeign => {
            "`wit/decoder.wit` says what a guest may import and must export: no HTTP, for \
             instance"
        }
        Hint::GuestMemory => {
            "no encryption tool makes annotations that need so much: do you trust the source of \
             this image? otherwise have it encrypted again, for fewer recipients"
        }
        Hint::MemoryLimit => {
            "`MemoryMax`, `LimitAS` and `LimitDATA` of containerd's service, or the node itself, \
             leave the decoder too little"
        }
        Hint::DescriptorLimit => {
            "`LimitNOFILE` of the service that starts the decoder, containerd's, is too low: 64 is \
             enough"
        }
        Hint::ExecutableMemory => {
            "`MemoryDenyWriteExecute` of the service that starts the decoder, containerd's, forbids \
             it: set it to `no` for an installed guest, or use the embedded one, `--guest embedded`"
        }
        Hint::HostLimits => {
            "do limits of containerd's service (`LimitAS`, `MemoryMax`, `LimitNOFILE`) leave it too \
             little? if not, this is a bug, please report it"
        }
        Hint::CommandCannotVerifyFirst => {
            "such a guest decrypts the layer by itself, and the host never learns the key: choose a \
             decoder component, or go without the flag"
        }
        Hint::CommandCannotDecompress => {
            "such a guest writes what it likes: choose a decoder component, or leave out the flag and \
             let the processor return `tar+gzip`"
        }
        Hint::CommandNeedsDirectory => {
            "put the key, and the file with its password, into a directory of their own, and name \
             that with `--decryption-keys-path`"
        }
        Hint::CommandWithTokens => {
            "use a guest that is a decoder, such as `--guest embedded`; where no PKCS#11 token is \
             used, remove `OCICRYPT_CONFIG` and `/etc/ocicrypt.conf`"
        }
        Hint::WallMissing => {
            "`keycell doctor` shows which walls this kernel gives; without `--require-sandbox` the \
             layer is decrypted behind the others"
        }
        Hint::User => {
            "`--user` takes a name from `/etc/passwd`, `UID` or `UID:GID`, and needs root"
        }
        _ => "",
    }
}

/// As docs/containerd.md has it in a table.
const PASS_A_PAYLOAD: &str = "have containerd pass one to pulls for Kubernetes: on 1.x by `key_model = \
    \"node\"` in `[plugins.\"io.containerd.grpc.v1.cri\".image_decryption]`; from 2.1.7, 2.2.2 and 2.3 on \
    by `key_model = \"node\"` in `[plugins.\"io.containerd.cri.v1.images\".image_decryption]` and \
    `use_local_image_pull = true` in `[plugins.\"io.containerd.cri.v1.images\"]`; 2.0, 2.1.0 to 2.1.6, \
    2.2.0 and 2.2.1 never pass one, nor do `ctr images pull` and `ctr images import`";

fn quoted(names: &[impl AsRef<str>]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    names.join(", ")
}
