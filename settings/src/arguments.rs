//! The command line: the original's one flag, and ours.

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser, ValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};
use keycell_guest_store::store::DEFAULT_STORE;

use crate::config;
use crate::contract::Failure;
use crate::words::with_hint;

/// What a command line asks for.
pub enum Request {
    /// Decrypt a layer.
    Decrypt(Job),
    /// Say this on standard output: help, version.
    Print(String),
}

/// How to decrypt.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    /// The directory with private keys, or a file with some.
    pub keys: Option<PathBuf>,
    /// Who does the layer's cipher.
    pub cipher: CipherSide,
    /// Where to look for the layer when there is no payload.
    pub content_store: ContentStore,
    /// Check all of the layer before its first byte is written, and keep it here meanwhile.
    pub verify_first: Option<SpoolPlace>,
    /// Which guest, if not the default one.
    pub guest: Option<String>,
    /// Where guests are installed.
    pub guest_store: PathBuf,
    /// Run only guests whose signature was verified when they were installed.
    pub require_signature: bool,
    /// Where to log to.
    pub log: Destination,
    /// Which algorithms may have wrapped a layer key.
    pub algorithms: MinAlgorithms,
    /// Keep names and fingerprints of keys out of standard error.
    pub quiet_errors: bool,
    /// Tell on standard error what each instance was granted.
    pub explain: bool,
    /// The user to become before the guest runs.
    pub user: Option<String>,
    /// Refuse to run where a wall of the operating system is missing.
    pub require_sandbox: bool,
}

/// containerd's content store.
#[derive(Debug, PartialEq, Eq)]
pub enum ContentStore {
    /// At containerd's usual places.
    Usual,
    /// In containerd's root directory, or here itself.
    At(PathBuf),
    /// Not to be looked at.
    Off,
}

/// Where `--verify-first` keeps the layer, and how long it may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolPlace {
    /// A directory; `None`: in memory.
    pub directory: Option<PathBuf>,
    /// The longest layer, in MiB.
    pub limit: u64,
}

/// Who does the layer's cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherSide {
    /// The host lends its own: fast, and verified by the host.
    Host,
    /// The guest, inside the sandbox.
    Guest,
}

/// Which algorithms may have wrapped a layer key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinAlgorithms {
    /// All that the format has.
    Legacy,
    /// Those that would be chosen today.
    Modern,
}

/// Where to log to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Destination {
    /// The journal, or else the system's log, or else nowhere.
    #[default]
    System,
    /// journald, in its native protocol.
    Journal,
    /// The system's log, in JSON.
    Syslog,
    /// A file, in JSON, one event a line.
    File(PathBuf),
    /// Nowhere.
    Off,
}

impl From<PathBuf> for Destination {
    /// Three words have a meaning; everything else is the path of a file.
    fn from(path: PathBuf) -> Self {
        match path.to_str() {
            Some("journal") => Self::Journal,
            Some("syslog") => Self::Syslog,
            Some("off") => Self::Off,
            _ => Self::File(path),
        }
    }
}

/// Parses a command line, program name first.
///
/// Go ctd-decoder takes `-flag` for `--flag`, the last of several and ignores further arguments;
/// so does Keycell. Go prints its usage on an unknown flag; Keycell says which one it was.
///
/// # Errors
/// An unknown flag, a flag without its value, or a value that is none of those possible; and what
/// [`config::arguments`] refuses.
///
/// # Ambient Authority
/// Reads the configuration file.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Request, Failure> {
    let mut args: Vec<_> = args.map(two_dashes).collect();
    if let Some(job) = usual(&args)
        && config::is_absent()
    {
        return Ok(Request::Decrypt(job));
    }
    // Not taken apart: of flags nothing is secret, and each of some hundred pieces would be wiped.
    let mut parser = ManuallyDrop::new(command());
    let mut matches = match parser.try_get_matches_from_mut(&args) {
        Ok(matches) => matches,
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                return Ok(Request::Print(error.render().to_string()));
            }
            _ => return Err(failure(&error, "`ctd-decoder --help` lists the flags")),
        },
    };
    let path = matches.get_one::<PathBuf>("config").map(PathBuf::as_path);
    let configured = config::arguments(path, &parser)?;
    if !configured.is_empty() {
        let shown = path.unwrap_or(Path::new(config::PATH)).display().to_string();
        let first = args.len().min(1);
        args.splice(first..first, configured);
        let hint = format!("it stands in `{shown}`, whose keys are flags");
        matches = parser.try_get_matches_from_mut(&args).map_err(|error| failure(&error, &hint))?;
    }
    Ok(Request::Decrypt(job(matches)?))
}

