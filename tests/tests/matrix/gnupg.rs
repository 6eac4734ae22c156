//! Wrapped keys in OpenPGP as `gpg --encrypt` writes them, and the key rings that it exports.

use anyhow::Result;
use keycell_tests::gpg::Source;
use keycell_tests::sealed::PGP_KEYS;
use keycell_tests::tools::Tool;

use crate::Cases;
use crate::fixture::Fixture;

const NEEDS: [Tool; 1] = [Tool::Gpg];

/// What locks the keys whose names begin with `locked-`.
pub(crate) const PASSWORD: &str = "correct horse";

/// The keys, each for one start of gpg. Keys are `NAME@keycell.test`. skopeo cannot use curves, nor
/// the RSA key that comes right before one in a ring, so that they come first.
pub(crate) const PARAMETERS: [&str; 2] =
    [include_str!("../../data/gpg-keys/curves"), include_str!("../../data/gpg-keys/rsa")];

/// The names of those that are not locked.
const KEYS: [&str; 7] =
    ["rsa2048", "rsa3072", "rsa4096", "cv25519", "nistp256", "nistp384", "nistp521"];

const LOCKED: [&str; 3] = ["locked-rsa2048", "locked-cv25519", "locked-nistp256"];

pub(crate) fn add(cases: &mut Cases) {
    for key in ["rsa2048", "cv25519", "nistp256"] {
        for cipher in ["AES", "AES192", "AES256", "3DES", "CAST5"] {
            for compression in ["none", "zip", "zlib"] {
                for from in ["file", "pipe"] {
                    let name = format!("gpg/{key}/{cipher}/{compression}/{from}");
                    cases.case(name, &NEEDS, move |fixture| {
                        let options = ["--cipher-algo", cipher, "--compress-algo", compression];
                        let message = encrypt(fixture, &options, &[key], from == "pipe")?;
                        let ring = secret(fixture, key, false)?;
                        fixture.opens(PGP_KEYS, &[message], &[("ring.gpg", ring)])
                    });
                }
            }
        }
    }
    for key in KEYS {
        for hidden in [false, true] {
            for armored in [false, true] {
                let options: &[&str] = if hidden { &["--throw-keyids"] } else { &[] };
                let who = if hidden { "hidden" } else { "named" };
                let form = if armored { "armored" } else { "binary" };
                cases.case(format!("gpg/{key}/{who}/{form}"), &NEEDS, move |fixture| {
                    let message = encrypt(fixture, options, &[key], false)?;
                    let ring = secret(fixture, key, armored)?;
                    fixture.opens(PGP_KEYS, &[message], &[("ring", ring)])
                });
            }
        }
    }
    // GnuPG's defaults of long ago: other packets' headers, other preferences.
    cases.case("gpg/rfc4880", &NEEDS, |fixture| {
        let message = encrypt(fixture, &["--rfc4880"], &["rsa2048"], true)?;
        let ring = secret(fixture, "rsa2048", false)?;
        fixture.opens(PGP_KEYS, &[message], &[("ring.gpg", ring)])
    });
    locked(cases);
    recipients(cases);
}

/// Key rings with passwords, and where these may be.
fn locked(cases: &mut Cases) {
    for key in LOCKED {
        for armored in [false, true] {
            let form = if armored { "armored" } else { "binary" };
            for suffix in ["pass", "password"] {
                cases.case(format!("gpg/{key}/{form}/{suffix}"), &NEEDS, move |fixture| {
                    let message = encrypt(fixture, &[], &[key], false)?;
                    let ring = secret(fixture, key, armored)?;
                    let password = format!("{PASSWORD}\n").into_bytes();
                    let files = [("ring", ring), (&*format!("ring.{suffix}"), password)];
                    fixture.opens(PGP_KEYS, &[message], &files)
                });
            }
            cases.case(format!("gpg/{key}/{form}/payload"), &NEEDS, move |fixture| {
                let message = encrypt(fixture, &[], &[key], false)?;
                let ring = secret(fixture, key, armored)?;
                let payload = fixture.sealed.payload_with(PGP_KEYS, &[message]);
                let payload = payload.parameter("gpg-privatekeys", Some(&ring));
                let payload =
                    payload.parameter("gpg-privatekeys-passwords", Some(PASSWORD.as_bytes()));
                fixture.opens_with(&payload, &[])
            });
        }
    }
    cases.case("gpg/payload-without-password", &NEEDS, |fixture| {
        let message = encrypt(fixture, &[], &["cv25519"], false)?;
        let ring = secret(fixture, "cv25519", false)?;
        let payload = fixture.sealed.payload_with(PGP_KEYS, &[message]);
        let payload = payload.parameter("gpg-privatekeys", Some(&ring));
        fixture.opens_with(&payload.parameter("gpg-privatekeys-passwords", None), &[])
    });
    // Hidden, so that the locked key is tried, too; it has no password.
    cases.case("gpg/beside-a-locked-key", &NEEDS, |fixture| {
        let message = encrypt(fixture, &["--throw-keyids"], &["cv25519"], false)?;
        let files = [
            ("a.gpg", secret(fixture, "locked-cv25519", false)?),
            ("b.gpg", secret(fixture, "cv25519", false)?),
        ];
        fixture.opens(PGP_KEYS, &[message], &files)
    });
}

