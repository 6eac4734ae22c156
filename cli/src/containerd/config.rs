//! containerd's configuration, read from a file and the files that it imports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use keycell_content_store::BELOW_ROOT;
use ocicrypt::media_type::{TAR, TAR_GZIP};
use toml::{Table, Value};

use super::cri::Cri;
use super::plugins::{CRI, CRI_IMAGES, full_name, merge, migrated};
use super::processor::Processor;
use super::{Version, WITH_PAYLOAD, import_glob};

/// The largest file that is read, in bytes: 4 MiB.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The most files that one configuration may import.
const MAX_FILES: usize = 256;

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
    /// The release that this was read for: the one that was asked for, or else one that reads this
    /// version of the configuration.
    pub release: Version,
    /// How Kubernetes pulls: the CRI plugin.
    pub cri: Cri,
    /// Disabled plugins, by their full names.
    pub disabled_plugins: BTreeSet<String>,
    /// Plugins that are other programs, such as snapshotters: their addresses, by name.
    pub proxy_plugins: BTreeMap<String, String>,
    /// Globs among the imports of the first file, absolute.
    pub globs: Vec<PathBuf>,
    /// Globs that are not absolute, which this containerd looks up in its working directory: the
    /// file, and the glob.
    pub strays: Vec<(PathBuf, PathBuf)>,
    /// CRI sections that an imported file has replaced as a whole, as containerd 1.x does it: the
    /// file that was replaced, and the one that did.
    pub replaced: Vec<(PathBuf, PathBuf)>,
}

impl Config {
    /// The configuration that containerd uses without a file.
    fn defaults(release: Version) -> Self {
        let processors = [(WITH_PAYLOAD[1], TAR), (WITH_PAYLOAD[0], TAR_GZIP)]
            .map(|(id, media_type)| (id.to_owned(), Processor::of_containerd(media_type)));
        Self {
            files: Vec::new(),
            version: 1,
            release,
            processors: processors.into(),
            root: "/var/lib/containerd".into(),
            address: "/run/containerd/containerd.sock".into(),
            cri: Cri::of(&Table::new(), release),
            disabled_plugins: BTreeSet::new(),
            proxy_plugins: BTreeMap::new(),
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
        let mut config = Self::defaults(containerd.unwrap_or(Version::of_config_version(1)));
        let mut sections = Sections::default();
        let mut pending = VecDeque::from([path.to_owned()]);
        let mut seen = BTreeSet::new();
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
                config.release = containerd.unwrap_or(Version::of_config_version(config.version));
            }
            check_version(&config, version, path, &file)?;
            let version = version.unwrap_or(1);
            config.merge(&table, version, &file, &mut sections).with_context(at)?;
            for import in imports(&table).with_context(at)? {
                config.import(&file, import, &mut pending).with_context(at)?;
            }
            config.files.push(file);
        }
        config.check_names(&sections)?;
        config.cri = Cri::of(&sections.plugins, config.release);
        Ok(config)
    }

    /// Adds the files of one import to those that are still to be read.
    fn import(
        &mut self,
        file: &Path,
        import: PathBuf,
        pending: &mut VecDeque<PathBuf>,
    ) -> Result<()> {
        let path = file.parent().unwrap_or(Path::new("/")).join(&import);
        let files = |glob: &Path| {
            let shown = import.display();
            import_glob::files(glob).with_context(|| format!("the import `{shown}` is malformed"))
        };
        if !import.as_os_str().as_encoded_bytes().contains(&b'*') {
            pending.push_back(path);
        } else if import.is_absolute() || self.release.joins_globs() {
            pending.extend(files(&path)?);
            self.globs.extend(self.files.is_empty().then_some(path));
        } else {
            // The working directory of the service is `/`.
            pending.extend(files(&Path::new("/").join(&import))?);
            self.strays.push((file.to_owned(), import));
        }
        Ok(())
    }

    /// The processors that take a media type. containerd uses any of several.
    pub fn accepting(&self, media_type: &str) -> Vec<(&str, &Processor)> {
        let all = self.processors.iter();
        let accepting = all.filter(|(_, it)| it.accepts.iter().any(|one| one == media_type));
        accepting.map(|(id, processor)| (id.as_str(), processor)).collect()
    }

    /// What this containerd does with an encrypted layer of this media type, such as
    /// `application/vnd.oci.image.layer.v1.tar+gzip+encrypted`.
    pub fn route(&self, encrypted: &str) -> Route<'_> {
        match self.accepting(encrypted)[..] {
            [] => Route::None,
            [(id, processor)] => Route::To(id, processor),
            ref several => Route::Several(several.iter().map(|(id, _)| *id).collect()),
        }
    }

    /// The section for `key_model`, as the first file has to spell it.
    pub fn image_decryption_section(&self) -> String {
        match self.version {
            0 | 1 => "plugins.cri.image_decryption".to_owned(),
            2 => format!("plugins.\"{CRI}\".image_decryption"),
            _ => format!("plugins.\"{CRI_IMAGES}\".image_decryption"),
        }
    }

    /// The content store.
    pub fn content(&self) -> PathBuf {
        self.root.join(BELOW_ROOT)
    }

    fn merge(
        &mut self,
        table: &Table,
        version: u32,
        file: &Path,
        sections: &mut Sections,
    ) -> Result<()> {
        if let Some(root) = text(table.get("root")) {
            self.root = root.into();
        }
        let empty = Table::new();
        let plugins = table.get("plugins").and_then(Value::as_table).unwrap_or(&empty);
        for section in [table.get("grpc"), plugins.get(SERVER_V4)].into_iter().flatten() {
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
        let proxies = table.get("proxy_plugins").and_then(Value::as_table).into_iter().flatten();
        self.proxy_plugins.extend(proxies.map(|(name, proxy)| {
            (name.clone(), text(proxy.get("address")).unwrap_or_default().to_owned())
        }));
        let disabled =
            table.get("disabled_plugins").and_then(Value::as_array).into_iter().flatten();
        let disabled = disabled.filter_map(Value::as_str);
        let full = |name: &str| if version < 2 { full_name(name) } else { name }.to_owned();
        self.disabled_plugins.extend(disabled.map(full));
        sections.version = sections.version.max(table.get("version").map_or(0, |_| version));
        let plugins = migrated(plugins, version, self.release);
        if self.release.merges_plugins() {
            merge(&mut sections.plugins, plugins);
            return Ok(());
        }
        if plugins.contains_key(CRI) {
            let former = sections.cri.replace(file.to_owned());
            self.replaced.extend(former.map(|former| (former, file.to_owned())));
        }
        sections.plugins.extend(plugins);
        Ok(())
    }

    /// From version 2 on, containerd takes the full names of plugins alone.
    fn check_names(&self, sections: &Sections) -> Result<()> {
        let is_1 = !self.release.merges_plugins();
        let version = if is_1 { sections.version } else { self.version };
        let plugins = sections.plugins.keys().filter(|_| is_1);
        let short = self.disabled_plugins.iter().chain(plugins).find(|name| !name.contains('.'));
        match short {
            Some(name) if version >= 2 => {
                bail!("`{name}` is not the full name of a plugin, such as `{CRI}`")
            }
            _ => Ok(()),
        }
    }
}