/// What containerd is told to say in nearly every configuration. To describe all flags to a parser first
/// takes longer than anything else that the host does before the guest runs.
fn usual(args: &[OsString]) -> Option<Job> {
    let [_, flag, keys] = args else { return None };
    let is_value = !keys.is_empty() && !keys.as_encoded_bytes().starts_with(b"-");
    (flag == "--decryption-keys-path" && is_value).then(|| Job {
        keys: Some(keys.into()),
        cipher: CipherSide::Host,
        content_store: ContentStore::Usual,
        verify_first: None,
        guest: None,
        guest_store: DEFAULT_STORE.into(),
        require_signature: false,
        log: Destination::System,
        algorithms: MinAlgorithms::Legacy,
        quiet_errors: false,
        explain: false,
        user: None,
        require_sandbox: false,
    })
}

const AFTER_HELP: &str = "\
containerd calls it for every encrypted layer: the layer on standard input, a payload on
descriptor 3, the plain layer on standard output.

Exit codes: 0 the whole layer was written and has verified, 1 it was not.";

/// The flags, all of which are keys of the configuration too.
pub fn command() -> Command {
    let path = || ValueParser::from(PathBufValueParser::new().map(|path| path));
    Command::new("ctd-decoder")
        .bin_name("ctd-decoder")
        .version(concat!(env!("CARGO_PKG_VERSION"), " (Keycell)"))
        .about("Decrypts a layer of an encrypted OCI image for containerd, in a sandbox")
        .after_help(AFTER_HELP)
        .args_override_self(true)
        .arg(
            Arg::new("decryption-keys-path")
                .long("decryption-keys-path")
                .value_name("DIR|FILE")
                .value_parser(path())
                .help("Private keys: a directory of them, or one file"),
        )
        .arg(
            Arg::new("cipher")
                .long("cipher")
                .value_name("SIDE")
                .value_parser(["host", "guest"])
                .default_value("host")
                .help("Where the layer is decrypted: lent by the host, or inside the guest"),
        )
        .arg(
            Arg::new("content-store")
                .long("content-store")
                .value_name("DIR|off")
                .value_parser(path())
                .help("containerd's root directory, where layers that come without a payload are looked up [default: the usual ones]"),
        )
        .arg(
            switch("verify-first")
                .help("Check the whole layer before the first byte of it is written"),
        )
        .arg(
            Arg::new("spool")
                .long("spool")
                .value_name("DIR|memory")
                .value_parser(path())
                .default_value("/var/tmp")
                .help("Where `--verify-first` keeps the encrypted layer meanwhile"),
        )
        .arg(
            Arg::new("spool-limit")
                .long("spool-limit")
                .value_name("MIB")
                .value_parser(clap::value_parser!(u64).range(1..))
                .default_value("8192")
                .help("The longest layer that it keeps"),
        )
        .arg(
            Arg::new("guest")
                .long("guest")
                .value_name("NAME")
                .help("Run the guest that `keycell guest install` has installed under this name"),
        )
        .arg(
            Arg::new("guest-store")
                .long("guest-store")
                .value_name("DIR")
                .value_parser(path())
                .default_value(DEFAULT_STORE)
                .help("Where guests are installed"),
        )
        .arg(
            switch("require-signature")
                .help("Refuse an installed guest without a verified signature"),
        )
        .arg(
            Arg::new("log")
                .long("log")
                .value_name("journal|syslog|FILE|off")
                .value_parser(path())
                .help("Where to log each layer to, instead of the journal or else syslog"),
        )
        .arg(
            Arg::new("user")
                .long("user")
                .value_name("NAME|UID[:GID]")
                .help("Become this user before the guest runs; needs root"),
        )
        .arg(
            switch("require-sandbox")
                .help("Refuse to decrypt where the kernel does not give all walls of the sandbox"),
        )
        .arg(
            Arg::new("min-algorithms")
                .long("min-algorithms")
                .value_name("LEVEL")
                .value_parser(["legacy", "modern"])
                .default_value("legacy")
                .help("Which algorithms may have wrapped the key of a layer: all, or those of today"),
        )
        .arg(
            switch("quiet-errors")
                .help("Keep the names and fingerprints of keys out of standard error: they are in the log"),
        )
        .arg(
            switch("explain")
                .help("Tell on standard error what each instance of the guest was granted"),
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(path())
                .help("Flags as `key = value` lines of TOML [default: /etc/keycell/config.toml]"),
        )
        .arg(
            Arg::new("ignored")
                .num_args(0..)
                .hide(true)
                .value_parser(clap::value_parser!(OsString)),
        )
}

/// A flag without a value; `--name=false` takes back what the configuration says.
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

/// `-decryption-keys-path` is a long flag to Go: a single dash before more than one letter.
fn two_dashes(arg: OsString) -> OsString {
    let bytes = arg.as_encoded_bytes();
    let single = bytes.len() > 2 && bytes[0] == b'-' && bytes[1] != b'-';
    if !single {
        return arg;
    }
    let mut doubled = OsString::from("-");
    doubled.push(arg);
    doubled
}

