//! `keycell config containerd`: prints, installs or uninstalls containerd's configuration.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::containerd::{
    self, Change, Choices, Config, Found, Generator, Installation, Version, Wanted,
};

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
    /// For this release of containerd, such as `1.7` or `2.1`, instead of the one of this node
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// The directory with the private keys, or one file; without it, the one that is installed, or
    /// else containerd's own
    #[arg(long, value_name = "DIR|FILE")]
    keys: Option<PathBuf>,
    /// The decoder; without it, the one that is installed, or else the one beside this program
    #[arg(long, value_name = "FILE")]
    decoder: Option<PathBuf>,
    /// Let the decoder decompress gzip layers. Without this flag and the next it is as installed, or
    /// else so unless this node has `igzip`, which takes less time
    #[arg(long, conflicts_with = "no_decompress")]
    decompress: bool,
    /// Leave it to containerd to decompress gzip layers
    #[arg(long)]
    no_decompress: bool,
    /// Install it: as a file that containerd imports, or in the template from which k3s, RKE2 or
    /// MicroK8s writes its configuration. What is installed keeps its arguments, and a file of yours that
    /// is changed is kept with `.before-keycell` at its end
    #[arg(long, conflicts_with = "remove", group = "changes")]
    write: bool,
    /// Uninstall what `--write` installed
    #[arg(long, group = "changes")]
    remove: bool,
    /// With `--write` or `--remove`: print as JSON whether something was changed, and which files make up the
    /// configuration
    #[arg(long, requires = "changes")]
    json: bool,
    /// The first file of containerd's configuration; without it, that of the containerd that runs, or
    /// else the one at a usual place
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The program to ask for its version, and whether it takes the configuration; without it, that of
    /// the containerd that runs, or else of `PATH`
    #[arg(long, value_name = "PROGRAM")]
    containerd: Option<PathBuf>,
}

/// Prints, installs or uninstalls the configuration.
pub fn run(arguments: Arguments) -> Result<Outcome> {
    let Of::Containerd(arguments) = arguments.of;
    let config = arguments.config.as_deref().map(std::path::absolute).transpose()?;
    let found = Found::new(config.as_deref());
    if arguments.remove {
        let changes = containerd::remove(&found.config)?;
        return Ok(Outcome::of(changes, None, &found.config, unit(&found), arguments.json));
    }
    let named = arguments.version.as_deref().map(str::parse::<Version>).transpose()?;
    let program = arguments.containerd.clone().unwrap_or_else(|| found.program());
    let installed = || {
        Version::of(&program).context(
            "which containerd is it for? name its release, for example `--version 2.1`, or the \
             program, `--containerd FILE`",
        )
    };
    let version = named.map_or_else(installed, Ok)?;
    // Only the containerd of this node says something about this node.
    let running = found.running.as_ref();
    let decompressor =
        named.is_none().then(|| containerd::decompressor(version, running)).flatten();
    let is_slower = decompressor.as_deref().is_some_and(containerd::is_faster_than_decoder);
    let mut usual = Choices::new(beside_this_program(), !is_slower);
    let wanted = Wanted {
        keys: arguments.keys,
        decoder: arguments.decoder,
        decompress: arguments
            .decompress
            .then_some(true)
            .or(arguments.no_decompress.then_some(false)),
    };
    if !arguments.write {
        usual.keys = wanted.keys.unwrap_or(usual.keys);
        usual.decoder = wanted.decoder.unwrap_or(usual.decoder);
        usual.decompress = wanted.decompress.unwrap_or(usual.decompress);
        let text = containerd::snippet(version.config_version(), &usual);
        return Ok(Outcome::Snippet { text, decompressor });
    }
    let (config, unit) = (found.config.clone(), unit(&found));
    let installation = Installation {
        root: running.and_then(|running| running.root.clone()),
        config: found.config,
        version,
        program: named.is_none().then_some(program),
        wanted,
        usual,
    };
    let changes = containerd::install(&installation)?;
    Ok(Outcome::of(changes, decompressor, &config, unit, arguments.json))
}

/// The systemd unit of the containerd, which has to be restarted.
fn unit(found: &Found) -> String {
    let running = found.running.as_ref().and_then(|running| running.unit.as_deref());
    if let Some(unit) = running {
        return unit.strip_suffix(".service").unwrap_or(unit).to_owned();
    }
    let text = std::fs::read_to_string(&found.config).ok();
    let generator = Generator::of(&found.config, text.as_deref());
    containerd::unit(generator.as_ref()).to_owned()
}

/// What was done, or the text for another program. `decompressor` is what containerd calls on this node to
/// decompress the gzip layers that the decoder does not; `unit` is what systemd has to restart.
pub enum Outcome {
    Snippet {
        text: String,
        decompressor: Option<PathBuf>,
    },
    Changed {
        changes: Vec<Change>,
        decompressor: Option<PathBuf>,
        unit: String,
    },
    /// The files are those that containerd reads and those that were looked at, whether they were changed or not.
    Json {
        changes: Vec<Change>,
        files: BTreeSet<PathBuf>,
    },
}

impl Outcome {
    fn of(
        changes: Vec<Change>,
        decompressor: Option<PathBuf>,
        config: &Path,
        unit: String,
        is_json: bool,
    ) -> Self {
        if !is_json {
            return Self::Changed { changes, decompressor, unit };
        }
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
            Self::Changed { changes, decompressor, unit } => {
                changes.iter().try_for_each(|change| writeln!(f, "{change}"))?;
                if let Some(program) = decompressor {
                    writeln!(f, "{}", decompresses(program))?;
                }
                writeln!(
                    f,
                    "restart containerd with `systemctl restart {unit}`, and then run `keycell doctor`"
                )
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
