//! The plugin sections of a configuration, migrated and merged as containerd does it.
//!
//! containerd 1.x replaces a plugin's section as a whole where a later file has one. containerd 2.x
//! first migrates each file to its newest configuration version, and then merges the sections key by
//! key. The migration of the CRI plugin passes over some keys: `use_local_image_pull` is never
//! migrated, and the snapshotter's keys only where the file has a `runtimes` table.

use toml::{Table, Value};

use super::Version;

/// The CRI plugin of containerd 1.x. In 2.x it only serves the interface.
pub const CRI: &str = "io.containerd.grpc.v1.cri";
/// The part of containerd 2.x's CRI plugin that pulls images.
pub const CRI_IMAGES: &str = "io.containerd.cri.v1.images";
/// The part that runs containers.
pub const CRI_RUNTIME: &str = "io.containerd.cri.v1.runtime";

/// The full name of a plugin that a file of version 1 may call by its short name.
pub fn full_name(plugin: &str) -> &str {
    if plugin == "cri" { CRI } else { plugin }
}

/// The plugin sections of a file of version `syntax`, under the names that this containerd looks up.
pub fn migrated(plugins: &Table, syntax: u32, containerd: Version) -> Table {
    let knows_short_names = syntax < 2 && !containerd.forgets_short_names();
    let mut sections = Table::new();
    for (name, section) in plugins {
        let name = if knows_short_names { full_name(name) } else { name };
        sections.insert(name.to_owned(), section.clone());
    }
    if containerd.migrates_cri(syntax)
        && let Some(old) = sections.get(CRI).and_then(Value::as_table).cloned()
    {
        merge(&mut sections, one(CRI_IMAGES, images(&old)));
        merge(&mut sections, one(CRI_RUNTIME, runtime(&old)));
    }
    sections
}

/// Merges two tables key by key. A value of `from` wins, also an empty one.
pub fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// What containerd 2.x keeps for pulls of a CRI section of 1.x (`plugins/cri/images`, `migrateConfig`).
fn images(old: &Table) -> Table {
    let mut images = Table::new();
    for key in
        ["registry", "image_decryption", "max_concurrent_downloads", "image_pull_with_sync_fs"]
    {
        images.extend(old.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    let containerd = old.get("containerd").filter(|section| section.get("runtimes").is_some());
    for key in ["snapshotter", "disable_snapshot_annotations", "discard_unpacked_layers"] {
        let value = containerd.and_then(|section| section.get(key));
        images.extend(value.map(|value| (key.to_owned(), value.clone())));
    }
    images
}

fn runtime(old: &Table) -> Table {
    let runtimes = old.get("containerd").and_then(|section| section.get("runtimes"));
    let runtimes = runtimes.map(|runtimes| {
        Value::Table(Table::from_iter([("runtimes".to_owned(), runtimes.clone())]))
    });
    runtimes.map(|runtimes| ("containerd".to_owned(), runtimes)).into_iter().collect()
}

fn one(name: &str, section: Table) -> Table {
    Table::from_iter([(name.to_owned(), Value::Table(section))])
}
