//! `keycell guest install`.

use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::ToolHint;
use std::path::PathBuf;
use std::{fmt, fs, panic};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use keycell_engine::{ENGINE, compiler, target};
use keycell_guest_store::record::{Cpu, Digest, Form, Kind, Record, Signature};
use keycell_guest_store::store;

use super::StoreOption;
use super::signature::Signing;
use super::source::Source;
use super::store_writer::{self, Parts};

#[derive(Args)]
pub struct Arguments {
    /// The guest: a component, or a core module for WASI 0.1
    file: PathBuf,
    /// The name of the guest [default: the name of its file]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    signing: Signing,
    /// Replace the guest that has this name
    #[arg(long)]
    replace: bool,
    /// The CPUs that its code runs on: all of this kind, or those that have what this one has.
    /// SIMD is ten times faster with the latter
    #[arg(long, value_enum, default_value_t = Cpus::Baseline)]
    cpu: Cpus,
    #[command(flatten)]
    store: StoreOption,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Cpus {
    Baseline,
    Native,
}

impl From<Cpus> for Cpu {
    fn from(cpus: Cpus) -> Self {
        match cpus {
            Cpus::Baseline => Self::Baseline,
            Cpus::Native => Self::Native,
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let shown = arguments.file.display().to_string();
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => {
            let stem = arguments.file.file_stem().unwrap_or_default();
            stem.to_string_lossy().to_lowercase()
        }
    };
    store::is_name(&name)?;
    let source = fs::read(&arguments.file).with_context(|| format!("cannot read `{shown}`"))?;
    // First of all: nothing looks at a file that is not the signer's.
    let (signature, signed) = arguments.signing.verified(&source)?.unzip();
    let parts = compiled(name, source, &shown, signature, signed, arguments.cpu.into())?;
    let store = store_writer::open(&arguments.store.directory)?;
    store_writer::write(&store, &parts, arguments.replace)?;
    let command = store.command("default", &parts.record.name);
    Ok(Outcome { guest: Described(parts.record), command })
}

/// What was installed, and the command that makes it the default.
pub struct Outcome {
    guest: Described,
    command: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { guest, command } = self;
        write!(f, "installed {guest}")?;
        writeln!(
            f,
            "`ctd-decoder --guest {}` runs it, and `{command}` makes it the default",
            guest.0.name
        )
    }
}

/// Checks and compiles a guest.
pub fn compiled(
    name: String,
    source: Vec<u8>,
    shown: &str,
    signature: Option<Signature>,
    signed: Option<String>,
    cpu: Cpu,
) -> Result<Parts> {
    let guest = Source::read(&source, shown)?;
    let target = target();
    let for_cpu = (cpu == Cpu::Baseline).then_some(target.as_str());
    let compile = match guest.form {
        Form::Component => compiler::compile_component,
        Form::Module => compiler::compile_module,
    };
    // The error below reports a panic of the compiler.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let artefact = compile(&source, for_cpu);
    panic::set_hook(hook);
    let artefact = artefact.map_err(|error| {
        let message = format!("`{shown}` cannot be compiled: {error}");
        Diagnostic::new(message, ToolHint::CompilerRefused { fix: error.hint() })
    })?;
    let record = Record {
        name,
        kind: guest.kind,
        form: guest.form,
        artefact: Digest::of(&artefact),
        size: artefact.len() as u64,
        source: Digest::of(&source),
        engine: ENGINE.to_owned(),
        target,
        cpu,
        imports: guest.imports,
        may: guest.may,
        signature,
    };
    Ok(Parts { record, artefact, source, signature: signed })
}

/// A record, in several lines.
pub struct Described(pub Record);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = &self.0;
        writeln!(f, "`{}`: a {}, a {}", record.name, record.kind, record.form)?;
        for line in &record.may {
            writeln!(f, "  {line}")?;
        }
        if record.kind == Kind::Command {
            writeln!(
                f,
                "  sees the private keys and writes the layer in one instance, and checks the HMAC itself"
            )?;
        }
        writeln!(f, "source    {}", record.source)?;
        writeln!(f, "code      {}, {} KiB", record.artefact, record.size.div_ceil(1024))?;
        writeln!(f, "engine    {}, {} {}", record.engine, record.target, record.cpu)?;
        match &record.signature {
            Some(Signature { key, comment }) => writeln!(f, "signed by {key}: {comment}"),
            None => writeln!(f, "not signed"),
        }
    }
}
