//! Symbolic links in the keys directory: those that stay inside are followed (Kubernetes mounts
//! Secrets as links), those that leave it are refused and named.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keycell_tests::node::{KEY, Node, says};
use keycell_tests::sealed::Sealed;

use keycell_tests::suite::Cases;

pub(crate) fn add(cases: &mut Cases) {
    links_inside(cases);
    links_out(cases);
    broken_links(cases);
}

fn links_inside(cases: &mut Cases) {
    cases.case("links/kubernetes-secret", || {
        let node = Node::without_key()?;
        let version = "..2026_01_31_12_00_00.123456789";
        node.add(&format!("{version}/tls.key"), node.recipient.private_pem())?;
        symlink(version, node.keys().join("..data"))?;
        symlink("..data/tls.key", node.keys().join("tls.key"))?;
        node.opens(&Sealed::of_length(1000))
    });
    // A Secret whose items are mounted under paths with a directory in them.
    cases.case("links/kubernetes-secret-with-directories", || {
        let node = Node::without_key()?;
        let version = "..2026_01_31_12_00_00.123456789";
        node.add(&format!("{version}/team/tls.key"), node.recipient.private_pem())?;
        symlink(version, node.keys().join("..data"))?;
        symlink("..data/team", node.keys().join("team"))?;
        node.opens(&Sealed::of_length(1000))
    });
    cases.case("links/to-another-directory-inside", || {
        let node = Node::without_key()?;
        node.add("store/v1/key", node.recipient.private_pem())?;
        fs::rename(node.keys().join("store"), node.keys().join("..store"))?;
        fs::create_dir(node.keys().join("a"))?;
        symlink("../..store/v1/key", node.keys().join("a/key"))?;
        node.opens(&Sealed::of_length(1000))
    });
    // The operator named the directory itself, wherever it leads.
    cases.case("links/directory-is-a-link", || {
        let node = Node::new()?;
        let link = node.outside().join("link");
        symlink(node.keys(), &link)?;
        let sealed = Sealed::of_length(1000);
        let payload = sealed.payload_for(&node.recipient).bytes();
        let decoder = keycell_tests::decoder::Decoder::new()?.keys(&link).payload(payload);
        decoder.layer(sealed.encrypted).run()?.is_silent_success(&sealed.plain)
    });
    cases.case("links/file-is-a-link", || {
        let node = Node::new()?;
        let link = node.outside().join("link");
        symlink(node.keys().join(KEY), &link)?;
        let sealed = Sealed::of_length(1000);
        let payload = sealed.payload_for(&node.recipient).bytes();
        let decoder = keycell_tests::decoder::Decoder::new()?.keys(&link).payload(payload);
        decoder.layer(sealed.encrypted).run()?.is_silent_success(&sealed.plain)
    });
}

fn links_out(cases: &mut Cases) {
    cases.case("links/out-absolute", || {
        leaves(|node, key| Ok(symlink(key, node.keys().join("out.pem"))?))
    });
    cases.case("links/out-relative", || {
        leaves(|node, _| Ok(symlink("../elsewhere/key", node.keys().join("out.pem"))?))
    });
    cases.case("links/out-through-another-link", || {
        leaves(|node, _| {
            symlink("../elsewhere", node.keys().join("..way"))?;
            Ok(symlink("..way/key", node.keys().join("out.pem"))?)
        })
    });
    cases.case("links/out-and-in-again", || {
        leaves(|node, _| {
            symlink("../keys/..hidden", node.keys().join("out.pem"))?;
            Ok(fs::write(node.keys().join("..hidden"), node.recipient.private_pem())?)
        })
    });
    cases.case("links/out-as-a-directory", || {
        leaves(|node, key| {
            let target = key.parent().context("a file lies in a directory")?;
            Ok(symlink(target, node.keys().join("out.pem"))?)
        })
    });
    cases.case("links/out-relative-as-a-directory", || {
        leaves(|node, _| Ok(symlink("../elsewhere", node.keys().join("out.pem"))?))
    });
    cases.case("links/out-beside-the-key", || {
        let node = Node::new()?;
        symlink("/etc/passwd", node.keys().join("a.pem"))?;
        symlink("/proc/self/environ", node.keys().join("b.pem"))?;
        symlink("/", node.keys().join("c"))?;
        let log = node.outside().join("log");
        let sealed = Sealed::of_length(1000);
        let outcome = node.decoder(&sealed)?.arg("--log").arg(&log).run()?;
        outcome.is_silent_success(&sealed.plain)?;
        let log = fs::read_to_string(log)?;
        for name in ["a.pem", "b.pem", "c"] {
            ensure!(
                log.contains(&format!("`{name}`: the link leaves")),
                "nothing of {name}: {log}"
            );
        }
        Ok(())
    });
}

fn broken_links(cases: &mut Cases) {
    cases.case("links/to-nowhere", || {
        let node = Node::without_key()?;
        symlink("absent", node.keys().join("a.pem"))?;
        let outcome = node.decoder(&Sealed::of_length(1000))?.stdin_stays_open().run()?;
        says(&outcome, &["`a.pem`: the link leads nowhere"])
    });
    cases.case("links/loops", || {
        let node = Node::new()?;
        let keys = node.keys();
        symlink("a", keys.join("a"))?;
        symlink("c", keys.join("b"))?;
        symlink("b", keys.join("c"))?;
        node.opens(&Sealed::of_length(1000))?;
        fs::remove_file(keys.join(KEY))?;
        let outcome = node.decoder(&Sealed::of_length(1000))?.stdin_stays_open().run()?;
        says(&outcome, &["`a`: the link", "`b`: the link", "`c`: the link"])
    });
    // Every level of the directory holds itself four times.
    cases.case("links/loops-of-directories", || {
        let node = Node::new()?;
        for name in ["a", "b", "c", "zz"] {
            symlink(".", node.keys().join(name))?;
        }
        let sealed = Sealed::of_length(1000);
        let outcome = node.decoder(&sealed)?.run()?;
        outcome.is_silent_success(&sealed.plain)?;
        ensure!(outcome.elapsed < Duration::from_secs(10), "took {:?}", outcome.elapsed);
        Ok(())
    });
}

/// A link out of the directory, to the very key that is missing in it: it must not be found, and
/// the message must say why.
fn leaves(link: impl FnOnce(&Node, &Path) -> Result<()>) -> Result<()> {
    let node = Node::without_key()?;
    let elsewhere = node.outside().join("elsewhere");
    fs::create_dir(&elsewhere)?;
    fs::write(elsewhere.join("key"), node.recipient.private_pem())?;
    link(&node, &elsewhere.join("key"))?;
    let outcome = node.decoder(&Sealed::of_length(1000))?.stdin_stays_open().run()?;
    says(&outcome, &["no private key", "`out.pem`: the link leaves the keys directory"])
}
