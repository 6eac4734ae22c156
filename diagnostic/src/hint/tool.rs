//! Hints for commands of `keycell` that fail, and for what `keycell doctor` finds.

use std::fmt;

use super::tpm::TpmHint;

/// The cause of a failure or finding, whose text says how to solve it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolHint {
    // Images and keys.
    /// `--keys` has no private key.
    NoKey,

    // The guest store.
    /// Others than root can change a file: the command that fixes it.
    Untrusted {
        /// The command.
        fix: String,
    },
    /// There is no guest store.
    NoGuestStore,
    /// The store has a guest of this name.
    GuestExists,
    /// The guest is the default, which `command` changes.
    GuestIsDefault {
        /// The command.
        command: String,
    },
    /// What was installed cannot be used.
    ReinstallGuest {
        /// The command.
        command: String,
    },
    /// The native code was changed.
    RebuildGuest {
        /// The command.
        command: String,
    },
    /// The guest cannot be compiled: what fixes it, as the compiler knows it.
    CompilerRefused {
        /// What fixes it.
        fix: String,
    },
    /// The guest imports what no guest is granted.
    ForeignImports,
    /// A guest imports HTTP, as what `jco` makes does unless it is told otherwise.
    HttpImports,
    /// The file is not WebAssembly.
    NotWebAssembly,
    /// The file is damaged.
    MalformedWebAssembly,
    /// The file is WebAssembly, but has not the exports of a guest.
    NoGuest {
        /// The version of the contract.
        contract: &'static str,
    },
    /// The value of `--public-key` is no public key of minisign.
    NoPublicKey,
    /// The file or its signature was altered.
    SignatureAltered,
    /// The signature was made with another key.
    SignatureOfAnotherKey,
    /// The signature has a form that minisign no longer makes.
    SignatureLegacy,
    /// The file is no signature of minisign.
    SignatureForeign,

    // The conformance kit.
    /// A case could execute code, and its file is not trusted.
    UntrustedCases,

    // `keycell doctor`: containerd and its stream processors.
    /// A file can only be read by root.
    RunAsRoot,
    /// containerd refuses its configuration.
    ConfigurationRefused,
    /// The configuration of containerd does not exist.
    ConfigurationMissing,
    /// An imported file replaces a whole section.
    SectionsReplaced,
    /// An import is relative to the working directory of containerd.
    RelativeImport,
    /// No processor accepts layers with zstd.
    AcceptZstd,
    /// No processor accepts a kind of layer.
    NoProcessor,
    /// Several processors accept a kind of layer.
    SeveralProcessors,
    /// `returns` is no media type of a layer.
    ReturnsUnknown,
    /// `returns` is a tar, and the layers are compressed.
    ReturnsTar,
    /// containerd passes no payload to this processor.
    OtherProcessor,
    /// `key_model` is not `node`.
    KeyModel {
        /// The section that it belongs in.
        section: String,
    },
    /// The transfer service passes no payload.
    TransferService,
    /// This release of containerd passes no payload.
    NoPayloadHook,
    /// The snapshotter calls no decoder.
    OtherSnapshotter,
    /// containerd has not read its configuration since it changed.
    RestartContainerd {
        /// Its systemd unit, if it has one.
        unit: Option<String>,
    },

    // `keycell doctor`: the decoder.
    /// The decoder does not exist.
    InstallDecoder,
    /// The decoder cannot be executed.
    DecoderNotExecutable {
        /// The command that makes it executable.
        command: String,
    },
    /// The decoder does not find the content store, whose root is this.
    NameContentStore {
        /// containerd's root.
        root: String,
    },
    /// A file names key providers that cannot be used.
    CorrectProviders {
        /// The file.
        file: String,
    },
    /// The decoder fails, and does not say what mends it.
    DecoderDoesNotRun,
    /// The arguments of a processor ask for help or for the version.
    ArgumentsPrint,
    /// The decoder is of another release than `keycell`.
    OtherRelease,
    /// The decoder has no `--decryption-keys-path`.
    NoKeysPath,
    /// The keys directory has no private key.
    NoPrivateKey,
    /// Others can read or change a key: what fixes it.
    KeyPermissions {
        /// What fixes it.
        fix: String,
    },
    /// A link leads out of the keys directory.
    LinkLeavesKeys,
    /// The broker does not exist.
    InstallBroker,
    /// The configuration of PKCS#11 modules cannot be used.
    TokenConfigurationRefused,
    /// No PKCS#11 module is configured.
    NoModuleConfigured,
    /// The module of a token is not allowed.
    ModuleNotAllowed,
    /// There is no file with a PIN.
    MakePin {
        /// The command that makes it.
        command: String,
    },
    /// A key is in a TPM, which cannot be used, or not well.
    Tpm(TpmHint),
    /// No key opens any layer in the content store; a manifest that names one of the layers.
    NoKeyOpens {
        /// The digest of the manifest.
        manifest: String,
    },
    /// Nothing is logged, because neither journald nor syslog runs.
    NoLog,
    /// The file of the log cannot be written, because its directory does not exist.
    LogDirectoryMissing {
        /// The command that makes it.
        command: String,
    },
    /// The file of the log cannot be written.
    LogNotWritable,
    /// A wall is missing, and the decoder runs without it.
    RequireSandbox,
    /// The image cannot be found.
    ImageNames,
    /// containerd does not have the image, perhaps because its pull has failed.
    ImageNotInStore,
    /// The budget did not suffice.
    TooMuchWork,

    // Metrics.
    /// A file may not be read or written.
    MetricsAsRoot,
    /// The state cannot be kept.
    MetricsState,
    /// The directory of the output is missing, or cannot be written to.
    MetricsOutput,
    /// A log file cannot be read.
    MetricsLog,
    /// The journal cannot be read.
    MetricsJournal,
    /// The decoder does not log.
    MetricsOff,
}

