//! Which modules are loaded.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use anyhow::{Context, ensure};
use keycell_broker::Refusal;
use keycell_broker::tokens::{OaepHash, Policy};

use crate::setup::{PIN, SECRET, SOFTHSM, Suite, opens, parse, policy, reason, refused, wrap};

pub(crate) fn cases(suite: &mut Suite) {
    modules_by_path(suite);
    modules_that_others_can_change(suite);
}

fn modules_by_path(suite: &mut Suite) {
    suite.softhsm("without_a_policy_nothing_is_loaded", |tokens| {
        let key = tokens.key("token=keycell;object=two")?;
        for policy in [Policy::default(), policy(&["/usr/lib/softhsm/"], &[])?] {
            let refusal = key.decrypt(&policy, OaepHash::Sha1, &[1; 256]).err();
            ensure!(matches!(refusal, Some(Refusal::NotConfigured)), "{refusal:?}");
            ensure!(matches!(key.public_key(&policy), Err(Refusal::NotConfigured)), "public key");
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
}

fn modules_that_others_can_change(suite: &mut Suite) {
    // A policy allows a place; whoever can change what lies there would be executed.
    suite.softhsm("a_module_that_others_can_change_is_not_loaded", |tokens| {
        type Spoil = fn(&Path) -> std::io::Result<()>;
        let ways: [(Spoil, &str); 6] = [
            (|module| mode(module, 0o777), "can be written to by others"),
            (|module| mode(module, 0o775), "can be written to by others"),
            (
                |module| mode(module.parent().unwrap_or(module), 0o777),
                "can be written to by others",
            ),
            (|module| mode(above(module), 0o777), "can be written to by others"),
            (|module| chown(module, Some(61234), None), "belongs to the user 61234"),
            (|module| chown(above(module), Some(61234), None), "belongs to the user 61234"),
        ];
        for (spoil, expected) in ways {
            let dir = tempfile::tempdir()?;
            let modules = dir.path().join("above/modules");
            fs::create_dir_all(&modules)?;
            let module = modules.join("libsofthsm2.so");
            fs::copy(SOFTHSM, &module)?;
            mode(&module, 0o755)?;
            let here = format!("{}/", modules.display());
            let uri = format!("token=keycell;object=two?module-name=softhsm2&pin-value={PIN}");
            let key = parse(&tokens.file_with(&uri))?;
            let policy = policy(&[&here], &[&here])?;
            ensure!(key.public_key(&policy).is_ok(), "the module is not loaded at all");
            spoil(&module)?;
            let why = reason(key.public_key(&policy))?;
            ensure!(why.contains("is not trusted") && why.contains(expected), "{why}");
            ensure!(why.contains("`chmod go-w ") || why.contains("`chown root "), "{why}");
            ensure!(key.check(&policy).is_err(), "`keycell doctor` would not say so");
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

fn above(module: &Path) -> &Path {
    module.ancestors().nth(2).unwrap_or(module)
}

fn mode(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
