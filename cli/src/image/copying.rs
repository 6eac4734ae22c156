//! From one place to another: the arguments that all commands have that rewrite images, and the order of the
//! steps.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use clap::Args;
use keycell_images::ArchiveFile;
use keycell_images::interrupt;
use keycell_images::layout::blob_path;
use keycell_images::name::Name;
use serde_json::json;

use super::flags::Place;
use super::report::Layer;
use super::{Action, Destination, Exchange, Note, Plan, Registries, Report, Wishes, rewrite};

/// The arguments of a command that rewrites an image.
#[derive(Args)]
pub struct Copying {
    /// The image: `docker://NAME`, `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or
    /// `docker-archive:FILE[:NAME]`; a FILE of `-` is standard input
    source: String,
    #[command(flatten)]
    destination: Destination,
    #[command(flatten)]
    wishes: Wishes,
    /// How many layers are worked on at a time; the number of processors by default
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the digest of the new manifest or index to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Print what was done as JSON, in the place of the digest
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    registries: Registries,
}

impl Copying {
    /// Rewrites the image. The digest of the new one is printed on standard output, and what was done
    /// on standard error. Of layers that cannot be replaced, those of `allowed` media types and numbers stay.
    ///
    /// # Errors
    /// Why the image is not rewritten. Nothing is visible at the destination then.
    pub fn run<E: Exchange>(mut self, allowed: Vec<String>, mut exchange: E) -> Result<()> {
        interrupt::watch().context("cannot wait for signals")?;
        let (source, place) = self.registries.open_for(&self.source, &self.destination)?;
        self.wishes.allowed = allowed;
        let plan = Plan::make(&*source, &self.wishes, &mut exchange)?;
        if self.dry_run {
            let mut report = Report::of(&plan, &exchange);
            exchange.notes(&mut report);
            self.print(&exchange, &report, &place, None);
            return Ok(());
        }
        let target = place.create()?;
        let jobs = self.jobs.or(available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let mut rewritten = rewrite(plan, &*source, &*target, &exchange, jobs)?;
        let digest = rewritten.entry.digest().to_owned();
        target.publish(rewritten.entry, &rewritten.bytes)?;
        if let Some(file) = &self.digestfile {
            let shown = file.display();
            std::fs::write(file, &digest)
                .with_context(|| format!("cannot write the digest `{digest}` to `{shown}`"))?;
        }
        exchange.notes(&mut rewritten.report);
        rewritten.report.notes.extend(in_clear(&place.name, &rewritten.report));
        self.print(&exchange, &rewritten.report, &place, Some(&digest));
        Ok(())
    }

    fn print<E: Exchange>(
        &self,
        exchange: &E,
        report: &Report,
        place: &Place,
        digest: Option<&str>,
    ) {
        eprint!("{}", exchange.text(report, digest.is_some()));
        for note in &report.notes {
            eprintln!("note: {note}");
        }
        let mut text = digest.unwrap_or_default().to_owned();
        if self.json {
            let mut value = report.json();
            value["digest"] = json!(digest);
            value["destination"] = json!(place.name.to_string());
            value["recipients"] = json!(exchange.recipients());
            text = value.to_string();
        }
        match &place.name {
            // Standard output carries the archive.
            Name::OciArchive { file: ArchiveFile::Standard, .. } if !self.dry_run => {
                eprintln!("{text}");
            }
            _ if text.is_empty() => {}
            _ => println!("{text}"),
        }
    }
}

/// The plain layers of the image that a layout still has, because they were there before.
fn in_clear(name: &Name, report: &Report) -> Option<Note> {
    let Name::Layout { directory, .. } = name else { return None };
    let is_there = |layer: &&Layer| {
        let path = blob_path(layer.before.digest());
        layer.action == Action::Replaced && path.is_ok_and(|path| directory.join(path).is_file())
    };
    let encrypted = report.encrypted();
    let count = encrypted.into_iter().filter(is_there).count();
    let directory = directory.display().to_string();
    (count > 0).then_some(Note::InClear { count, directory })
}
