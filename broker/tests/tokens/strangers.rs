//! Key files that came with a payload.

use std::fs;

use anyhow::ensure;
use keycell_broker::Refusal;
use keycell_broker::tokens::OaepHash;

use crate::setup::{PIN, SOFTHSM, Suite, parse, reason, refused, softhsm_policy};

pub(crate) fn cases(suite: &mut Suite) {
    suite.softhsm("a_strangers_key_has_no_variables", |tokens| {
        let key = tokens.key("token=keycell;object=two")?;
        ensure!(key.public_key(&softhsm_policy()?).is_ok(), "the operator's");
        let key = key.of_a_stranger();
        ensure!(key.shown() == "pkcs11:token=keycell;object=two", "{}", key.shown());
        let why = reason(key.public_key(&softhsm_policy()?))?;
        ensure!(why.ends_with("no token is called `keycell`"), "{why}");
        Ok(())
    });
    suite.softhsm("a_strangers_key_has_no_module_path", |tokens| {
        let uri = format!("token=keycell;object=two?module-path={SOFTHSM}&pin-value={PIN}");
        let key = parse(&tokens.file_with(&uri))?;
        ensure!(key.public_key(&softhsm_policy()?).is_ok(), "the operator's");
        // Nor is he told what is there.
        ensure!(key.of_a_stranger().public_key(&softhsm_policy()?) == Err(Refusal::NotConfigured));
        Ok(())
    });
    suite.softhsm("a_strangers_key_has_no_pin_source", |tokens| {
        let file = tokens.path("pin");
        fs::write(&file, PIN)?;
        let uri = format!("token=keycell;object=two?module-name=softhsm2&pin-source={file}");
        let key = parse(&tokens.file_with(&uri))?.of_a_stranger();
        let why = reason(key.decrypt(&softhsm_policy()?, OaepHash::Sha1, &[1; 256]))?;
        ensure!(why.contains("there is no PIN"), "{why}");
        Ok(())
    });
    suite.module("a_strangers_key_has_its_pin_and_module_name", |module| {
        let (key, _log) = module.key("crash", "right")?;
        let key = key.of_a_stranger();
        let plain = key.decrypt(&module.policy()?, OaepHash::Sha1, b"x").map_err(refused)?;
        ensure!(plain[..] == *b"seven", "{plain:?}");
        Ok(())
    });
    suite.module("a_stranger_is_not_told_what_tokens_there_are", |module| {
        let file = "pkcs11: {uri: 'pkcs11:token=a;object=b?module-name=fake&pin-value=c'}";
        let why = reason(parse(file)?.public_key(&module.policy()?))?;
        ensure!(why.ends_with("no token is called `a`; the module has `fake`"), "{why}");
        let why = reason(parse(file)?.of_a_stranger().public_key(&module.policy()?))?;
        ensure!(why.ends_with("no token is called `a`"), "{why}");
        Ok(())
    });
}
