//! PKCS #11 tokens: SoftHSM with keys and blobs that openssl made, a module that misbehaves, and
//! files that are not what they should be.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use common::{PIN, SOFTHSM, Suite, build, parse, policy, reason, softhsm_policy, wrap};
use keycell_broker::Refusal;
use keycell_broker::tokens::{OaepHash, Policy, TokenKey, child};

const SECRET: &[u8] = br#"{"symkey":"a layer key","digest":"sha256:0123"}"#;

fn main() -> ExitCode {
    // This very program is what a module is loaded into.
    if child::is_asked() {
        return child::main();
    }
    let mut suite = Suite::from_args();
    opening(&mut suite);
    choosing(&mut suite);
    pins(&mut suite);
    allowing(&mut suite);
    misbehaving(&mut suite);
    strangers(&mut suite);
    files(&mut suite);
    suite.run()
}

/// Blobs that openssl wrapped.
fn opening(suite: &mut Suite) {
    for (name, file, path) in [
        ("rsa_2048_by_object", "two-0102.pem", "token=keycell;object=two"),
        ("rsa_2048_by_id", "two-0102.pem", "token=keycell;id=%01%02"),
        ("rsa_4096_by_object", "four-a0ff.pem", "token=keycell;object=four"),
        ("rsa_4096_by_id_and_object", "four-a0ff.pem", "token=keycell;id=%A0%ff;object=four"),
        (
            "type_public_names_the_private_key_too",
            "two-0102.pem",
            "token=keycell;object=two;type=public",
        ),
        ("twin_by_id_and_object", "twin-04.pem", "token=keycell;id=%04;object=twin"),
        ("private_half_alone", "two-0102.pem", "token=keycell;object=lonely"),
    ] {
        suite.softhsm(&format!("opens_{name}"), move |tokens| {
            let blob = wrap(&tokens.public_key(file)?, "sha1", SECRET)?;
            opens(&tokens.key(path)?, &softhsm_policy()?, &blob)?;
            // The same URI leads to the public key that openssl knows.
            let public = tokens.key(path)?.public_key(&softhsm_policy()?).map_err(refused)?;
            ensure!(public == tokens.public_key(file)?, "another public key");
            Ok(())
        });
    }
    suite.softhsm("opens_by_slot", |tokens| {
        let blob = wrap(&tokens.public_key("two-0102.pem")?, "sha1", SECRET)?;
        let key = tokens.key(&format!("slot-id={};object=two", tokens.slot))?;
        opens(&key, &softhsm_policy()?, &blob)
    });
    suite.softhsm("opens_with_a_key_that_the_token_made", |tokens| {
        let key = tokens.key("token=keycell;object=made")?;
        let public = key.public_key(&softhsm_policy()?).map_err(refused)?;
        let theirs = tokens.tool(&["--read-object", "--type", "pubkey", "--id", "06"])?;
        ensure!(public == theirs, "pkcs11-tool exports another public key");
        opens(&key, &softhsm_policy()?, &wrap(&public, "sha1", SECRET)?)
    });
    suite.softhsm("the_environment_reaches_the_module_alone", |tokens| {
        let blob = wrap(&tokens.public_key("two-0102.pem")?, "sha1", SECRET)?;
        let uri = format!("token=keycell;object=two?module-name=softhsm2&pin-value={PIN}");
        let without = parse(&format!("pkcs11: {{uri: '{}'}}", format_args!("pkcs11:{uri}")))?;
        let why = reason(without.decrypt(&softhsm_policy()?, OaepHash::Sha1, &blob))?;
        ensure!(why.contains("no token is called `keycell`"), "{why}");
        opens(&parse(&tokens.file_with(&uri))?, &softhsm_policy()?, &blob)?;
        ensure!(std::env::var_os("SOFTHSM2_CONF").is_none(), "it is in this process");
        Ok(())
    });
    suite.softhsm("a_blob_for_another_key_is_not_opened", |tokens| {
        let key = tokens.key("token=keycell;object=two")?;
        let four = wrap(&tokens.public_key("four-a0ff.pem")?, "sha1", SECRET)?;
        let mut altered = wrap(&tokens.public_key("two-0102.pem")?, "sha1", SECRET)?;
        altered[100] ^= 1;
        let made = tokens.key("token=keycell;object=made")?.public_key(&softhsm_policy()?);
        let made = wrap(&made.map_err(refused)?, "sha1", SECRET)?;
        for blob in [&altered[..], &made, &four, &[1], &[0; 256], &[255; 256], &altered[..255]] {
            let why = reason(key.decrypt(&softhsm_policy()?, OaepHash::Sha1, blob))?;
            ensure!(why.ends_with("does not open it: it was wrapped for another key"), "{why}");
        }
        for blob in [vec![], vec![1; 2049], vec![1; 10_000_000]] {
            let why = reason(key.decrypt(&softhsm_policy()?, OaepHash::Sha1, &blob))?;
            ensure!(why.ends_with("bytes are not what RSA encrypts"), "{why}");
        }
        Ok(())
    });
    suite.softhsm("sha_256_which_softhsm_cannot", |tokens| {
        let blob = wrap(&tokens.public_key("four-a0ff.pem")?, "sha256", SECRET)?;
        let key = tokens.key("token=keycell;object=four")?;
        match key.decrypt(&softhsm_policy()?, OaepHash::Sha256, &blob) {
            // A later SoftHSM.
            Ok(plain) => ensure!(plain[..] == *SECRET, "another plaintext"),
            refusal => {
                let why = reason(refusal)?;
                let fix = "does not do RSA-OAEP with SHA-256; have the image encrypted with \
                           OCICRYPT_OAEP_HASHALG=sha1";
                ensure!(why.ends_with(fix), "{why}");
            }
        }
        Ok(())
    });
}

