//! Project Wycheproof's vectors for the primitives, a named case each, through the functions that
//! JWE and PKCS#7 use.

#![allow(clippy::unwrap_used)]

use getrandom::SysRng;
use libtest_mimic::{Arguments, Failed, Trial};
use ocicrypt::hazmat::{self, unwrap_aes_key};
use ocicrypt::keys::{OaepHash, PrivateKey};
use wycheproof::{TestResult, ecdh, keywrap, rsa_oaep, rsa_pkcs1_decrypt};

fn main() {
    let arguments = Arguments::from_args();
    let trials =
        [rsa_oaep_trials(), rsa_pkcs1_trials(), ecdh_trials(), key_wrap_trials()].concat_trials();
    libtest_mimic::run(&arguments, trials).exit();
}

trait Concat {
    fn concat_trials(self) -> Vec<Trial>;
}

impl<const N: usize> Concat for [Vec<Trial>; N] {
    fn concat_trials(self) -> Vec<Trial> {
        self.into_iter().flatten().collect()
    }
}

fn rsa_oaep_trials() -> Vec<Trial> {
    use rsa_oaep::TestName;
    let sets = [
        (TestName::Rsa2048Sha1Mgf1Sha1, OaepHash::Sha1, OaepHash::Sha1),
        (TestName::Rsa2048Sha224Mgf1Sha1, OaepHash::Sha224, OaepHash::Sha1),
        (TestName::Rsa2048Sha224Mgf1Sha224, OaepHash::Sha224, OaepHash::Sha224),
        (TestName::Rsa2048Sha256Mgf1Sha1, OaepHash::Sha256, OaepHash::Sha1),
        (TestName::Rsa2048Sha256Mgf1Sha256, OaepHash::Sha256, OaepHash::Sha256),
        (TestName::Rsa2048Sha384Mgf1Sha1, OaepHash::Sha384, OaepHash::Sha1),
        (TestName::Rsa2048Sha384Mgf1Sha384, OaepHash::Sha384, OaepHash::Sha384),
        (TestName::Rsa2048Sha512Mgf1Sha1, OaepHash::Sha512, OaepHash::Sha1),
        (TestName::Rsa2048Sha512Mgf1Sha512, OaepHash::Sha512, OaepHash::Sha512),
        (TestName::Rsa3072Sha256Mgf1Sha256, OaepHash::Sha256, OaepHash::Sha256),
        (TestName::Rsa4096Sha256Mgf1Sha256, OaepHash::Sha256, OaepHash::Sha256),
    ];
    let mut trials = Vec::new();
    for (name, hash, mask) in sets {
        for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
            let (pkcs8, size) = (group.pkcs8.to_vec(), group.key_size);
            for test in group.tests {
                let pkcs8 = pkcs8.clone();
                let shown = format!("RSA-{size} OAEP {} MGF1 {}", hash.name(), mask.name());
                let name = format!("{shown} {} {}", test.tc_id, test.comment);
                trials.push(Trial::test(name, move || {
                    let parsed = PrivateKey::parse(&pkcs8, None);
                    let Some(key) = parsed.keys.first().and_then(PrivateKey::as_rsa) else {
                        return Err(format!("the key was refused: {:?}", parsed.refused).into());
                    };
                    let found = hazmat::decrypt_oaep(key, hash, mask, &test.ct, &mut SysRng).ok();
                    // The format has no labels: what was encrypted with one must not open.
                    let must = test.result != TestResult::Invalid && test.label.is_empty();
                    compare(found.as_deref().map(Vec::as_slice), must.then_some(&test.pt[..]))
                }));
            }
        }
    }
    trials
}

