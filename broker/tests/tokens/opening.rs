//! Blobs that openssl and Go wrapped.

use std::fs;

use anyhow::{Context, anyhow, ensure};
use base64ct::{Base64, Encoding};
use keycell_broker::tokens::OaepHash;
use serde_json::Value;

use crate::setup::{PIN, SECRET, Suite, opens, parse, reason, refused, softhsm_policy, wrap};

pub(crate) fn cases(suite: &mut Suite) {
    key_files(suite);
    many_processes(suite);
}

fn key_files(suite: &mut Suite) {
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
        let theirs = fs::read(tokens.path("made.der"))?;
        ensure!(public == theirs, "pkcs11-tool exports another public key");
        opens(&key, &softhsm_policy()?, &wrap(&public, "sha1", SECRET)?)
    });
    for writer in ["public key", "token"] {
        let name = format!("opens_what_go_wrapped_with_the_{}", writer.replace(' ', "_"));
        suite.softhsm(&name, move |tokens| {
            let file: Value = serde_json::from_str(include_str!("go.json"))?;
            let recipient = &file[writer]["recipients"][0];
            ensure!(recipient["hash"] == "sha1", "another hash");
            let blob = recipient["blob"].as_str().context("no blob")?;
            let blob = Base64::decode_vec(blob).map_err(|error| anyhow!("{error}"))?;
            let key = tokens.key("token=keycell;object=go")?;
            let plain = key.decrypt(&softhsm_policy()?, OaepHash::Sha1, &blob).map_err(refused)?;
            ensure!(file["plain"].as_str().map(str::as_bytes) == Some(&plain[..]), "another text");
            Ok(())
        });
    }
}

fn many_processes(suite: &mut Suite) {
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
    suite.softhsm("opens_in_many_processes_at_once", |tokens| {
        // SoftHSM hides a token while another process logs in.
        let blob = wrap(&tokens.public_key("two-0102.pem")?, "sha1", SECRET)?;
        let open = || opens(&tokens.key("token=keycell;object=two")?, &softhsm_policy()?, &blob);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })
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
    suite.module("asks_for_oaep_with_either_hash", |module| {
        // CKM_RSA_PKCS_OAEP with CKM_SHA_1 and CKG_MGF1_SHA1, or CKM_SHA256 and CKG_MGF1_SHA256.
        for (hash, expected) in
            [(OaepHash::Sha1, "hash 220 mask 1"), (OaepHash::Sha256, "hash 250 mask 2")]
        {
            let (key, log) = module.key("", "right")?;
            key.decrypt(&module.policy()?, hash, b"x").map_err(refused)?;
            let log = fs::read_to_string(log.path())?;
            let expected = format!("mechanism 9 {expected} source 1 label 0\n");
            ensure!(log.ends_with(&expected), "{log}");
        }
        let (key, _log) = module.key("parameters", "right")?;
        let why = reason(key.decrypt(&module.policy()?, OaepHash::Sha1, b"x"))?;
        ensure!(
            why.ends_with("with SHA-1; have the image encrypted with OCICRYPT_OAEP_HASHALG=sha256"),
            "{why}"
        );
        let why = reason(key.decrypt(&module.policy()?, OaepHash::Sha256, b"x"))?;
        ensure!(
            why.ends_with("with SHA-256; have the image encrypted with OCICRYPT_OAEP_HASHALG=sha1"),
            "{why}"
        );
        Ok(())
    });
}
