//! Which pull carries a payload, by release and by configuration, and whether `keycell doctor` knows.
//!
//! A decoder that must not look into the content store fails without a payload, so the outcome of a pull
//! shows whether there was one.

use anyhow::{Context, Result, ensure};
use keycell_tests::containerd::{Node, Setup};
use keycell_tests::image::LayerKind;
use keycell_tests::release::Release;

use crate::ctr::without_content_store;
use crate::shared::{KEY, Shared, fails_with, prints};

/// A row of the table in docs/containerd.md: settings of the CRI plugin, and whether a pull with them has a
/// payload.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// With containerd 1.x, if the row is about it.
    version_1: Option<(&'static str, bool)>,
    /// With a containerd 2.x that has the hook for payloads.
    version_2: (&'static str, bool),
}

const ROWS: [Row; 12] = [
    Row { name: "default", version_1: Some(("", true)), version_2: ("", false) },
    Row {
        name: "no-key-model",
        version_1: Some(("image_decryption.key_model = \"\"", false)),
        version_2: ("use_local_image_pull = true\nimage_decryption.key_model = \"\"", false),
    },
    Row {
        name: "five-downloads",
        version_1: Some(("max_concurrent_downloads = 5", true)),
        version_2: ("max_concurrent_downloads = 5", true),
    },
    Row {
        name: "three-downloads",
        version_1: None,
        version_2: ("max_concurrent_downloads = 3", false),
    },
    Row {
        name: "discarded-layers",
        version_1: Some(("containerd.discard_unpacked_layers = true", true)),
        version_2: ("discard_unpacked_layers = true", true),
    },
    Row { name: "local-pull", version_1: None, version_2: ("use_local_image_pull = true", true) },
    Row {
        name: "snapshot-annotations",
        version_1: None,
        version_2: ("disable_snapshot_annotations = false", true),
    },
    Row { name: "sync-fs", version_1: None, version_2: ("image_pull_with_sync_fs = true", true) },
    Row {
        name: "mirrors",
        version_1: None,
        version_2: ("registry.mirrors.\"r.example\".endpoint = [\"http://r.example\"]", true),
    },
    Row {
        name: "registry-configs",
        version_1: None,
        version_2: ("registry.configs.\"r.example\".auth.username = \"u\"", true),
    },
    Row {
        name: "registry-auths",
        version_1: None,
        version_2: ("registry.auths.\"https://r.example\".username = \"u\"", true),
    },
    Row {
        name: "registry-config-path",
        version_1: None,
        version_2: ("registry.config_path = \"/etc/containerd/certs.d\"", false),
    },
];

/// The rows that are about this release; all of them if there is none.
pub(crate) fn rows(release: Option<&Release>) -> impl Iterator<Item = Row> {
    let all = release.is_none_or(Release::is_version_2);
    ROWS.into_iter().filter(move |row| all || row.version_1.is_some())
}

impl Row {
    /// Pulls on a node with these settings, and asks doctor.
    pub(crate) fn holds(&self, shared: &Shared) -> Result<()> {
        let (config, has_payload) = self.config(shared)?;
        let setup = Setup::new(&shared.release, without_content_store(&config)).decoder()?;
        let setup = setup.file(KEY, shared.private()?).configured_at(CONFIG);
        let node = Node::start(&setup)?;
        let image = shared.name(LayerKind::Gzip);
        if has_payload {
            node.cri().pull(image)?;
            prints(&node.ctr_run(image)?, shared)?;
        } else {
            fails_with("passed no payload", || node.cri().pull(image))?;
        }
        let mut doctor = node.command(&keycell_tests::dist("keycell")?)?;
        let answer = doctor.args(["doctor", "--config", CONFIG]).output()?;
        let said = String::from_utf8_lossy(&answer.stdout);
        ensure!(said.contains(PREDICTED) == has_payload, "doctor knows it not: {said}");
        ensure!(answer.status.success() == has_payload, "doctor ends with {answer:?}");
        Ok(())
    }

    fn config(&self, shared: &Shared) -> Result<(String, bool)> {
        let config = shared.config();
        let (others, processors) = config.split_at(shared.without_processors().len());
        let processors = processors.find("[stream_processors").map(|at| &processors[at..]);
        let processors = processors.context("the configuration has no processors")?;
        let (section, (setting, has_payload)) = if shared.release.is_version_2() {
            let (setting, has_payload) = self.version_2;
            let section = "[plugins.\"io.containerd.cri.v1.images\"]\n";
            (section, (setting, has_payload && has_hook(&shared.release)))
        } else {
            // What comes before the processors ends with the section.
            ("", self.version_1.context("the row is not about this release")?)
        };
        Ok((format!("{others}{section}{setting}\n{processors}"), has_payload))
    }
}

const CONFIG: &str = "/etc/containerd/config.toml";

/// What doctor says where the next pull has a payload.
const PREDICTED: &str = "a pull for Kubernetes hands a payload to the decoder";

/// Releases of containerd 2.x did without for a while.
fn has_hook(release: &Release) -> bool {
    let version = release.version();
    match (version.0, version.1) {
        (1, _) => true,
        (2, 0) => false,
        (2, 1) => version.2 >= 7,
        (2, 2) => version.2 >= 2,
        _ => true,
    }
}
