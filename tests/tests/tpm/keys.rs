//! Layers whose key a TPM unwraps.

use std::thread;

use anyhow::{Result, anyhow};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;

use crate::abrmd::Abrmd;
use crate::setup::{LONG, SHORT, SoftTpm, TOOLS, layer, short_layer};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| {
        suite.case(format!("key/{name}"), &TOOLS, run);
    };
    case("of-3072-bits-with-sha-256", || {
        let tpm = SoftTpm::with_keys()?;
        tpm.opens(layer()?)
    });
    case("of-2048-bits-with-sha-1", || {
        let tpm = SoftTpm::with_keys()?;
        tpm.key_file(SHORT, &[])?;
        tpm.opens(short_layer()?)
    });
    case("without-module-files", || {
        let tpm = SoftTpm::with_keys()?;
        tpm.policy(None)?;
        tpm.opens(layer()?)
    });
    case("after-the-tpm-has-restarted", || {
        let mut tpm = SoftTpm::with_keys()?;
        tpm.opens(layer()?)?;
        tpm.stop()?;
        tpm.start()?;
        tpm.opens(layer()?)
    });
    case("through-a-socket", through_a_socket);
    case("that-is-not-the-layers", || {
        let tpm = SoftTpm::with_keys()?;
        let why = "the key in the token does not open it: it was wrapped for another key";
        tpm.refuses(short_layer()?, &[why]).map(drop)
    });
    let needs = [&TOOLS[..], &[Tool::Tpm2Abrmd, Tool::DbusDaemon]].concat();
    suite.case("key/through-tpm2-abrmd-by-several-decoders-at-once", &needs, at_once);
}

/// Without a resource manager, and so for one program at a time.
fn through_a_socket() -> Result<()> {
    let tpm = SoftTpm::with_keys()?;
    let socket = format!("swtpm:path={}", tpm.path("swtpm.sock").display());
    tpm.key_file(LONG, &[("TPM2_PKCS11_TCTI", &socket)])?;
    tpm.policy(Some(&["swtpm.sock", "swtpm.sock.ctrl", "store"]))?;
    tpm.opens(layer()?)
}

/// The resource manager keeps the objects of the modules apart, and the store has a lock.
fn at_once() -> Result<()> {
    let tpm = SoftTpm::with_keys()?;
    let manager = Abrmd::start(&tpm)?;
    tpm.key_file(LONG, &[("TPM2_PKCS11_TCTI", Abrmd::TCTI), manager.variable()])?;
    tpm.policy(Some(&["bus", "store"]))?;
    let layer = layer()?;
    let decoder = tpm.decoder(layer)?;
    thread::scope(|scope| {
        let runs = [(); 6].map(|()| scope.spawn(|| layer.is_opened_by(&decoder.clone().run()?)));
        runs.into_iter().try_for_each(|run| run.join().map_err(|_| anyhow!("a panic"))?)
    })
}
