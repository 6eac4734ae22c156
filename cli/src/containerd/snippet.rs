//! The configuration that containerd needs for encrypted images.

use std::fmt::Write as _;
use std::path::Path;

use ocicrypt::media_type::{ENCRYPTED, TAR, TAR_GZIP, TAR_ZSTD};

use super::WITH_PAYLOAD;

/// The key provider configuration that containerd's defaults name.
const PROVIDERS: &str = "/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf";

/// The part of a configuration of version `syntax` that containerd needs to run `decoder` with
/// `keys`. It may be in the first file or in an imported one.
///
/// It has no section of a plugin: in a file that containerd 1.x imports, such a section would replace
/// the whole section of the CRI plugin, and `key_model` is `node` by default. containerd 2.x passes no
/// payload, and the decoder does not need one. The gzip processor also takes zstd layers, because
/// containerd passes a payload only to these two processors; containerd recognizes the compression of
/// the decrypted layer by its first bytes.
///
/// If the decoder decompresses gzip, the gzip processor returns tar. Then the other processor takes zstd
/// layers, and returns `tar+gzip` so that containerd looks at the first bytes.
pub fn snippet(syntax: u32, keys: &Path, decoder: &Path, decompress: bool) -> String {
    let mut text = String::new();
    if syntax > 1 {
        let _ = writeln!(text, "version = {syntax}\n");
    }
    let processors: [(_, &[_], _, _); 2] = match decompress {
        false => [
            (WITH_PAYLOAD[0], &[TAR_GZIP, TAR_ZSTD], TAR_GZIP, ""),
            (WITH_PAYLOAD[1], &[TAR], TAR, ""),
        ],
        true => [
            (WITH_PAYLOAD[0], &[TAR_GZIP], TAR, ", \"--decompress\""),
            (WITH_PAYLOAD[1], &[TAR, TAR_ZSTD], TAR_GZIP, ""),
        ],
    };
    for (id, accepts, returns, flag) in processors {
        let quoted_type = |media_type: &&str| format!("\"{media_type}{ENCRYPTED}\"");
        let accepts: Vec<_> = accepts.iter().map(quoted_type).collect();
        let _ = writeln!(text, "[stream_processors.\"{id}\"]");
        let _ = writeln!(text, "  accepts = [{}]", accepts.join(", "));
        let _ = writeln!(text, "  returns = \"{returns}\"");
        let _ = writeln!(text, "  path = {}", quoted(decoder));
        let _ = writeln!(text, "  args = [\"--decryption-keys-path\", {}{flag}]", quoted(keys));
        let _ = writeln!(text, "  env = [\"OCICRYPT_KEYPROVIDER_CONFIG={PROVIDERS}\"]\n");
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// A basic string of TOML.
pub(super) fn quoted(path: &Path) -> String {
    let mut text = String::from("\"");
    for c in path.to_string_lossy().chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::Result;

    use super::*;
    use crate::containerd::{Config, Version};

    #[test]
    fn what_is_written_is_what_is_read() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("config.toml");
        for (version, syntax, decompress) in [
            (Version(1, 6, 20), 1, false),
            (Version(1, 7, 24), 2, true),
            (Version(2, 1, 7), 2, false),
            (Version(2, 3, 0), 3, true),
        ] {
            let (keys, decoder) = (Path::new("/k \"e\\y"), Path::new("/usr/bin/ctd-decoder"));
            fs::write(&file, snippet(syntax, keys, decoder, decompress))?;
            let config = Config::read(&file, Some(version))?;
            assert_eq!(config.version, syntax);
            for kind in ["tar", "tar+gzip", "tar+zstd"] {
                let media_type = format!("application/vnd.oci.image.layer.v1.{kind}+encrypted");
                let accepting = config.accepting(&media_type);
                let [(id, processor)] = accepting[..] else { panic!("{kind}") };
                assert!(WITH_PAYLOAD.contains(&id));
                let is_decompressed = processor.args.iter().any(|arg| arg == "--decompress");
                assert_eq!(is_decompressed, decompress && kind == "tar+gzip");
                assert_eq!(is_decompressed, processor.returns == TAR && kind != "tar");
                assert_eq!(processor.args[1], "/k \"e\\y");
                assert_eq!(processor.variable("OCICRYPT_KEYPROVIDER_CONFIG"), Some(PROVIDERS));
            }
        }
        Ok(())
    }
}
