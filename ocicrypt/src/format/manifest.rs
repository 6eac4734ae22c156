//! The encrypted layers in an image's manifest.

use crate::encoding::json::Json;
use crate::encoding::text::printable;
use crate::format::annotation::KEYS_PREFIX;
use crate::format::media_type::ENCRYPTED;
use crate::format::payload::{Descriptor, WrongShape, must_be_object};

/// Why a manifest was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is not JSON.
    #[error("the manifest is not JSON: see line {line}, column {column}")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// A member occurs twice in one object. Readers differ on which of them applies.
    #[error("the manifest has the member `{member}` twice")]
    Duplicate {
        /// Its name, sanitized for a message.
        member: String,
    },
    /// A member is missing, or has another type than in the format.
    #[error("`{member}` of the manifest is not {wanted}")]
    WrongShape {
        /// The path of the member, sanitized for a message.
        member: String,
        /// What it should be, in words.
        wanted: &'static str,
    },
}

/// The encrypted layers of a manifest: their media type says so, and an annotation holds wrapped keys.
/// It returns none for an index, which names manifests and no layers.
///
/// Go's readers use the last of several members with the same name. This function refuses the manifest,
/// because registries, signers and readers may have seen different members.
///
/// # Errors
/// Every [`ManifestError`].
///
/// ```
/// let manifest = br#"{"schemaVersion":2,"layers":[
///     {"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:00","size":1},
///     {"mediaType":"application/vnd.oci.image.layer.v1.tar+encrypted","digest":"sha256:11",
///      "size":2,"annotations":{"org.opencontainers.image.enc.keys.jwe":"aGk="}}]}"#;
/// let layers = ocicrypt::manifest::encrypted_layers(manifest)?;
/// assert_eq!(layers.len(), 1);
/// assert_eq!(layers[0].digest, "sha256:11");
/// # Ok::<(), ocicrypt::manifest::ManifestError>(())
/// ```
pub fn encrypted_layers(manifest: &[u8]) -> Result<Vec<Descriptor>, ManifestError> {
    let json = Json::parse(manifest)
        .map_err(|at| ManifestError::NotJson { line: at.line, column: at.column })?;
    must_be_object(&json, "the whole")?;
    if let Some(member) = json.duplicate() {
        return Err(ManifestError::Duplicate { member: printable(member) });
    }
    let Some(layers) = json.field("layers") else { return Ok(Vec::new()) };
    let layers = layers
        .as_array()
        .ok_or_else(|| WrongShape { member: "layers".to_owned(), wanted: "a list" })?;
    let layers = layers.iter().enumerate();
    let layers = layers.map(|(index, layer)| Descriptor::of(layer, &format!("layers[{index}]")));
    let layers = layers.collect::<Result<Vec<_>, _>>()?;
    Ok(layers.into_iter().filter(is_encrypted).collect())
}

fn is_encrypted(layer: &Descriptor) -> bool {
    layer.media_type.ends_with(ENCRYPTED)
        && layer.annotations.keys().any(|name| name.starts_with(KEYS_PREFIX))
}

impl From<WrongShape> for ManifestError {
    fn from(WrongShape { member, wanted }: WrongShape) -> Self {
        Self::WrongShape { member, wanted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: &str = r#"{"mediaType":"a+encrypted","digest":"sha256:11","size":2,
        "annotations":{"org.opencontainers.image.enc.keys.jwe":"aGk="}}"#;

    fn refusal(manifest: &str) -> String {
        match encrypted_layers(manifest.as_bytes()) {
            Ok(layers) => panic!("{} layers of {manifest}", layers.len()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn layers_that_are_not_encrypted_are_left_out() {
        let plain = LAYER.replace("+encrypted", "");
        let keyless = LAYER.replace(".keys.", ".other.");
        let manifest = format!(r#"{{"layers":[{plain},{LAYER},{keyless}]}}"#);
        let layers = encrypted_layers(manifest.as_bytes());
        let Ok([layer]) = layers.as_deref() else { panic!("{layers:?}") };
        assert_eq!((layer.media_type.as_str(), layer.size), ("a+encrypted", 2));
    }

    #[test]
    fn an_index_names_no_layers() {
        for index in [r#"{"manifests":[{"digest":"sha256:11"}]}"#, r#"{"layers":null}"#, "{}"] {
            assert_eq!(encrypted_layers(index.as_bytes()), Ok(Vec::new()), "{index}");
        }
    }

    #[test]
    fn members_that_occur_twice_are_refused() {
        let twice = r#"{"layers":[],"layers":[]}"#;
        assert_eq!(refusal(twice), "the manifest has the member `layers` twice");
        let twice = LAYER.replace("\"size\":2", "\"size\":2,\"size\":3");
        let twice = format!(r#"{{"layers":[{twice}]}}"#);
        assert_eq!(refusal(&twice), "the manifest has the member `size` twice");
    }

    #[test]
    fn other_shapes_are_refused_by_their_place() {
        for (manifest, message) in [
            ("", "the manifest is not JSON: see line 1, column 0"),
            ("{}{", "the manifest is not JSON: see line 1, column 3"),
            ("[]", "`the whole` of the manifest is not an object"),
            (r#"{"layers":{}}"#, "`layers` of the manifest is not a list"),
            (r#"{"layers":[{},1]}"#, "`layers[1]` of the manifest is not an object"),
            (
                r#"{"layers":[{"annotations":{"a\u001bb":1}}]}"#,
                "`layers[0].annotations.ab` of the manifest is not a string",
            ),
            (
                r#"{"layers":[{"size":1.5}]}"#,
                "`layers[0].size` of the manifest is not a whole number",
            ),
        ] {
            assert_eq!(refusal(manifest), message);
        }
    }
}
