//! Layer media types, encrypted and plain.

use crate::encoding::text::printable_to;

/// The suffix that the format adds to the media type of a layer when it is encrypted.
pub const ENCRYPTED: &str = "+encrypted";

/// A layer that is a tar archive.
pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer that is a tar archive, compressed with gzip.
pub const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A layer that is a tar archive, compressed with zstd.
pub const TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A WebAssembly program that is a layer of its own. containerd does not unpack it.
pub const WASM: &str = "application/vnd.wasm.content.layer.v1+wasm";

/// The media types that a layer can have before it is encrypted.
pub const LAYERS: [&str; 10] = [
    TAR,
    TAR_GZIP,
    TAR_ZSTD,
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    WASM,
];

/// A media type that no encrypted layer has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{media_type}` is not the media type of {}", if *is_encrypted { "a layer that can be unpacked" } else { "an encrypted layer" })]
pub struct UnsupportedMediaType {
    /// The media type that was found, sanitized for a message.
    pub media_type: String,
    /// Whether it ends as that of something encrypted.
    pub is_encrypted: bool,
}

/// The longest media type that a message shows, in characters. Their ends matter: two names of at most 127
/// characters are what RFC 6838 allows, and most have half of that.
const SHOWN: usize = 128;

/// The media type of the plain layer whose encrypted form has the media type `encrypted`, for
/// example `application/vnd.oci.image.layer.v1.tar+gzip` for
/// `application/vnd.oci.image.layer.v1.tar+gzip+encrypted`.
///
/// Go ctd-decoder supports only the distributable OCI types; Keycell also supports the
/// non-distributable ones, Docker's and WebAssembly's.
///
/// # Errors
/// [`UnsupportedMediaType`] with the media type.
pub fn plain(encrypted: &str) -> Result<&'static str, UnsupportedMediaType> {
    let found = encrypted.strip_suffix(ENCRYPTED);
    found.and_then(|found| LAYERS.into_iter().find(|plain| *plain == found)).ok_or_else(|| {
        UnsupportedMediaType {
            media_type: printable_to(encrypted, SHOWN),
            is_encrypted: found.is_some(),
        }
    })
}

/// Whether a plain layer of this media type is compressed.
///
/// In that case, the digest that is sealed with a layer key proves nothing. If skopeo, podman and
/// buildah compress and encrypt a layer in one operation, as they do with every layer of a local store,
/// they seal the digest of the uncompressed layer.
pub(crate) fn is_compressed(plain: &str) -> bool {
    plain.ends_with("gzip") || plain.ends_with("zstd")
}

/// The media type of the encrypted form of a layer with the media type `plain`: the inverse of
/// [`plain()`]. None if it is already encrypted, or is not the media type of a layer.
#[cfg(feature = "encrypt")]
pub fn encrypted(plain: &str) -> Option<String> {
    LAYERS.contains(&plain).then(|| format!("{plain}{ENCRYPTED}"))
}

/// Whether a plain layer may begin with these bytes: the magic number of gzip (RFC 1952), zstd (RFC
/// 8878) or WebAssembly, or the checksum in a tar header (POSIX.1-2024, pax, ustar). For random bytes
/// the probability is 2^-25.
///
/// The media type is not considered: containerd detects compression by the bytes, so a layer with a
/// wrong label is still unpacked.
pub fn begins_like_a_layer(bytes: &[u8]) -> bool {
    match bytes {
        // The three reserved flags are zero.
        [0x1f, 0x8b, 8, flags, ..] => *flags < 0x20,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => true,
        _ => bytes.starts_with(b"\0asm") || bytes.get(..TAR_HEADER).is_some_and(is_tar_header),
    }
}

/// The size of a tar header in bytes.
const TAR_HEADER: usize = 512;

/// The place of its checksum: six octal digits. They count as eight spaces in the sum of all bytes.
const TAR_CHECKSUM: std::ops::Range<usize> = 148..156;

fn is_tar_header(header: &[u8]) -> bool {
    // An archive without files consists of blocks of zeroes.
    if header.iter().all(|byte| *byte == 0) {
        return true;
    }
    let digits = header[TAR_CHECKSUM].trim_ascii_start();
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let stored = digits.fold(0u32, |sum, digit| sum * 8 + u32::from(*digit - b'0'));
    let spaces = TAR_CHECKSUM.len() as u32 * u32::from(b' ');
    let others = header.iter().enumerate().filter(|(place, _)| !TAR_CHECKSUM.contains(place));
    let sum = |value: fn(u8) -> i64| others.clone().map(|(_, byte)| value(*byte)).sum::<i64>();
    // Some old archivers added signed bytes.
    let sums = [sum(i64::from), sum(|byte| i64::from(byte as i8))];
    sums.contains(&(i64::from(stored) - i64::from(spaces)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_loses_its_suffix() {
        for media_type in LAYERS {
            assert_eq!(plain(&format!("{media_type}{ENCRYPTED}")), Ok(media_type));
        }
    }

    #[test]
    #[cfg(feature = "encrypt")]
    fn every_type_gets_its_suffix_once() {
        for media_type in LAYERS {
            let encrypted = encrypted(media_type);
            assert_eq!(encrypted, Some(format!("{media_type}+encrypted")));
            assert_eq!(super::encrypted(&encrypted.unwrap_or_default()), None);
        }
        assert_eq!(encrypted("application/vnd.oci.image.config.v1+json"), None);
    }

    #[test]
    fn layers_begin_in_one_of_a_few_ways() {
        // This is the header that GNU tar writes for an empty file `a`.
        let mut header = [0; TAR_HEADER];
        header[0] = b'a';
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(b"00000000000\0");
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].copy_from_slice(b"006036\0 ");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar  \0");
        assert!(begins_like_a_layer(&header));
        assert!(begins_like_a_layer(&[0; 1024]));
        assert!(begins_like_a_layer(&[0x1f, 0x8b, 8, 0, 0]));
        assert!(begins_like_a_layer(&[0x28, 0xb5, 0x2f, 0xfd, 0]));
        assert!(begins_like_a_layer(&[0x5a, 0x2a, 0x4d, 0x18, 0]));
        assert!(begins_like_a_layer(b"\0asm\x01\0\0\0"));

        header[0] = b'b';
        assert!(!begins_like_a_layer(&header));
        assert!(!begins_like_a_layer(&[0; 511]));
        assert!(!begins_like_a_layer(&[0x1f, 0x8b, 8, 0x20]));
        assert!(!begins_like_a_layer(&[0x1f, 0x8b, 8]));
        assert!(!begins_like_a_layer(&[0x60, 0x2a, 0x4d, 0x18, 0]));
        assert!(!begins_like_a_layer(b"text"));
    }

    #[test]
    fn compressed_ones_are_known() {
        let compressed = LAYERS.into_iter().filter(|plain| is_compressed(plain));
        assert_eq!(compressed.count(), 6);
    }

    #[test]
    fn others_are_refused_by_name() {
        for media_type in ["", "+encrypted", "application/json+encrypted", LAYERS[1]] {
            assert!(plain(media_type).is_err(), "{media_type}");
        }
        let twice = format!("{}+encrypted+encrypted", LAYERS[0]);
        let Err(error) = plain(&twice) else { panic!("accepted {twice}") };
        let message = format!("`{twice}` is not the media type of a layer that can be unpacked");
        assert_eq!(error.to_string(), message);
        let Err(error) = plain("application/json") else { panic!("accepted JSON") };
        let message = "`application/json` is not the media type of an encrypted layer";
        assert_eq!(error.to_string(), message);
    }
}
