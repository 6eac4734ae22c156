//! Wrapped keys from every writer that operators use, in every form that these write, for every
//! kind of key that a node keeps: each opened by the decoder, called as containerd calls it, and
//! the layer compared byte for byte.
//!
//! | module | writer | what is varied |
//! |---|---|---|
//! | [`skopeo`] | skopeo (the original) | images with `pkcs7:` and `pgp:`, several schemes in one image |
//! | [`cms`] | `openssl cms -encrypt` | encodings, content ciphers, key transports, recipients, certificates |
//! | [`gnupg`] | `gpg --encrypt` | ciphers, compressions, packets, recipients, secret key rings |
//! | [`jwcrypto`] | Python's jwcrypto | algorithms, encryptions, serializations, curves |
//! | [`ours`] | the crate `ocicrypt` | schemes and keys |
//! | [`key_files`] | openssl, jwcrypto | files with private keys, and their passwords |

mod cms;
mod fixture;
mod gnupg;
mod jwcrypto;
mod key_files;
mod own_encryption;
mod skopeo;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;

use fixture::Fixture;

fn main() -> ExitCode {
    let mut cases = Cases { suite: Suite::from_args(), fixture: Arc::default() };
    skopeo::add(&mut cases);
    cms::add(&mut cases);
    gnupg::add(&mut cases);
    jwcrypto::add(&mut cases);
    key_files::add(&mut cases);
    own_encryption::add(&mut cases);
    let Cases { suite, fixture } = cases;
    let outcome = suite.run();
    if let Some(fixture) = Arc::into_inner(fixture) {
        drop(fixture);
    }
    outcome
}

/// Cases that share what writers made.
struct Cases {
    suite: Suite,
    fixture: Arc<Fixture>,
}

impl Cases {
    fn case<F>(&mut self, name: impl Into<String>, needs: &[Tool], run: F)
    where
        F: FnOnce(&Fixture) -> Result<()> + Send + 'static,
    {
        let fixture = self.fixture.clone();
        self.suite.case(name, needs, move || run(&fixture));
    }
}