/// Which token and which key.
fn choosing(suite: &mut Suite) {
    for (name, path, expected) in [
        ("two_keys_that_match", "token=keycell;object=twin", "2 keys in the token match"),
        ("no_key", "token=keycell;object=none", "no such private key"),
        ("a_key_of_another_id", "token=keycell;object=two;id=%04", "no such private key"),
        ("an_unnamed_key", "token=keycell", "the URI names no key"),
        ("a_key_with_an_empty_name", "token=keycell;object=;id=", "the URI names no key"),
        ("an_elliptic_curve", "token=keycell;object=curve", "not an RSA key"),
        (
            "no_token",
            "token=another;object=two",
            "no token is called `another`; the module has `keycell`",
        ),
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

/// PINs, and where they come from.
fn pins(suite: &mut Suite) {
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
        let policy = policy(&[&here], &[&here])?;
        let key = module.key("", "another")?.0.of_a_stranger();
        let why = reason(key.decrypt(&policy, OaepHash::Sha1, b"x"))?;
        ensure!(why.contains("one more wrong PIN would lock the token"), "{why}");
        Ok(())
    });
}

/// Which modules are loaded.
fn allowing(suite: &mut Suite) {
    suite.softhsm("without_a_policy_nothing_is_loaded", |tokens| {
        let key = tokens.key("token=keycell;object=two")?;
        for policy in [Policy::default(), policy(&["/usr/lib/softhsm/"], &[])?] {
            let refusal = key.decrypt(&policy, OaepHash::Sha1, &[1; 256]).err();
            ensure!(refusal == Some(Refusal::NotConfigured), "{refusal:?}");
            ensure!(key.public_key(&policy) == Err(Refusal::NotConfigured), "public key");
        }
        Ok(())
    });
    suite.softhsm("internal_allows_softhsm", |tokens| {
        let policy = Policy::find(|name| (name == "OCICRYPT_CONFIG").then(|| "internal".into()));
        let policy = policy.map_err(refused)?.context("no policy")?;
        let blob = wrap(&tokens.public_key("two-0102.pem")?, "sha1", SECRET)?;
        opens(&tokens.key("token=keycell;object=two")?, &policy, &blob)
    });
    suite.softhsm("a_module_by_its_path", |tokens| {
        let dir = tempfile::tempdir()?;
        let here = dir.path().display().to_string();
        let link = format!("{here}/link.so");
        symlink(SOFTHSM, &link)?;
        symlink("/usr/lib/softhsm", format!("{here}/links"))?;
        fs::create_dir(format!("{here}/below"))?;
        let all = [&here, "/usr/lib/softhsm/", "/usr/lib"];
        let not = "is not allowed";
        for (path, allowed, expected) in [
            (SOFTHSM, SOFTHSM, ""),
            (SOFTHSM, "/usr/lib/softhsm/", ""),
            (SOFTHSM, "/usr/lib/softhsm", not),
            (SOFTHSM, "/usr/lib/", not),
            (SOFTHSM, "/usr/lib/soft", not),
            (SOFTHSM, "/usr/lib/softhsm/libsofthsm2", not),
            // The text of the path decides: no way around it leads to the same file.
            ("/usr/lib/softhsm/../softhsm/libsofthsm2.so", SOFTHSM, not),
            ("/usr/lib/softhsm/../softhsm/libsofthsm2.so", "/usr/lib/softhsm/", not),
            ("/usr/lib/softhsm//libsofthsm2.so", SOFTHSM, not),
            ("/usr/lib/softhsm/./libsofthsm2.so", SOFTHSM, not),
            ("//usr/lib/softhsm/libsofthsm2.so", SOFTHSM, not),
            ("/usr/lib/softhsm/../softhsm/libsofthsm2.so", "/usr/lib/softhsm/../softhsm/", ""),
            // A link is what its own place says: an allowed one is followed, another is not.
            (&link, &format!("{here}/"), ""),
            (&link, SOFTHSM, not),
            (&format!("{here}/links/libsofthsm2.so"), SOFTHSM, not),
            (&format!("{here}/links/libsofthsm2.so"), &format!("{here}/"), not),
            (&format!("{here}/below/../link.so"), &format!("{here}/"), not),
            // A directory, to look for the name in.
            ("/usr/lib/softhsm", SOFTHSM, ""),
            ("/usr/lib/softhsm/", SOFTHSM, ""),
            (&here, SOFTHSM, "no module called `softhsm2`"),
            ("/usr/lib/softhsm/none.so", "/usr/lib/softhsm/", "there is no module"),
            ("/dev/null", "/dev/", "there is no module"),
        ] {
            let uri = format!(
                "token=keycell;object=two?module-name=softhsm2&module-path={path}&pin-value={PIN}"
            );
            let key = parse(&tokens.file_with(&uri))?;
            let result = key.public_key(&policy(&all, &[allowed])?);
            match expected {
                "" => ensure!(result.is_ok(), "`{path}` with `{allowed}`: {result:?}"),
                expected => {
                    let why = reason(result).with_context(|| format!("`{path}`, `{allowed}`"))?;
                    ensure!(why.contains(expected), "`{path}` with `{allowed}`: {why}");
                }
            }
        }
        Ok(())
    });
    suite.softhsm("a_module_by_its_name", |tokens| {
        let near = tempfile::tempdir()?;
        for file in ["libsofthsm2.a", "libsofthsm2.la", "libsofthsm2x.so"] {
            fs::write(near.path().join(file), "no module")?;
        }
        fs::create_dir(near.path().join("libsofthsm2"))?;
        symlink(SOFTHSM, near.path().join("libsofthsm2.so"))?;
        let here = format!("{}/", near.path().display());
        let gone = format!("{here}none/");
        let none = "no module called";
        for (name, directories, allowed, expected) in [
            ("softhsm2", vec!["/usr/lib/softhsm/"], SOFTHSM, ""),
            ("softhsm2", vec!["/usr/lib//softhsm"], SOFTHSM, ""),
            ("SoftHSM2", vec!["/usr/lib/softhsm/"], SOFTHSM, ""),
            ("libsofthsm2.so", vec!["/usr/lib/softhsm/"], SOFTHSM, ""),
            ("softhsm2", vec![&*gone, &*here], &*here, ""),
            ("softhsm2", vec![&*gone, &*here], SOFTHSM, "is not allowed"),
            ("softhsm", vec!["/usr/lib/softhsm/"], SOFTHSM, none),
            ("../softhsm/libsofthsm2.so", vec!["/usr/lib/softhsm/"], SOFTHSM, none),
            ("/usr/lib/softhsm/libsofthsm2.so", vec!["/usr/lib/softhsm/"], SOFTHSM, none),
            ("softhsm2", vec![], SOFTHSM, "in no directory"),
            ("", vec!["/usr/lib/softhsm/"], SOFTHSM, "the URI names no module"),
        ] {
            let uri = format!("token=keycell;object=two?module-name={name}&pin-value={PIN}");
            let result =
                parse(&tokens.file_with(&uri))?.public_key(&policy(&directories, &[allowed])?);
            match expected {
                "" => ensure!(result.is_ok(), "`{name}` in {directories:?}: {result:?}"),
                expected => {
                    let why =
                        reason(result).with_context(|| format!("`{name}`, {directories:?}"))?;
                    ensure!(why.contains(expected), "`{name}` in {directories:?}: {why}");
                }
            }
        }
        Ok(())
    });
}

