//! Each way in which somebody else can change what a path leads to. Owners need root.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::{Error, Trust};

/// The user and the group of nobody.
const STRANGER: u32 = 61234;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// `a/b/file`, each with a mode that only its owner may write to.
struct Tree(TempDir);

impl Tree {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let tree = Self(tempfile::tempdir()?);
        fs::create_dir_all(tree.at("a/b"))?;
        fs::write(tree.at("a/b/file"), "content")?;
        for path in [".", "a", "a/b", "a/b/file"] {
            tree.mode(path, if path == "a/b/file" { 0o644 } else { 0o755 })?;
        }
        Ok(tree)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn mode(&self, path: &str, mode: u32) -> std::io::Result<()> {
        fs::set_permissions(self.at(path), Permissions::from_mode(mode))
    }

    /// The error is about `component`, and is one for which `is` holds.
    fn refuses(&self, path: &str, component: &str, is: fn(&Error) -> bool) {
        let trust = Trust::of_this_process();
        for outcome in
            [trust.check(&self.at(path)).map(drop), trust.open_file(&self.at(path)).map(drop)]
        {
            let error = outcome.expect_err("others can change it");
            let shown = format!("`{}`", self.at(component).display());
            assert!(is(&error) && error.to_string().contains(&shown), "{error}");
        }
    }

    fn accepts(&self, path: &str) {
        let mut content = String::new();
        let file = Trust::of_this_process().open_file(&self.at(path));
        let read = file.map(|mut file| file.read_to_string(&mut content));
        assert!(matches!(read, Ok(Ok(7))), "{read:?}");
    }
}

fn writable(error: &Error) -> bool {
    matches!(error, Error::Writable { .. })
}

