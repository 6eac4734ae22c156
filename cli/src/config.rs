//! `keycell config containerd`: prints, installs or uninstalls containerd's configuration.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::containerd::{self, Change, Config, Installation, Version};

/// The arguments of `keycell config`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    of: Of,
}

#[derive(Subcommand)]
enum Of {
    /// Print what containerd's configuration needs for encrypted images, or install it
    Containerd(Containerd),
}

/// The arguments of `keycell config containerd`.
#[derive(Args)]
struct Containerd {
    /// For this release of containerd, such as `1.7` or `2.1`, instead of the one that is installed
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// The directory with the private keys, or one file
    #[arg(long, value_name = "DIR|FILE", default_value = containerd::KEYS)]
    keys: PathBuf,
    /// The decoder; without it, the one beside this program
    #[arg(long, value_name = "FILE")]
    decoder: Option<PathBuf>,
    /// Leave it to containerd to decompress gzip layers. Without this flag the decoder does it, unless this
    /// node has `igzip`, which takes less time
    #[arg(long)]
    no_decompress: bool,
    /// Install it: as a file that containerd imports, or, for k3s and RKE2, in their template. A
    /// file that is changed is kept with `.before-keycell` at its end
    #[arg(long, conflicts_with = "remove", group = "changes")]
    write: bool,
    /// Uninstall what `--write` installed
    #[arg(long, group = "changes")]
    remove: bool,
    /// With `--write` or `--remove`: print as JSON whether something was changed, and which files make up the
    /// configuration
    #[arg(long, requires = "changes")]
    json: bool,
    /// The first file of containerd's configuration
    #[arg(long, value_name = "FILE", default_value = containerd::CONFIG)]
    config: PathBuf,
    /// The program to ask for its version, and whether it takes the configuration
    #[arg(long, value_name = "PROGRAM", default_value = "containerd")]
    containerd: PathBuf,
}

/// Prints, installs or uninstalls the configuration.
pub fn run(arguments: Arguments) -> Result<Outcome> {
    let Of::Containerd(arguments) = arguments.of;
    if arguments.remove {
        let changes = containerd::remove(&arguments.config)?;
        return Ok(Outcome::of(changes, None, arguments.json.then_some(&arguments.config)));
    }
    let named = arguments.version.as_deref().map(str::parse::<Version>).transpose()?;
    let installed = || {
        Version::of(&arguments.containerd).context(
            "which containerd is it for? name its release, for example `--version 2.1`, or the \
             program, `--containerd FILE`",
        )
    };
    let version = named.map_or_else(installed, Ok)?;
    // Only the containerd of this node says something about this node.
    let decompressor = named.is_none().then(|| containerd::decompressor(version, None)).flatten();
    let is_slower = decompressor.as_deref().is_some_and(containerd::is_faster_than_decoder);
    let decompress = !arguments.no_decompress && !is_slower;
    let decoder = arguments.decoder.unwrap_or_else(beside_this_program);
    if !arguments.write {
        let (keys, syntax) = (&arguments.keys, version.config_version());
        let text = containerd::snippet(syntax, keys, &decoder, decompress);
        return Ok(Outcome::Snippet { text, decompressor });
    }
    let json = arguments.json.then(|| arguments.config.clone());
    let installation = Installation {
        config: arguments.config,
        version,
        program: named.is_none().then_some(arguments.containerd),
        keys: arguments.keys,
        decoder,
        decompress,
    };
    let changes = containerd::install(&installation)?;
    Ok(Outcome::of(changes, decompressor, json.as_deref()))
}

/// What was done, or the text for another program. `decompressor` is what containerd calls on this node to
/// decompress the gzip layers that the decoder does not.
pub enum Outcome {
    Snippet {
        text: String,
        decompressor: Option<PathBuf>,
    },
    Changed {
        changes: Vec<Change>,
        decompressor: Option<PathBuf>,
    },
    /// The files are those that containerd reads and those that were looked at, whether they were changed or not.
    Json {
        changes: Vec<Change>,
        files: BTreeSet<PathBuf>,
    },
}

impl Outcome {
    /// As JSON, if the first file of the configuration is named.
    fn of(changes: Vec<Change>, decompressor: Option<PathBuf>, json: Option<&Path>) -> Self {
        let Some(config) = json else { return Self::Changed { changes, decompressor } };
        let read = Config::read(config, None).map(|config| config.files).unwrap_or_default();
        let files = changes.iter().map(|change| change.file().to_owned()).chain(read).collect();
        Self::Json { changes, files }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snippet { text, decompressor } => {
                if let Some(program) = decompressor {
                    writeln!(f, "# {}", decompresses(program))?;
                }
                f.write_str(text)
            }
            Self::Json { changes, files } => {
                let changed = changes.iter().any(|change| !matches!(change, Change::None(_)));
                let changes: Vec<_> = changes.iter().map(Change::to_string).collect();
                writeln!(f, "{}", json!({"changed": changed, "changes": changes, "files": files}))
            }
            Self::Changed { changes, .. } if changes.is_empty() => {
                writeln!(f, "the configuration has no lines of Keycell")
            }
            Self::Changed { changes, decompressor } => {
                changes.iter().try_for_each(|change| writeln!(f, "{change}"))?;
                if let Some(program) = decompressor {
                    writeln!(f, "{}", decompresses(program))?;
                }
                writeln!(f, "restart containerd, and then run `keycell doctor`")
            }
        }
    }
}

fn decompresses(program: &Path) -> String {
    format!("containerd decompresses gzip layers of other images with `{}`", program.display())
}

/// The `ctd-decoder` beside `keycell`, or else the usual one.
fn beside_this_program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.with_file_name("ctd-decoder");
    if beside.is_file() { beside } else { Path::new("/usr/local/bin/ctd-decoder").to_owned() }
}
