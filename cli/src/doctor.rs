//! `keycell doctor`: whether the next pull of an encrypted image will succeed, and how to fix what
//! fails. It changes nothing.

mod caller;
mod decoder;
mod guest;
mod image;
mod keys;
mod log;
mod next_pull;
mod processors;
mod providers_and_tokens;
mod report;
mod sandbox;
mod store;
mod trial;

use keycell_diagnostic::hint::ToolHint;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::containerd::{self, Config, Version};
use crate::keys::Keys;

use caller::Caller;
pub use decoder::Decoder;
pub use report::{Report, Severity};

/// The arguments of `keycell doctor`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    node: Node,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which containerd to examine, and which images to try.
#[derive(Args)]
pub struct Node {
    /// The first file of containerd's configuration; without it, the usual place, k3s's or RKE2's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The containerd program
    #[arg(long, value_name = "PROGRAM", default_value = "containerd")]
    containerd: PathBuf,
    /// Another root directory of containerd than its configuration names
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Try the keys on an image, without decrypting it: `oci:DIR[:TAG]`, or a name or a digest of
    /// containerd's store
    #[arg(long, value_name = "IMAGE")]
    image: Vec<String>,
    /// The namespace in which containerd knows the name
    #[arg(long, value_name = "NAME", default_value = "k8s.io")]
    namespace: String,
}

/// Examines everything and prints the findings.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut report = Report::default();
    examine(&arguments.node, &mut report);
    print!("{}", if arguments.json { report.json() } else { report.text() });
    Ok(ExitCode::from(report.exit_code()))
}

/// Adds the findings to `report`. Returns the decoders that a pull would start, each with its keys.
pub fn examine(arguments: &Node, report: &mut Report) -> Vec<(Decoder, Option<Keys>)> {
    report.section("containerd");
    let version = version(arguments, report);
    let Some(mut config) = config(arguments, version, report) else {
        return Vec::new();
    };
    config.root = arguments.root.clone().unwrap_or(config.root);
    // Where the program is not in PATH, its configuration tells the series.
    let newest = if config.version >= 3 { Version(2, 3, 0) } else { Version(1, 7, 0) };
    let version = version.unwrap_or(newest);

    report.section("stream processors");
    processors::examine(&config, report);
    processors::examine_gzip(&config, version, report);
    let caller = Caller::of(None);
    let mut decoders: Vec<Decoder> = Vec::new();
    for (id, processor) in processors::of_layers(&config) {
        report.section("decoder");
        if !decoders.iter().any(|known| known.is_same(processor)) {
            decoders.extend(Decoder::examine(id, processor, &caller, report));
        }
    }
    let mut stores = Vec::new();
    for decoder in &decoders {
        report.section("keys");
        let keys = keys::examine(decoder, report);
        report.section("key providers and tokens");
        providers_and_tokens::examine(decoder, keys.as_ref(), report);
        report.section("guest");
        guest::examine(decoder, report);
        report.section("log");
        log::examine(decoder, report);
        stores.push(keys);
    }
    report.section("sandbox");
    sandbox::examine(&decoders, report);
    report.section("next pull");
    next_pull::examine(&config, version, &decoders, report);

    // Every decoder has these keys or others; with the first of them most layers are decrypted.
    if let Some(Some(keys)) = stores.first_mut() {
        report.section("content store");
        store::examine(&config, keys, report);
        for name in &arguments.image {
            report.section("image");
            image::examine(name, arguments, &config, keys, report);
        }
    }
    decoders.into_iter().zip(stores).collect()
}

fn version(arguments: &Node, report: &mut Report) -> Option<Version> {
    match Version::of(&arguments.containerd) {
        Ok(version) => {
            report.fine(format!("containerd {version}"));
            Some(version)
        }
        Err(error) => {
            report.note(format!("{error:#}: doctor takes its release from its configuration"));
            None
        }
    }
}

fn config(arguments: &Node, version: Option<Version>, report: &mut Report) -> Option<Config> {
    let usual = || {
        let places = [containerd::CONFIG].into_iter().chain(containerd::RANCHER).map(PathBuf::from);
        places.clone().find(|place| place.is_file()).unwrap_or(containerd::CONFIG.into())
    };
    let path = arguments.config.clone().unwrap_or_else(usual);
    let shown = path.display();
    match Config::read(&path, version) {
        Err(error) => {
            let denied = error.chain().any(|cause| {
                let cause = cause.downcast_ref::<std::io::Error>();
                cause.is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
            });
            if denied {
                report.unknown(format!("{error:#}"), ToolHint::RunAsRoot);
            } else {
                report.fails(
                    format!("containerd does not start with its configuration: {error:#}"),
                    ToolHint::ConfigurationRefused,
                );
            }
            None
        }
        Ok(config) if config.files.is_empty() && arguments.config.is_some() => {
            report.unknown(format!("there is no `{shown}`"), ToolHint::ConfigurationMissing);
            None
        }
        Ok(config) if config.files.is_empty() => {
            report.note(format!("there is no `{shown}`: containerd's defaults hold"));
            Some(config)
        }
        Ok(config) => {
            let imports = match config.files.len() - 1 {
                0 => String::new(),
                1 => " and a file that it imports".to_owned(),
                count => format!(" and {count} files that it imports"),
            };
            report.fine(format!("`{shown}` (version {}){imports}", config.version));
            for (old, new) in &config.replaced {
                report.warn(
                    format!(
                        "the CRI section of `{}` replaces that of `{}` as a whole",
                        new.display(),
                        old.display()
                    ),
                    ToolHint::SectionsReplaced,
                );
            }
            for (file, glob) in &config.strays {
                report.warn(
                    format!(
                        "`{}` imports `{}`, which this containerd looks up in its working directory",
                        file.display(),
                        glob.display()
                    ),
                    ToolHint::RelativeImport,
                );
            }
            Some(config)
        }
    }
}
