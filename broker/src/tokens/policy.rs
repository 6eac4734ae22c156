//! The policy in `ocicrypt.conf`: which PKCS #11 modules may be loaded.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keycell_trusted_path::{self as trusted, Trust};

use super::printable;
use super::yaml::{self, Node, SIZE};
use crate::Refusal;

/// The name of the file in all places where it is searched.
const FILE: &str = "ocicrypt.conf";
/// The variable that names another file.
const VARIABLE: &str = "OCICRYPT_CONFIG";
/// The time limit of a module, unless [`Policy::within`] sets another one.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Which PKCS #11 modules may be loaded, and their time limit. By default, none may be loaded.
///
/// Only the operator sets it. Go ctd-decoder applies the parameter `pkcs11-config` of the payload, so
/// that a client that requests an image decides what the node loads; Keycell never reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    directories: Vec<String>,
    allowed: Vec<String>,
    files: Option<Vec<String>>,
    /// The modules that key files of clients may name; None if this is not decided yet.
    clients: Option<Vec<PathBuf>>,
    timeout: Duration,
}

/// Why no module can be used.
pub(super) enum NoModule {
    /// The policy allows no module.
    NoneAllowed,
    /// The requested module does not exist, or is not allowed.
    NotThisOne(ModuleError),
}

/// Why a module cannot be loaded, with the fix. The values are sanitized for a message.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The file that `module-path` names does not exist.
    #[error("there is no module `{0}` (`module-path`)")]
    NoFile(String),
    /// The URI has no `module-name`.
    #[error("the URI names no module: add `module-name` to its query")]
    NoName,
    /// No directory has a module of this name.
    #[error(
        "there is no module called `{name}` in {}: install it, or add its directory to \
         `module-directories`", listed(.directories)
    )]
    NotFound {
        /// The name.
        name: String,
        /// The directories that were searched.
        directories: Vec<String>,
    },
    /// A key file that came with a payload names the module.
    #[error(
        "a client's key file may not name this module: it may name those of `client-modules` or, \
         where that is not set, those that key files of the node name"
    )]
    NotForClients,
    /// Others could have changed the module.
    #[error("the module `{path}` is not trusted: {why}; {}", .why.mend())]
    Untrusted {
        /// Its path.
        path: String,
        /// Who could have, and how to fix it.
        why: trusted::Error,
    },
    /// The policy does not allow it.
    #[error("the module `{0}` is not allowed: add it to `allowed-module-paths`")]
    NotAllowed(String),
}

fn listed(directories: &[String]) -> String {
    match directories {
        [] => "no directory".to_owned(),
        some => some.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", "),
    }
}

/// Why the operator's policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Something is wrong with a file.
    #[error("`{path}`: {fault}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        fault: PolicyFault,
    },
    /// `OCICRYPT_CONFIG` names a file that does not exist.
    #[error("there is no file `{0}`, which {VARIABLE} names: create it, or correct {VARIABLE}")]
    Missing(String),
    /// Something is wrong with content that does not come from a file.
    #[error(transparent)]
    Content(#[from] PolicyFault),
}

