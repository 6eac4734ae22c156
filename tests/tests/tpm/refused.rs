//! What is said, and what mends it, where a TPM does not unwrap a layer's key.

use std::fs;

use anyhow::{Context, Result, ensure};
use keycell_tests::node::says;
use keycell_tests::suite::Suite;

use crate::setup::{LONG, PIN, SoftTpm, TOOLS, layer};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| {
        suite.case(format!("refused/{name}"), &TOOLS, run);
    };
    case("wrong-pins-until-the-tpm-is-locked-out", locked_out);
    case("locked-out-with-a-password", locked_out_with_a_password);
    case("a-client-never-takes-the-last-try", last_try);
    case("a-client-of-a-tpm-that-does-not-tell", untold);
    case("cleared", cleared);
    case("keys-of-another-tpm", || {
        let (ours, other) = (SoftTpm::with_keys()?, SoftTpm::new()?);
        let store = ours.path("store").display().to_string();
        other.key_file(LONG, &[("TPM2_PKCS11_STORE", &store)])?;
        other.policy(None)?;
        other.refuses(layer()?, &["does not load the token's keys", "another TPM"]).map(drop)
    });
    case("no-room", no_room);
    case("switched-off", || {
        let mut tpm = SoftTpm::with_keys()?;
        tpm.stop()?;
        let device = tpm.path("tpmrm0").display().to_string();
        tpm.refuses(layer()?, &[&format!("the TPM at `{device}` gives no answer")])?;
        tpm.start()?;
        tpm.opens(layer()?)
    });
    case("no-device", || {
        let tpm = SoftTpm::with_keys()?;
        tpm.policy(None)?;
        tpm.key_file(LONG, &[("TPM2_PKCS11_TCTI", "device:/dev/nowhere")])?;
        tpm.refuses(layer()?, &["there is no TPM at `/dev/nowhere`", "`TPM2_PKCS11_TCTI`"])
            .map(drop)
    });
    case("a-device-that-is-no-tpm", || {
        let tpm = SoftTpm::with_keys()?;
        tpm.policy(None)?;
        tpm.key_file(LONG, &[("TPM2_PKCS11_TCTI", "device:/dev/null")])?;
        tpm.refuses(layer()?, &["the TPM at `/dev/null` gives no answer"]).map(drop)
    });
    case("module-files-without-the-device", || {
        let tpm = SoftTpm::with_keys()?;
        tpm.policy(Some(&["store"]))?;
        tpm.refuses(layer()?, &["tpmrm0` cannot be opened: permission denied", "`module-files`"])?;
        tpm.policy(Some(&["tpmrm0", "store"]))?;
        tpm.opens(layer()?)
    });
    case("module-files-without-the-store", || {
        let tpm = SoftTpm::with_keys()?;
        tpm.policy(Some(&["tpmrm0"]))?;
        let words = ["store/tpm2_pkcs11.sqlite3` cannot be opened", "`module-files`"];
        tpm.refuses(layer()?, &words)?;
        // The module makes a lock file beside the store's own file.
        tpm.policy(Some(&["tpmrm0", "store/tpm2_pkcs11.sqlite3"]))?;
        tpm.refuses(layer()?, &["store` cannot be written to", "`module-files`"]).map(drop)
    });
    case("no-store", || {
        let tpm = SoftTpm::with_keys()?;
        tpm.policy(None)?;
        tpm.key_file(LONG, &[("TPM2_PKCS11_STORE", "")])?;
        tpm.refuses(layer()?, &["`TPM2_PKCS11_STORE` is not set", "`module.env`"])?;
        let nowhere = tpm.path("nowhere").display().to_string();
        tpm.key_file(LONG, &[("TPM2_PKCS11_STORE", &nowhere)])?;
        tpm.refuses(layer()?, &[&format!("there is no `{nowhere}/tpm2_pkcs11.sqlite3`")]).map(drop)
    });
}

/// The command in the message that makes the TPM forget wrong PINs.
fn command_in(message: &str) -> Result<String> {
    let start = message.find("`tpm2_dictionarylockout").context("no command in the message")?;
    let command = message[start + 1..].split('`').next().context("no command")?;
    Ok(command.to_owned())
}

/// The TPM of swtpm takes three wrong PINs.
fn locked_out() -> Result<()> {
    let (tpm, layer) = (SoftTpm::with_keys()?, layer()?);
    let locked = "is locked out, because it has counted 3 of 3 wrong PINs";
    tpm.has_pin(false)?;
    tpm.refuses(layer, &["the PIN is wrong", "is locked out after 2 more"])?;
    tpm.refuses(layer, &["the PIN is wrong", "one more locks the TPM at"])?;
    tpm.refuses(layer, &["the PIN is wrong", "now the TPM at", locked])?;
    tpm.has_pin(true)?;
    let message = tpm.refuses(layer, &[locked, "every 1000 seconds"])?;
    ensure!(!message.contains("the PIN is wrong"), "the PIN is right: {message}");
    tpm.shell(&command_in(&message)?)?;
    tpm.opens(layer)
}

