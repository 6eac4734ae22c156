//! References to images in registries, as containers/image reads them after `docker://`.

use std::fmt;

use super::error::{Part, RegistryError};
use crate::digest;

/// The host that names without one mean.
const DEFAULT_HOST: &str = "docker.io";
/// Another name of the default host, which old configurations have.
const LEGACY_HOST: &str = "index.docker.io";
/// The tag that names without one mean.
const DEFAULT_TAG: &str = "latest";
/// The longest name of a repository with its host, in bytes.
const MAX_NAME: usize = 255;
/// The longest tag, in bytes (OCI distribution specification 1.1, section "Pulling manifests").
const MAX_TAG: usize = 128;

/// A repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The host, with its port if one is named.
    pub host: String,
    /// The path of the repository.
    pub path: String,
}

/// An image in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// The tag or the digest.
    pub version: String,
}

impl Repository {
    /// The host that requests go to: that of Docker Hub has another name.
    pub fn server(&self) -> &str {
        if self.host == "docker.io" { "registry-1.docker.io" } else { &self.host }
    }
}

impl Reference {
    /// Parses `[HOST[:PORT]/]REPOSITORY[:TAG|@DIGEST]`.
    ///
    /// The first component is a host if it has a dot, a colon or an upper-case letter, or is `localhost`.
    ///
    /// # Errors
    /// A name with a part that is missing or malformed, or with both a tag and a digest.
    pub fn parse(name: &str) -> Result<Self, RegistryError> {
        let refuse = |part| RegistryError::Name { name: name.escape_debug().to_string(), part };
        let (named, digest) = match name.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (name, None),
        };
        let (host, rest) = split_host(named);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let repository = Repository::new(host, path).map_err(refuse)?;
        let version = match (tag, digest) {
            (Some(_), Some(_)) => return Err(refuse(Part::TagAndDigest)),
            (Some(tag), None) if is_tag(tag) => tag,
            (Some(_), None) => return Err(refuse(Part::Tag)),
            (None, Some(digest)) if digest::hex(digest).is_ok() => digest,
            (None, Some(_)) => return Err(refuse(Part::Digest)),
            (None, None) => DEFAULT_TAG,
        };
        Ok(Self { repository, version: version.to_owned() })
    }

    /// The digest, if the reference has one in place of a tag.
    pub fn digest(&self) -> Option<&str> {
        Some(self.version.as_str()).filter(|version| version.contains(':'))
    }
}

impl Repository {
    fn new(host: &str, path: &str) -> Result<Self, Part> {
        let host = if host == LEGACY_HOST { DEFAULT_HOST } else { host };
        if !is_host(host) {
            return Err(Part::Host);
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(Part::UpperCase);
        }
        if !path.split('/').all(is_component) {
            return Err(Part::Repository);
        }
        // A digest without its algorithm looks like a repository: nobody means one.
        if path.len() == 64 && path.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Part::Repository);
        }
        let official = host == DEFAULT_HOST && !path.contains('/');
        let path = if official { format!("library/{path}") } else { path.to_owned() };
        if host.len() + 1 + path.len() > MAX_NAME {
            return Err(Part::Length);
        }
        Ok(Self { host: host.to_owned(), path })
    }
}

/// Takes the host from a name.
fn split_host(name: &str) -> (&str, &str) {
    let is_host = |first: &str| {
        first == "localhost"
            || first.contains(['.', ':'])
            || first.bytes().any(|byte| byte.is_ascii_uppercase())
    };
    name.split_once('/').filter(|(first, _)| is_host(first)).unwrap_or((DEFAULT_HOST, name))
}

/// Whether this is a domain name, an IPv4 address or a bracketed IPv6 address, with or without a port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if !address.is_empty() => {
            return address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        Some(_) => return false,
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|number| number > 0)
}

/// Whether this is letters and digits, with a dot, one or two underscores, or hyphens in between.
fn is_component(component: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = component.split(is_alphanumeric).filter(|it| !it.is_empty());
    component.starts_with(is_alphanumeric)
        && component.ends_with(is_alphanumeric)
        && separators
            .into_iter()
            .all(|it| matches!(it, "." | "_" | "__") || it.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= MAX_TAG
        && tag.starts_with(is_word)
        && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.digest().is_some() { '@' } else { ':' };
        write!(f, "{}{separator}{}", self.repository, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed() {
        let by_digest = format!("r.example/a@{DIGEST}");
        for (name, full) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3", "docker.io/library/alpine:3"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("index.docker.io/a/b", "docker.io/a/b:latest"),
            ("team/app", "docker.io/team/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:1.0", "localhost:5000/app:1.0"),
            ("r.example/a/b/c:x", "r.example/a/b/c:x"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("[fe80::1]/a", "[fe80::1]/a:latest"),
            ("127.0.0.1:5000/a:T_-.1", "127.0.0.1:5000/a:T_-.1"),
            ("Host/a", "Host/a:latest"),
            ("r.example/a.b/c__d/e---f", "r.example/a.b/c__d/e---f:latest"),
            (&by_digest, &by_digest),
        ] {
            let parsed = Reference::parse(name).map(|it| it.to_string());
            assert!(parsed.as_deref().is_ok_and(|it| it == full), "{name}: {parsed:?}");
        }
    }

    #[test]
    fn other_names_are_refused_for_the_part_that_is_wrong() {
        let both = format!("r.example/a:1@{DIGEST}");
        let long = format!("r.example/{}", "a".repeat(250));
        let (tag, hex) = (format!("a:{}", "t".repeat(129)), DIGEST.replace("sha256:", ""));
        let short = format!("a@{}", &DIGEST[..40]);
        for (name, part) in [
            ("", Part::Repository),
            ("r.example/", Part::Repository),
            ("r.example//a", Part::Repository),
            ("//r.example/a", Part::Repository),
            ("a/", Part::Repository),
            ("r.example/a__b___c", Part::Repository),
            ("r.example/-a", Part::Repository),
            ("r.example/a..b", Part::Repository),
            ("r.example/é", Part::Repository),
            ("r.example/a b", Part::Repository),
            ("r.example/../a", Part::Repository),
            (&hex, Part::Repository),
            ("Alpine", Part::UpperCase),
            ("r.example/App", Part::UpperCase),
            ("r.example:70000/a", Part::Host),
            ("r.example:0/a", Part::Host),
            ("r.example:/a", Part::Host),
            ("r.example:x/a", Part::Host),
            ("user:password.x/a", Part::Host),
            (":5000/a", Part::Host),
            ("-r.example/a", Part::Host),
            ("r..example/a", Part::Host),
            ("[]:5000/a", Part::Host),
            ("[::1]x/a", Part::Host),
            ("https://r.example/a", Part::Host),
            ("a:", Part::Tag),
            ("a:-x", Part::Tag),
            ("a:x:y", Part::Tag),
            ("a:x/y", Part::Host),
            (&tag, Part::Tag),
            ("a@", Part::Digest),
            (&short, Part::Digest),
            ("a@sha512:00", Part::Digest),
            (&both, Part::TagAndDigest),
            (&long, Part::Length),
        ] {
            let parsed = Reference::parse(name);
            let is_part =
                matches!(&parsed, Err(RegistryError::Name { part: found, .. }) if *found == part);
            assert!(is_part, "{name}: {parsed:?}");
        }
    }
}
