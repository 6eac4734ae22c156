//! Keys that others can change: the layer is decrypted, and the event and `keycell doctor` warn.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use keycell_tests::events;
use keycell_tests::node::{KEY, Node};
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;

use crate::STRANGER;

type Spoil = fn(&Node) -> Result<()>;

/// What is done to a node with one key, and what the warning says of it.
const WAYS: &[(&str, Spoil, &str)] = &[
    (
        "directory-writable",
        |node| mode(&node.keys(), 0o777),
        "/keys` can be written to by others than its owner (mode 0777), so others can change the \
         keys of this node: `chmod go-w ",
    ),
    ("directory-of-its-group", |node| mode(&node.keys(), 0o775), "/keys` can be written to"),
    (
        "above-writable",
        |node| mode(node.outside(), 0o777),
        "so others can change the keys of this node",
    ),
    (
        "directory-of-somebody-else",
        |node| Ok(chown(node.keys(), Some(STRANGER), None)?),
        "/keys` belongs to the user 61234, so others can change the keys of this node: `chown root ",
    ),
    (
        "key-writable",
        |node| mode(&node.keys().join(KEY), 0o606),
        "/keys/node.pem` can be written to by others than its owner (mode 0606), so others can \
         change the key `node.pem`: `chmod go-w ",
    ),
    (
        "key-of-somebody-else",
        |node| Ok(chown(node.keys().join(KEY), Some(STRANGER), None)?),
        "/keys/node.pem` belongs to the user 61234, so others can change the key `node.pem`",
    ),
    (
        "key-behind-a-link",
        |node| {
            let store = node.keys().join("store");
            fs::create_dir(&store)?;
            fs::rename(node.keys().join(KEY), store.join(KEY))?;
            symlink("store/node.pem", node.keys().join("a.pem"))?;
            mode(&store, 0o777)
        },
        "/keys/store` can be written to by others than its owner (mode 0777), so others can change \
         the key `a.pem`",
    ),
    ("as-it-should-be", |_| Ok(()), ""),
    ("sticky", |node| mode(&node.keys(), 0o1777), ""),
];

pub fn cases(suite: &mut Suite) {
    for (way, spoil, warning) in WAYS {
        suite.case(format!("keys/{way}"), &[Tool::Root], move || {
            let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
            mode(&node.keys().join(KEY), 0o600)?;
            spoil(&node)?;
            let log = node.outside().join("log");
            let decoder = node.decoder(&sealed)?.arg("--log").arg(&log);
            decoder.run()?.is_silent_success(&sealed.plain)?;
            said(&events::of_layer(&log)?["warning"], warning)
        });
    }
    suite.case("keys/one-file", &[Tool::Root], || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        let key = node.keys().join(KEY);
        mode(&key, 0o606)?;
        let log = node.outside().join("log");
        let decoder = node.decoder(&sealed)?.keys(&key).arg("--log").arg(&log);
        decoder.run()?.is_silent_success(&sealed.plain)?;
        said(&events::of_layer(&log)?["warning"], "so others can change the keys of this node")
    });
    // Of a layer that fails, too: somebody may have exchanged the key.
    suite.case("keys/of-a-layer-that-fails", &[Tool::Root], || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        fs::remove_file(node.keys().join(KEY))?;
        mode(&node.keys(), 0o777)?;
        let log = node.outside().join("log");
        node.decoder(&sealed)?.arg("--log").arg(&log).run()?.error_without_output()?;
        said(&events::of_layer(&log)?["warning"], "so others can change the keys of this node")
    });
}

fn said(warning: &serde_json::Value, words: &str) -> Result<()> {
    if words.is_empty() {
        ensure!(warning.is_null(), "{warning}");
        return Ok(());
    }
    let warning = warning.as_str().context("no warning")?;
    ensure!(warning.contains(words), "nothing of `{words}`: {warning}");
    Ok(())
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}
