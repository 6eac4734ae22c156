//! The CRI plugin, through which Kubernetes pulls images.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::Version;
use super::plugins::{CRI, CRI_IMAGES, CRI_RUNTIME};

/// The snapshotter that containerd uses unless a file says otherwise.
const OVERLAYFS: &str = "overlayfs";

/// What the CRI plugin is configured to do when it pulls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cri {
    /// `key_model`: `node` unless a file says otherwise.
    pub key_model: String,
    /// The snapshotter that images are unpacked for.
    pub snapshotter: String,
    /// The snapshotters of runtimes that have one of their own, by the name of the runtime.
    pub of_runtimes: BTreeMap<String, String>,
    /// Why containerd 2.1 and newer pull without the transfer service; none if they do not.
    pub local_pull: Option<LocalPull>,
}

/// A setting that makes containerd 2.1 and newer pull as older releases do, without the transfer
/// service: `use_local_image_pull`, or one of those that `CheckLocalImagePullConfigs` looks for, in
/// its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalPull {
    /// `use_local_image_pull = true`.
    UseLocalImagePull,
    /// `disable_snapshot_annotations = false`.
    DisableSnapshotAnnotations,
    /// `discard_unpacked_layers = true`.
    DiscardUnpackedLayers,
    /// `[….registry.mirrors]` is not empty.
    RegistryMirrors,
    /// `[….registry.configs]` is not empty.
    RegistryConfigs,
    /// `[….registry.auths]` is not empty.
    RegistryAuths,
    /// `max_concurrent_downloads` is not 3.
    MaxConcurrentDownloads(i64),
    /// `image_pull_with_sync_fs = true`.
    ImagePullWithSyncFs,
}

impl fmt::Display for LocalPull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UseLocalImagePull => write!(f, "`use_local_image_pull = true`"),
            Self::DisableSnapshotAnnotations => write!(f, "`disable_snapshot_annotations = false`"),
            Self::DiscardUnpackedLayers => write!(f, "`discard_unpacked_layers = true`"),
            Self::RegistryMirrors => write!(f, "`registry.mirrors`"),
            Self::RegistryConfigs => write!(f, "`registry.configs`"),
            Self::RegistryAuths => write!(f, "`registry.auths`"),
            Self::MaxConcurrentDownloads(count) => {
                write!(f, "`max_concurrent_downloads = {count}`")
            }
            Self::ImagePullWithSyncFs => write!(f, "`image_pull_with_sync_fs = true`"),
        }
    }
}

impl Cri {
    /// Reads the plugin sections, which are migrated and merged.
    pub(super) fn of(plugins: &Table, containerd: Version) -> Self {
        let section = |name: &str| plugins.get(name).and_then(Value::as_table);
        let is_split = containerd >= Version(2, 0, 0);
        let images = section(if is_split { CRI_IMAGES } else { CRI });
        let value = |path: &[&str]| images.and_then(|images| at(images, path));
        // Before 2.x, the snapshotter is one of the section `containerd`.
        let snapshotter: &[&str] =
            if is_split { &["snapshotter"] } else { &["containerd", "snapshotter"] };
        let text = |value: Option<&Value>, default: &str| {
            value.and_then(Value::as_str).unwrap_or(default).to_owned()
        };
        Self {
            key_model: text(value(&["image_decryption", "key_model"]), "node"),
            snapshotter: text(value(snapshotter), OVERLAYFS),
            of_runtimes: of_runtimes(section(if is_split { CRI_RUNTIME } else { CRI }), images),
            local_pull: images.and_then(local_pull),
        }
    }
}

/// Runtimes name a snapshotter in `containerd.runtimes`, and containerd 2.x also reads
/// `runtime_platforms`. A release that pulls for the default snapshotter alone unpacks the image for the
/// other one when the container is made.
fn of_runtimes(runtime: Option<&Table>, images: Option<&Table>) -> BTreeMap<String, String> {
    let runtimes = runtime.and_then(|section| at(section, &["containerd", "runtimes"]));
    let platforms = images.and_then(|section| section.get("runtime_platforms"));
    let tables = [runtimes, platforms].into_iter().flatten().filter_map(Value::as_table).flatten();
    let named = tables.filter_map(|(name, runtime)| {
        let snapshotter = runtime.get("snapshotter")?.as_str().filter(|text| !text.is_empty())?;
        Some((name.clone(), snapshotter.to_owned()))
    });
    named.collect()
}

fn local_pull(images: &Table) -> Option<LocalPull> {
    let flag = |name: &str| images.get(name).and_then(Value::as_bool);
    let has_any = |name: &str| {
        let table = at(images, &["registry", name]).and_then(Value::as_table);
        table.is_some_and(|table| !table.is_empty())
    };
    let downloads = images.get("max_concurrent_downloads").and_then(Value::as_integer);
    let downloads = downloads.unwrap_or(3);
    let causes = [
        (flag("use_local_image_pull") == Some(true), LocalPull::UseLocalImagePull),
        (
            flag("disable_snapshot_annotations") == Some(false),
            LocalPull::DisableSnapshotAnnotations,
        ),
        (flag("discard_unpacked_layers") == Some(true), LocalPull::DiscardUnpackedLayers),
        (has_any("mirrors"), LocalPull::RegistryMirrors),
        (has_any("configs"), LocalPull::RegistryConfigs),
        (has_any("auths"), LocalPull::RegistryAuths),
        (downloads != 3, LocalPull::MaxConcurrentDownloads(downloads)),
        (flag("image_pull_with_sync_fs") == Some(true), LocalPull::ImagePullWithSyncFs),
    ];
    causes.into_iter().find_map(|(holds, cause)| holds.then_some(cause))
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, name| value.get(name))
}