/// Several recipients of one message: each of their keys opens it.
fn recipients(cases: &mut Cases) {
    const SEVERAL: [&str; 4] = ["rsa3072", "nistp521", "cv25519", "rsa2048"];
    for (who, options) in [("named", &[] as &[&str]), ("hidden", &["--throw-keyids"])] {
        for key in SEVERAL {
            cases.case(format!("gpg/several-{who}/{key}"), &NEEDS, move |fixture| {
                let make = || encrypt(fixture, options, &SEVERAL, false);
                let message = fixture.files.get_or_make(format!("several-{who}.pgp"), make)?;
                let ring = secret(fixture, key, false)?;
                fixture.opens(PGP_KEYS, &[&*message], &[("ring.gpg", ring)])
            });
        }
        // A ring with every key there is: only the fitting one counts.
        cases.case(format!("gpg/whole-ring/{who}"), &NEEDS, move |fixture| {
            let message = encrypt(fixture, options, &["nistp384"], false)?;
            let mut ring = Vec::new();
            for key in KEYS {
                ring.extend(secret(fixture, key, false)?);
            }
            fixture.opens(PGP_KEYS, &[message], &[("ring.gpg", ring)])
        });
    }
    cases.case("gpg/two-armored-blocks-with-words", &NEEDS, |fixture| {
        let message = encrypt(fixture, &[], &["cv25519"], false)?;
        let mut file = b"The first of two keys:\n".to_vec();
        file.extend(secret(fixture, "nistp256", true)?);
        file.extend(b"\r\nand the second\r\n");
        file.extend(secret(fixture, "cv25519", true)?);
        fixture.opens(PGP_KEYS, &[message], &[("keys.asc", file)])
    });
    cases.case("gpg/item-after-one-for-others", &NEEDS, |fixture| {
        let other = encrypt(fixture, &[], &["rsa3072"], false)?;
        let ours = encrypt(fixture, &[], &["cv25519"], false)?;
        let ring = secret(fixture, "cv25519", false)?;
        fixture.opens(PGP_KEYS, &[b"hello".to_vec(), other, ours], &[("ring.gpg", ring)])
    });
}

/// The private options, encrypted for these keys.
fn encrypt(fixture: &Fixture, options: &[&str], to: &[&str], pipe: bool) -> Result<Vec<u8>> {
    let gpg = fixture.gpg()?;
    let users: Vec<_> = to.iter().map(|name| format!("{name}@keycell.test")).collect();
    let recipients = users.iter().flat_map(|user| ["--recipient", user]);
    let args: Vec<_> = options.iter().copied().chain(recipients).collect();
    let path = fixture.options()?;
    let options = fixture.sealed.private.to_string();
    gpg.encrypt(&args, if pipe { Source::Pipe(options.as_bytes()) } else { Source::File(&path) })
}

/// The secret key ring with one key.
pub(crate) fn secret(fixture: &Fixture, name: &str, armored: bool) -> Result<Vec<u8>> {
    let gpg = fixture.gpg()?;
    let make = || {
        let user = format!("{name}@keycell.test");
        let form = if armored { "--armor" } else { "--no-armor" };
        gpg.run(&["--passphrase", PASSWORD, form, "--export-secret-keys", &user])
    };
    Ok(fixture.files.get_or_make(format!("{name}.{armored}.gpg"), make)?.to_vec())
}