/// What is wrong with a policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFault {
    /// It cannot be read.
    #[error("cannot be read: {}", .0.kind())]
    Unreadable(io::Error),
    /// Others could have changed it.
    #[error("is not trusted: {0}; {mend}", mend = .0.mend())]
    Untrusted(trusted::Error),
    /// It is not text.
    #[error("the configuration is not UTF-8")]
    NotUtf8,
    /// It is not YAML of the supported form.
    #[error("the configuration {0}")]
    Yaml(yaml::Error),
    /// It has no members.
    #[error("the configuration is not a mapping")]
    NotMapping,
    /// `pkcs11` has no members.
    #[error("`pkcs11` is not a mapping")]
    Pkcs11NotMapping,
    /// A member should be a list.
    #[error("`{0}` is not a list")]
    NotList(&'static str),
    /// An entry of a list should be an absolute path.
    #[error("`{0}` has an entry that is not an absolute path")]
    NotAbsolute(&'static str),
    /// `client-modules` names a directory: searching it would reveal its content to a client.
    #[error("`client-modules` has an entry that is a directory: name the modules in it")]
    ClientDirectory,
}

impl Policy {
    /// Looks for the operator's policy in the same places as Go ocicrypt, and returns the first that
    /// exists: the file that `OCICRYPT_CONFIG` names (or the built-in policy if it is `internal`),
    /// `$XDG_CONFIG_HOME/ocicrypt.conf`, `$HOME/.config/ocicrypt.conf` and `/etc/ocicrypt.conf`.
    /// `variable` looks up a variable of the environment. It returns `None` if none of them exists.
    ///
    /// `internal` allows the modules in the directories where Linux distributions install them.
    ///
    /// Go ctd-decoder reads `etc/ocicrypt.conf` below the working directory, which is a bug; Keycell
    /// reads `/etc/ocicrypt.conf`. If `XDG_CONFIG_HOME` and `HOME` are relative, Go uses them; Keycell
    /// does not, as the XDG base directory specification requires.
    ///
    /// # Errors
    ///
    /// A file cannot be read or parsed, or `OCICRYPT_CONFIG` names a missing file and there is none in
    /// the other places either.
    pub fn find(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, Refusal> {
        Ok(Self::find_from(variable, Path::new("/etc"))?)
    }

    fn find_from(
        variable: impl Fn(&str) -> Option<OsString>,
        etc: &Path,
    ) -> Result<Option<Self>, PolicyError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let named = variable(VARIABLE);
        if named.as_deref() == Some(OsStr::new("internal")) {
            return Ok(Some(Self::internal()));
        }
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let places = [
            named.as_ref().map(PathBuf::from),
            absolute("XDG_CONFIG_HOME").map(|home| home.join(FILE)),
            absolute("HOME").map(|home| home.join(".config").join(FILE)),
            Some(etc.join(FILE)),
        ];
        for file in places.into_iter().flatten() {
            if let Some(bytes) = read(&file)? {
                return Self::parse_content(&bytes).map(Some).map_err(|fault| at(&file, fault));
            }
        }
        match named {
            None => Ok(None),
            Some(file) => Err(PolicyError::Missing(printable(&file.to_string_lossy()))),
        }
    }

    /// Reads a configuration file: `module-directories`, `allowed-module-paths`, `module-files` and
    /// `client-modules` below `pkcs11`, all of them lists of absolute paths.
    ///
    /// The last two exist only in Keycell; Go ctd-decoder ignores them. `module-files` lists what
    /// modules may read and write in addition to the system's libraries (their configuration, token
    /// stores, devices, sockets); if it is present, the kernel refuses them everything else.
    /// `client-modules` lists the modules that a key file from a payload may name.
    ///
    /// # Errors
    ///
    /// The content is not YAML, has another form, is larger than 1 MiB, or has a path that is not
    /// absolute.
    pub fn parse(yaml: &[u8]) -> Result<Self, PolicyError> {
        Ok(Self::parse_content(yaml)?)
    }

    fn parse_content(yaml: &[u8]) -> Result<Self, PolicyFault> {
        let text = std::str::from_utf8(yaml).map_err(|_| PolicyFault::NotUtf8)?;
        let root = Node::parse(text).map_err(PolicyFault::Yaml)?;
        if root.values().is_none() {
            return Err(PolicyFault::NotMapping);
        }
        let pkcs11 = root.get("pkcs11").unwrap_or(&Node::Null);
        if pkcs11.values().is_none() {
            return Err(PolicyFault::Pkcs11NotMapping);
        }
        Ok(Self {
            directories: paths(pkcs11, "module-directories")?,
            allowed: paths(pkcs11, "allowed-module-paths")?,
            files: pkcs11.get("module-files").map(|_| paths(pkcs11, "module-files")).transpose()?,
            clients: pkcs11.get("client-modules").map(|_| client_modules(pkcs11)).transpose()?,
            timeout: TIMEOUT,
        })
    }

    /// The same policy with `modules` for key files of clients, if it does not say which modules they
    /// may name. `modules` are those of the operator's own key files.
    pub(crate) fn or_client_modules(self, modules: impl FnOnce(&Self) -> Vec<PathBuf>) -> Self {
        let clients = self.clients.clone().unwrap_or_else(|| modules(&self));
        Self { clients: Some(clients), ..self }
    }

    /// The same policy with another time limit than 30 seconds for each operation.
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// What modules may read and write in addition to the system's libraries, if it is configured.
    pub fn files(&self) -> Option<Vec<PathBuf>> {
        let files = self.files.as_ref()?;
        Some(files.iter().map(PathBuf::from).collect())
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Finds a module. `path` (`module-path`) is a module, or a directory to search instead of the
    /// policy's; `name` (`module-name`) is the name of a module's file without `lib` and without the
    /// part from a dot on.
    ///
    /// As in Go, a module is allowed by the text of its path: an entry of the policy is exactly that
    /// text, or a directory with `/` at its end that directly contains the module. A path with `..` is
    /// therefore allowed only if the policy has the same spelling. Symbolic links are followed
    /// afterwards, as Debian's SoftHSM requires: an entry also allows what the links in its directory
    /// lead to.
    pub(super) fn module(
        &self,
        path: Option<&[u8]>,
        name: Option<&[u8]>,
    ) -> Result<PathBuf, NoModule> {
        if self.allowed.is_empty() {
            return Err(NoModule::NoneAllowed);
        }
        let refuse = |why| Err(NoModule::NotThisOne(why));
        let path = path.map(|path| Path::new(OsStr::from_bytes(path)));
        if let Some(path) = path
            && !path.is_dir()
        {
            return match path.is_file() {
                true => self.check(path.to_owned()),
                false => refuse(ModuleError::NoFile(show(path))),
            };
        }
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return refuse(ModuleError::NoName);
        };
        let name = String::from_utf8_lossy(name).to_lowercase();
        let below = self.directories.iter().map(Path::new);
        let directories = path.map_or_else(|| below.collect(), |path| vec![path]);
        match directories.iter().find_map(|directory| lookup(directory, &name)) {
            Some(module) => self.check(module),
            None => refuse(ModuleError::NotFound {
                name: printable(&name),
                directories: directories.iter().map(|directory| show(directory)).collect(),
            }),
        }
    }

    /// The module that a key file of a client names, by `module-name` or by the name of the file in
    /// `module-path`. It is searched only in the policy, so that neither the answer nor its time reveals
    /// what is installed on the node.
    pub(super) fn client_module(
        &self,
        path: Option<&[u8]>,
        name: Option<&[u8]>,
    ) -> Result<PathBuf, NoModule> {
        if self.allowed.is_empty() {
            return Err(NoModule::NoneAllowed);
        }
        let name = String::from_utf8_lossy(name.unwrap_or_default()).to_lowercase();
        let path = path.map(|path| Path::new(OsStr::from_bytes(path)));
        let named = path.and_then(Path::file_name);
        let is_meant = |module: &&PathBuf| {
            let file = module.file_name().unwrap_or_default();
            named == Some(file) || !name.is_empty() && is_called(&file.to_string_lossy(), &name)
        };
        match self.clients.iter().flatten().find(is_meant) {
            Some(module) => self.check(module.clone()),
            None => Err(NoModule::NotThisOne(ModuleError::NotForClients)),
        }
    }

    fn check(&self, module: PathBuf) -> Result<PathBuf, NoModule> {
        // Paths are compared as text, because `Path` treats `a//b` and `a/./b` as equal to `a/b`.
        let path = module.as_os_str().as_bytes();
        let allows = |entry: &String| {
            let entry = entry.as_bytes();
            entry == path
                || entry.ends_with(b"/")
                    && path.strip_prefix(entry).is_some_and(|file| !file.contains(&b'/'))
        };
        if self.allowed.iter().any(allows) {
            // The module is loaded by its path. After this check, nobody else can change what the path
            // leads to.
            return match Trust::of_this_process().check(&module) {
                Ok(_) => Ok(module),
                Err(why) => {
                    Err(NoModule::NotThisOne(ModuleError::Untrusted { path: show(&module), why }))
                }
            };
        }
        Err(NoModule::NotThisOne(ModuleError::NotAllowed(show(&module))))
    }

    /// Go's list, with Debian's names of the directories on ARM and POWER.
    fn internal() -> Self {
        let triplet = match std::env::consts::ARCH {
            "arm" => "arm-linux-gnueabihf".to_owned(),
            "powerpc64" => "powerpc64le-linux-gnu".to_owned(),
            arch => format!("{arch}-linux-gnu"),
        };
        let directories = vec![
            "/usr/lib64/pkcs11/".to_owned(),
            "/usr/lib/pkcs11/".to_owned(),
            "/usr/local/lib/pkcs11/".to_owned(),
            "/usr/lib/softhsm/".to_owned(),
            format!("/usr/lib/{triplet}/"),
        ];
        Self { allowed: directories.clone(), directories, ..Self::default() }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            directories: Vec::new(),
            allowed: Vec::new(),
            files: None,
            clients: None,
            timeout: TIMEOUT,
        }
    }
}

