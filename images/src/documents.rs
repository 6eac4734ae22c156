//! The documents of an image: descriptors, manifests and indexes (OCI image specification 1.1).
//!
//! Members that this tool does not use stay as they are, in their order: an image that is rewritten
//! keeps them. The types of the crate `oci-spec` drop the members that they do not know.

use std::collections::BTreeMap;

use ocicrypt::annotation::{PUBLIC_OPTIONS, Scheme};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The annotation that carries a tag in `index.json`.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation in which containerd and Docker note the whole name beside it.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// The annotations with which BuildKit says that a manifest is an attestation, and of which image.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// See [`REFERENCE_TYPE`].
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// A reference to a blob.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The digest of the blob, as `sha256:` and hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The length of the blob, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Where else the blob can be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
    /// The annotations, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Map<String, Value>>,
    /// The platform of a manifest that an index lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Descriptor {
    /// The media type, or an empty string.
    pub fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or_default()
    }

    /// The digest, or an empty string.
    pub fn digest(&self) -> &str {
        self.digest.as_deref().unwrap_or_default()
    }

    /// The length of the blob in bytes, or 0.
    pub fn size(&self) -> u64 {
        self.size.unwrap_or_default()
    }

    /// Describes other bytes. What was known of the former ones beside their digest and their length is
    /// dropped: where else they can be fetched, and a copy of them.
    pub fn set_content(&mut self, digest: String, size: u64) {
        self.digest = Some(digest);
        self.size = Some(size);
        self.urls = None;
        self.other.shift_remove("data");
    }

    /// Whether this is an attestation as BuildKit stores it.
    pub fn is_attestation(&self) -> bool {
        self.annotation(REFERENCE_TYPE) == Some("attestation-manifest")
    }

    /// The digest of the image that this attests, in an index by BuildKit.
    pub fn attests(&self) -> Option<&str> {
        self.annotation(REFERENCE_DIGEST)
    }

    /// Lets this attest the image with this digest.
    pub fn set_attests(&mut self, digest: &str) {
        let annotations = self.annotations.get_or_insert_default();
        annotations.insert(REFERENCE_DIGEST.to_owned(), digest.into());
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name)?.as_str()
    }

    /// Whether it may be fetched from elsewhere, and need not be where the image is.
    pub fn is_foreign(&self) -> bool {
        let has_urls = self.urls.as_ref().is_some_and(|urls| !urls.is_empty());
        let media_type = self.media_type();
        let is_kind = media_type.contains(".foreign.") || media_type.contains(".nondistributable.");
        has_urls && is_kind && !media_type.ends_with("+encrypted")
    }

    /// The annotations that are strings, which the specification requires of all.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let all = self.annotations.iter().flatten();
        all.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// The descriptor with these annotations in place of its own.
    #[must_use]
    pub fn with_annotations(&self, annotations: BTreeMap<String, String>) -> Self {
        let map: Map<_, _> =
            annotations.into_iter().map(|(name, value)| (name, value.into())).collect();
        Self { annotations: (!map.is_empty()).then_some(map), ..self.clone() }
    }

    /// The descriptor without the annotations of encryption.
    #[must_use]
    pub fn without_encryption(&self) -> Self {
        let mut rest = self.annotations();
        rest.retain(|name, _| name != PUBLIC_OPTIONS && Scheme::of_annotation(name).is_none());
        self.with_annotations(rest)
    }

    /// The tag that `index.json` gives the image.
    pub fn tag(&self) -> Option<&str> {
        self.annotation(REF_NAME)
    }

    /// Gives the image this name in the list of a layout, or none, in the place of all that it had.
    pub fn rename(&mut self, tag: Option<&str>) {
        let mut annotations = self.annotations.take().unwrap_or_default();
        annotations.retain(|name, _| name != REF_NAME && name != IMAGE_NAME);
        if let Some(tag) = tag {
            annotations.insert(REF_NAME.to_owned(), tag.into());
        }
        self.annotations = (!annotations.is_empty()).then_some(annotations);
    }
}

/// The platform of an image. A configuration has the same three members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, such as `arm64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The operating system, such as `linux`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The variant of the processor, such as `v7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// A manifest: the configuration and the layers of an image for one platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    #[serde(flatten)]
    head: Head,
    /// The configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Descriptor>,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "list")]
    pub layers: Vec<Descriptor>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Manifest {
    /// The digest of the document that this one refers to.
    pub fn subject(&self) -> Option<&str> {
        subject(&self.other)
    }

    /// Why this has no layers, if it is another kind of document.
    pub fn is_no_image(&self) -> Option<&'static str> {
        if !self.layers.is_empty() {
            return None;
        }
        if self.other.contains_key("fsLayers") {
            return Some(": it has the schema 1 of Docker, which `skopeo copy` converts");
        }
        self.other.contains_key("blobs").then_some(": it is an artifact manifest")
    }
}

impl Index {
    /// The digest of the document that this one refers to.
    pub fn subject(&self) -> Option<&str> {
        subject(&self.other)
    }
}

fn subject(members: &Map<String, Value>) -> Option<&str> {
    members.get("subject")?.get("digest")?.as_str()
}

/// An index: manifests for several platforms, or further indexes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    #[serde(flatten)]
    head: Head,
    /// What it lists.
    #[serde(default, deserialize_with = "list")]
    pub manifests: Vec<Descriptor>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Default for Index {
    /// An index that lists nothing.
    fn default() -> Self {
        let head = Head { schema_version: Some(2), ..Head::default() };
        Self { head, manifests: Vec::new(), other: Map::new() }
    }
}

/// The members that manifests and indexes begin with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
}