impl fmt::Display for ToolHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Untrusted { fix }
            | Self::CompilerRefused { fix }
            | Self::KeyPermissions { fix } => fix,
            Self::MakePin { command } => return f.write_str(&make_pin(command)),
            Self::Tpm(hint) => return hint.fmt(f),
            Self::GuestIsDefault { command } => return write!(f, "`{command}` first"),
            Self::ReinstallGuest { command } => return write!(f, "`{command}` installs it anew"),
            Self::RebuildGuest { command } => {
                return write!(f, "find out who wrote to it; `{command}` compiles it again");
            }
            Self::NoGuest { contract } => return f.write_str(&no_guest(contract)),
            Self::NoKeyOpens { manifest } => return f.write_str(&no_key_opens(manifest)),
            Self::DecoderNotExecutable { command } => return write!(f, "`{command}`"),
            Self::NameContentStore { root } => return f.write_str(&name_content_store(root)),
            Self::CorrectProviders { file } => {
                return write!(f, "correct `{file}`: docs/keys.md shows what it holds");
            }
            Self::LogDirectoryMissing { command } => return write!(f, "`{command}` makes it"),
            Self::KeyModel { section } => return f.write_str(&key_model(section)),
            Self::RestartContainerd { unit } => return f.write_str(&restart(unit.as_deref())),
            Self::NoKey => NO_KEY,
            Self::NoGuestStore => NO_GUEST_STORE,
            Self::GuestExists => GUEST_EXISTS,
            Self::ForeignImports => FOREIGN_IMPORTS,
            Self::HttpImports => HTTP_IMPORTS,
            Self::NotWebAssembly => NOT_WEB_ASSEMBLY,
            Self::MalformedWebAssembly => MALFORMED_WEB_ASSEMBLY,
            Self::NoPublicKey => NO_PUBLIC_KEY,
            Self::SignatureAltered => SIGNATURE_ALTERED,
            Self::SignatureOfAnotherKey => SIGNATURE_OF_ANOTHER_KEY,
            Self::SignatureLegacy => SIGNATURE_LEGACY,
            Self::SignatureForeign => SIGNATURE_FOREIGN,
            Self::UntrustedCases => UNTRUSTED_CASES,
            Self::RunAsRoot => RUN_AS_ROOT,
            Self::ConfigurationRefused => CONFIGURATION_REFUSED,
            Self::ConfigurationMissing => CONFIGURATION_MISSING,
            Self::SectionsReplaced => SECTIONS_REPLACED,
            Self::RelativeImport => RELATIVE_IMPORT,
            Self::AcceptZstd => ACCEPT_ZSTD,
            Self::NoProcessor => NO_PROCESSOR,
            Self::SeveralProcessors => SEVERAL_PROCESSORS,
            Self::ReturnsUnknown => RETURNS_UNKNOWN,
            Self::ReturnsTar => RETURNS_TAR,
            Self::OtherProcessor => OTHER_PROCESSOR,
            Self::TransferService => TRANSFER_SERVICE,
            Self::NoPayloadHook => NO_PAYLOAD_HOOK,
            Self::OtherSnapshotter => OTHER_SNAPSHOTTER,
            Self::InstallDecoder => INSTALL_DECODER,
            Self::DecoderDoesNotRun => DECODER_DOES_NOT_RUN,
            Self::ArgumentsPrint => ARGUMENTS_PRINT,
            Self::OtherRelease => OTHER_RELEASE,
            Self::NoKeysPath => NO_KEYS_PATH,
            Self::NoPrivateKey => NO_PRIVATE_KEY,
            Self::LinkLeavesKeys => LINK_LEAVES_KEYS,
            Self::InstallBroker => INSTALL_BROKER,
            Self::TokenConfigurationRefused => TOKEN_CONFIGURATION_REFUSED,
            Self::NoModuleConfigured => NO_MODULE_CONFIGURED,
            Self::ModuleNotAllowed => MODULE_NOT_ALLOWED,
            Self::NoLog => NO_LOG,
            Self::LogNotWritable => LOG_NOT_WRITABLE,
            Self::RequireSandbox => REQUIRE_SANDBOX,
            Self::ImageNames => IMAGE_NAMES,
            Self::ImageNotInStore => IMAGE_NOT_IN_STORE,
            Self::TooMuchWork => TOO_MUCH_WORK,
            Self::MetricsAsRoot => METRICS_AS_ROOT,
            Self::MetricsState => METRICS_STATE,
            Self::MetricsOutput => METRICS_OUTPUT,
            Self::MetricsLog => METRICS_LOG,
            Self::MetricsJournal => METRICS_JOURNAL,
            Self::MetricsOff => METRICS_OFF,
        };
        f.write_str(text)
    }
}

