//! Key files that came with a payload.

use std::fs;

use anyhow::{Context, ensure};
use keycell_broker::tokens::{OaepHash, TokenKey};
use keycell_broker_protocol::Dropped;

use crate::setup::{
    PIN, SOFTHSM, Suite, build, client_policy, parse, policy, reason, refused,
    softhsm_client_policy, softhsm_policy,
};

/// What becomes of a module that clients may not name, whether it is there or not.
const NOT_HIS: &str = "a client's key file may not name this module: it may name those of \
    `client-modules` or, where that is not set, those that key files of the node name";

pub(crate) fn cases(suite: &mut Suite) {
    refused_parts_of_a_uri(suite);
    answers(suite);
}

fn refused_parts_of_a_uri(suite: &mut Suite) {
    suite.softhsm("a_strangers_key_has_no_variables", |tokens| {
        let key = tokens.key("token=keycell;object=two")?;
        ensure!(key.public_key(&softhsm_policy()?).is_ok(), "the operator's");
        let key = key.of_a_stranger();
        ensure!(key.shown() == "pkcs11:token=keycell;object=two", "{}", key.shown());
        let why = reason(key.public_key(&softhsm_client_policy()?))?;
        ensure!(why.ends_with("no token is called `keycell`"), "{why}");
        Ok(())
    });
    suite.softhsm("of_a_strangers_module_path_only_the_name_of_the_file_counts", |tokens| {
        let uri = |path: &str| {
            tokens
                .file_with(&format!("token=keycell;object=two?module-path={path}&pin-value={PIN}"))
        };
        let key = parse(&uri(SOFTHSM))?;
        ensure!(key.public_key(&softhsm_policy()?).is_ok(), "the operator's");
        let module = std::path::Path::new(SOFTHSM).file_name().context("no name")?;
        let module = module.to_string_lossy();
        // Where its own machine has it. Without variables the module has no token of that name.
        for path in [SOFTHSM, &format!("/opt/{module}")] {
            let key = parse(&uri(path))?.of_a_stranger();
            let why = reason(key.public_key(&softhsm_client_policy()?))?;
            ensure!(why.ends_with("no token is called `keycell`"), "`{path}`: {why}");
        }
        for path in [&format!("{SOFTHSM}.1"), "/usr/lib/softhsm/", "/usr/..", "/"] {
            let key = parse(&uri(path))?.of_a_stranger();
            let why = reason(key.public_key(&softhsm_client_policy()?))?;
            ensure!(why.ends_with(NOT_HIS), "`{path}`: {why}");
        }
        Ok(())
    });
    suite.softhsm("a_strangers_key_has_no_pin_source", |tokens| {
        let file = tokens.path("pin");
        fs::write(&file, PIN)?;
        let uri = format!("token=keycell;object=two?module-name=softhsm2&pin-source={file}");
        let key = parse(&tokens.file_with(&uri))?;
        let dropped = key.dropped_of_a_stranger();
        ensure!(dropped == [Dropped::Environment, Dropped::PinSource], "{dropped:?}");
        let key = key.of_a_stranger();
        let why = reason(key.decrypt(&softhsm_client_policy()?, OaepHash::Sha1, &[1; 256]))?;
        ensure!(why.contains("there is no PIN"), "{why}");
        Ok(())
    });
    suite.module("a_strangers_key_has_its_pin_and_module_name", |module| {
        let (key, _log) = module.key("crash", "right")?;
        let key = key.of_a_stranger();
        let plain = key.decrypt(&module.client_policy()?, OaepHash::Sha1, b"x").map_err(refused)?;
        ensure!(plain[..] == *b"seven", "{plain:?}");
        Ok(())
    });
}

fn answers(suite: &mut Suite) {
    suite.module("a_stranger_is_not_told_what_tokens_there_are", |module| {
        let file = "pkcs11: {uri: 'pkcs11:token=a;object=b?module-name=fake&pin-value=c'}";
        let why = reason(parse(file)?.public_key(&module.policy()?))?;
        ensure!(why.ends_with("no token is called `a`; the module has `fake`"), "{why}");
        let why = reason(parse(file)?.of_a_stranger().public_key(&module.client_policy()?))?;
        ensure!(why.ends_with("no token is called `a`"), "{why}");
        Ok(())
    });
    suite.module("a_stranger_does_not_learn_which_libraries_there_are", |_| {
        let dir = tempfile::tempdir()?;
        build(dir.path(), Some(""))?;
        fs::copy(dir.path().join("libfake.so"), dir.path().join("libother.so"))?;
        fs::write(dir.path().join("libtext.so"), "no library")?;
        let here = format!("{}/", dir.path().display());
        let loaded = dir.path().join("counter.loaded");
        let stranger = |module: &str| {
            let uri = format!("pkcs11:token=fake;object=x?{module}&pin-value=right");
            parse(&format!("pkcs11: {{uri: '{uri}'}}")).map(TokenKey::of_a_stranger)
        };
        // Allowed, but not for clients: in the directory, not in it, by its path, by no name.
        let path = format!("module-path={here}libother.so");
        let names = ["other", "text", "none", "libother.so", "", "../other", "counter"];
        let names = names.map(|name| format!("module-name={name}"));
        let mut modules = names.to_vec();
        modules.extend([path, "x=y".to_owned()]);
        let ours =
            parse("pkcs11: {uri: 'pkcs11:token=fake;object=x?module-name=fake&pin-value=right'}")?;
        for policy in [
            policy(&[&here], &[&here])?,
            policy(&[&here], &[&here])?.for_clients_of(&[]),
            policy(&[&here], &[&here])?.for_clients_of(std::slice::from_ref(&ours)),
            client_policy(&here, &[])?.for_clients_of(std::slice::from_ref(&ours)),
        ] {
            for module in &modules {
                let why = reason(stranger(module)?.decrypt(&policy, OaepHash::Sha1, b"x"));
                let why = why.with_context(|| module.clone())?;
                ensure!(why.ends_with(NOT_HIS), "`{module}`: {why}");
            }
        }
        ensure!(!loaded.exists(), "a module was loaded for a stranger");
        // Those of the node's own keys, unless the policy says otherwise; or those that it names.
        let of_keys = policy(&[&here], &[&here])?.for_clients_of(std::slice::from_ref(&ours));
        let named = client_policy(&here, &[format!("{here}libother.so")])?;
        for (policy, module) in [(of_keys, "module-name=fake"), (named, "module-name=other")] {
            let plain = stranger(module)?.decrypt(&policy, OaepHash::Sha1, b"x");
            ensure!(plain.map_err(refused)?[..] == *b"seven", "`{module}`");
        }
        ensure!(loaded.exists(), "nothing was loaded");
        Ok(())
    });
}
