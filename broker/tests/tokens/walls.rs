//! What a module that was taken over can still do.

use std::fs;

use anyhow::ensure;
use keycell_broker::tokens::OaepHash;

use crate::setup::{
    PIN, SECRET, SOFTHSM, Suite, opens, parse, reason, refused, softhsm_policy_with_files, wrap,
};

/// What is refused always.
const REFUSED: [&str; 7] = ["privileges", "dump", "trace", "namespace", "root", "time", "priority"];

pub(crate) fn cases(suite: &mut Suite) {
    suite.module("a_module_meets_walls", |module| {
        let (key, log) = module.key("attack", "right")?;
        key.decrypt(&module.policy()?, OaepHash::Sha1, b"x").map_err(refused)?;
        let log = fs::read_to_string(log.path())?;
        for what in REFUSED {
            ensure!(
                says(&log, what) == Some("EPERM") || says(&log, what) == Some("EACCES"),
                "{log}"
            );
        }
        // Which files it needs is not known.
        ensure!(says(&log, "read") == Some("done") && says(&log, "write") == Some("done"), "{log}");
        Ok(())
    });
    suite.module("a_module_has_the_files_that_the_operator_names", |module| {
        let (key, log) = module.key("attack", "right")?;
        let policy = module.policy_with_file(log.path())?;
        key.decrypt(&policy, OaepHash::Sha1, b"x").map_err(refused)?;
        let log = fs::read_to_string(log.path())?;
        ensure!(
            says(&log, "read") == Some("EACCES") && says(&log, "write") == Some("EACCES"),
            "{log}"
        );
        Ok(())
    });
    suite.softhsm("softhsm_within_its_files", |tokens| {
        let blob = wrap(&tokens.public_key("two-0102.pem")?, "sha1", SECRET)?;
        let uri = format!("token=keycell;object=two?module-path={SOFTHSM}&pin-value={PIN}");
        let key = parse(&tokens.file_with(&uri))?;
        let (conf, store) = (tokens.path("softhsm2.conf"), tokens.path("tokens"));
        opens(&key, &softhsm_policy_with_files(&[&conf, &store])?, &blob)?;
        // Without its configuration or its tokens it has none.
        for files in [&[conf.as_str()][..], &[store.as_str()], &[]] {
            let why =
                reason(key.decrypt(&softhsm_policy_with_files(files)?, OaepHash::Sha1, &blob))?;
            ensure!(!why.contains("cannot be loaded"), "{why}");
        }
        Ok(())
    });
    suite.module("files_that_are_not_there", |module| {
        let (key, _log) = module.key("", "right")?;
        let policy = module.policy_with_file("/nowhere/at/all".as_ref())?;
        let why = reason(key.decrypt(&policy, OaepHash::Sha1, b"x"))?;
        ensure!(why.contains("cannot be confined to `module-files`: "), "{why}");
        ensure!(why.contains("/nowhere/at/all"), "{why}");
        Ok(())
    });
}

/// What became of an attempt.
fn says<'a>(log: &'a str, what: &str) -> Option<&'a str> {
    log.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(": "))
}
