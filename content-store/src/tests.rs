//! This process plays the containerd that calls: it holds metadata open. Owners need root, and are
//! tested end to end in `tests/tests/content_store/caller.rs`.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use keycell_settings::ContentStore;
use rustix::process::{Pid, getpid};
use tempfile::TempDir;

use crate::{BELOW_ROOT, Origin, Places, PlacesError, Unknown};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Tests run one at a time: each would see the files of the others as its own.
static ALONE: Mutex<()> = Mutex::new(());

/// A root of containerd, whose metadata this process holds open.
struct Root {
    path: PathBuf,
    _metadata: File,
    _dir: TempDir,
}

impl Root {
    fn new(metadata: &str) -> std::io::Result<Self> {
        let dir = tempfile::tempdir()?;
        // As the kernel shows it: without links.
        let path = dir.path().canonicalize()?.join("root");
        fs::create_dir_all(path.join(BELOW_ROOT).join("blobs/sha256"))?;
        let file = path.join(metadata);
        fs::create_dir_all(file.parent().unwrap_or(&path))?;
        Ok(Self { _metadata: File::create(file)?, path, _dir: dir })
    }

    fn is_found(&self, caller: Pid) -> bool {
        let places = Places::of(&ContentStore::Default, Some(caller));
        places.caller().is_ok_and(|caller| caller.roots().any(|root| root == self.path))
    }
}

const METADATA: &str = "io.containerd.metadata.v1.bolt/meta.db";

#[test]
fn an_open_file_shows_the_root() -> Outcome {
    let _alone = ALONE.lock()?;
    let root = Root::new(METADATA)?;
    let places = Places::of(&ContentStore::Default, Some(getpid()));
    let stores = places.open()?;
    let store = stores.iter().find(|store| store.path == root.path.join(BELOW_ROOT));
    let origin = store.map(|store| store.origin);
    assert_eq!(origin, Some(Origin::Caller { pid: getpid() }), "{stores:?}");
    Ok(())
}

#[test]
fn other_files_show_nothing() -> Outcome {
    let _alone = ALONE.lock()?;
    for metadata in [
        "io.containerd.metadata.v1.bolt/meta.db2",
        "io.containerd.metadata.v1.bolt/meta.db (deleted)",
        "xio.containerd.metadata.v1.bolt/meta.db",
        "io.containerd.metadata.v1.bolt/x/meta.db",
    ] {
        assert!(!Root::new(metadata)?.is_found(getpid()), "{metadata}");
    }
    Ok(())
}

#[test]
fn a_configured_store_is_opened_too_and_only_once() -> Outcome {
    let _alone = ALONE.lock()?;
    let root = Root::new(METADATA)?;
    let other = Root::new("unrelated")?;
    let link = other.path.with_file_name("link");
    symlink(&root.path, &link)?;
    let count = |path: &Path, root: &Root| -> Result<usize, PlacesError> {
        let setting = ContentStore::At(path.to_owned());
        let stores = Places::of(&setting, Some(getpid())).open()?;
        let is = |store: &&crate::Store| store.path.starts_with(&root.path);
        Ok(stores.iter().filter(is).count())
    };
    assert_eq!(count(&other.path, &other)?, 1);
    assert_eq!(count(&other.path, &root)?, 1);
    assert_eq!(count(&link, &root)?, 1);
    assert_eq!(count(&root.path.join(BELOW_ROOT), &root)?, 1);
    Ok(())
}

#[test]
fn without_a_caller_the_configured_place_decides() -> Outcome {
    let _alone = ALONE.lock()?;
    let root = Root::new("unrelated")?;
    let setting = ContentStore::At(root.path.clone());
    let places = Places::of(&setting, None);
    assert_eq!(places.caller().err(), Some(&Unknown::NoProcess));
    assert_eq!(places.open()?.len(), 1);
    let setting = ContentStore::At(root.path.join("absent"));
    let error = Places::of(&setting, None).open().map(drop);
    assert!(matches!(error, Err(PlacesError::Other { .. })), "{error:?}");
    let error = Places::of(&ContentStore::Off, Some(getpid())).open().map(drop);
    assert!(matches!(error, Err(PlacesError::Off)), "{error:?}");
    Ok(())
}
