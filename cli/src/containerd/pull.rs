//! How containerd pulls for Kubernetes, which decides whether a decoder gets a payload.

use std::collections::BTreeSet;

use super::cri::LocalPull;
use super::plugins::{CRI, CRI_IMAGES, CRI_RUNTIME};
use super::{Config, Version};

/// How Kubernetes pulls with this containerd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pull {
    /// Not at all: this plugin is disabled.
    Disabled(String),
    /// Through the transfer service, which hands over no payload.
    Transfer,
    /// Without the transfer service and with a payload; the setting that made containerd 2.1 or newer
    /// do so.
    Local(Option<LocalPull>),
    /// Without the transfer service, by a release that lacks the hook for payloads.
    NoHook(Option<LocalPull>),
    /// Without the transfer service and with the hook, but `key_model` is not `node`.
    NoKeyModel(String),
}

impl Pull {
    /// How a containerd of this version pulls with this configuration.
    pub fn of(config: &Config, version: Version) -> Self {
        let cause = config.cri.local_pull.filter(|_| version.has_transfer_service());
        if let Some(plugin) = disabled(&config.disabled_plugins, version) {
            Self::Disabled(plugin.to_owned())
        } else if version.has_transfer_service() && cause.is_none() {
            Self::Transfer
        } else if !version.has_payload() {
            Self::NoHook(cause)
        } else if config.cri.key_model != "node" {
            Self::NoKeyModel(config.cri.key_model.clone())
        } else {
            Self::Local(cause)
        }
    }

    /// Whether a decoder gets a payload, provided that its processor has one of the two ids.
    pub fn has_payload(&self) -> bool {
        matches!(self, Self::Local(_))
    }
}