impl From<TpmHint> for Option<ToolHint> {
    fn from(hint: TpmHint) -> Self {
        Some(ToolHint::Tpm(hint))
    }
}

fn name_content_store(root: &str) -> String {
    format!("add `\"--content-store\", \"{root}\"` to the processor's `args`")
}

fn make_pin(command: &str) -> String {
    format!("correct `pin-source`, or make the file: `{command}` reads the PIN from standard input")
}

fn no_guest(contract: &str) -> String {
    format!(
        "a guest exports `unwrapping` and `decrypting` of `keycell:decoder@{contract}` \
         (`wit/decoder.wit`), or is a command with `wasi:cli/run@0.2` or `_start`"
    )
}

fn no_key_opens(manifest: &str) -> String {
    format!(
        "`keycell doctor --image {manifest}` says for whom a layer was encrypted: put the private key \
         of one of them into the keys directory"
    )
}

fn key_model(section: &str) -> String {
    format!("set `key_model = \"node\"` in `[{section}]`, and restart containerd")
}

fn restart(unit: Option<&str>) -> String {
    let systemctl = |unit| format!("`systemctl restart {unit}`");
    unit.map_or_else(|| RESTART_CONTAINERD.to_owned(), systemctl)
}

const NO_KEY: &str = "put the private key of one of the image's recipients into the directory that \
    `--keys` names (PEM, DER, JWK or OpenPGP), readable for you";
const NO_GUEST_STORE: &str = "`keycell guest install FILE` makes one; `--store DIR` names another";
const GUEST_EXISTS: &str = "`--replace` puts this one in its place, `--name` gives it another name";
const FOREIGN_IMPORTS: &str = "`wit/decoder.wit` says what there is; imports that are never called can be \
    left out by the linker, so look for what calls them";
const HTTP_IMPORTS: &str = "build it without HTTP, since no guest has a network: `jco componentize --disable http \
    --disable fetch-event`, for instance";
const NOT_WEB_ASSEMBLY: &str = "a guest is a file `.wasm`: a component, or a core module for WASI 0.1; what \
    is compiled already, or is text, is not taken";
const MALFORMED_WEB_ASSEMBLY: &str = "it is cut off, or was damaged: build it or fetch it again";
const NO_PUBLIC_KEY: &str = "`minisign -G` writes a public key to `minisign.pub`; its second line is the \
    key";
const SIGNATURE_ALTERED: &str = "get both again, from where the signer publishes them";
const SIGNATURE_OF_ANOTHER_KEY: &str = "`--public-key` is the key of whoever signed this file: get it from them, not \
    from where the file came from";
const SIGNATURE_LEGACY: &str = "sign the file again with minisign 0.10 or newer";
const SIGNATURE_FOREIGN: &str = "`minisign -S -m FILE` writes a signature to `FILE.minisig`";
const UNTRUSTED_CASES: &str = "such a case can make the target execute what it likes: read it, and add \
    `--trust-cases`";
const RUN_AS_ROOT: &str = "run `keycell doctor` as root";
const CONFIGURATION_REFUSED: &str = "`containerd config dump` says the same: correct the file";
const CONFIGURATION_MISSING: &str = "name the file that containerd reads";
const SECTIONS_REPLACED: &str = "containerd 1.x does not merge sections of plugins: put all of it into one \
    file";
