//! Files that are key files, and files that are not.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use keycell_broker::tokens::TokenKey;

use crate::setup::{Suite, parse};

pub(crate) fn cases(suite: &mut Suite) {
    files_that_are_no_key_files(suite);
    damaged_files(suite);
    altered_files(suite);
}

fn files_that_are_no_key_files(suite: &mut Suite) {
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
}

fn damaged_files(suite: &mut Suite) {
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
            let Some(Err(error)) = TokenKey::parse(file.as_bytes()) else {
                bail!("`{start}` is taken, or for another file");
            };
            let why = error.to_string();
            ensure!(why.contains(expected) && !why.contains("1234"), "`{start}`: {why}");
            ensure!(
                started.elapsed() < Duration::from_secs(2),
                "`{start}`: {:?}",
                started.elapsed()
            );
        }
        Ok(())
    });
}

fn altered_files(suite: &mut Suite) {
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
}