/// The disabled plugin without which there is no CRI.
fn disabled(plugins: &BTreeSet<String>, version: Version) -> Option<&str> {
    let needed: &[&str] =
        if version >= Version(2, 0, 0) { &[CRI, CRI_IMAGES, CRI_RUNTIME] } else { &[CRI] };
    plugins.iter().map(String::as_str).find(|plugin| needed.contains(plugin))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::Result;

    use super::*;

    /// The outcome in one word or two, as the table of docs/containerd.md has it.
    fn outcome(text: &str, version: Version) -> Result<String> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("config.toml");
        fs::write(&file, text)?;
        let pull = Pull::of(&Config::read(&file, Some(version))?, version);
        Ok(match pull {
            Pull::Disabled(plugin) => format!("disabled {plugin}"),
            Pull::Transfer => "transfer".to_owned(),
            Pull::Local(None) => "payload".to_owned(),
            Pull::Local(Some(cause)) => format!("payload {cause}"),
            Pull::NoHook(None) => "no hook".to_owned(),
            Pull::NoHook(Some(cause)) => format!("no hook {cause}"),
            Pull::NoKeyModel(model) => format!("key model `{model}`"),
        })
    }

    fn images(lines: &str) -> String {
        format!("version = 3\n[plugins.\"{CRI_IMAGES}\"]\n{lines}\n")
    }

    fn old(lines: &str) -> String {
        format!("version = 2\n[plugins.\"{CRI}\"]\n{lines}\n")
    }

    #[track_caller]
    fn all(rows: &[(Version, String, &str)]) -> Result<()> {
        for (version, text, expected) in rows {
            assert_eq!(outcome(text, *version)?, *expected, "containerd {version} with\n{text}");
        }
        Ok(())
    }

    // The rows of the table in docs/containerd.md.
    #[test]
    fn each_release_pulls_in_its_own_way() -> Result<()> {
        let local = || images("use_local_image_pull = true");
        let hook = "payload `use_local_image_pull = true`";
        let no_hook = "no hook `use_local_image_pull = true`";
        all(&[
            (Version(1, 6, 20), String::new(), "payload"),
            (Version(1, 7, 34), "version = 2\n".to_owned(), "payload"),
            (Version(2, 0, 0), "version = 3\n".to_owned(), "no hook"),
            (Version(2, 0, 11), local(), "no hook"),
            (Version(2, 1, 0), "version = 3\n".to_owned(), "transfer"),
            (Version(2, 1, 6), local(), no_hook),
            (Version(2, 1, 7), local(), hook),
            (Version(2, 2, 1), local(), no_hook),
            (Version(2, 2, 2), local(), hook),
            (Version(2, 3, 0), local(), hook),
            (Version(2, 3, 4), "version = 4\n".to_owned(), "transfer"),
            (Version(2, 4, 0), local().replace("version = 3", "version = 4"), hook),
        ])
    }

    #[test]
    fn each_setting_that_the_transfer_service_lacks_makes_the_pull_local() -> Result<()> {
        let registry = |table: &str| {
            format!(
                "version = 3\n[plugins.\"{CRI_IMAGES}\".registry.{table}.\"r.example\"]\na = 1\n"
            )
        };
        let new = Version(2, 3, 4);
        all(&[
            (
                new,
                images("disable_snapshot_annotations = false"),
                "payload `disable_snapshot_annotations = false`",
            ),
            (new, images("disable_snapshot_annotations = true"), "transfer"),
            (
                new,
                images("discard_unpacked_layers = true"),
                "payload `discard_unpacked_layers = true`",
            ),
            (new, registry("mirrors"), "payload `registry.mirrors`"),
            (new, registry("configs"), "payload `registry.configs`"),
            (new, registry("auths"), "payload `registry.auths`"),
            (
                new,
                format!("version = 3\n[plugins.\"{CRI_IMAGES}\".registry]\nconfig_path = \"/c\"\n"),
                "transfer",
            ),
            (new, images("max_concurrent_downloads = 5"), "payload `max_concurrent_downloads = 5`"),
            (new, images("max_concurrent_downloads = 3"), "transfer"),
            (
                new,
                images("image_pull_with_sync_fs = true"),
                "payload `image_pull_with_sync_fs = true`",
            ),
            (
                Version(2, 2, 0),
                images("discard_unpacked_layers = true"),
                "no hook `discard_unpacked_layers = true`",
            ),
            // containerd 2.0 has no transfer service to fall back from.
            (Version(2, 0, 3), images("discard_unpacked_layers = true"), "no hook"),
        ])
    }

    // As `containerd config dump` of 2.1.9 and 2.3.4 shows it.
    #[test]
    fn settings_of_older_versions_are_migrated_as_far_as_containerd_does() -> Result<()> {
        let discard = format!("[plugins.\"{CRI}\".containerd]\ndiscard_unpacked_layers = true\n");
        let runtime = format!("[plugins.\"{CRI}\".containerd.runtimes.runc]\n");
        let (found, lost) = ("payload `discard_unpacked_layers = true`", "transfer");
        let (v21, v23) = (Version(2, 1, 9), Version(2, 3, 4));
        let file = |syntax: &str, more: &str| format!("{syntax}{discard}{more}");
        all(&[
            // The key is migrated only if the file has a runtime.
            (v21, file("version = 2\n", &runtime), found),
            (v21, file("version = 2\n", ""), lost),
            (v23, file("version = 2\n", ""), lost),
            // 2.1 and 2.2 migrate version 2 alone, 2.3 each that is older than 4.
            (v21, file("version = 3\n", &runtime), lost),
            (v23, file("version = 3\n", &runtime), found),
            (v23, file("version = 4\n", &runtime), lost),
            (v21, file("", &runtime), lost),
            (v23, file("", &runtime), found),
            (v23, file("", &runtime).replace(&format!("\"{CRI}\""), "cri"), found),
            (v23, file("version = 2\n", &runtime).replace(&format!("\"{CRI}\""), "cri"), lost),
            (v21, old("max_concurrent_downloads = 7"), "payload `max_concurrent_downloads = 7`"),
            (v21, old("use_local_image_pull = true"), lost),
            (
                v21,
                format!("version = 2\n[plugins.\"{CRI_IMAGES}\"]\nuse_local_image_pull = true\n"),
                "payload `use_local_image_pull = true`",
            ),
        ])
    }

    #[test]
    fn only_the_key_model_node_brings_a_payload() -> Result<()> {
        let model = |section: &str, more: &str| {
            format!("[plugins.{section}.image_decryption]\nkey_model = \"x\"\n{more}")
        };
        let local = format!("[plugins.\"{CRI_IMAGES}\"]\nuse_local_image_pull = true\n");
        let quoted = |name: &str| format!("\"{name}\"");
        all(&[
            (Version(1, 6, 20), model("cri", ""), "key model `x`"),
            (
                Version(1, 7, 24),
                format!("version = 2\n{}", model(&quoted(CRI), "")),
                "key model `x`",
            ),
            (
                Version(2, 3, 4),
                format!("version = 3\n{}", model(&quoted(CRI_IMAGES), &local)),
                "key model `x`",
            ),
            (
                Version(2, 1, 9),
                format!("version = 2\n{}", model(&quoted(CRI), &local)),
                "key model `x`",
            ),
            (
                Version(2, 3, 4),
                format!("version = 3\n{}", model(&quoted(CRI_IMAGES), "")),
                "transfer",
            ),
        ])
    }

    #[test]
    fn without_the_plugin_there_is_no_pull() -> Result<()> {
        let disabled =
            |syntax: &str, plugin: &str| format!("{syntax}disabled_plugins = [\"{plugin}\"]\n");
        let cri = "disabled io.containerd.grpc.v1.cri";
        all(&[
            (Version(1, 6, 20), disabled("", "cri"), cri),
            (Version(2, 3, 4), disabled("", "cri"), cri),
            (Version(1, 7, 24), disabled("version = 2\n", CRI), cri),
            (Version(2, 1, 9), disabled("version = 3\n", CRI), cri),
            (
                Version(2, 1, 9),
                disabled("version = 2\n", CRI_IMAGES),
                "disabled io.containerd.cri.v1.images",
            ),
            (
                Version(2, 3, 4),
                disabled("version = 4\n", CRI_RUNTIME),
                "disabled io.containerd.cri.v1.runtime",
            ),
            (Version(1, 7, 24), disabled("version = 2\n", CRI_IMAGES), "payload"),
            (
                Version(2, 3, 4),
                disabled("version = 3\n", "io.containerd.snapshotter.v1.zfs"),
                "transfer",
            ),
        ])
    }
}
