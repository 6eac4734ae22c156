//! Copies an image and replaces some of its layers, with new blobs, manifests, indexes and digests.
//! Everything else is copied unchanged.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Error, Result};
use keycell_images::documents::{Descriptor, Manifest, ordered_like};
use keycell_images::{NewBlob, Source, Target, digest};
use ocicrypt::layer::LayerError;
use serde::Serialize;

use super::Progress;
use super::changes::Changes;
use super::plan::{Exchange, Node, Plan, Text, Treatment, place};
use super::report::{Layer, Note, Report};

/// The size of a read, in bytes.
pub const CHUNK: usize = 256 * 1024;

/// A rewritten image, ready to be published.
pub struct Rewritten {
    /// The descriptor of its manifest or index.
    pub entry: Descriptor,
    /// The bytes of that.
    pub bytes: Vec<u8>,
    /// What was done.
    pub report: Report,
}

/// Does what was planned, with `jobs` layers at a time. Nothing is visible yet.
///
/// # Errors
/// A blob that is missing or altered, a destination that cannot be written to, or why a layer cannot
/// be replaced.
pub fn rewrite<R: Send + Sync>(
    plan: Plan<R>,
    source: &dyn Source,
    target: &dyn Target,
    exchange: &dyn Exchange<Ready = R>,
    jobs: usize,
) -> Result<Rewritten> {
    let mut tasks = Vec::new();
    collect(&plan.root, &mut tasks);
    let progress = Progress::new(tasks.iter().map(|task| task.blob.size()).sum());
    let stop = AtomicBool::new(false);
    let elsewhere = Mutex::default();
    let work = Work { source, target, progress: &progress, stop: &stop, elsewhere };
    let blobs = run(&tasks, exchange, &work, jobs)?;
    progress.finish();
    let mut assembly = Assembly {
        target,
        blobs: blobs.into_iter(),
        manifests: VecDeque::new(),
        changes: Changes::default(),
        report: Report::default(),
    };
    assembly.manifests(&plan.root)?;
    let (entry, bytes) = assembly.node(plan.root)?;
    let Assembly { changes, mut report, .. } = assembly;
    report
        .notes
        .extend(lock(&work.elsewhere).iter().cloned().map(|digest| Note::Elsewhere { digest }));
    report.notes.extend(changes.notes(source));
    Ok(Rewritten { entry, bytes, report })
}

/// A blob that is copied or replaced.
struct Task<'a, R> {
    blob: &'a Descriptor,
    ready: Option<&'a R>,
    /// Where it is, in messages.
    place: String,
}

/// All blobs, in the order in which the documents name them.
fn collect<'a, R>(node: &'a Node<R>, into: &mut Vec<Task<'a, R>>) {
    match node {
        Node::NotThere(_) => {}
        Node::Index(_, nodes) => nodes.iter().for_each(|node| collect(node, into)),
        Node::Manifest(text, treatments) => {
            let Text { descriptor, document, .. } = &**text;
            let config = document.config.iter();
            into.extend(config.map(|blob| Task {
                blob,
                ready: None,
                place: "the configuration".to_owned(),
            }));
            let layers = (1..).zip(&document.layers).zip(treatments);
            into.extend(layers.map(|((number, blob), treatment)| {
                let ready = match treatment {
                    Treatment::Exchange(ready) => Some(ready),
                    Treatment::Copy => None,
                };
                Task { blob, ready, place: place(number, descriptor) }
            }));
        }
    }
}

