//! The keys directory in practice: a mounted Secret that changes while layers are decrypted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use keycell_tests::events;
use keycell_tests::jwe::Recipient;
use keycell_tests::node::Node;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("secret/changes-while-decoding", &[], changes_while_decoding);
    suite.case("secret/rotation-is-seen-in-the-log", &[], rotation_is_seen);
}

/// What the kubelet does: a new directory, `..data` exchanged in one step, the old one removed at
/// once.
fn exchange(directory: &Path, number: u32, key: &str) -> Result<()> {
    let new = format!("..2026_11_25_{number}");
    fs::create_dir(directory.join(&new))?;
    fs::write(directory.join(&new).join("node.pem"), key)?;
    let former = fs::read_link(directory.join("..data")).ok();
    symlink(&new, directory.join("..data_tmp"))?;
    fs::rename(directory.join("..data_tmp"), directory.join("..data"))?;
    if former.is_none() {
        symlink("..data/node.pem", directory.join("node.pem"))?;
    }
    if let Some(former) = former {
        fs::remove_dir_all(directory.join(former))?;
    }
    Ok(())
}

/// The old key or the new: both are recipients, and every layer is decrypted.
fn changes_while_decoding() -> Result<()> {
    let node = Node::without_key()?;
    let sealed = Sealed::of_length(1000);
    let keys = [Recipient::generate(), Recipient::generate()];
    let items = keys.each_ref().map(|key| sealed.wrapped_for(key).flattened().to_string());
    let payload = sealed.payload(&items);
    exchange(&node.keys(), 0, &keys[0].private_pem())?;
    let (done, changes) = (AtomicBool::new(false), AtomicU32::new(0));
    let decoded = thread::scope(|scope| {
        let changing = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::Relaxed) {
                let number = changes.fetch_add(1, Ordering::Relaxed) + 1;
                exchange(&node.keys(), number, &keys[number as usize % 2].private_pem())?;
            }
            Ok(())
        });
        let decoded = (0..2).map(|_| {
            let (node, sealed, payload) = (&node, &sealed, &payload);
            scope.spawn(move || (0..100).try_for_each(|_| node.opens_with(sealed, payload)))
        });
        let decoded: Vec<_> = decoded.collect();
        let decoded = decoded.into_iter().map(|thread| thread.join());
        let decoded: Result<Vec<_>, _> = decoded.collect();
        done.store(true, Ordering::Relaxed);
        changing.join().map_err(|_| anyhow::anyhow!("a panic"))??;
        decoded.map_err(|_| anyhow::anyhow!("a panic"))
    })?;
    let changes = changes.load(Ordering::Relaxed);
    ensure!(changes > 100, "the Secret changed {changes} times only");
    decoded.into_iter().collect()
}

/// Which key opened a layer is in its event: when the new one does, the old one can go.
fn rotation_is_seen() -> Result<()> {
    let node = Node::without_key()?;
    let sealed = Sealed::of_length(1000);
    let keys = [Recipient::generate(), Recipient::generate()];
    let mut prints = Vec::new();
    for (number, key) in (0..).zip(&keys) {
        exchange(&node.keys(), number, &key.private_pem())?;
        let log = node.outside().join(format!("log-{number}"));
        let payload = sealed.payload_for(key).bytes();
        let decoder = node.without_payload(&sealed)?.payload(payload).arg("--log").arg(&log);
        decoder.run()?.is_silent_success(&sealed.plain)?;
        let event = events::of_layer(&log)?;
        ensure!(event["key"] == "node.pem", "{event}");
        prints.push(event["fingerprint"].clone());
    }
    ensure!(prints[0] != prints[1] && prints.iter().all(|print| print.is_string()), "{prints:?}");
    Ok(())
}