/// Modules that are none, hang or crash.
fn misbehaving(suite: &mut Suite) {
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
        ("flood", "the module gave no answer: it ended the process (exit code 101)"),
    ] {
        suite.module(&format!("a_module_that_does_{behaviour}"), move |module| {
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
            let (key, _log) = module.key(behaviour, "right")?;
            let policy = module.policy()?.within(Duration::from_millis(1500));
            let started = Instant::now();
            let why = reason(key.decrypt(&policy, OaepHash::Sha1, b"x"))?;
            ensure!(why.ends_with("gave no answer within 1.5 seconds and was ended"), "{why}");
            let elapsed = started.elapsed();
            ensure!(
                elapsed > Duration::from_secs(1) && elapsed < Duration::from_secs(10),
                "{elapsed:?}"
            );
            let left = processes_with(&format!("KEYCELL_TEST_MODULE={behaviour}"))?;
            ensure!(left == 0, "{left} processes are left");
            Ok(())
        });
    }
    for behaviour in ["print", "crash late", "hang late"] {
        let name = format!("a_module_that_does_{}_is_heard", behaviour.replace(' ', "_"));
        suite.module(&name, move |module| {
            let (key, _log) = module.key(behaviour, "right")?;
            let started = Instant::now();
            let plain = key.decrypt(&module.policy()?, OaepHash::Sha1, b"x").map_err(refused)?;
            ensure!(plain[..] == *b"seven", "{plain:?}");
            ensure!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
            let left = processes_with(&format!("KEYCELL_TEST_MODULE={behaviour}"))?;
            ensure!(left == 0, "{left} processes are left");
            Ok(())
        });
    }
}

