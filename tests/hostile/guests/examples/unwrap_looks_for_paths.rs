//! Asks key providers and tokens in all ways, and looks for a path, the name of a library or the words
//! of a provider in what they answer.

use keycell_hostile_guests::{
    Failure, Fixture, LayerKey, OaepHash, Report, Request, TokenKey, fixture, found, providers,
    tokens,
};

struct LooksForPaths;

/// Names of providers: of those that are configured, and others.
const NAMES: [&str; 7] = ["plain", "prints", "absent", "remote", "none", "../plain", ""];

/// Key files as a client would send them: modules that the node has and that it has not, by their name
/// and by their path, files for a PIN, and what is no key file.
const GIVEN: [&str; 10] = [
    "pkcs11: {uri: 'pkcs11:token=a;object=b?module-name=softhsm2&pin-value=1'}",
    "pkcs11: {uri: 'pkcs11:token=node;object=images?module-name=softhsm2&pin-value=1'}",
    "pkcs11: {uri: 'pkcs11:token=a;object=b?module-name=libz&pin-value=1'}",
    "pkcs11: {uri: 'pkcs11:token=a;object=b?module-name=libc&pin-value=1'}",
    "pkcs11: {uri: 'pkcs11:token=a;object=b?module-name=nosuch&pin-value=1'}",
    "pkcs11: {uri: 'pkcs11:token=a;object=b?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-value=1'}",
    "pkcs11: {uri: 'pkcs11:token=a;object=b?module-name=softhsm2&pin-source=/etc/passwd'}",
    "pkcs11: {uri: 'pkcs11:token=a;object=b?module-name=softhsm2'}",
    "pkcs11: {uri: 1}",
    "",
];

impl Fixture for LooksForPaths {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        let blob = [7; 256];
        let keys = tokens::keys();
        let mut answers: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
        for index in (0..keys.len() as u32).chain([u32::MAX]) {
            let key = TokenKey::Configured(index);
            answers.push(format!("{:?}", tokens::decrypt(&key, OaepHash::Sha1, &blob)));
        }
        let given = GIVEN.map(|file| {
            let key = TokenKey::Given(file.as_bytes().to_vec());
            format!("{:?}", tokens::decrypt(&key, OaepHash::Sha1, &blob))
        });
        let unlike = given.iter().filter(|answer| **answer != given[0]);
        report.attempt("a difference", found(unlike));
        answers.extend(given);
        answers.extend(NAMES.map(|name| format!("{:?}", providers::unwrap(name, b"wrapped", &[]))));
        let words = ["/", ".so", "lib", "nowhere", "pin", "Pin", "module"];
        let telling = |answer: &&String| words.iter().any(|word| answer.contains(word));
        report.attempt("a path", found(answers.iter().filter(telling)));
        report.attempt("answers", Err::<(), _>(answers.len()));
        Err(Failure { refusals: (1..=3).collect(), ..report.failure() })
    }
}

fixture!(LooksForPaths);
