//! The files of one case, in a directory of their own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ocicrypt::payload;
use serde_json::json;
use tempfile::TempDir;

use super::case::{Case, Entry, Family, Payload, Special};

/// What containerd would say of a layer where the payload is not to be read.
const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";

/// A case, ready to be run.
pub struct Stage {
    dir: TempDir,
    /// The bytes for standard input.
    pub layer: Vec<u8>,
    /// The bytes for descriptor 3.
    pub payload: Option<Vec<u8>>,
    /// `STREAM_PROCESSOR_MEDIATYPE`.
    pub media_type: Option<String>,
}

impl Stage {
    /// Writes the files of the case.
    ///
    /// # Errors
    /// When they cannot be written, or the case names a file that is not there.
    pub fn set(family: &Family, case: &Case) -> Result<Self> {
        let set = || -> Result<Self> {
            let dir = TempDir::with_prefix("keycell-conform-")?;
            let mut described = MEDIA_TYPE;
            let payload = match &case.payload {
                None => None,
                Some(Payload::Bytes { bytes }) => Some(family.content(bytes)?),
                Some(Payload::Document { parameters, descriptor }) => {
                    described = descriptor["mediaType"].as_str().unwrap_or(described);
                    let config = json!({ "Parameters": parameters });
                    let value = json!({ "DecryptConfig": config, "Descriptor": descriptor });
                    Some(payload::encode(&serde_json::to_vec(&value)?))
                }
            };
            let media_type =
                case.call.media_type.clone().unwrap_or_else(|| Some(described.to_owned()));
            let stage = Self { layer: family.content(&case.layer)?, payload, media_type, dir };
            fs::create_dir(stage.keys())?;
            if let Some(keys) = &case.keys {
                stage.put(family, &stage.keys(), keys)?;
            }
            stage.put(family, stage.around(), &case.call.around)?;
            Ok(stage)
        };
        set().with_context(|| format!("cannot prepare the case `{}`", case.name))
    }

    fn put(&self, family: &Family, root: &Path, entries: &BTreeMap<String, Entry>) -> Result<()> {
        for (name, entry) in entries {
            let path = root.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            match entry {
                Entry::File(file) => fs::write(path, family.content(file)?)?,
                Entry::Special(Special::Link(to)) => symlink(self.filled(to), path)?,
                Entry::Special(Special::Template(file)) => {
                    let text = String::from_utf8(family.content(file)?)?;
                    fs::write(path, self.filled(&text))?;
                }
            }
        }
        Ok(())
    }

    /// The keys directory.
    pub fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    /// The directory that it lies in, in which decoders are started.
    pub fn around(&self) -> &Path {
        self.dir.path()
    }

    /// A word of the case with its paths.
    pub fn filled(&self, word: &str) -> String {
        let keys = self.keys().display().to_string();
        word.replace("{keys}", &keys).replace("{around}", &self.around().display().to_string())
    }
}
