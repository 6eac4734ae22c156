//! Which modules are loaded.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, ensure};
use keycell_broker::Refusal;
use keycell_broker::tokens::{OaepHash, Policy};

use crate::setup::{PIN, SECRET, SOFTHSM, Suite, opens, parse, policy, reason, refused, wrap};

pub(crate) fn cases(suite: &mut Suite) {
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
