//! Documents that have another digest now, and what refers to them.

use std::collections::BTreeMap;

use keycell_images::Source;
use keycell_images::documents::Descriptor;

use super::report::Note;

/// The digests that changed.
#[derive(Default)]
pub struct Changes {
    new: BTreeMap<String, String>,
    /// Documents with a `subject`, and its digest.
    subjects: Vec<(String, String)>,
    /// The number of attestations that follow.
    followed: usize,
}

impl Changes {
    /// A document has another digest.
    pub fn add(&mut self, old: String, new: String) {
        self.new.insert(old, new);
    }

    /// Lets an attestation in an index refer to the new digest of its image.
    pub fn follow(&mut self, entry: &mut Descriptor) {
        let new = entry.attests().and_then(|old| self.new.get(old)).cloned();
        if let Some(new) = new {
            entry.set_attests(&new);
            self.followed += 1;
        }
    }

    /// A document refers to another as its subject.
    pub fn refers(&mut self, document: &Descriptor, subject: Option<&str>) {
        if let Some(subject) = subject {
            self.subjects.push((document.digest().to_owned(), subject.to_owned()));
        }
    }

    /// What a person should know.
    pub fn notes(&self, source: &dyn Source) -> Vec<Note> {
        let mut notes = Vec::new();
        if self.followed > 0 {
            notes.push(Note::Attestations { count: self.followed });
        }
        for (document, subject) in &self.subjects {
            if self.new.contains_key(subject) {
                let (document, subject) = (document.clone(), subject.clone());
                notes.push(Note::Subject { document, subject });
            }
        }
        for old in self.new.keys() {
            let names = source.referrers(old);
            notes.extend(names.into_iter().map(|name| Note::Signature { name, old: old.clone() }));
        }
        notes
    }
}
