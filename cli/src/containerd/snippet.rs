//! The configuration that containerd needs for encrypted images.

use std::fmt::Write as _;

use ocicrypt::media_type::{self, ENCRYPTED, TAR, TAR_GZIP};

use super::WITH_PAYLOAD;
use super::choices::Choices;

/// The part of a configuration of version `syntax` that containerd needs to run a decoder as
/// chosen. It may be in the first file or in an imported one.
///
/// It has no section of a plugin: in a file that containerd 1.x imports, such a section would replace
/// the whole section of the CRI plugin, and `key_model` is `node` by default. containerd 2.x passes no
/// payload, and the decoder does not need one.
///
/// containerd passes a payload only to processors with these two ids, so that there are no more. One takes
/// the layers that are labelled as gzip, which the decoder may decompress: then it returns tar. The
/// other takes all that the library decrypts besides, and returns `tar+gzip`, with which containerd
/// recognizes the compression by the first bytes of the layer.
pub fn snippet(syntax: u32, choices: &Choices) -> String {
    let Choices { keys, decoder, decompress, content_store, more, settings } = choices;
    let mut text = String::new();
    if syntax > 1 {
        let _ = writeln!(text, "version = {syntax}");
    }
    let _ = writeln!(text, "{}", settings.0);
    let is_gzip = |media_type: &&str| media_type.ends_with("gzip");
    let (gzip, others): (Vec<_>, Vec<_>) = media_type::LAYERS.into_iter().partition(is_gzip);
    let returns = if *decompress { TAR } else { TAR_GZIP };
    for (id, accepts, returns) in
        [(WITH_PAYLOAD[0], gzip, returns), (WITH_PAYLOAD[1], others, TAR_GZIP)]
    {
        let more = more.get(id).cloned().unwrap_or_default();
        let mut args = vec!["--decryption-keys-path".to_owned(), keys.display().to_string()];
        if *decompress && id == WITH_PAYLOAD[0] {
            args.push("--decompress".to_owned());
        }
        if let Some(root) = content_store {
            args.extend(["--content-store".to_owned(), root.clone()]);
        }
        args.extend(more.args);
        let accepts = accepts.into_iter().map(|media_type| format!("{media_type}{ENCRYPTED}"));
        let _ = writeln!(text, "[stream_processors.\"{id}\"]");
        let _ = writeln!(text, "  accepts = [");
        for media_type in accepts.chain(more.accepts) {
            let _ = writeln!(text, "    {},", quoted(&media_type));
        }
        let _ = writeln!(text, "  ]");
        let _ = writeln!(text, "  returns = \"{returns}\"");
        let _ = writeln!(text, "  path = {}", quoted(&decoder.display().to_string()));
        let _ = writeln!(text, "  args = [{}]", list(&args));
        let _ = writeln!(text, "  env = [{}]\n", list(&more.env));
    }
    text += &settings.1;
    text.truncate(text.trim_end().len());
    text.trim_start().to_owned() + "\n"
}

fn list(texts: &[String]) -> String {
    texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")
}

/// A basic string of TOML.
pub(super) fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
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
    use crate::containerd::processor::PROVIDERS;
    use crate::containerd::{Config, Route, Version};

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
            let mut choices = Choices::new("/usr/bin/ctd-decoder".into(), decompress);
            choices.keys = "/k \"e\\y".into();
            fs::write(&file, snippet(syntax, &choices))?;
            let config = Config::read(&file, Some(version))?;
            assert_eq!(config.version, syntax);
            for media_type in media_type::LAYERS {
                let Route::To(id, processor) = config.route(&format!("{media_type}{ENCRYPTED}"))
                else {
                    panic!("{media_type}")
                };
                assert!(WITH_PAYLOAD.contains(&id));
                let is_gzip = media_type.ends_with("gzip");
                assert_eq!(processor.decompresses(), Some(decompress && is_gzip));
                // A layer that is not decompressed, or may be zstd, must not be taken for tar.
                assert_eq!(Some(processor.returns == TAR), processor.decompresses());
                assert_eq!(processor.args[1], "/k \"e\\y");
                assert_eq!(processor.variable("OCICRYPT_KEYPROVIDER_CONFIG"), Some(PROVIDERS));
            }
        }
        Ok(())
    }
}