fn foreign(error: &Error) -> bool {
    matches!(error, Error::Owner { uid: STRANGER, .. })
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_file_that_only_its_owner_can_change_is_opened() -> Outcome {
    let tree = Tree::new()?;
    tree.accepts("a/b/file");
    tree.accepts("a/b/../b/./file");
    Ok(())
}

#[test]
fn every_component_that_others_can_write_to_is_refused() -> Outcome {
    for (path, modes) in [
        ("a/b/file", [0o664, 0o646, 0o666]),
        ("a/b", [0o775, 0o757, 0o777]),
        ("a", [0o775, 0o757, 0o777]),
    ] {
        for mode in modes {
            let tree = Tree::new()?;
            tree.mode(path, mode)?;
            tree.refuses("a/b/file", path, writable);
        }
    }
    Ok(())
}

#[test]
fn every_component_of_somebody_else_is_refused() -> Outcome {
    for path in ["a/b/file", "a/b", "a"] {
        if is_root() {
            let tree = Tree::new()?;
            chown(tree.at(path), Some(STRANGER), None)?;
            tree.refuses("a/b/file", path, foreign);
        }
    }
    Ok(())
}

/// In a sticky directory others can make entries, but not touch those of this user.
#[test]
fn a_sticky_directory_may_be_on_the_way() -> Outcome {
    let tree = Tree::new()?;
    tree.mode("a", 0o1777)?;
    tree.accepts("a/b/file");
    if is_root() {
        chown(tree.at("a/b"), Some(STRANGER), None)?;
        tree.refuses("a/b/file", "a/b", foreign);
        chown(tree.at("a/b"), Some(0), None)?;
        // Its owner can remove what lies in it, sticky or not.
        chown(tree.at("a"), Some(STRANGER), None)?;
        tree.refuses("a/b/file", "a", foreign);
    }
    Ok(())
}

#[test]
fn a_sticky_file_is_not_a_sticky_directory() -> Outcome {
    let tree = Tree::new()?;
    tree.mode("a/b/file", 0o1666)?;
    tree.refuses("a/b/file", "a/b/file", writable);
    Ok(())
}

#[test]
fn the_directory_of_a_link_and_that_of_its_target_count() -> Outcome {
    for spoilt in ["links", "a"] {
        for target in ["../a/b/file", "ABSOLUTE"] {
            let tree = Tree::new()?;
            fs::create_dir(tree.at("links"))?;
            let target = match target {
                "ABSOLUTE" => tree.at("a/b/file"),
                relative => PathBuf::from(relative),
            };
            symlink(target, tree.at("links/file"))?;
            tree.accepts("links/file");
            tree.mode(spoilt, 0o777)?;
            tree.refuses("links/file", spoilt, writable);
        }
    }
    Ok(())
}

/// A directory that is a link, to a link: in the middle of the path.
#[test]
fn links_to_links_count() -> Outcome {
    let tree = Tree::new()?;
    for name in ["one", "two"] {
        fs::create_dir(tree.at(name))?;
    }
    symlink("../two/directory", tree.at("one/directory"))?;
    symlink("../a/b", tree.at("two/directory"))?;
    tree.accepts("one/directory/file");
    tree.accepts("one/directory/../b/file");
    tree.mode("two", 0o777)?;
    tree.refuses("one/directory/file", "two", writable);
    Ok(())
}

#[test]
fn a_link_of_somebody_else_is_refused() -> Outcome {
    if is_root() {
        let tree = Tree::new()?;
        tree.mode(".", 0o1777)?;
        symlink("a/b/file", tree.at("link"))?;
        tree.accepts("link");
        lchown(tree.at("link"), Some(STRANGER), None)?;
        tree.refuses("link", "link", foreign);
    }
    Ok(())
}

#[test]
fn links_in_a_circle_end() -> Outcome {
    let tree = Tree::new()?;
    symlink("other", tree.at("one"))?;
    symlink("one", tree.at("other"))?;
    let unreadable = |error: &Error| matches!(error, Error::Unreadable { .. });
    let error = Trust::of_this_process().check(&tree.at("one")).expect_err("a circle");
    assert!(unreadable(&error) && !error.is_missing() && !error.is_distrust(), "{error}");
    Ok(())
}

#[test]
fn what_is_not_there_is_missing() -> Outcome {
    let tree = Tree::new()?;
    symlink("nowhere", tree.at("dangling"))?;
    for mode in [0o755, 0o777] {
        tree.mode("a", mode)?;
        for path in ["nothing", "a/nothing/file", "a/b/file/more", "dangling"] {
            let error = Trust::of_this_process().open_file(&tree.at(path)).expect_err("nothing");
            assert!(error.is_missing() && !error.is_distrust(), "{path}: {error}");
        }
    }
    Ok(())
}

/// A pipe would wait for its writer, and a directory has no content.
#[test]
fn only_regular_files_are_opened() -> Outcome {
    let tree = Tree::new()?;
    mknodat(CWD, tree.at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    for path in [tree.at("pipe"), tree.at("a"), PathBuf::from("/")] {
        let error = Trust::of_this_process().open_file(&path).expect_err("no file");
        assert!(matches!(error, Error::NotRegular { .. }), "{error}");
    }
    Ok(())
}

#[test]
fn a_directory_with_entries_of_others_is_refused() -> Outcome {
    let tree = Tree::new()?;
    let trust = Trust::of_this_process();
    symlink("a/b", tree.at("link"))?;
    let opened = trust.open_directory(&tree.at("link")).map(|(_, path)| path);
    assert!(matches!(opened, Ok(path) if path == tree.at("a/b").canonicalize()?));
    assert!(trust.open_directory(Path::new("/")).is_ok());
    assert!(trust.open_directory(&tree.at("a/b/file")).is_err());
    tree.mode("a/b", 0o1777)?;
    let error = trust.open_directory(&tree.at("a/b")).expect_err("sticky");
    assert!(writable(&error), "{error}");
    Ok(())
}

/// A decoder that runs as another user trusts root and that user.
#[test]
fn the_own_user_is_trusted_and_no_other() -> Outcome {
    if is_root() {
        let tree = Tree::new()?;
        chown(tree.at("a/b/file"), Some(STRANGER), None)?;
        assert!(Trust { own: STRANGER }.open_file(&tree.at("a/b/file")).is_ok());
        assert!(Trust { own: STRANGER + 1 }.open_file(&tree.at("a/b/file")).is_err());
    }
    Ok(())
}

/// Doing what the error says, literally and until it says nothing more, mends the path.
#[test]
fn the_commands_mend_it() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    let tree = Tree::new()?;
    let name = "it's a link";
    symlink("a/b/file", tree.at(name))?;
    tree.mode(".", 0o777)?;
    tree.mode("a", 0o777)?;
    tree.mode("a/b/file", 0o666)?;
    lchown(tree.at(name), Some(STRANGER), None)?;
    for path in ["a/b", "a/b/file"] {
        chown(tree.at(path), Some(STRANGER), None)?;
    }
    for _ in 0..6 {
        let error = Trust::of_this_process().open_file(&tree.at(name)).expect_err("not mended");
        let mend = error.mend();
        let command = mend.strip_prefix('`').and_then(|rest| rest.split('`').next());
        let command = command.ok_or("no command")?;
        let status = std::process::Command::new("sh").args(["-c", command]).status()?;
        assert!(status.success(), "{mend}");
    }
    tree.accepts(name);
    Ok(())
}
