//! Snapshotters that unpack layers without containerd's stream processors.

use std::collections::BTreeSet;

use super::Config;

/// How a snapshotter unpacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpacking {
    /// It leaves it to containerd, which calls the decoder.
    ByContainerd,
    /// It fetches and unpacks layers itself, and calls no decoder.
    ByItself,
    /// It loads the layers of images of its own format itself, and leaves others to containerd.
    Lazily,
    /// It is another program, and not known.
    Unknown,
}

/// What the names and the sockets of snapshotters contain, and how these unpack. AWS's SOCI unpacks
/// each layer itself; the others do so where an image has their index.
const KNOWN: [(&str, Unpacking); 6] = [
    ("soci", Unpacking::ByItself),
    ("nydus", Unpacking::Lazily),
    ("stargz", Unpacking::Lazily),
    ("overlaybd", Unpacking::Lazily),
    ("gcfs", Unpacking::Lazily),
    ("fuse-overlayfs", Unpacking::ByContainerd),
];

/// The snapshotters that Kubernetes unpacks images for, and how they unpack; with the name of the
/// runtime, for those that one runtime alone uses.
pub fn unpacking(config: &Config) -> Vec<(&str, Option<&str>, Unpacking)> {
    let default = (config.cri.snapshotter.as_str(), None);
    let of_runtimes = config.cri.of_runtimes.iter();
    let all = of_runtimes.map(|(runtime, name)| (name.as_str(), Some(runtime.as_str())));
    let mut seen = BTreeSet::new();
    let distinct = [default].into_iter().chain(all).filter(|(name, _)| seen.insert(*name));
    distinct.map(|(name, runtime)| (name, runtime, of(config, name))).collect()
}

fn of(config: &Config, name: &str) -> Unpacking {
    // containerd's own snapshotters are no proxies.
    let Some(address) = config.proxy_plugins.get(name) else { return Unpacking::ByContainerd };
    let known = |text: &str| {
        KNOWN.into_iter().find(|(part, _)| text.contains(part)).map(|(_, unpacking)| unpacking)
    };
    known(name).or_else(|| known(address)).unwrap_or(Unpacking::Unknown)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::Result;

    use super::*;
    use crate::containerd::Version;

    #[track_caller]
    fn found(text: &str, version: Version) -> Result<Vec<(String, Option<String>, Unpacking)>> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("config.toml");
        fs::write(&file, text)?;
        let config = Config::read(&file, Some(version))?;
        let all = unpacking(&config).into_iter();
        Ok(all
            .map(|(name, runtime, how)| (name.to_owned(), runtime.map(str::to_owned), how))
            .collect())
    }

    fn proxy(name: &str, address: &str) -> String {
        format!("[proxy_plugins.{name}]\ntype = \"snapshot\"\naddress = \"{address}\"\n")
    }

    #[test]
    fn snapshotters_are_known_by_name_or_by_address() -> Result<()> {
        let images = "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nsnapshotter = ";
        for (name, address, expected) in [
            ("soci", "/run/soci-snapshotter-grpc/soci-snapshotter-grpc.sock", Unpacking::ByItself),
            ("lazy", "/run/soci-snapshotter-grpc/soci-snapshotter-grpc.sock", Unpacking::ByItself),
            ("nydus", "/run/containerd-nydus/containerd-nydus-grpc.sock", Unpacking::Lazily),
            ("stargz", "/run/x.sock", Unpacking::Lazily),
            ("mine", "/run/mine.sock", Unpacking::Unknown),
        ] {
            let text = format!("{images}\"{name}\"\n{}", proxy(name, address));
            assert_eq!(found(&text, Version(2, 3, 4))?, [(name.to_owned(), None, expected)]);
        }
        // erofs is containerd's own, and its differ calls stream processors.
        for own in ["overlayfs", "erofs", "native"] {
            let found = found(&format!("{images}\"{own}\"\n"), Version(2, 3, 4))?;
            assert_eq!(found, [(own.to_owned(), None, Unpacking::ByContainerd)]);
        }
        Ok(())
    }

    #[test]
    fn runtimes_may_have_their_own() -> Result<()> {
        let soci = proxy("soci", "/soci.sock");
        let old = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n\
            [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.kata]\nsnapshotter = \"soci\"\n";
        let new = "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nsnapshotter = \"native\"\n\
            [plugins.\"io.containerd.cri.v1.images\".runtime_platforms.kata]\nsnapshotter = \"soci\"\n";
        let newer = "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nsnapshotter = \"native\"\n\
            [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.kata]\nsnapshotter = \"soci\"\n";
        for (text, version) in [
            (old, Version(1, 7, 24)),
            (old, Version(2, 1, 9)),
            (new, Version(2, 1, 9)),
            (newer, Version(2, 3, 4)),
        ] {
            let expected = [
                ("native".to_owned(), None, Unpacking::ByContainerd),
                ("soci".to_owned(), Some("kata".to_owned()), Unpacking::ByItself),
            ];
            assert_eq!(found(&format!("{text}{soci}"), version)?, expected, "{version}");
        }
        Ok(())
    }
}
