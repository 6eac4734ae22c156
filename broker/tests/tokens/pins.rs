//! PINs, and where they come from.

use std::fs;

use anyhow::ensure;
use keycell_broker::tokens::OaepHash;

use crate::setup::{
    PIN, SECRET, Suite, build, client_policy, opens, parse, reason, refused, softhsm_policy, wrap,
};

pub(crate) fn cases(suite: &mut Suite) {
    pins_of_the_node(suite);
    the_last_try(suite);
}

fn pins_of_the_node(suite: &mut Suite) {
    suite.softhsm("a_wrong_pin_is_told_and_not_shown", |tokens| {
        let wrong = format!("{PIN}-");
        let uri = format!("token=keycell;object=two?module-name=softhsm2&pin-value={wrong}");
        let key = parse(&tokens.file_with(&uri))?;
        let why = reason(key.decrypt(&softhsm_policy()?, OaepHash::Sha1, &[1; 256]))?;
        ensure!(why.ends_with("the PIN is wrong: correct `pin-value` or `pin-source`"), "{why}");
        // SoftHSM's shortest PIN has four characters.
        let uri = "token=keycell;object=two?module-name=softhsm2&pin-value=1";
        let why = reason(parse(&tokens.file_with(uri))?.public_key(&softhsm_policy()?))?;
        ensure!(why.contains("the PIN is wrong"), "{why}");
        Ok(())
    });
    suite.softhsm("a_pin_from_a_file", |tokens| {
        let blob = wrap(&tokens.public_key("two-0102.pem")?, "sha1", SECRET)?;
        let file = tokens.path("pin file");
        fs::write(&file, format!("{PIN}\n"))?;
        for source in [file.replace(' ', "%20"), format!("file://{}", file.replace(' ', "%2520"))] {
            let uri = format!("token=keycell;object=two?module-name=softhsm2&pin-source={source}");
            opens(&parse(&tokens.file_with(&uri))?, &softhsm_policy()?, &blob)?;
        }
        let uri = format!("token=keycell;object=two?module-name=softhsm2&pin-source={file}.none");
        let key = parse(&tokens.file_with(&uri))?;
        let why = reason(key.decrypt(&softhsm_policy()?, OaepHash::Sha1, &blob))?;
        ensure!(why.contains("pin file.none` (`pin-source`): entity not found"), "{why}");
        Ok(())
    });
    suite.softhsm("no_pin", |tokens| {
        let key = parse(&tokens.file_with("token=keycell;object=two?module-name=softhsm2"))?;
        let why = reason(key.decrypt(&softhsm_policy()?, OaepHash::Sha1, &[1; 256]))?;
        ensure!(why.ends_with("add `pin-value` or `pin-source` to the URI's query"), "{why}");
        // A public key is public.
        let public = key.public_key(&softhsm_policy()?).map_err(refused)?;
        ensure!(public == tokens.public_key("two-0102.pem")?, "another public key");
        Ok(())
    });
    suite.module("a_wrong_pin_is_tried_once_in_a_run", |module| {
        let (key, log) = module.key("two", PIN)?;
        let first = reason(key.decrypt(&module.policy()?, OaepHash::Sha1, b"x"))?;
        let second = reason(key.decrypt(&module.policy()?, OaepHash::Sha256, b"y"))?;
        let third = reason(key.public_key(&module.policy()?))?;
        ensure!(first.contains("the PIN is wrong"), "{first}");
        ensure!(first == second && first == third, "{second}; {third}");
        // At one of the two tokens, once.
        ensure!(fs::read_to_string(log.path())? == format!("7 {PIN}\n"), "tried again");
        Ok(())
    });
    suite.module("a_right_pin_after_a_wrong_one", |module| {
        let (wrong, _log) = module.key("", "wrong")?;
        reason(wrong.decrypt(&module.policy()?, OaepHash::Sha1, b"x"))?;
        let (right, _log) = module.key("", "right")?;
        let plain = right.decrypt(&module.policy()?, OaepHash::Sha1, b"x").map_err(refused)?;
        ensure!(plain[..] == *b"seven", "{plain:?}");
        Ok(())
    });
}

fn the_last_try(suite: &mut Suite) {
    suite.module("a_locked_token_is_not_tried", |module| {
        let (key, log) = module.key("locked", PIN)?;
        let why = reason(key.decrypt(&module.policy()?, OaepHash::Sha1, b"x"))?;
        ensure!(why.contains("the token's PIN is locked"), "{why}");
        ensure!(fs::read(log.path())?.is_empty(), "it was tried");
        Ok(())
    });
    suite.module("the_last_try_is_not_a_strangers", |module| {
        let (key, log) = module.key("final try", PIN)?;
        let why = reason(key.decrypt(&module.policy()?, OaepHash::Sha1, b"x"))?;
        ensure!(why.contains("the PIN is wrong"), "{why}");
        ensure!(!fs::read(log.path())?.is_empty(), "the operator's is not tried");
        // A stranger has no variables, so that the behaviour comes with a module of its own.
        let dir = tempfile::tempdir()?;
        build(dir.path(), Some("final try"))?;
        let here = format!("{}/", dir.path().display());
        let policy = client_policy(&here, &[format!("{here}libfake.so")])?;
        let key = module.key("", "another")?.0.of_a_stranger();
        let why = reason(key.decrypt(&policy, OaepHash::Sha1, b"x"))?;
        ensure!(why.contains("one more wrong PIN would lock the token"), "{why}");
        Ok(())
    });
    suite.module("strangers_at_the_same_time_do_not_take_the_last_try", |_| {
        let dir = tempfile::tempdir()?;
        build(dir.path(), Some("count"))?;
        let here = format!("{}/", dir.path().display());
        let policy = client_policy(&here, &[format!("{here}libfake.so")])?;
        let wrong_pins = || fs::read(dir.path().join("counter")).map_or(0, |counter| counter.len());
        // Another PIN each, because one process tries none twice.
        let attempt = |number: usize| {
            let key = parse(&format!(
                "pkcs11: {{uri: 'pkcs11:token=fake;object=x?module-name=fake&pin-value={number}'}}"
            ))?;
            reason(key.of_a_stranger().decrypt(&policy, OaepHash::Sha1, b"x"))
        };
        let said: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || attempt(n))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let said = said.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(wrong_pins() == 2, "{} wrong PINs: {said:#?}", wrong_pins());
        let kept_out = said.iter().filter(|why| why.contains("one more wrong PIN would lock"));
        ensure!(kept_out.count() == 6, "{said:#?}");
        // The operator's PIN sets the counter back, and is never kept out.
        let key =
            parse("pkcs11: {uri: 'pkcs11:token=fake;object=x?module-name=fake&pin-value=right'}")?;
        key.decrypt(&policy, OaepHash::Sha1, b"x").map_err(refused)?;
        ensure!(wrong_pins() == 0, "it is not set back");
        Ok(())
    });
}