/// Where containerd routes a layer.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// To no processor: it takes the ciphertext for the plain layer, and fails.
    None,
    /// To this processor.
    To(&'a str, &'a Processor),
    /// To any of several processors: it may be another one each time.
    Several(Vec<&'a str>),
}

/// The plugin sections of the files read so far.
#[derive(Default)]
struct Sections {
    plugins: Table,
    /// The newest version of a file that names one.
    version: u32,
    /// The file whose CRI section applies so far, in containerd 1.x.
    cri: Option<PathBuf>,
}

/// Refuses a file of a version that this containerd does not read there.
fn check_version(config: &Config, version: Option<u32>, first: &Path, file: &Path) -> Result<()> {
    let Some(version) = version else { return Ok(()) };
    let (newest, shown) = (config.release.newest_config_version(), file.display());
    ensure!(
        version <= newest,
        "`{shown}` has version {version}: this containerd reads {newest} at most"
    );
    // Older releases do not compare them.
    ensure!(
        version <= config.version || !config.release.compares_versions(),
        "`{shown}` has version {version}, and `{}`, which imports it, version {}: containerd does not \
         start with an import that is newer",
        first.display(),
        config.version
    );
    Ok(())
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
        assert_eq!((old.cri.key_model.as_str(), old.replaced.len()), ("node", 1));
        assert_eq!(old.processors.len(), 3);
        assert_eq!(old.processors["io.containerd.ocicrypt.decoder.v1.tar"].env, [""; 0]);
        let new = config(&files, NEW)?;
        assert_eq!((new.cri.key_model.as_str(), new.replaced.len()), ("", 0));
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
            assert_eq!(config(&[("config.toml", &text)], NEW)?.cri.key_model, "x", "{section}");
        }
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
                &[("config.toml", "version = 2\ndisabled_plugins = [\"cri\"]")],
                "`cri` is not the full name of a plugin",
            ),
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
