//! containerd's configuration, read from a file and the files that it imports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ocicrypt::media_type::{ENCRYPTED, TAR, TAR_GZIP};
use toml::{Table, Value};

use super::{KEYS, Version, WITH_PAYLOAD, import_glob};

/// The largest file that is read, in bytes: 4 MiB.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The most files that one configuration may import.
const MAX_FILES: usize = 256;

/// The sections of the CRI plugin, by the version of the configuration.
const CRI_V1: &str = "cri";
const CRI_V2: &str = "io.containerd.grpc.v1.cri";
const CRI_V3: &str = "io.containerd.cri.v1.images";

/// The section of the server, which was `grpc` before version 4.
const SERVER_V4: &str = "io.containerd.server.v1.grpc";

/// The part of the configuration that concerns decoders.
pub struct Config {
    /// All files, in the order in which containerd reads them. The list is empty if the first does
    /// not exist; containerd's defaults apply then.
    pub files: Vec<PathBuf>,
    /// The version of the first file; 1 if the file has none.
    pub version: u32,
    /// The stream processors by their ids, with those of containerd's defaults.
    pub processors: BTreeMap<String, Processor>,
    /// The directory that holds the content store and containerd's other data.
    pub root: PathBuf,
    /// The socket that `ctr` talks to.
    pub address: PathBuf,
    /// `key_model` of the CRI plugin: `node` unless a file says otherwise.
    pub key_model: String,
    /// `use_local_image_pull` of the CRI plugin of containerd 2.x.
    pub local_image_pull: bool,
    /// Globs among the imports of the first file, absolute.
    pub globs: Vec<PathBuf>,
    /// Globs that are not absolute, which this containerd looks up in its working directory: the
    /// file, and the glob.
    pub strays: Vec<(PathBuf, PathBuf)>,
    /// CRI sections that an imported file has replaced as a whole, as containerd 1.x does it: the
    /// file that was replaced, and the one that did.
    pub replaced: Vec<(PathBuf, PathBuf)>,
}

/// A stream processor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processor {
    /// Media types that it takes.
    pub accepts: Vec<String>,
    /// The media type that it gives.
    pub returns: String,
    /// The program: a path, or a name that is looked up in containerd's `PATH`.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// `NAME=value`, beside containerd's own environment.
    pub env: Vec<String>,
    /// The file that defines it; none for one of containerd's defaults.
    pub file: Option<PathBuf>,
}

impl Processor {
    /// The value of a variable that is set for it.
    pub fn variable(&self, name: &str) -> Option<&str> {
        // The last value counts, as in any environment.
        let mut set = self.env.iter().rev().filter_map(|entry| entry.split_once('='));
        set.find_map(|(found, value)| (found == name).then_some(value))
    }

    fn parse(table: &Value, file: &Path) -> Result<Self> {
        let strings = |name: &str| -> Result<Vec<String>> {
            let Some(value) = table.get(name) else { return Ok(Vec::new()) };
            let list = value.as_array().with_context(|| format!("`{name}` is not a list"))?;
            let text = |item: &Value| item.as_str().map(str::to_owned);
            let list: Option<_> = list.iter().map(text).collect();
            list.with_context(|| format!("`{name}` is not a list of strings"))
        };
        let string = |name: &str| -> Result<String> {
            let Some(value) = table.get(name) else { return Ok(String::new()) };
            value.as_str().map(str::to_owned).with_context(|| format!("`{name}` is not a string"))
        };
        Ok(Self {
            accepts: strings("accepts")?,
            returns: string("returns")?,
            path: string("path")?,
            args: strings("args")?,
            env: strings("env")?,
            file: Some(file.to_owned()),
        })
    }

    fn of_containerd(media_type: &str) -> Self {
        let providers = "/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf";
        Self {
            accepts: vec![format!("{media_type}{ENCRYPTED}")],
            returns: media_type.to_owned(),
            path: "ctd-decoder".to_owned(),
            args: vec!["--decryption-keys-path".to_owned(), KEYS.to_owned()],
            env: vec![format!("OCICRYPT_KEYPROVIDER_CONFIG={providers}")],
            file: None,
        }
    }
}