/// The first file in a directory, by name, that has this name. As in Go, `softhsm2` finds
/// `libsofthsm2.so` and `softhsm` does not. Unlike in Go, files for a linker (`.a`, `.la`) are ignored.
fn lookup(directory: &Path, name: &str) -> Option<PathBuf> {
    // This removes doubled slashes, which a policy's text would not have.
    let directory: PathBuf = directory.components().collect();
    let entries = std::fs::read_dir(&directory).ok()?.flatten().map(|entry| entry.file_name());
    let files = entries.filter(|file| is_called(&file.to_string_lossy(), name));
    files.map(|file| directory.join(file)).filter(|file| file.is_file()).min()
}

/// Whether a file has the name `name`, which is in lower case.
fn is_called(file: &str, name: &str) -> bool {
    let file = file.to_lowercase();
    let rest = file.find(name).and_then(|at| file.get(at + name.len()..));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        && !file.ends_with(".a")
        && !file.ends_with(".la")
}

/// Reads the list, which may contain only files: searching a directory would reveal its content to a
/// client.
fn client_modules(pkcs11: &Node) -> Result<Vec<PathBuf>, PolicyFault> {
    let modules = paths(pkcs11, "client-modules")?;
    if modules.iter().any(|module| module.ends_with('/')) {
        return Err(PolicyFault::ClientDirectory);
    }
    Ok(modules.into_iter().map(PathBuf::from).collect())
}

