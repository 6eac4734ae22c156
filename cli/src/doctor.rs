//! `keycell doctor`: whether the next pull of an encrypted image will succeed, and how to fix what
//! fails. It changes nothing.

mod caller;
mod credentials;
mod decoder;
mod guest;
mod image;
mod keys;
mod log;
mod next_pull;
mod processors;
mod providers_and_tokens;
mod report;
mod running;
mod sandbox;
mod store;
mod tpm;
mod trial;
mod user;

use keycell_diagnostic::hint::ToolHint;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::containerd::{Config, Found, Version};
use crate::image::Registries;
use crate::keys::Keys;
use crate::output::print;

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
    /// The first file of containerd's configuration; without it, that of the containerd that runs, or
    /// else the one at a usual place
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The containerd program; without it, that of the process that runs, or else of `PATH`
    #[arg(long, value_name = "PROGRAM")]
    containerd: Option<PathBuf>,
    /// Another root directory of containerd than its configuration names
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Try the keys on an image, without decrypting it: a name or a digest of containerd's store, or a
    /// name with a transport, such as `docker://NAME` or `oci:DIR[:NAME]`. What containerd does not have
    /// is looked up in the registry
    #[arg(long, value_name = "IMAGE")]
    image: Vec<String>,
    /// The namespace in which containerd knows the name
    #[arg(long, value_name = "NAME", default_value = "k8s.io")]
    namespace: String,
    #[command(flatten)]
    registries: Registries,
}

/// Examines everything and prints the findings.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut report = Report::default();
    examine(&arguments.node, &mut report);
    print(if arguments.json { report.json() } else { report.text() })?;
    Ok(ExitCode::from(report.exit_code()))
}

/// Adds the findings to `report`. Returns the decoders that a pull would start, each with its keys.
pub fn examine(arguments: &Node, report: &mut Report) -> Vec<(Decoder, Option<Keys>)> {
    report.section("containerd");
    let found = Found::new(arguments.config.as_deref());
    let known = version(arguments, &found, report);
    running::examine(&found, report);
    let Some(mut config) = config(&found, known, report) else {
        return Vec::new();
    };
    running::examine_age(&found, &config, known, report);
    config.root = arguments.root.clone().unwrap_or(config.root);
    // Where the program cannot be asked, its configuration tells the series.
    let version = config.release;

    report.section("stream processors");
    processors::examine(&config, report);
    processors::examine_gzip(&config, version, found.running.as_ref(), report);
    let caller = Caller::new(found.running.as_ref());
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
        report.section("systemd credentials");
        credentials::examine(decoder, keys.as_ref(), &found, report);
        report.section("key providers and tokens");
        providers_and_tokens::examine(decoder, &caller, keys.as_ref(), report);
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
    if let (Some(decoder), Some(Some(keys))) = (decoders.first(), stores.first_mut()) {
        report.section("content store");
        store::examine(&config, decoder, keys, report);
        for name in &arguments.image {
            report.section("image");
            image::examine(name, arguments, &config, keys, report);
        }
    }
    decoders.into_iter().zip(stores).collect()
}

fn version(arguments: &Node, found: &Found, report: &mut Report) -> Option<Version> {
    match Version::of(&arguments.containerd.clone().unwrap_or_else(|| found.program())) {
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

fn config(found: &Found, version: Option<Version>, report: &mut Report) -> Option<Config> {
    let shown = found.config.display();
    match found.read(version) {
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
        Ok(config) if config.files.is_empty() && found.is_named => {
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
