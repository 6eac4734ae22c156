//! Layer media types, encrypted and plain.

use crate::text::printable;

/// The suffix that the format adds to the media type of a layer when it is encrypted.
pub const ENCRYPTED: &str = "+encrypted";

/// The media types that a layer can have before it is encrypted.
const PLAIN: [&str; 10] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.wasm.content.layer.v1+wasm",
];

/// A media type that no encrypted layer has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{media_type}` is not the media type of an encrypted layer")]
pub struct UnsupportedMediaType {
    /// What was found, fit to be shown.
    pub media_type: String,
}

/// The media type of the plain layer whose encrypted form has the media type `encrypted`, for
/// example `application/vnd.oci.image.layer.v1.tar+gzip` for
/// `application/vnd.oci.image.layer.v1.tar+gzip+encrypted`.
///
/// Go ctd-decoder knows the distributable OCI types only; Keycell also knows the
/// non-distributable ones, Docker's, and WebAssembly's.
///
/// # Errors
/// [`UnsupportedMediaType`], which names it.
pub fn plain(encrypted: &str) -> Result<&'static str, UnsupportedMediaType> {
    let found = encrypted.strip_suffix(ENCRYPTED);
    found
        .and_then(|found| PLAIN.into_iter().find(|plain| *plain == found))
        .ok_or_else(|| UnsupportedMediaType { media_type: printable(encrypted) })
}

/// Whether a plain layer of this media type is compressed.
///
/// The digest that is sealed with a layer key is then no proof of anything: where skopeo, podman and
/// buildah compress a layer and encrypt it in one go, as they do with every layer of a local store,
/// they seal that of the layer from before.
pub(crate) fn is_compressed(plain: &str) -> bool {
    plain.ends_with("gzip") || plain.ends_with("zstd")
}

/// The media type of the encrypted form of a layer that has the media type `plain`: what
/// [`plain()`] undoes. None if it is encrypted already, or no media type of a layer.
#[cfg(feature = "encrypt")]
pub fn encrypted(plain: &str) -> Option<String> {
    PLAIN.contains(&plain).then(|| format!("{plain}{ENCRYPTED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_loses_its_suffix() {
        for media_type in PLAIN {
            assert_eq!(plain(&format!("{media_type}{ENCRYPTED}")), Ok(media_type));
        }
    }

    #[test]
    #[cfg(feature = "encrypt")]
    fn every_type_gets_its_suffix_once() {
        for media_type in PLAIN {
            let encrypted = encrypted(media_type);
            assert_eq!(encrypted, Some(format!("{media_type}+encrypted")));
            assert_eq!(super::encrypted(&encrypted.unwrap_or_default()), None);
        }
        assert_eq!(encrypted("application/vnd.oci.image.config.v1+json"), None);
    }

    #[test]
    fn compressed_ones_are_known() {
        let compressed = PLAIN.into_iter().filter(|plain| is_compressed(plain));
        assert_eq!(compressed.count(), 6);
    }

    #[test]
    fn others_are_refused_by_name() {
        for media_type in ["", "+encrypted", "application/json+encrypted", PLAIN[1]] {
            assert!(plain(media_type).is_err(), "{media_type}");
        }
        let twice = format!("{}+encrypted+encrypted", PLAIN[0]);
        let Err(error) = plain(&twice) else { panic!("accepted {twice}") };
        let message = format!("`{twice}` is not the media type of an encrypted layer");
        assert_eq!(error.to_string(), message);
    }
}