impl Config {
    /// The configuration that containerd uses without a file.
    fn defaults() -> Self {
        let processors = [(WITH_PAYLOAD[1], TAR), (WITH_PAYLOAD[0], TAR_GZIP)]
            .map(|(id, media_type)| (id.to_owned(), Processor::of_containerd(media_type)));
        Self {
            files: Vec::new(),
            version: 1,
            processors: processors.into(),
            root: "/var/lib/containerd".into(),
            address: "/run/containerd/containerd.sock".into(),
            key_model: "node".to_owned(),
            local_image_pull: false,
            globs: Vec::new(),
            strays: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// Reads `path` and its imports as a containerd of this version does. Each file is read once,
    /// and the imports of a file come after all files that were named before. If `path` does not
    /// exist, the result is containerd's defaults.
    ///
    /// # Errors
    /// A configuration with which containerd does not start: a file that is missing, not TOML, or of
    /// a version that is too new, or a malformed pattern.
    pub fn read(path: &Path, containerd: Option<Version>) -> Result<Self> {
        let mut config = Self::defaults();
        let merges = containerd.is_some_and(Version::merges_plugins);
        let joins = containerd.is_none_or(Version::joins_globs);
        let newest = containerd.map_or(u32::MAX, Version::newest_config_version);
        let mut pending = VecDeque::from([path.to_owned()]);
        let mut seen = BTreeSet::new();
        // The file whose CRI section applies so far.
        let mut cri: Option<PathBuf> = None;
        while let Some(file) = pending.pop_front() {
            if !seen.insert(file.clone()) {
                continue;
            }
            ensure!(seen.len() <= MAX_FILES, "more than {MAX_FILES} files are imported");
            let is_first = config.files.is_empty();
            let text = match read(&file) {
                Err(error) if error.kind() == ErrorKind::NotFound && is_first => return Ok(config),
                text => text.with_context(|| format!("cannot read `{}`", file.display()))?,
            };
            let at = || format!("`{}`", file.display());
            let table: Table = text.parse().map_err(|error| syntax(&file, &text, &error))?;
            let version = version_of(&table).with_context(at)?;
            if is_first {
                config.version = version.unwrap_or(1);
                let newer = config.version > newest;
                ensure!(
                    !newer,
                    "{} has version {}: this containerd reads {newest} at most",
                    at(),
                    config.version
                );
            } else if let Some(version) = version.filter(|version| *version > config.version) {
                bail!(
                    "{} has version {version}, and `{}`, which imports it, version {}: containerd \
                     does not start with an import that is newer",
                    at(),
                    path.display(),
                    config.version
                );
            }
            config.merge(&table, &file, merges, &mut cri).with_context(at)?;
            let imports = imports(&table).with_context(at)?;
            let parent = file.parent().unwrap_or(Path::new("/"));
            for import in imports {
                let is_glob = import.as_os_str().as_encoded_bytes().contains(&b'*');
                let path = parent.join(&import);
                let files = |glob: &Path| {
                    let shown = import.display();
                    let found = import_glob::files(glob);
                    found.with_context(|| format!("the import `{shown}` is malformed"))
                };
                if !is_glob {
                    pending.push_back(path);
                } else if import.is_absolute() || joins {
                    pending.extend(files(&path).with_context(at)?);
                    config.globs.extend(is_first.then_some(path));
                } else {
                    // The working directory of the service is `/`.
                    pending.extend(files(&Path::new("/").join(&import)).with_context(at)?);
                    config.strays.push((file.clone(), import));
                }
            }
            config.files.push(file);
        }
        Ok(config)
    }

    /// The processors that take a media type. containerd uses any of several.
    pub fn accepting(&self, media_type: &str) -> Vec<(&str, &Processor)> {
        let all = self.processors.iter();
        let accepting = all.filter(|(_, it)| it.accepts.iter().any(|one| one == media_type));
        accepting.map(|(id, processor)| (id.as_str(), processor)).collect()
    }

    /// The content store.
    pub fn content(&self) -> PathBuf {
        self.root.join("io.containerd.content.v1.content")
    }

    fn merge(
        &mut self,
        table: &Table,
        file: &Path,
        merges: bool,
        cri: &mut Option<PathBuf>,
    ) -> Result<()> {
        if let Some(root) = text(table.get("root")) {
            self.root = root.into();
        }
        let plugins = table.get("plugins");
        let server = plugins.and_then(|plugins| plugins.get(SERVER_V4));
        for section in [table.get("grpc"), server].into_iter().flatten() {
            if let Some(address) = text(section.get("address")) {
                self.address = address.into();
            }
        }
        if let Some(processors) = table.get("stream_processors") {
            let processors = processors.as_table().context("`stream_processors` is not a table")?;
            for (id, processor) in processors {
                let processor = Processor::parse(processor, file);
                let processor = processor.with_context(|| format!("the processor `{id}`"))?;
                self.processors.insert(id.clone(), processor);
            }
        }
        for name in [CRI_V1, CRI_V2, CRI_V3] {
            let Some(section) = plugins.and_then(|plugins| plugins.get(name)) else { continue };
            if !merges {
                // The whole section is replaced.
                self.key_model = "node".to_owned();
                self.replaced
                    .extend(cri.replace(file.to_owned()).map(|old| (old, file.to_owned())));
            }
            for name in ["image_decryption", "image_encryption"] {
                let decryption = section.get(name).and_then(|section| section.get("key_model"));
                if let Some(model) = decryption.and_then(Value::as_str) {
                    self.key_model = model.to_owned();
                }
            }
            // containerd 2.x ignores this key in the old section.
            let local = section.get("use_local_image_pull").and_then(Value::as_bool);
            if let (CRI_V3, Some(local)) = (name, local) {
                self.local_image_pull = local;
            }
        }
        Ok(())
    }
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn version_of(table: &Table) -> Result<Option<u32>> {
    let Some(value) = table.get("version") else { return Ok(None) };
    let version = value.as_integer().and_then(|version| u32::try_from(version).ok());
    version.map(Some).context("`version` is not a number")
}

fn imports(table: &Table) -> Result<Vec<PathBuf>> {
    let Some(value) = table.get("imports") else { return Ok(Vec::new()) };
    let list = value.as_array().context("`imports` is not a list")?;
    let path = |item: &Value| item.as_str().map(PathBuf::from);
    list.iter().map(path).collect::<Option<_>>().context("`imports` is not a list of paths")
}

fn read(file: &Path) -> std::io::Result<String> {
    let length = fs::metadata(file)?.len();
    if length > MAX_FILE {
        return Err(std::io::Error::other("it is larger than 4 MiB"));
    }
    fs::read_to_string(file)
}

/// The error for a file that is not TOML. It does not quote the file, which may hold a registry's
/// password.
fn syntax(file: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    anyhow::anyhow!("`{}` is not TOML: line {line}: {}", file.display(), error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(files: &[(&str, &str)], containerd: Version) -> Result<Config> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("conf.d"))?;
        for (name, text) in files {
            let text = text.replace("DIR", &dir.path().display().to_string());
            fs::write(dir.path().join(name), text)?;
        }
        Config::read(&dir.path().join("config.toml"), Some(containerd))
    }

    const OLD: Version = Version(1, 6, 20);
    const NEW: Version = Version(2, 3, 4);

    #[test]
    fn without_a_file_the_defaults_hold() -> Result<()> {
        let config = config(&[], OLD)?;
        assert!(config.files.is_empty());
        let gzip = config.accepting("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        assert_eq!(gzip.len(), 1);
        assert_eq!(gzip[0].1.path, "ctd-decoder");
        assert!(
            config.accepting("application/vnd.oci.image.layer.v1.tar+zstd+encrypted").is_empty()
        );
        Ok(())
    }

    // As `containerd config dump` of 1.6.20 has it.
    #[test]
    fn imports_replace_a_section_of_a_plugin_and_merge_processors() -> Result<()> {
        let first = "version = 2\nimports = [\"DIR/conf.d/*.toml\"]\n\
            [plugins.\"io.containerd.grpc.v1.cri\".image_decryption]\nkey_model = \"\"\n\
            [stream_processors.mine]\naccepts = [\"a\"]\npath = \"p\"\n";
        let second = "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"pause\"\n\
            [stream_processors.\"io.containerd.ocicrypt.decoder.v1.tar\"]\npath = \"other\"\n";
        let files = [("config.toml", first), ("conf.d/a.toml", second), ("conf.d/no", "garbage")];
        let old = config(&files, OLD)?;
        assert_eq!((old.key_model.as_str(), old.replaced.len()), ("node", 1));
        assert_eq!(old.processors.len(), 3);
        assert_eq!(old.processors["io.containerd.ocicrypt.decoder.v1.tar"].env, [""; 0]);
        let new = config(&files, NEW)?;
        assert_eq!((new.key_model.as_str(), new.replaced.len()), ("", 0));
        Ok(())
    }

    #[test]
    fn a_glob_that_is_not_absolute_is_found_by_newer_releases() -> Result<()> {
        let first = "version = 2\nimports = [\"conf.d/*.toml\"]\n";
        let files = [("config.toml", first), ("conf.d/a.toml", "root = \"/other\"\n")];
        let old = config(&files, OLD)?;
        assert_eq!((old.files.len(), old.globs.len(), old.strays.len()), (1, 0, 1));
        for version in [NEW, Version(1, 6, 30), Version(1, 7, 16)] {
            let new = config(&files, version)?;
            assert_eq!((new.files.len(), new.globs.len(), new.strays.len()), (2, 1, 0));
        }
        Ok(())
    }

    #[test]
    fn the_syntax_of_four_versions_is_read() -> Result<()> {
        for (version, section) in [
            ("", "cri"),
            ("version = 2\n", "\"io.containerd.grpc.v1.cri\""),
            ("version = 3\n", "\"io.containerd.cri.v1.images\""),
            ("version = 4\n", "\"io.containerd.cri.v1.images\""),
        ] {
            let text =
                format!("{version}[plugins.{section}.image_decryption]\nkey_model = \"x\"\n");
            assert_eq!(config(&[("config.toml", &text)], NEW)?.key_model, "x", "{section}");
        }
        let local =
            "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nuse_local_image_pull = true\n";
        assert!(config(&[("config.toml", local)], NEW)?.local_image_pull);
        let elsewhere =
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nuse_local_image_pull = true\n";
        assert!(!config(&[("config.toml", elsewhere)], NEW)?.local_image_pull);
        let server =
            "version = 4\n[plugins.\"io.containerd.server.v1.grpc\"]\naddress = \"/a.sock\"\n";
        assert_eq!(config(&[("config.toml", server)], NEW)?.address, Path::new("/a.sock"));
        Ok(())
    }

    #[test]
    fn what_containerd_does_not_start_with_is_an_error() {
        for (files, word) in [
            (&[("config.toml", "version = ")][..], "not TOML"),
            (&[("config.toml", "imports = [\"absent.toml\"]")], "absent.toml"),
            (&[("config.toml", "version = 5")], "version 5"),
            (
                &[
                    ("config.toml", "imports = [\"conf.d/*.toml\"]"),
                    ("conf.d/a.toml", "version = 2"),
                ],
                "newer",
            ),
            (&[("config.toml", "imports = [\"/[a*\"]")], "the import `/[a*` is malformed"),
            (
                &[("config.toml", "[stream_processors.a]\naccepts = \"x\"")],
                "`accepts` is not a list",
            ),
        ] {
            let error =
                config(files, NEW).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
