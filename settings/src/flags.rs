//! The flags of `ctd-decoder`: the only one of the original, and Keycell's. Each is also a key of the
//! configuration file.

use std::ffi::OsString;

use clap::builder::{PathBufValueParser, TypedValueParser, ValueParser};
use clap::{Arg, Command};
use keycell_guest_store::store::DEFAULT_STORE;

const AFTER_HELP: &str = "\
containerd calls it for every encrypted layer: the layer on standard input, a payload on
descriptor 3, the plain layer on standard output.

Exit codes: 0 the whole layer was written and has verified, 1 it was not.";

/// The definition of all flags. Parsing, configuration keys, help and the manual are derived from it.
pub fn command() -> Command {
    Command::new("ctd-decoder")
        .bin_name("ctd-decoder")
        .version(concat!(env!("CARGO_PKG_VERSION"), " (Keycell)"))
        .about("Decrypts a layer of an encrypted OCI image for containerd, in a sandbox")
        .after_help(AFTER_HELP)
        .args_override_self(true)
        .args(layer_flags())
        .args(guest_flags())
        .args(report_flags())
}

/// The flags about keys and the decryption of a layer.
fn layer_flags() -> [Arg; 8] {
    [
        Arg::new("decryption-keys-path")
            .long("decryption-keys-path")
            .value_name("DIR|FILE")
            .value_parser(path())
            .help("Private keys: a directory of them, or one file"),
        Arg::new("cipher")
            .long("cipher")
            .value_name("SIDE")
            .value_parser(["host", "guest"])
            .default_value("host")
            .help("Where the layer is decrypted: by the host's cipher, or inside the guest"),
        switch("decompress").help("Decompress layers with gzip: the processor returns `tar`"),
        Arg::new("content-store")
            .long("content-store")
            .value_name("DIR|off")
            .value_parser(path())
            .help("containerd's root directory, where layers that come without a payload are looked up [default: that of the containerd that calls, or the usual ones]"),
        switch("verify-first")
            .help("Check the whole layer before the first byte of it is written"),
        Arg::new("spool")
            .long("spool")
            .value_name("DIR|memory")
            .value_parser(path())
            .default_value("/var/tmp")
            .help("Where `--verify-first` keeps the encrypted layer meanwhile"),
        Arg::new("spool-limit")
            .long("spool-limit")
            .value_name("MIB")
            .value_parser(clap::value_parser!(u64).range(1..))
            .default_value("8192")
            .help("The longest layer that `--verify-first` keeps"),
        switch("unwrap").help(
            "Write the key of the layer in place of the layer: `keycell keyprovider` asks for it",
        ),
    ]
}

/// The flags about guests.
fn guest_flags() -> [Arg; 3] {
    [
        Arg::new("guest")
            .long("guest")
            .value_name("NAME")
            .help("Run the guest that `keycell guest install` has installed under this name"),
        Arg::new("guest-store")
            .long("guest-store")
            .value_name("DIR")
            .value_parser(path())
            .default_value(DEFAULT_STORE)
            .help("Where guests are installed"),
        switch("require-signature").help("Refuse an installed guest without a verified signature"),
    ]
}

/// The flags about reports and walls, and all others.
fn report_flags() -> [Arg; 8] {
    [
        Arg::new("log")
            .long("log")
            .value_name("journal|syslog|FILE|off")
            .value_parser(path())
            .help("Where to log each layer to, instead of the journal or else syslog"),
        Arg::new("user")
            .long("user")
            .value_name("NAME|UID[:GID]")
            .help("Become this user before the guest runs; needs root"),
        switch("require-sandbox")
            .help("Refuse to decrypt where the kernel does not give all walls of the sandbox"),
        Arg::new("min-algorithms")
            .long("min-algorithms")
            .value_name("LEVEL")
            .value_parser(["legacy", "modern"])
            .default_value("legacy")
            .help("Which algorithms may have wrapped the key of a layer: all, or modern ones only"),
        switch("quiet-errors").help(
            "Keep the names and fingerprints of keys out of standard error: they are in the log",
        ),
        switch("explain")
            .help("Print on standard error what each instance of the guest was granted"),
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(path())
            .help("Flags as `key = value` lines of TOML [default: /etc/keycell/config.toml]"),
        Arg::new("ignored").num_args(0..).hide(true).value_parser(clap::value_parser!(OsString)),
    ]
}

/// A path, which may be empty.
fn path() -> ValueParser {
    ValueParser::from(PathBufValueParser::new().map(|path| path))
}

/// A flag without a value; `--name=false` overrides the configuration.
fn switch(name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(clap::value_parser!(bool))
        .hide_possible_values(true)
        .value_name("true|false")
}