/// Key files that came with a payload.
fn strangers(suite: &mut Suite) {
    suite.softhsm("a_strangers_key_has_no_variables", |tokens| {
        let key = tokens.key("token=keycell;object=two")?;
        ensure!(key.public_key(&softhsm_policy()?).is_ok(), "the operator's");
        let key = key.of_a_stranger();
        ensure!(key.shown() == "pkcs11:token=keycell;object=two", "{}", key.shown());
        let why = reason(key.public_key(&softhsm_policy()?))?;
        ensure!(why.contains("no token is called `keycell`"), "{why}");
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
}

/// Files that are key files, and files that are not.
fn files(suite: &mut Suite) {
    suite.case("other_files_are_no_key_files", || {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../ocicrypt/tests/data/keys");
        let mut seen = 0;
        for entry in fs::read_dir(data)? {
            let path = entry?.path();
            if path.is_file() {
                ensure!(TokenKey::parse(&fs::read(&path)?).is_none(), "{}", path.display());
                seen += 1;
            }
        }
        ensure!(seen > 10, "only {seen} key files were there to be tried");
        for other in [
            &b""[..],
            b"\xff\xfepkcs11:\n",
            b"pkcs11",
            b"pkcs11:object=x?pin-value=1234",
            b"see pkcs11: {",
            b"# pkcs11:\nnode: 1\n",
            b"- pkcs11:\n",
            b"'pkcs11: a\n",
            br#"{"kty":"RSA","kid":"pkcs11"}"#,
            b"-----BEGIN PUBLIC KEY-----\npkcs11\n-----END PUBLIC KEY-----\n",
        ] {
            ensure!(TokenKey::parse(other).is_none(), "{}", String::from_utf8_lossy(other));
        }
        Ok(())
    });
    suite.case("damaged_key_files_are_told", || {
        let bomb: String = std::iter::once("pkcs11:\n a0: &a0 [x]\n".to_owned())
            .chain((1..30).map(|i| format!(" a{i}: &a{i} [*a{0}, *a{0}, *a{0}]\n", i - 1)))
            .collect();
        let long = format!("pkcs11:\n uri: pkcs11:object={}\n", "a".repeat(10_000));
        let huge = format!("pkcs11:\n uri: {}\n", "a".repeat(2_000_000));
        let deep = format!("pkcs11:\n uri: {}\n", "[".repeat(500_000));
        let many = format!("pkcs11:\n uri: [{}]\n", "1234,".repeat(100_000));
        let keys = format!("pkcs11:\n{}", "? ".repeat(400_000));
        let lists = format!("pkcs11:\n{}", "- ".repeat(400_000));
        let flow = format!("pkcs11: {}", "{a: ".repeat(200_000));
        let anchors = format!("pkcs11:\n uri: {}\n", "&a ".repeat(300_000));
        for (file, expected) in [
            ("pkcs11:\n", "the key file has no `uri`"),
            ("pkcs11: 1234\n", "the key file has no `uri`"),
            ("pkcs11:\n  uri: [1234]\n", "the key file has no `uri`"),
            ("pkcs11:\n  module-directories: [/1234]\n", "the key file has no `uri`"),
            ("pkcs11:\n  uri: foobar1234\n", "does not begin with `pkcs11:`"),
            ("pkcs11:\n  uri: pkcs11:slot-id=1234x\n", "`slot-id` is not a number"),
            ("pkcs11:\n  uri: pkcs11:object=a?pin-source=1234\n", "`pin-source` is not"),
            ("pkcs11:\n  uri: pkcs11:object=a?pin-source=|1234\n", "`pin-source` is not"),
            ("pkcs11:\n  uri: 'pkcs11:1234\n", "the key file is not YAML"),
            ("pkcs11:\n  uri: pkcs11:object=a\n  uri: 1234\n", "same name twice (line 3)"),
            ("pkcs11: {uri: 'pkcs11:object=a'}\nmodule: 1234\n", "is not a mapping"),
            ("pkcs11: {uri: 'pkcs11:object=a'}\nmodule: {env: [1234]}\n", "is not a mapping"),
            ("pkcs11: {uri: 'pkcs11:object=a'}\nmodule: {env: {A: [1234]}}\n", "not plain text"),
            ("pkcs11: {uri: 'pkcs11:object=a'}\nmodule: {env: {A=1234: b}}\n", "cannot be set"),
            ("pkcs11: {uri: 'pkcs11:object=a'}\nmodule: {env: {'': 1234}}\n", "cannot be set"),
            (
                "pkcs11: {uri: 'pkcs11:object=a'}\nmodule: {env: {A: \"1234\\0\"}}\n",
                "cannot be set",
            ),
            (
                "pkcs11: {uri: 'pkcs11:object=a'}\nmodule: {env: {LD_PRELOAD: /1234}}\n",
                "`LD_PRELOAD`",
            ),
            (
                "pkcs11: {uri: 'pkcs11:object=a'}\nmodule: {env: {GLIBC_TUNABLES: 1234}}\n",
                "`GLIBC_TUNABLES`",
            ),
            (&*bomb, "has an alias (`*`)"),
            (&*long, "longer than 8 KiB"),
            (&*huge, "is larger than 1 MiB"),
            (&*deep, "the key file is not YAML"),
            (&*many, "too many values"),
            (&*keys, "the key file "),
            (&*lists, "nested too deep"),
            (&*flow, "the key file "),
            (&*anchors, "the key file is not YAML"),
        ] {
            let start = &file[..file.len().min(60)];
            let started = Instant::now();
            let Some(Err(Refusal::Failed(why))) = TokenKey::parse(file.as_bytes()) else {
                bail!("`{start}` is taken, or for another file");
            };
            ensure!(why.contains(expected) && !why.contains("1234"), "`{start}`: {why}");
            ensure!(
                started.elapsed() < Duration::from_secs(2),
                "`{start}`: {:?}",
                started.elapsed()
            );
        }
        Ok(())
    });
    suite.case("no_cut_or_flip_of_a_key_file_panics", || {
        let file = b"# a comment\npkcs11:\n  uri: &a \"pkcs11:token=a%20b;id=%01;slot-id=5?\
            pin-value=1234&module-name=b\"\nmodule: {env: {A: 'b', C: |\n  d\n}}\n";
        for end in 0..=file.len() {
            let _ = TokenKey::parse(&file[..end]);
            for byte in [0, b'\n', b'\t', b'&', b'*', b'[', b'{', b'"', b'%', b'!', 0x80, 0xff] {
                let mut flipped = file.to_vec();
                if let Some(at) = flipped.get_mut(end) {
                    *at = byte;
                }
                let _ = TokenKey::parse(&flipped);
            }
        }
        Ok(())
    });
    suite.case("key_files_in_every_form", || {
        let uri = "pkcs11:token=a;object=b";
        for file in [
            format!("pkcs11:\n  uri: {uri}\n"),
            format!("---\npkcs11:\n  uri: {uri}?pin-value=1\n...\n"),
            format!("\u{feff}pkcs11:\n    uri: \"{uri}\"\n"),
            format!("{{\"pkcs11\": {{\"uri\": \"{uri}\"}}, \"module\": {{}}}}"),
            format!("other: 1\npkcs11: {{uri: '{uri}', more: 1}}\nmodule:\n"),
            format!("pkcs11:\r\n  uri: {uri}\r\nmodule:\r\n  env:\r\n    A: 1\r\n    B:\r\n"),
            format!("pkcs11:\n  uri: >-\n    {uri}\n"),
        ] {
            ensure!(parse(&file)?.shown() == uri, "{file}");
        }
        Ok(())
    });
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
        ] {
            let Err(Refusal::Failed(why)) = Policy::parse(yaml) else {
                bail!("{} is taken", String::from_utf8_lossy(yaml));
            };
            ensure!(why.contains(expected), "{why}");
        }
        for yaml in ["", "other: 1", "pkcs11:", "pkcs11: {module-directories: }"] {
            let policy = Policy::parse(yaml.as_bytes()).map_err(refused)?;
            ensure!(policy == Policy::default(), "`{yaml}`");
        }
        Ok(())
    });
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
        let Err(Refusal::Failed(why)) = find(&[missing, ("HOME", "none")]) else {
            bail!("a missing file is not told");
        };
        ensure!(
            why.ends_with(
                "none.conf`, which OCICRYPT_CONFIG names: create it, or correct OCICRYPT_CONFIG"
            ),
            "{why}"
        );
        fs::write(dir.path().join("bad.conf"), "pkcs11: [")?;
        let Err(Refusal::Failed(why)) = find(&[("OCICRYPT_CONFIG", "HERE/bad.conf"), all[1]])
        else {
            bail!("a bad file is passed over");
        };
        ensure!(why.contains("bad.conf`: the configuration is not YAML"), "{why}");
        Ok(())
    });
}

fn opens(key: &TokenKey, policy: &Policy, blob: &[u8]) -> Result<()> {
    let plain = key.decrypt(policy, OaepHash::Sha1, blob).map_err(refused)?;
    ensure!(plain[..] == *SECRET, "another plaintext");
    Ok(())
}

fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow!("{refusal:?}")
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
