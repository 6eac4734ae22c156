//! What was done with an image, in words and as JSON.

use std::fmt;

use keycell_images::documents::Descriptor;
use keycell_images::shown;
use ocicrypt::annotation;
use ocicrypt::media_type::ENCRYPTED;
use serde_json::{Value, json};

use super::plan::{Exchange, Node, Plan, Treatment};
use super::platform;

/// The most layers that are named.
const NAMED: usize = 32;

/// What was done with an image.
#[derive(Default)]
pub struct Report {
    /// What was done with each layer, in order.
    pub layers: Vec<Layer>,
    /// What a person should know.
    pub notes: Vec<Note>,
}

/// What was done with a layer.
pub struct Layer {
    /// The platform of its image, sanitized for a message.
    pub platform: Option<String>,
    /// Its number in the manifest, counted from 1.
    pub number: usize,
    /// What was done.
    pub action: Action,
    /// The descriptor that it had.
    pub before: Descriptor,
    /// The descriptor that it has.
    pub after: Descriptor,
    /// Whether it is encrypted.
    pub is_encrypted: bool,
}

/// What was done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was encrypted or decrypted.
    Replaced,
    /// Its bytes stay, and who can open it has changed.
    KeysChanged,
    /// It stays as it was.
    Copied,
}

/// What a person should know.
pub enum Note {
    /// Attestations refer to the new digests of their images.
    Attestations {
        /// How many.
        count: usize,
    },
    /// A document refers to another that has a new digest.
    Subject {
        /// The digest of the document.
        document: String,
        /// The digest that it refers to.
        subject: String,
    },
    /// A tag or a referrer belongs to a document that has a new digest.
    Signature {
        /// Its name.
        name: String,
        /// The digest of the document.
        old: String,
    },
    /// The layout had plain layers before, and still has them.
    InClear {
        /// How many.
        count: usize,
        /// The directory of the layout.
        directory: String,
    },
    /// The repository had the plain image before, and still has it.
    InRepository {
        /// How many layers.
        count: usize,
        /// The repository, with its host.
        repository: String,
    },
    /// What an index lists, and the source does not have.
    NotThere {
        /// The platform or the digest, sanitized for a message.
        name: String,
    },
    /// A foreign layer is not where the image is, and its descriptor says where it is.
    Elsewhere {
        /// Its digest.
        digest: String,
    },
    /// Layers with a media type that no runtime unpacks.
    NotUnpacked {
        /// The media type, sanitized for a message.
        media_type: String,
    },
}

impl Report {
    /// What would be done. The digests are not known yet.
    pub fn of<E: Exchange>(plan: &Plan<E::Ready>, exchange: &E) -> Self {
        let mut report = Self::default();
        report.foresee(&plan.root, exchange);
        report
    }

    fn foresee<E: Exchange>(&mut self, node: &Node<E::Ready>, exchange: &E) {
        match node {
            Node::NotThere(entry) => self.not_there(entry),
            Node::Index(_, nodes) => nodes.iter().for_each(|node| self.foresee(node, exchange)),
            Node::Manifest(text, treatments) => {
                for ((number, before), treatment) in
                    (1..).zip(&text.document.layers).zip(treatments)
                {
                    let mut layer =
                        Layer::new(&text.descriptor, number, before.clone(), before.clone());
                    if let Treatment::Exchange(ready) = treatment {
                        let media_type = exchange.media_type(before, ready);
                        let stays = media_type == before.media_type();
                        layer.action = if stays { Action::KeysChanged } else { Action::Replaced };
                        layer.is_encrypted = media_type.ends_with(ENCRYPTED);
                        layer.after.media_type = Some(media_type);
                        layer.after.digest = None;
                        layer.after.size = None;
                    }
                    self.layers.push(layer);
                }
            }
        }
    }

    /// Something that an index lists stays, though the source does not have it.
    pub fn not_there(&mut self, entry: &Descriptor) {
        let digest = || shown(entry.digest());
        let name = platform(entry).unwrap_or_else(digest);
        self.notes.push(Note::NotThere { name });
    }

    /// The number of layers with which this was done.
    pub fn count(&self, action: Action) -> usize {
        self.layers.iter().filter(|layer| layer.action == action).count()
    }

    /// Whether a layer was replaced, or got other keys.
    pub fn changes_any(&self) -> bool {
        self.layers.iter().any(|layer| layer.action != Action::Copied)
    }

