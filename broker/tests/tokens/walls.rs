//! What a module that was taken over can still do.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use keycell_broker::tokens::OaepHash;

use crate::setup::{
    PIN, SECRET, SOFTHSM, Suite, opens, parse, reason, refused, softhsm_policy_with_files, wrap,
};

/// What is refused always, beside the calls that stand in the module's own list.
const REFUSED: [&str; 14] = [
    "privileges",
    "dump",
    "trace",
    "namespace",
    "namespace by clone",
    "user namespace by clone",
    "namespace by clone, upper half",
    "root",
    "time",
    "priority",
    "memory of init",
    "memory of the broker",
    "limit of the broker",
    "signal to init", // Linux 6.12
];

/// What does not exist for it.
const NOT_THERE: [&str; 2] = ["clone3", "newer call"];

/// The second way to each call, on x86-64.
const X32: [&str; 2] = ["x32 getpid", "x32 ptrace"];

/// What a module has only where the operator names it.
const NAMED_ONLY: [(&str, &str); 7] = [
    ("core pattern", "/proc/sys/kernel/core_pattern"),
    ("uevent helper", "/sys/kernel/uevent_seqnum"),
    ("sysrq", "/proc/sysrq-trigger"),
    ("environment of init", "/proc/1/environ"),
    ("shadow", "/etc/shadow"),
    ("shadow, to write", "/etc/shadow"),
    ("private keys", "/etc/ssl/private"),
];

pub(crate) fn cases(suite: &mut Suite) {
    suite.module("a_module_meets_walls", |module| {
        let (key, log) = module.key("attack", "right")?;
        key.decrypt(&module.policy()?, OaepHash::Sha1, b"x").map_err(refused)?;
        let log = fs::read_to_string(log.path())?;
        meets_walls(&log)?;
        // Which files it needs is not known.
        for what in
            ["read", "write", "certificates", "own status", "own name", "own limit", "process"]
        {
            ensure!(says(&log, what) == Some("done"), "{what}: {log}");
        }
        Ok(())
    });
    suite.module("a_module_has_the_files_that_the_operator_names", |module| {
        let (key, log) = module.key("attack", "right")?;
        let policy = module.policy_with_file(log.path())?;
        key.decrypt(&policy, OaepHash::Sha1, b"x").map_err(refused)?;
        let log = fs::read_to_string(log.path())?;
        meets_walls(&log)?;
        for what in ["read", "write", "own status", "own name"] {
            ensure!(says(&log, what) == Some("EACCES"), "{what}: {log}");
        }
        ensure!(says(&log, "certificates") == Some("done"), "{log}");
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

/// What holds with and without named files.
fn meets_walls(log: &str) -> Result<()> {
    for what in REFUSED {
        ensure!(matches!(says(log, what), Some("EPERM" | "EACCES")), "{what}: {log}");
    }
    for what in NOT_THERE {
        ensure!(says(log, what) == Some("ENOSYS"), "{what}: {log}");
    }
    let calls: Vec<_> = log.lines().filter(|line| line.starts_with("call ")).collect();
    ensure!(calls.len() > 40, "{log}");
    for line in calls {
        ensure!(line.ends_with(": EPERM"), "{line}");
    }
    for what in X32.iter().filter(|_| cfg!(target_arch = "x86_64")) {
        ensure!(says(log, what) == Some("EPERM"), "{what}: {log}");
    }
    for (what, path) in NAMED_ONLY {
        let exists = Path::new(path).exists();
        ensure!(!exists || matches!(says(log, what), Some("EACCES" | "EPERM")), "{what}: {log}");
    }
    Ok(())
}

/// What became of an attempt.
fn says<'a>(log: &'a str, what: &str) -> Option<&'a str> {
    log.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(": "))
}
