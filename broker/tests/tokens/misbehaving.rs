//! Modules that are none, hang or crash.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keycell_broker::tokens::OaepHash;

use crate::setup::{Suite, parse, policy, reason, refused};

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("a_file_that_is_no_library", || {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("libfake.so"), "not a library")?;
        let here = format!("{}/", dir.path().display());
        let policy = policy(&[&here], &[&here])?;
        let key = parse("pkcs11: {uri: 'pkcs11:token=a;object=b?module-name=fake&pin-value=1'}")?;
        let why = reason(key.decrypt(&policy, OaepHash::Sha1, b"x"))?;
        ensure!(why.contains("libfake.so` cannot be loaded: "), "{why}");
        Ok(())
    });
    suite.case("a_library_that_is_no_module", || {
        let (dir, file) = ["/lib/x86_64-linux-gnu/", "/lib/aarch64-linux-gnu/", "/lib64/"]
            .into_iter()
            .find_map(|dir| {
                let file = format!("{dir}libm.so.6");
                fs::exists(&file).unwrap_or(false).then_some((dir, file))
            })
            .context("there is no libm")?;
        let uri = format!("pkcs11:token=a;object=b?module-path={file}&pin-value=1");
        let key = parse(&format!("pkcs11: {{uri: '{uri}'}}"))?;
        let why = reason(key.decrypt(&policy(&[], &[dir])?, OaepHash::Sha1, b"x"))?;
        ensure!(why.contains("libm.so.6` is no PKCS#11 module"), "{why}");
        Ok(())
    });
    for (behaviour, expected) in [
        ("crash", "the module gave no answer: it crashed (signal 6)"),
        ("end", "the module gave no answer: it ended the process (exit code 0)"),
        ("close", "the module gave no answer"),
        ("fail", "does not start: `Initialize` ended with `GeneralError`"),
        // No blob was looked at, so it says nothing of the key.
        ("fail to begin", "the token does not decrypt: `DecryptInit` ended with `GeneralError`"),
        ("flood", "the module gave no answer: it crashed (signal 6)"),
    ] {
        let name = format!("a_module_that_does_{}", behaviour.replace(' ', "_"));
        suite.module(&name, move |module| {
            let (key, _log) = module.key(behaviour, "right")?;
            let started = Instant::now();
            let why = reason(key.decrypt(&module.policy()?, OaepHash::Sha1, b"x"))?;
            ensure!(why.ends_with(expected), "{why}");
            ensure!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
            Ok(())
        });
    }
    for behaviour in ["hang", "hang with a child"] {
        let name = format!("a_module_that_does_{}", behaviour.replace(' ', "_"));
        suite.module(&name, move |module| {
            let (key, log) = module.key(behaviour, "right")?;
            let policy = module.policy()?.within(Duration::from_millis(1500));
            let started = Instant::now();
            let why = reason(key.decrypt(&policy, OaepHash::Sha1, b"x"))?;
            ensure!(why.ends_with("gave no answer within 1.5 seconds and was ended"), "{why}");
            let elapsed = started.elapsed();
            ensure!(
                elapsed > Duration::from_secs(1) && elapsed < Duration::from_secs(10),
                "{elapsed:?}"
            );
            none_is_left(&format!("KEYCELL_TEST_LOG={}", log.path().display()))
        });
    }
    for behaviour in ["print", "crash late", "hang late"] {
        let name = format!("a_module_that_does_{}_is_heard", behaviour.replace(' ', "_"));
        suite.module(&name, move |module| {
            let (key, log) = module.key(behaviour, "right")?;
            let started = Instant::now();
            let plain = key.decrypt(&module.policy()?, OaepHash::Sha1, b"x").map_err(refused)?;
            ensure!(plain[..] == *b"seven", "{plain:?}");
            ensure!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
            none_is_left(&format!("KEYCELL_TEST_LOG={}", log.path().display()))
        });
    }
}

/// Whether processes with this in their environment end soon: what a module has started was killed
/// with it, but has another parent now, which nobody here waits for.
fn none_is_left(variable: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = processes_with(variable)?;
        if left == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{left} processes are left");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many processes have this in their environment.
fn processes_with(variable: &str) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        // Another's, or gone by now.
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        count += usize::from(environment.split(|b| *b == 0).any(|v| v == variable.as_bytes()));
    }
    Ok(count)
}