/// Writes all blobs, the largest first, and returns their new descriptors in the order of the tasks.
fn run<R: Send + Sync>(
    tasks: &[Task<'_, R>],
    exchange: &dyn Exchange<Ready = R>,
    work: &Work<'_>,
    jobs: usize,
) -> Result<Vec<Descriptor>> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(tasks[*index].blob.size()));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Descriptor>>> = Mutex::new(vec![None; tasks.len()]);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let job = || {
        while !work.stop.load(Ordering::Relaxed) {
            let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            let task = &tasks[*index];
            match task.run(exchange, work).with_context(|| task.place.clone()) {
                Ok(blob) => lock(&done)[*index] = Some(blob),
                Err(error) => {
                    // What fails later fails because this stops it.
                    if !work.stop.swap(true, Ordering::Relaxed) {
                        *lock(&failure) = Some(error);
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.min(tasks.len()) {
            // With fewer threads, it takes longer.
            if thread::Builder::new().spawn_scoped(scope, job).is_err() {
                break;
            }
        }
        job();
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let done = std::mem::take(&mut *lock(&done));
    Ok(done.into_iter().flatten().collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl<R: Send + Sync> Task<'_, R> {
    fn run(&self, exchange: &dyn Exchange<Ready = R>, work: &Work<'_>) -> Result<Descriptor> {
        let mut attempt = 1;
        let blob = loop {
            match self.write(exchange, work) {
                Err(error) if attempt < ATTEMPTS && is_lost_upload(&error) => attempt += 1,
                written => break written?,
            }
        };
        work.progress.blob(&self.place, self.ready.is_some(), self.blob.size());
        Ok(blob)
    }

    fn write(&self, exchange: &dyn Exchange<Ready = R>, work: &Work<'_>) -> Result<Descriptor> {
        match self.ready {
            Some(ready) => exchange.exchange(self.blob, ready, work),
            None => work.copy(self.blob).map(|()| self.blob.clone()),
        }
    }
}

/// How often a blob is written at most if the registry forgets its upload.
const ATTEMPTS: u32 = 3;

fn is_lost_upload(error: &Error) -> bool {
    let lost = |error: &keycell_images::Error| error.is_lost_upload();
    error.downcast_ref().is_some_and(lost)
}

/// Where blobs are read and written.
pub struct Work<'a> {
    source: &'a dyn Source,
    target: &'a dyn Target,
    progress: &'a Progress,
    /// Whether another layer has failed.
    stop: &'a AtomicBool,
    /// Foreign layers that are not where the image is.
    elsewhere: Mutex<BTreeSet<String>>,
}

impl Work<'_> {
    /// Reads a layer. Its digest is checked at the end.
    ///
    /// # Errors
    /// A blob that is missing.
    pub fn read(&self, layer: &Descriptor) -> Result<impl Read + '_> {
        let blob = self.source.blob(layer)?;
        Ok(Watched { blob, progress: self.progress, stop: self.stop })
    }

    /// A blob whose digest is not known yet.
    ///
    /// # Errors
    /// A place that cannot be written to.
    pub fn write(&self) -> Result<Box<dyn NewBlob + '_>> {
        Ok(self.target.blob()?)
    }

    /// Whether a blob need not be written, because the destination has it or takes it.
    ///
    /// # Errors
    /// A place that cannot be asked.
    pub fn adopts(&self, blob: &Descriptor) -> Result<bool> {
        let adopts = self.target.adopts(blob, self.source)?;
        if adopts {
            self.progress.add(blob.size());
        }
        Ok(adopts)
    }

    /// Copies a blob, unless it exists at the destination.
    ///
    /// # Errors
    /// A blob that is missing or altered.
    pub fn copy(&self, blob: &Descriptor) -> Result<()> {
        if self.adopts(blob)? {
            return Ok(());
        }
        let mut from = match self.source.blob(blob) {
            Ok(blob) => Watched { blob, progress: self.progress, stop: self.stop },
            Err(error) if blob.is_foreign() && error.is_not_found() => {
                self.progress.add(blob.size());
                lock(&self.elsewhere).insert(blob.digest().to_owned());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut to = self.target.blob()?;
        let mut buffer = vec![0; CHUNK];
        loop {
            match from.read(&mut buffer).map_err(unpacked)? {
                0 => break,
                length => to.write_all(&buffer[..length]).map_err(unpacked)?,
            }
        }
        to.keep()?;
        Ok(())
    }
}

/// The error that a reader or a writer has put into an input/output error.
pub fn unpacked(error: io::Error) -> Error {
    match error.downcast::<keycell_images::Error>() {
        Ok(ours) => ours.into(),
        Err(error) => error.into(),
    }
}

/// The same for a layer that is decrypted.
pub fn of_layer(error: LayerError) -> Error {
    match error {
        LayerError::Read(error) => unpacked(error),
        error => error.into(),
    }
}

/// A blob that is read, until another one fails.
struct Watched<'a, B> {
    blob: B,
    progress: &'a Progress,
    stop: &'a AtomicBool,
}

impl<B: Read> Read for Watched<'_, B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer has failed"));
        }
        let length = self.blob.read(buffer)?;
        self.progress.add(length as u64);
        Ok(length)
    }
}