fn locked_out_with_a_password() -> Result<()> {
    let (tpm, layer) = (SoftTpm::with_keys()?, layer()?);
    tpm.shell("tpm2_changeauth --object-context lockout secret-word")?;
    tpm.has_pin(false)?;
    (0..3).try_for_each(|_| tpm.refuses(layer, &["the PIN is wrong"]).map(drop))?;
    tpm.has_pin(true)?;
    let message =
        tpm.refuses(layer, &["is locked out", "the password of the lockout hierarchy"])?;
    tpm.shell(&command_in(&message)?.replace("PASSWORD", "secret-word"))?;
    tpm.opens(layer)
}

/// The key file that came with an image.
fn of_client(pin: &str) -> String {
    format!(
        "pkcs11: {{uri: 'pkcs11:token=node;object={LONG}?module-name=tpm2_pkcs11&pin-value={pin}'}}"
    )
}

/// What the log says of a client's key file with this PIN, where the node's own variables lead to the token.
fn tried_by_client(tpm: &SoftTpm, pin: &str, tcti: &str) -> Result<String> {
    let layer = layer()?;
    // The node's own key file leads to no token: only the client's is left.
    tpm.key_file("none", &[])?;
    let payload = layer.payload().parameter("pkcs11-yamls", Some(of_client(pin).as_bytes()));
    let decoder = tpm.decoder(layer)?.payload(payload.bytes());
    let decoder = decoder.env("TPM2_PKCS11_STORE", tpm.path("store")).env("TPM2_PKCS11_TCTI", tcti);
    let log = tpm.path("log");
    let _ = fs::remove_file(&log);
    let outcome = decoder.run()?;
    if outcome.status.success() {
        layer.is_opened_by(&outcome)?;
        return Ok("opened".to_owned());
    }
    says(&outcome, &["pkcs11-yamls[0]"])?;
    let log = fs::read_to_string(&log)?;
    ensure!(!log.contains(pin) && !log.contains(PIN), "the PIN: {log}");
    Ok(log)
}

/// The TPM counts for everybody, and no token says so.
fn last_try() -> Result<()> {
    let tpm = SoftTpm::with_keys()?;
    let device = format!("device:{}", tpm.path("tpmrm0").display());
    ensure!(tried_by_client(&tpm, PIN, &device)? == "opened", "the right PIN of a client");
    for _ in 0..2 {
        let log = tried_by_client(&tpm, "Pin-wrong-secret", &device)?;
        ensure!(log.contains("the PIN is wrong"), "{log}");
    }
    for pin in ["Pin-wrong-secret", PIN] {
        let log = tried_by_client(&tpm, pin, &device)?;
        ensure!(log.contains("one more wrong PIN would lock the TPM at"), "{log}");
    }
    // The node's own PIN is tried.
    tpm.key_file(LONG, &[])?;
    tpm.opens(layer()?)
}

/// Where the TPM cannot be asked, because it is not reached by a device.
fn untold() -> Result<()> {
    let tpm = SoftTpm::with_keys()?;
    tpm.policy(Some(&["swtpm.sock", "swtpm.sock.ctrl", "store"]))?;
    let socket = format!("swtpm:path={}", tpm.path("swtpm.sock").display());
    let log = tried_by_client(&tpm, PIN, &socket)?;
    ensure!(log.contains("does not tell how many tries its PIN has left"), "{log}");
    Ok(())
}

fn cleared() -> Result<()> {
    let (tpm, layer) = (SoftTpm::with_keys()?, layer()?);
    tpm.shell("tpm2_clear")?;
    let words =
        ["does not load the token's keys: it was cleared since they were made", "make a new key"];
    tpm.refuses(layer, &words)?;
    // Others make a new primary key where the token's was.
    tpm.shell(
        "tpm2_createprimary --hierarchy o --key-context primary.ctx\n\
         tpm2_evictcontrol --hierarchy o --object-context primary.ctx 0x81000001",
    )?;
    tpm.refuses(layer, &words).map(drop)
}

/// Without the kernel's resource manager, a program can leave its objects in the TPM.
fn no_room() -> Result<()> {
    let (tpm, layer) = (SoftTpm::with_keys()?, layer()?);
    let socket = format!("swtpm:path={}", tpm.path("swtpm.sock").display());
    let fill = "tpm2_createprimary --hierarchy o --key-algorithm ecc --key-context primary.ctx";
    for _ in 0..3 {
        tpm.shell(&format!("TPM2TOOLS_TCTI={socket} {fill}"))?;
    }
    let message = tpm.refuses(layer, &["has no room for another object"])?;
    let start = message.find("`tpm2_flushcontext").context("no command")?;
    let command = message[start + 1..].split('`').next().context("no command")?;
    tpm.shell(&format!("TPM2TOOLS_TCTI={socket} {command}"))?;
    tpm.opens(layer)
}