    /// The layers that stay encrypted for those who had their keys before.
    pub fn as_before(&self) -> Vec<&Layer> {
        let stays = |layer: &&Layer| layer.is_encrypted && layer.action == Action::Copied;
        self.layers.iter().filter(stays).collect()
    }

    /// The layers that everyone can read.
    pub fn readable(&self) -> Vec<&Layer> {
        self.layers.iter().filter(|layer| !layer.is_encrypted).collect()
    }

    /// The layers that are encrypted.
    pub fn encrypted(&self) -> Vec<&Layer> {
        self.layers.iter().filter(|layer| layer.is_encrypted).collect()
    }

    /// The members of a JSON object that says the same.
    pub fn json(&self) -> Value {
        let layer = |layer: &Layer| {
            json!({
                "platform": layer.platform,
                "number": layer.number,
                "action": layer.action.name(),
                "encrypted": layer.is_encrypted,
                "mediaType": layer.after.media_type(),
                "digest": layer.after.digest,
                "size": layer.after.size,
                "before": { "mediaType": layer.before.media_type(), "digest": layer.before.digest() },
            })
        };
        json!({
            "layers": self.layers.iter().map(layer).collect::<Vec<_>>(),
            "notes": self.notes.iter().map(Note::to_string).collect::<Vec<_>>(),
        })
    }
}

impl Layer {
    /// A layer after something was done with it.
    pub fn new(
        manifest: &Descriptor,
        number: usize,
        before: Descriptor,
        after: Descriptor,
    ) -> Self {
        let action = match (before == after, before.digest == after.digest) {
            (true, _) => Action::Copied,
            (false, true) => Action::KeysChanged,
            (false, false) => Action::Replaced,
        };
        let is_encrypted = is_encrypted(&after);
        Self { platform: platform(manifest), number, action, before, after, is_encrypted }
    }
}

/// Whether a layer is encrypted: its media type says so, and there is a wrapped key.
fn is_encrypted(layer: &Descriptor) -> bool {
    layer.media_type().ends_with(ENCRYPTED)
        && !annotation::wrapped_keys(&layer.annotations()).is_empty()
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::KeysChanged => "keys-changed",
            Self::Copied => "copied",
        }
    }
}

/// A list of layers after what they are, a line for each.
pub struct Listed<'a>(pub &'a str, pub Vec<&'a Layer>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(what, layers) = self;
        for layer in layers.iter().take(NAMED) {
            writeln!(f, "{what}: {layer}")?;
        }
        match layers.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => writeln!(f, "{what}: and {}", Layers(more)),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {}", self.number)?;
        if let Some(platform) = &self.platform {
            write!(f, " of {platform}")?;
        }
        write!(f, " (`{}`)", shown(self.after.media_type()))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attestations { count: 1 } => f.write_str(
                "1 attestation now refers to the new digest of its image; what it states, and signs, still \
                 names the former one",
            ),
            Self::Attestations { count } => write!(
                f,
                "{count} attestations now refer to the new digests of their images; what they state, and \
                 sign, still names the former ones"
            ),
            Self::Subject { document, subject } => write!(
                f,
                "`{}` refers to `{}` as its subject, which has another digest now",
                shown(document),
                shown(subject)
            ),
            Self::Signature { name, old } => write!(
                f,
                "`{}` belongs to `{}` and not to the new image: sign or attest the new one",
                shown(name),
                shown(old)
            ),
            Self::InClear { count, directory } => write!(
                f,
                "`{directory}` still has the blobs of {} in clear, because it had them before",
                Layers(*count)
            ),
            Self::InRepository { count, repository } => write!(
                f,
                "`{repository}` still has the blobs of {} in clear, and the former manifest: whoever knows \
                 their digests can pull them",
                Layers(*count)
            ),
            Self::NotThere { name } => {
                write!(f, "`{name}` stays in the index, and the source does not have it")
            }
            Self::Elsewhere { digest } => write!(
                f,
                "the source does not have the layer `{}`, and it is not copied: its `urls` say where it is",
                shown(digest)
            ),
            Self::NotUnpacked { media_type } => write!(
                f,
                "containerd and CRI-O do not unpack `{media_type}`: `keycell decrypt` decrypts it"
            ),
        }
    }
}

/// A number of layers, in words.
pub struct Layers(pub usize);

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "layer" } else { "layers" };
        write!(f, "{} {plural}", self.0)
    }
}