/// Puts the documents together, those that others name first. All manifests come before all indexes: an
/// index can list an attestation of a manifest that another one lists.
struct Assembly<'a> {
    target: &'a dyn Target,
    /// The new descriptors of all blobs.
    blobs: std::vec::IntoIter<Descriptor>,
    /// All manifests, in the order in which the indexes list them.
    manifests: VecDeque<(Descriptor, Vec<u8>)>,
    changes: Changes,
    report: Report,
}

impl Assembly<'_> {
    fn manifests<R>(&mut self, node: &Node<R>) -> Result<()> {
        match node {
            Node::NotThere(entry) => self.report.not_there(entry),
            Node::Index(_, nodes) => nodes.iter().try_for_each(|node| self.manifests(node))?,
            Node::Manifest(text, _) => {
                let mut manifest = text.document.clone();
                self.manifest(&mut manifest, &text.descriptor);
                self.changes.refers(&text.descriptor, manifest.subject());
                let same = manifest == text.document;
                let new = self.document(text, &manifest, same)?;
                self.manifests.push_back(new);
            }
        }
        Ok(())
    }

    fn node<R>(&mut self, node: Node<R>) -> Result<(Descriptor, Vec<u8>)> {
        match node {
            Node::NotThere(descriptor) => Ok((*descriptor, Vec::new())),
            Node::Manifest(text, _) => {
                let new = self.manifests.pop_front();
                Ok(new.unwrap_or((text.descriptor, text.bytes)))
            }
            Node::Index(text, nodes) => {
                let mut index = text.document.clone();
                index.manifests.clear();
                for node in nodes {
                    let is_there = !matches!(node, Node::NotThere(_));
                    let (entry, bytes) = self.node(node)?;
                    if is_there {
                        self.target.document(&entry, &bytes)?;
                    }
                    index.manifests.push(entry);
                }
                for entry in &mut index.manifests {
                    self.changes.follow(entry);
                }
                self.changes.refers(&text.descriptor, index.subject());
                // What is left out is not in the plan any more, but in the bytes.
                let had = text.value.get("manifests").and_then(|list| list.as_array());
                let same = had.map(Vec::len) == Some(index.manifests.len());
                let same = same && index == text.document;
                self.document(&text, &index, same)
            }
        }
    }

    fn manifest(&mut self, manifest: &mut Manifest, descriptor: &Descriptor) {
        if manifest.config.is_some() {
            self.blobs.next(); // it was copied
        }
        for (number, layer) in (1..).zip(&mut manifest.layers) {
            let Some(blob) = self.blobs.next() else { return };
            self.report.layers.push(Layer::new(descriptor, number, layer.clone(), blob.clone()));
            *layer = blob;
        }
    }

    /// The bytes of a document, and its descriptor. One that is unchanged keeps its bytes, for
    /// signatures over them.
    fn document<T>(
        &mut self,
        text: &Text<T>,
        document: &impl Serialize,
        same: bool,
    ) -> Result<(Descriptor, Vec<u8>)> {
        if same {
            return Ok((text.descriptor.clone(), text.bytes.clone()));
        }
        let new = ordered_like(serde_json::to_value(document)?, &text.value);
        let bytes = serde_json::to_vec(&new)?;
        let mut descriptor = text.descriptor.clone();
        let old = descriptor.digest().to_owned();
        descriptor.set_content(digest::of(&bytes), bytes.len() as u64);
        self.changes.add(old, descriptor.digest().to_owned());
        Ok((descriptor, bytes))
    }
}
