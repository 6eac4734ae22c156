//! From one place to another: the arguments that all commands have that rewrite images, and the order of the
//! steps.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use clap::Args;
use keycell_images::interrupt;
use keycell_images::layout::blob_path;
use keycell_images::name::Name;
use keycell_images::{ArchiveFile, Source};
use serde_json::json;

use super::digest_file::DigestFile;
use super::flags::Place;
use super::{Action, Destination, Exchange, Note, Plan, Registries, Report, Wishes, rewrite};
use crate::output::{print, tell};

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
            place.check()?;
            let mut report = Report::of(&plan, &exchange);
            exchange.notes(&mut report);
            return self.print(&exchange, &report, &place, None);
        }
        let digest_file = self.digestfile.as_deref().map(DigestFile::open).transpose()?;
        let in_repository = same_repository(&*source, &place.name);
        let target = place.create()?;
        let jobs = self.jobs.or(available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let mut rewritten = rewrite(plan, &*source, &*target, &exchange, jobs)?;
        let digest = rewritten.entry.digest().to_owned();
        target.publish(rewritten.entry, &rewritten.bytes)?;
        let recorded = digest_file.map_or(Ok(()), |file| file.write(&digest));
        exchange.notes(&mut rewritten.report);
        rewritten.report.notes.extend(in_clear(&place.name, in_repository, &rewritten.report));
        self.print(&exchange, &rewritten.report, &place, Some(&digest))?;
        Ok(recorded?)
    }

    fn print<E: Exchange>(
        &self,
        exchange: &E,
        report: &Report,
        place: &Place,
        digest: Option<&str>,
    ) -> Result<()> {
        tell(exchange.text(report, digest.is_some()));
        for note in &report.notes {
            tell(format_args!("note: {note}\n"));
        }
        let mut text = digest.unwrap_or_default().to_owned();
        if self.json {
            let mut value = report.json();
            value["digest"] = json!(digest);
            value["destination"] = json!(place.name.to_string());
            let recipients = if report.changes_any() { exchange.recipients() } else { Vec::new() };
            value["recipients"] = json!(recipients);
            text = value.to_string();
        }
        match &place.name {
            // Standard output carries the archive.
            Name::OciArchive { file: ArchiveFile::Standard, .. } if !self.dry_run => {
                tell(format_args!("{text}\n"));
            }
            _ if text.is_empty() => {}
            _ => print(format_args!("{text}\n"))?,
        }
        Ok(())
    }
}

/// Whether the destination is in the repository of the source.
fn same_repository(source: &dyn Source, destination: &Name) -> bool {
    matches!(destination, Name::Registry(reference) if source.repository() == Some(&reference.repository))
}

/// The plain layers of the image that the destination still has, because they were there before. Those that
/// were copied are listed as not encrypted.
fn in_clear(name: &Name, in_repository: bool, report: &Report) -> Option<Note> {
    let copied = report.layers.iter().filter(|layer| layer.action != Action::Replaced);
    let copied: BTreeSet<_> = copied.map(|layer| layer.before.digest()).collect();
    let encrypted = report.encrypted().into_iter().filter(|it| it.action == Action::Replaced);
    let plain: BTreeSet<_> = encrypted.map(|layer| layer.before.digest()).collect();
    let plain = plain.difference(&copied);
    match name {
        Name::Registry(reference) if in_repository => {
            let count = plain.count();
            let repository = reference.repository.to_string();
            (count > 0).then_some(Note::InRepository { count, repository })
        }
        Name::Layout { directory, .. } => {
            let is_there =
                |digest: &&&str| blob_path(digest).is_ok_and(|path| directory.join(path).is_file());
            let count = plain.filter(is_there).count();
            let directory = directory.display().to_string();
            (count > 0).then_some(Note::InClear { count, directory })
        }
        _ => None,
    }
}