/// A manifest or an index. An index is what has a list of manifests, whatever its media type is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", untagged)]
pub enum Document {
    /// A manifest.
    Manifest(Box<Manifest>),
    /// An index.
    Index(Index),
}

impl Document {
    /// The digest of the document that this one refers to.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Manifest(manifest) => manifest.subject(),
            Self::Index(index) => index.subject(),
        }
    }
}

impl TryFrom<Value> for Document {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let is_list = |name: &str| value.get(name).is_some_and(Value::is_array);
        if is_list("manifests") && (is_list("layers") || value.get("config").is_some()) {
            return Err(Self::Error::custom("it is both an index and a manifest"));
        }
        unambiguous(&value)?;
        if is_list("manifests") {
            serde_json::from_value(value).map(Self::Index)
        } else {
            serde_json::from_value(value).map(Self::Manifest)
        }
    }
}

/// Programs in Go read members in any case of letters, so that they would see another document.
fn unambiguous(value: &Value) -> Result<(), serde_json::Error> {
    const NAMES: [&str; 13] = [
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
        "digest",
        "size",
        "urls",
        "data",
        "platform",
    ];
    match value {
        Value::Array(values) => values.iter().try_for_each(unambiguous),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            if let Some(known) = NAMES.iter().find(|known| known.eq_ignore_ascii_case(name))
                && known != name
            {
                let name = crate::shown(name);
                return Err(serde_json::Error::custom(format!(
                    "`{name}` is read as `{known}` by some"
                )));
            }
            // Annotations may have any name.
            if name == "annotations" { Ok(()) } else { unambiguous(value) }
        }),
        _ => Ok(()),
    }
}

/// Returns `new` with the members of each object in the order that they have in `old`, and further members
/// after them. A document that is rewritten twice is then the same again, byte for byte.
pub fn ordered_like(new: Value, old: &Value) -> Value {
    match (new, old) {
        (Value::Object(mut new), Value::Object(old)) => {
            let mut ordered = Map::new();
            for (name, old) in old {
                if let Some(value) = new.shift_remove(name) {
                    ordered.insert(name.clone(), ordered_like(value, old));
                }
            }
            ordered.extend(new);
            Value::Object(ordered)
        }
        (Value::Array(new), Value::Array(old)) => {
            let paired = new.into_iter().enumerate();
            let paired = paired.map(|(index, value)| match old.get(index) {
                Some(old) => ordered_like(value, old),
                None => value,
            });
            Value::Array(paired.collect())
        }
        (new, _) => new,
    }
}

/// A list. Go writes `null` for one without members.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Descriptor>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_with_unknown_members_in_their_order() -> serde_json::Result<()> {
        for text in [
            r#"{"schemaVersion":2,"mediaType":"m","config":{"mediaType":"c","digest":"sha256:00","size":2},"layers":[{"mediaType":"l","digest":"sha256:11","size":3,"urls":["u"],"annotations":{"b":"1","a":"2"},"z":{"y":1,"x":null},"w":1.5}],"subject":{"size":1},"annotations":{"d":"","c":""},"b":[],"a":{}}"#,
            r#"{"schemaVersion":2,"manifests":[{"mediaType":"m","digest":"sha256:22","size":4,"platform":{"architecture":"arm","os":"linux","variant":"v7","os.version":"1"}}],"z":1,"a":2}"#,
        ] {
            let document: Document = serde_json::from_str(text)?;
            assert_eq!(serde_json::to_string(&document)?, text);
        }
        Ok(())
    }

    #[test]
    fn an_index_is_what_lists_manifests() -> serde_json::Result<()> {
        let document = serde_json::from_str(r#"{"mediaType":"m","manifests":[]}"#)?;
        assert!(matches!(document, Document::Index(_)));
        for text in ["{}", r#"{"layers":null}"#, r#"{"manifests":null,"layers":[]}"#] {
            let Document::Manifest(manifest) = serde_json::from_str(text)? else {
                panic!("{text}")
            };
            assert_eq!(manifest.layers, []);
        }
        for text in
            ["1", r#"{"manifests":[1]}"#, r#"{"layers":{}}"#, r#"{"layers":[{"size":"1"}]}"#]
        {
            assert!(serde_json::from_str::<Document>(text).is_err(), "{text}");
        }
        Ok(())
    }

    #[test]
    fn members_keep_the_order_of_another_tool() -> serde_json::Result<()> {
        let text = r#"{"layers":[{"size":3,"annotations":{"b":"1","a":"2"},"digest":"d","mediaType":"m"}],"schemaVersion":2}"#;
        let old: Value = serde_json::from_str(text)?;
        let document: Document = serde_json::from_value(old.clone())?;
        let written = ordered_like(serde_json::to_value(&document)?, &old);
        assert_eq!(written.to_string(), text);
        let more = ordered_like(serde_json::json!({"new": 1, "size": 4}), &old["layers"][0]);
        assert_eq!(more.to_string(), r#"{"size":4,"new":1}"#);
        Ok(())
    }

    #[test]
    fn a_tag_stands_beside_other_annotations() -> serde_json::Result<()> {
        let mut entry: Descriptor = serde_json::from_str(r#"{"annotations":{"a":"1"}}"#)?;
        assert_eq!(entry.tag(), None);
        entry.rename(Some("t"));
        assert_eq!((entry.tag(), entry.annotations().len()), (Some("t"), 2));
        entry.rename(None);
        assert_eq!((entry.tag(), entry.annotations().len()), (None, 1));
        let bare = entry.with_annotations(BTreeMap::new());
        assert_eq!(serde_json::to_string(&bare)?, "{}");
        Ok(())
    }
}
