//! Who signs in: as the files of `docker login`, `podman login` and `skopeo login` say.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{CredentialsError, RegistryError};
use super::reference::Repository;
use super::secret::Secret;

/// What Docker Hub is called in files of credentials.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "https://index.docker.io/v1/"];

/// Who signs in.
#[derive(Clone)]
pub enum Identity {
    /// By a name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// By a token that is exchanged for others (RFC 6749, section 6).
    Token(Secret),
}

/// Who signs in for a repository: what the first file says that knows its host. Without a file, the
/// places of containers/image are read, in its order, and then that of Docker.
///
/// # Errors
/// A file that was named and is missing, one that is malformed, or a helper that fails.
pub fn find(
    repository: &Repository,
    file: Option<&Path>,
) -> Result<Option<Identity>, RegistryError> {
    let (files, required) = match file {
        Some(file) => (vec![file.to_owned()], true),
        None => (usual_files(), false),
    };
    for path in files {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => continue,
            Err(error) => {
                let why = CredentialsError::Io(error);
                return Err(RegistryError::Credentials { path, why });
            }
        };
        match look_up(&bytes, repository) {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(why) => return Err(RegistryError::Credentials { path, why }),
        }
    }
    Ok(None)
}

fn usual_files() -> Vec<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = variable("HOME");
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let runtime = variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers"));
    let user = || fs::metadata("/proc/self").map(|process| process.uid());
    let run = || user().ok().map(|user| PathBuf::from(format!("/run/containers/{user}")));
    let containers = variable("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let docker = variable("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    [
        runtime.or_else(run).map(|directory| directory.join("auth.json")),
        containers.map(|directory| directory.join("containers/auth.json")),
        docker.map(|directory| directory.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The members of a file that say who signs in. Its entries are for many registries, and one that is
/// malformed does not spoil the others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    creds_store: Option<String>,
}

impl Config {
    fn helper(&self, key: &str) -> Option<&str> {
        let helper = self.cred_helpers.as_ref()?.get(key)?.as_str();
        helper.filter(|helper| !helper.is_empty())
    }

    fn store(&self) -> Option<&str> {
        self.creds_store.as_deref().filter(|store| !store.is_empty())
    }

    fn is_malformed(&self, key: &str) -> bool {
        let entry = self.auths.as_ref().and_then(|auths| auths.get(key));
        entry.is_some_and(|entry| tidy(entry).is_none())
    }

    /// The file as the crate takes it, with all entries that are well-formed.
    fn tidy(&self) -> Value {
        let entries = self.auths.iter().flatten();
        let entries = entries.filter_map(|(key, entry)| Some((key.clone(), tidy(entry)?)));
        let helpers = self.cred_helpers.iter().flatten().filter(|(_, helper)| helper.is_string());
        json!({
            "auths": entries.collect::<Map<_, _>>(),
            "credHelpers": helpers.collect::<BTreeMap<_, _>>(),
            "credsStore": self.store(),
        })
    }

    fn has(&self, key: &str) -> bool {
        self.helper(key).is_some() || self.auths.as_ref().is_some_and(|it| it.contains_key(key))
    }
}

fn look_up(bytes: &[u8], repository: &Repository) -> Result<Option<Identity>, CredentialsError> {
    let config = serde_json::from_slice(bytes).map(Value::Object);
    let config = config.and_then(serde_json::from_value::<Config>);
    let config = config.map_err(|_| CredentialsError::Malformed)?;
    let tidy = config.tidy().to_string().into_bytes();
    let keys = keys(repository);
    // The last key is asked for in any case: the crate also finds it in older forms, and in the store.
    let (last, others) = keys.split_last().map_or(("", &keys[..]), |(last, rest)| (last, rest));
    let known = others.iter().map(String::as_str).filter(|key| config.has(key));
    for key in known.chain([last]) {
        if config.is_malformed(key) {
            return Err(CredentialsError::Entry(key.to_owned()));
        }
        let helper = config.helper(key).or(config.store());
        let helper = helper.map(|it| format!("docker-credential-{it}"));
        let Some(found) = in_time(&tidy, key) else {
            let (helper, server) = (helper.unwrap_or_default(), key.to_owned());
            return Err(CredentialsError::Helper { helper, server });
        };
        match found {
            Ok(found) => return Ok(identity(found)),
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            Err(CredentialRetrievalError::HelperCommunicationError)
                if helper.as_deref().is_some_and(|helper| !is_installed(helper)) =>
            {
                return Err(CredentialsError::NoHelper(helper.unwrap_or_default()));
            }
            Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if is_unknown(&stdout) => {}
            Err(error) => return Err(CredentialsError::new(error, helper, key)),
        }
    }
    Ok(None)
}

/// An entry without what is empty, and without the line breaks that `base64` writes. None if it is
/// malformed.
fn tidy(entry: &Value) -> Option<Value> {
    let members = match entry {
        Value::Null => return Some(json!({})),
        Value::Object(members) => members,
        _ => return None,
    };
    let mut tidy = Map::new();
    for name in ["auth", "identitytoken", "username", "password"] {
        let text = match members.get(name) {
            None | Some(Value::Null) => continue,
            Some(text) => text.as_str()?,
        };
        let text = match name {
            "auth" => text.split_whitespace().collect(),
            _ => text.to_owned(),
        };
        if !text.is_empty() || matches!(name, "username" | "password") {
            tidy.insert(name.to_owned(), text.into());
        }
    }
    Some(Value::Object(tidy))
}

/// How long a credential helper may take. It may ask its user something.
const HELPER_TIME: Duration = Duration::from_secs(60);

/// Looks an entry up, or returns none if a helper does not answer in time.
fn in_time(config: &[u8], key: &str) -> Option<Result<DockerCredential, CredentialRetrievalError>> {
    let (sender, found) = sync_channel(1);
    let (config, key) = (config.to_owned(), key.to_owned());
    // A helper that hangs keeps its thread, which ends with the program.
    thread::spawn(move || {
        let found = docker_credential::get_credential_from_reader(&config[..], &key);
        let _ = sender.send(found);
    });
    found.recv_timeout(HELPER_TIME).ok()
}

fn is_installed(helper: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(helper).exists())
}

/// The entries that can be those of a repository, the most specific first.
fn keys(repository: &Repository) -> Vec<String> {
    let Repository { host, path } = repository;
    let mut keys = Vec::new();
    let mut prefix = path.as_str();
    loop {
        keys.push(format!("{host}/{prefix}"));
        match prefix.rsplit_once('/') {
            Some((shorter, _)) => prefix = shorter,
            None => break,
        }
    }
    match DOCKER_HUB.contains(&host.as_str()) {
        true => keys.extend(DOCKER_HUB.map(str::to_owned)),
        false => keys.push(host.clone()),
    }
    keys
}

/// An entry without a name and a password is none.
fn identity(found: DockerCredential) -> Option<Identity> {
    match found {
        DockerCredential::IdentityToken(token) => {
            (!token.is_empty()).then(|| Identity::Token(Secret::new(token)))
        }
        DockerCredential::UsernamePassword(username, password) => {
            let password = Secret::new(password);
            (!username.is_empty() || !password.expose().is_empty())
                .then_some(Identity::Password { username, password })
        }
    }
}

/// Whether a helper has no such entry. Its protocol has this line for it, on standard output.
fn is_unknown(stdout: &str) -> bool {
    stdout.trim() == "credentials not found in native keychain"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(host: &str, path: &str) -> Repository {
        Repository { host: host.to_owned(), path: path.to_owned() }
    }

    fn found(config: &str, repository: &Repository) -> String {
        match look_up(config.as_bytes(), repository) {
            Ok(Some(Identity::Password { username, password })) => {
                format!("{username}:{}", password.expose())
            }
            Ok(Some(Identity::Token(token))) => format!("token {}", token.expose()),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_most_specific_entry_is_used() {
        // a:b, c:d, e:f
        let config = r#"{"auths": {
            "r.example": {"auth": "YTpi"},
            "r.example/team": {"auth": "Yzpk"},
            "r.example/team/app": {"auth": "ZTpm"},
            "https://index.docker.io/v1/": {"auth": "YTpi"},
            "docker.io/team": {"username": "c", "password": "d"},
            "token.example": {"auth": "YTo=", "identitytoken": "t"},
            "https://old.example/v2/": {"auth": "YTpi"},
            "empty.example": {},
            "lines.example": {"auth": "YT\npi\n"},
            "blank.example": {"auth": ""},
            "null.example": null,
            "number.example": 5,
            "list.example": {"auth": ["YTpi"]},
            "wrong.example": {"auth": "???"}
        }}"#;
        for (host, path, who) in [
            ("r.example", "other", "a:b"),
            ("r.example", "team/other", "c:d"),
            ("r.example", "team/app", "e:f"),
            ("r.example", "teams", "a:b"),
            ("r.example:5000", "other", "none"),
            ("docker.io", "library/alpine", "a:b"),
            ("docker.io", "team/app", "c:d"),
            ("token.example", "a", "token t"),
            ("old.example", "a", "a:b"),
            ("empty.example", "a", "none"),
            ("lines.example", "a", "a:b"),
            ("blank.example", "a", "none"),
            ("null.example", "a", "none"),
            ("number.example", "a", "the entry of `number.example` is malformed"),
            ("list.example", "a", "the entry of `list.example` is malformed"),
            ("evil.example", "r.example", "none"),
            ("wrong.example", "a", "the entry of `wrong.example` is malformed"),
        ] {
            assert_eq!(found(config, &repository(host, path)), who, "{host}/{path}");
        }
    }

    #[test]
    fn a_malformed_file_is_an_error_and_an_empty_one_is_not() {
        let repository = repository("r.example", "a");
        for config in ["{}", r#"{"auths": null}"#, r#"{"auths": {}, "credsStore": ""}"#] {
            assert_eq!(found(config, &repository), "none", "{config}");
        }
        for config in ["", "[]", "{", r#"{"auths": 1}"#] {
            assert_eq!(found(config, &repository), "the file is malformed", "{config}");
        }
        let helper = r#"{"credHelpers": {"x": 1, "r.example": "of-no-such-kind"}}"#;
        let message = found(helper, &repository);
        let missing = "the credential helper `docker-credential-of-no-such-kind` is not in `$PATH`";
        assert_eq!(message, missing);
    }
}