fn paths(pkcs11: &Node, name: &'static str) -> Result<Vec<String>, PolicyFault> {
    let items = pkcs11.get(name).unwrap_or(&Node::Null).items();
    let items = items.ok_or(PolicyFault::NotList(name))?;
    let path = |item: &Node| match item.text() {
        Some(path) if path.starts_with('/') => Ok(path.to_owned()),
        _ => Err(PolicyFault::NotAbsolute(name)),
    };
    items.iter().map(path).collect()
}

/// Reads a file; `None` if it does not exist. It decides which code is loaded, so only root and the
/// broker's user may be able to change it.
fn read(file: &Path) -> Result<Option<Vec<u8>>, PolicyError> {
    if file == Path::new("/dev/null") {
        return Ok(Some(Vec::new())); // a common way to configure nothing
    }
    let mut bytes = Vec::new();
    let opened = match Trust::of_this_process().open_file(file) {
        Ok(opened) => opened,
        Err(error) if error.is_missing() => return Ok(None),
        Err(trusted::Error::Unreadable { error, .. }) => return Err(unreadable(file, error)),
        Err(error) => return Err(at(file, PolicyFault::Untrusted(error))),
    };
    let read = opened.take(SIZE as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(file, error))?;
    Ok(Some(bytes))
}

fn unreadable(file: &Path, error: io::Error) -> PolicyError {
    at(file, PolicyFault::Unreadable(error))
}

fn at(file: &Path, fault: PolicyFault) -> PolicyError {
    PolicyError::File { path: show(file), fault }
}

fn show(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Other tests cover the other places; they cannot cover `/etc`.
    #[test]
    fn etc_is_the_last_place() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let none = |_: &str| None;
        assert!(matches!(Policy::find_from(none, dir.path()), Ok(None)));
        std::fs::write(dir.path().join(FILE), "pkcs11: {allowed-module-paths: [/etc/]}")?;
        let allowed = |policy: Result<Option<Policy>, PolicyError>| {
            policy.ok().flatten().map(|policy| policy.allowed)
        };
        assert_eq!(allowed(Policy::find_from(none, dir.path())), Some(vec!["/etc/".to_owned()]));
        let home = tempfile::tempdir()?;
        std::fs::write(home.path().join(FILE), "pkcs11: {allowed-module-paths: [/home/]}")?;
        let xdg = |name: &str| (name == "XDG_CONFIG_HOME").then(|| home.path().into());
        assert_eq!(allowed(Policy::find_from(xdg, dir.path())), Some(vec!["/home/".to_owned()]));
        // A file that cannot be read is an error.
        std::fs::remove_file(dir.path().join(FILE))?;
        std::fs::create_dir(dir.path().join(FILE))?;
        assert!(matches!(Policy::find_from(none, dir.path()), Err(PolicyError::File { .. })));
        Ok(())
    }
}