fn rsa_pkcs1_trials() -> Vec<Trial> {
    use rsa_pkcs1_decrypt::TestName;
    let mut trials = Vec::new();
    for name in [TestName::Rsa2048, TestName::Rsa3072, TestName::Rsa4096] {
        for group in rsa_pkcs1_decrypt::TestSet::load(name).unwrap().test_groups {
            let (pkcs8, size) = (group.pkcs8.to_vec(), group.key_size);
            for test in group.tests {
                let pkcs8 = pkcs8.clone();
                let name = format!("RSA-{size} PKCS1v1.5 {} {}", test.tc_id, test.comment);
                trials.push(Trial::test(name, move || {
                    let parsed = PrivateKey::parse(&pkcs8, None);
                    let Some(key) = parsed.keys.first().and_then(PrivateKey::as_rsa) else {
                        return Err(format!("the key was refused: {:?}", parsed.refused).into());
                    };
                    // Bad padding does not show: something comes out, but the same every time and
                    // nothing that depends on what was encrypted.
                    let decrypt =
                        |length| hazmat::decrypt_pkcs1v15(key, length, &test.ct, &mut SysRng).ok();
                    let found = decrypt(test.pt.len());
                    if test.result != TestResult::Invalid {
                        return compare(found.as_deref().map(Vec::as_slice), Some(&test.pt[..]));
                    }
                    let well_sized = test.ct.len() == key.size();
                    let [once, again] = [decrypt(16), decrypt(16)];
                    let same = once == again && (once.is_none() || well_sized);
                    same.then_some(()).ok_or_else(|| "the padding shows".into())
                }));
            }
        }
    }
    trials
}

fn ecdh_trials() -> Vec<Trial> {
    use ecdh::TestName;
    let sets = [
        (TestName::EcdhSecp256r1Ecpoint, "P-256"),
        (TestName::EcdhSecp384r1Ecpoint, "P-384"),
        (TestName::EcdhSecp521r1Ecpoint, "P-521"),
    ];
    let mut trials = Vec::new();
    for (name, curve) in sets {
        for group in ecdh::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let name = format!("ECDH {curve} {} {}", test.tc_id, test.comment);
                trials.push(Trial::test(name, move || {
                    let found = agree(curve, &test.private_key, &test.public_key)?;
                    // JWE has coordinates, so only uncompressed points can be asked for.
                    let must =
                        test.result != TestResult::Invalid && test.public_key.first() == Some(&4);
                    let wanted = must.then_some(&test.shared_secret[..]);
                    compare(found.as_deref(), wanted)
                }));
            }
        }
    }
    trials
}

fn agree(curve: &str, private: &[u8], public: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
    use base64ct::Encoding;
    let d = base64ct::Base64UrlUnpadded::encode_string(private);
    let jwk = format!(r#"{{"kty":"EC","crv":"{curve}","d":"{d}"}}"#);
    let parsed = PrivateKey::parse(jwk.as_bytes(), None);
    let Some((&4, point)) = public.split_first() else { return Ok(None) };
    if point.len() % 2 != 0 {
        return Ok(None);
    }
    let (x, y) = point.split_at(point.len() / 2);
    let shared = match parsed.keys.first() {
        Some(key) => hazmat::agree(key, x, y),
        None => return Err(format!("the key was refused: {:?}", parsed.refused).into()),
    };
    Ok(shared.map(|shared| shared.to_vec()))
}

fn key_wrap_trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    let set = keywrap::TestSet::load(keywrap::TestName::AesKeyWrap).unwrap();
    for group in set.test_groups {
        for test in group.tests {
            let name = format!("AES key wrap {} {}", test.tc_id, test.comment);
            trials.push(Trial::test(name, move || {
                let found = unwrap_aes_key(&test.key, &test.ct);
                if test.result == TestResult::Acceptable && found.is_none() {
                    return Ok(()); // a key of 8 bytes, which RFC 3394 does not wrap
                }
                let must = test.result != TestResult::Invalid;
                compare(found.as_deref().map(Vec::as_slice), must.then_some(&test.pt[..]))
            }));
        }
    }
    trials
}

fn compare(found: Option<&[u8]>, wanted: Option<&[u8]>) -> Result<(), Failed> {
    match (found, wanted) {
        (Some(found), Some(wanted)) if found == wanted => Ok(()),
        (None, None) => Ok(()),
        (Some(_), Some(_)) => Err("another result came out".into()),
        (Some(_), None) => Err("it was accepted".into()),
        (None, Some(_)) => Err("it was refused".into()),
    }
}
