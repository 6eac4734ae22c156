//! Which token and which key.

use anyhow::ensure;
use keycell_broker::tokens::OaepHash;

use crate::setup::{Suite, parse, reason, refused, softhsm_policy};

pub(crate) fn cases(suite: &mut Suite) {
    for (name, path, expected) in [
        ("two_keys_that_match", "token=keycell;object=twin", "2 keys in the token match"),
        ("no_key", "token=keycell;object=none", "no such private key"),
        ("a_key_of_another_id", "token=keycell;object=two;id=%04", "no such private key"),
        ("an_unnamed_key", "token=keycell", "the URI names no key"),
        ("a_key_with_an_empty_name", "token=keycell;object=;id=", "the URI names no key"),
        ("an_elliptic_curve", "token=keycell;object=curve", "not an RSA key"),
        ("no_token", "token=another;object=two", "no token is called `another`"),
        ("an_unnamed_token", "object=two", "the URI names no token"),
        ("no_slot", "slot-id=4294967295;object=two", "slot 4294967295 holds no token"),
    ] {
        suite.softhsm(&format!("refuses_{name}"), move |tokens| {
            let key = tokens.key(path)?;
            let why = reason(key.decrypt(&softhsm_policy()?, OaepHash::Sha1, &[1; 256]))?;
            ensure!(why.contains(expected), "{why}");
            ensure!(why.starts_with(&format!("`{}`: ", key.shown())), "{why}");
            Ok(())
        });
    }
    suite.softhsm("refuses_the_public_key_of_a_curve", |tokens| {
        let key = tokens.key("token=keycell;object=curve")?;
        let why = reason(key.public_key(&softhsm_policy()?))?;
        ensure!(why.ends_with("the key in the token is not an RSA key"), "{why}");
        Ok(())
    });
    suite.module("chooses_by_serial_where_the_label_does_not", |module| {
        let policy = module.policy()?;
        for (attribute, expected) in
            [("", "seven"), (";serial=eight", "eight"), (";serial=other", "seven")]
        {
            let key = parse(&format!(
                "pkcs11: {{uri: 'pkcs11:token=fake;object=x{attribute}?module-name=fake&pin-value=right'}}\n\
                 module: {{env: {{KEYCELL_TEST_MODULE: two}}}}\n"
            ))?;
            let plain = key.decrypt(&policy, OaepHash::Sha1, b"x").map_err(refused)?;
            ensure!(plain[..] == *expected.as_bytes(), "`{attribute}`: {plain:?}");
        }
        Ok(())
    });
}
