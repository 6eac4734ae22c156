//! Configuration files.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use keycell_broker::tokens::Policy;

use crate::setup::{Suite, policy, refused};

pub(crate) fn cases(suite: &mut Suite) {
    damaged_policies(suite);
    places(suite);
}

fn damaged_policies(suite: &mut Suite) {
    suite.case("policies_that_are_none_are_told", || {
        for (yaml, expected) in [
            (&b"\xff"[..], "not UTF-8"),
            (b"pkcs11: [", "is not YAML"),
            (b"text", "is not a mapping"),
            (b"pkcs11: text", "`pkcs11` is not a mapping"),
            (b"pkcs11: {allowed-module-paths: /a}", "`allowed-module-paths` is not a list"),
            (b"pkcs11: {allowed-module-paths: [a]}", "not an absolute path"),
            (b"pkcs11: {allowed-module-paths: ['']}", "not an absolute path"),
            (b"pkcs11: {module-directories: [[/a]]}", "not an absolute path"),
            (b"pkcs11: {module-files: [a]}", "`module-files` has an entry that is not an absolute"),
            (b"pkcs11: {client-modules: [a]}", "`client-modules` has an entry that is not an"),
            (
                b"pkcs11: {client-modules: [/a/]}",
                "`client-modules` has an entry that is a directory",
            ),
        ] {
            let Err(error) = Policy::parse(yaml) else {
                bail!("{} is taken", String::from_utf8_lossy(yaml));
            };
            let why = error.to_string();
            ensure!(why.contains(expected), "{why}");
        }
        for yaml in ["", "other: 1", "pkcs11:", "pkcs11: {module-directories: }"] {
            let policy = Policy::parse(yaml.as_bytes()).map_err(refused)?;
            ensure!(policy == Policy::default(), "`{yaml}`");
        }
        Ok(())
    });
}

fn places(suite: &mut Suite) {
    suite.case("a_policy_is_found_as_go_finds_it", || {
        let dir = tempfile::tempdir()?;
        let here = dir.path().display().to_string();
        let file = |path: &str, allowed: &str| -> Result<Option<Policy>> {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().context("no parent")?)?;
            fs::write(path, format!("pkcs11: {{allowed-module-paths: [{allowed}]}}"))?;
            Ok(Some(policy(&[], &[allowed])?))
        };
        let find = |variables: &[(&str, &str)]| {
            Policy::find(|name| {
                let found = variables.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| value.replace("HERE", &here).into())
            })
            .map_err(|refusal| refusal.to_string())
        };
        let named = file("named.conf", "/named/")?;
        let xdg = file("xdg/ocicrypt.conf", "/xdg/")?;
        let home = file("home/.config/ocicrypt.conf", "/home/")?;
        let all = [
            ("OCICRYPT_CONFIG", "HERE/named.conf"),
            ("XDG_CONFIG_HOME", "HERE/xdg"),
            ("HOME", "HERE/home"),
        ];
        ensure!(find(&all) == Ok(named), "the named one");
        ensure!(find(&all[1..]) == Ok(xdg.clone()), "XDG_CONFIG_HOME");
        ensure!(find(&all[2..]) == Ok(home.clone()), "HOME");
        let empty = [("OCICRYPT_CONFIG", ""), ("XDG_CONFIG_HOME", ""), all[2]];
        ensure!(find(&empty) == Ok(home.clone()), "empty variables");
        let missing = ("OCICRYPT_CONFIG", "HERE/none.conf");
        ensure!(find(&[missing, all[1]]) == Ok(xdg), "a missing file");
        ensure!(
            find(&[("XDG_CONFIG_HOME", "HERE/none"), all[2]]) == Ok(home),
            "a missing directory"
        );
        ensure!(find(&[("HOME", "HERE/named.conf")]) == find(&[]), "a home that is a file");
        let Err(why) = find(&[missing, ("HOME", "none")]) else {
            bail!("a missing file is not told");
        };
        ensure!(
            why.ends_with(
                "none.conf`, which OCICRYPT_CONFIG names: create it, or correct OCICRYPT_CONFIG"
            ),
            "{why}"
        );
        fs::write(dir.path().join("bad.conf"), "pkcs11: [")?;
        let Err(why) = find(&[("OCICRYPT_CONFIG", "HERE/bad.conf"), all[1]]) else {
            bail!("a bad file is passed over");
        };
        ensure!(why.contains("bad.conf`: the configuration is not YAML"), "{why}");
        Ok(())
    });
}