const RELATIVE_IMPORT: &str = "write the whole path; containerd 1.6.30, 1.7.16 and 2.0 take the directory \
    of the file";
const ACCEPT_ZSTD: &str = "list it in the `accepts` of the `tar.gzip` processor, as `keycell config \
    containerd` does";
const NO_PROCESSOR: &str = "`keycell config containerd --write` installs one";
const SEVERAL_PROCESSORS: &str = "leave one of them, and give the others other ids' `accepts`";
const RETURNS_UNKNOWN: &str = "`returns` is the media type of the decrypted layer, \
    `application/vnd.oci.image.layer.v1.tar+gzip` for instance";
const RETURNS_TAR: &str = "let a processor that returns `tar+gzip` accept these layers; one that returns `tar` may \
    accept `tar`, and gzip layers if its `args` have `--decompress`";
const OTHER_PROCESSOR: &str = "let the processor `io.containerd.ocicrypt.decoder.v1.tar.gzip` take it: \
    containerd hands a payload to few ids";
const TRANSFER_SERVICE: &str = "leave out `--content-store off`: the decoder then finds it in the content \
    store; or set `use_local_image_pull = true` in `[plugins.\"io.containerd.cri.v1.images\"]`";
const NO_PAYLOAD_HOOK: &str = "leave out `--content-store off`: the decoder then finds it in the content \
    store; containerd 2.1.7, 2.2.2 and 2.3 hand a payload over again where `use_local_image_pull` is set";
const RESTART_CONTAINERD: &str = "stop it, and start it again as it was started";
const OTHER_SNAPSHOTTER: &str = "pull encrypted images with one of containerd's own snapshotters, such as \
    `overlayfs`";
const INSTALL_DECODER: &str = "install Keycell, or give the processor the `path` of `ctd-decoder`";
const DECODER_DOES_NOT_RUN: &str =
    "try `ctd-decoder --version` by hand: is it made for this machine?";
const ARGUMENTS_PRINT: &str = "remove `--help` and `--version` from the processor's `args`";
const OTHER_RELEASE: &str = "install `keycell` and `ctd-decoder` of the same release";
const NO_KEYS_PATH: &str = "add `\"--decryption-keys-path\", \"/etc/containerd/ocicrypt/keys\"` to the \
    processor's `args`";
const NO_PRIVATE_KEY: &str = "put the private key of one of the images' recipients there, readable for \
    root alone";
const LINK_LEAVES_KEYS: &str =
    "copy the file there, or link to it within the directory with a relative path";
const INSTALL_BROKER: &str = "install `keycell-broker` beside `ctd-decoder`";
const TOKEN_CONFIGURATION_REFUSED: &str =
    "correct the file, or remove `OCICRYPT_CONFIG` and `/etc/ocicrypt.conf`";
const NO_MODULE_CONFIGURED: &str = "allow its module in `/etc/ocicrypt.conf`, or in the file that \
    `OCICRYPT_CONFIG` names";
const MODULE_NOT_ALLOWED: &str = "add its module to `allowed-module-paths`";
const NO_LOG: &str = "name a file: `log = \"/var/log/keycell.json\"` in `/etc/keycell/config.toml`";
const LOG_NOT_WRITABLE: &str = "`log` in `/etc/keycell/config.toml`, or `--log` in the processor's `args`, \
    names a regular file that containerd's user may append to";
const REQUIRE_SANDBOX: &str = "with `--require-sandbox` it refuses to";
const IMAGE_NAMES: &str = "an image is a name that `ctr images list` shows, a digest, or a name with a transport, \
    such as `docker://NAME` or `oci:DIR:NAME`";
const IMAGE_NOT_IN_STORE: &str = "containerd removes an image whose pull has failed within seconds: \
    `keycell doctor --image docker://NAME@DIGEST`, with the name in the pull, asks the registry";
const TOO_MUCH_WORK: &str = "`keycell doctor --image IMAGE` tries the keys on one image";
const METRICS_AS_ROOT: &str = "run `keycell metrics` as root";
const METRICS_STATE: &str =
    "`--state FILE` names another file, in a directory that can be written to";
const METRICS_OUTPUT: &str = "name a file in an existing directory: the one of node_exporter's \
    `--collector.textfile.directory`";
const METRICS_LOG: &str = "`--log FILE` names another file";
const METRICS_JOURNAL: &str = "on a node without journald, let the decoder log to a file: `log = \
    \"/var/log/keycell.json\"` in `/etc/keycell/config.toml`";
const METRICS_OFF: &str = "remove `log = \"off\"` from `/etc/keycell/config.toml`, and `--log off` from the `args` \
    of the processors";