fn content_store(path: Option<PathBuf>) -> ContentStore {
    match path {
        None => ContentStore::Usual,
        Some(path) if path == Path::new("off") => ContentStore::Off,
        Some(path) => ContentStore::At(path),
    }
}

fn spool(matches: &mut ArgMatches) -> SpoolPlace {
    let directory = matches.remove_one::<PathBuf>("spool").unwrap_or_default();
    let limit = matches.get_one("spool-limit").copied().unwrap_or_default();
    SpoolPlace { directory: (directory != Path::new("memory")).then_some(directory), limit }
}

fn job(mut matches: ArgMatches) -> Result<Job, Failure> {
    let guest = matches.get_one::<String>("cipher").is_some_and(|side| side == "guest");
    let verify_first = is_on(&matches, "verify-first");
    if guest && verify_first {
        return Err(with_hint(
            "`--verify-first` and `--cipher guest` exclude each other",
            "it is the host that checks the layer first, and `--cipher guest` keeps the layer from \
             the host: choose one",
        ));
    }
    Ok(Job {
        keys: matches.remove_one("decryption-keys-path"),
        cipher: if guest { CipherSide::Guest } else { CipherSide::Host },
        content_store: content_store(matches.remove_one("content-store")),
        verify_first: verify_first.then(|| spool(&mut matches)),
        guest: matches.remove_one("guest"),
        guest_store: matches.remove_one("guest-store").unwrap_or_else(|| DEFAULT_STORE.into()),
        require_signature: is_on(&matches, "require-signature"),
        log: matches.remove_one("log").map_or(Destination::System, PathBuf::into),
        algorithms: match matches.get_one::<String>("min-algorithms").map(String::as_str) {
            Some("modern") => MinAlgorithms::Modern,
            _ => MinAlgorithms::Legacy,
        },
        quiet_errors: is_on(&matches, "quiet-errors"),
        explain: is_on(&matches, "explain"),
        require_sandbox: is_on(&matches, "require-sandbox"),
        user: matches.remove_one("user"),
    })
}

fn is_on(matches: &ArgMatches, name: &str) -> bool {
    matches.get_one(name).copied().unwrap_or(false)
}

/// The first line of clap's message, in this program's form, and what is possible instead.
fn failure(error: &clap::Error, hint: &str) -> Failure {
    let text = error.render().to_string();
    let mut lines = text.lines();
    let line = lines.next().unwrap_or("the command line is wrong");
    let mut line = line.trim_start_matches("error: ").replace('\'', "`");
    if let Some(possible) = lines.find(|line| line.trim().starts_with("[possible values: ")) {
        line = format!("{line} {}", possible.trim());
    }
    with_hint(line, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Request, Failure> {
        parse(["ctd-decoder"].iter().chain(args).map(OsString::from))
    }

    #[test]
    fn every_spelling_of_the_original_flag_is_taken() {
        for args in [
            &["--decryption-keys-path", "/keys"][..],
            &["--decryption-keys-path=/keys"],
            &["-decryption-keys-path", "/keys"],
            &["-decryption-keys-path=/keys"],
            &["--decryption-keys-path", "/other", "--decryption-keys-path=/keys"],
            &["--decryption-keys-path", "/keys", "further", "arguments"],
        ] {
            let Ok(Request::Decrypt(job)) = parsed(args) else { panic!("{args:?}") };
            assert_eq!(job.keys.as_deref(), Some(Path::new("/keys")), "{args:?}");
        }
    }

    #[test]
    fn the_usual_arguments_mean_what_the_parser_makes_of_them() {
        let args = |args: &[&str]| -> Vec<OsString> {
            ["ctd-decoder"].iter().chain(args).map(OsString::from).collect()
        };
        let usual_args = args(&["--decryption-keys-path", "/keys"]);
        let matches = command().get_matches_from(&usual_args);
        assert_eq!(usual(&usual_args), job(matches).ok());
        for other in [
            &["--decryption-keys-path", ""][..],
            &["--decryption-keys-path", "--explain"],
            &["--decryption-keys-path", "/keys", "--explain"],
            &["--content-store", "/keys"],
            &["--explain"],
            &[],
        ] {
            assert_eq!(usual(&args(other)), None, "{other:?}");
        }
    }

    #[test]
    fn without_a_flag_there_is_no_directory() {
        assert!(matches!(parsed(&[]), Ok(Request::Decrypt(Job { keys: None, .. }))));
    }

    #[test]
    fn an_unknown_flag_is_named() {
        let Err(failure) = parsed(&["--decryption-key-path", "/keys"]) else { panic!() };
        assert!(failure.message.contains("`--decryption-key-path`"), "{}", failure.message);
    }
}
