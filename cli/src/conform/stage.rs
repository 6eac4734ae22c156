//! The files of one case, in a directory of their own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, OpenOptions, OpenOptionsExt};
use ocicrypt::payload;
use serde_json::json;
use tempfile::TempDir;

use super::case::{Case, Entry, Family, Payload, Special};

/// The media type of the layer if the payload has none.
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
    /// Files that cannot be written, or a case that names a file that does not exist.
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

    /// Writes the files below `root`. No link among them leads out of it, and none is written
    /// through: what is there already is an error.
    fn put(&self, family: &Family, root: &Path, entries: &BTreeMap<String, Entry>) -> Result<()> {
        let root = Dir::open_ambient_dir(root, ambient_authority())?;
        // Whatever the umask is: decoders trust no file that others can write to.
        let mut directory = DirBuilder::new();
        directory.recursive(true).mode(0o755);
        let mut new = OpenOptions::new();
        new.write(true).create_new(true).mode(0o644);
        for (name, entry) in entries {
            let path = Path::new(name);
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                root.create_dir_with(parent, &directory)?;
            }
            let content = match entry {
                Entry::File(file) => family.content(file)?,
                Entry::Special(Special::Template(file)) => {
                    self.filled(&String::from_utf8(family.content(file)?)?).into_bytes()
                }
                Entry::Special(Special::Link(to)) => {
                    root.symlink_contents(self.filled(to), path)?;
                    continue;
                }
            };
            root.open_with(path, &new)?.write_all(&content)?;
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
