//! Failures: one error, and no image is changed.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keycell_tests::layout::{self, layers};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;

use crate::recipients::Made;
use crate::{fails, keycell};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| {
        suite.case(format!("keycell/{name}"), &[Tool::Openssl], run);
    };
    case("killed", killed);
    case("layer-altered", layer_altered);
    case("encrypted-layer-altered", encrypted_layer_altered);
    case("wrong-key", wrong_key);
    case("recipient/of-no-form", || refused("node.pem", &["is not a recipient", "`jwe:FILE`"]));
    case("recipient/of-no-scheme", || refused("age:node.pem", &["`age` is not a scheme"]));
    case("recipient/not-there", || refused("jwe:/nowhere", &["cannot read `/nowhere`"]));
    case("recipient/no-provider", || {
        refused("provider:vault", &["no key provider `vault`", "OCICRYPT_KEYPROVIDER_CONFIG"])
    });
    case("recipient/private-key", || {
        let made = Made::new()?;
        let key = fs::read_dir(made.path("keys"))?.next().context("no key")??.path();
        refused(&format!("jwe:{}", key.display()), &["a private key", "openssl pkey -pubout"])
    });
    case("no-such-layer", || {
        let made = Made::new()?;
        let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
        let command = ["encrypt", &from, &to, "-r", &recipient, "--layer", "7"];
        fails(&mut keycell(&command)?, &["no layer is chosen", "keycell inspect"])?;
        let command = ["encrypt", &from, &to, "-r", &recipient, "--platform", "linux/s390x"];
        fails(&mut keycell(&command)?, &["no layer is chosen", "keycell inspect"])?;
        ensure!(!made.path("new").exists(), "something was left behind");
        Ok(())
    });
    case("nothing-to-decrypt", || {
        let made = Made::new()?;
        let (from, to) = (made.name("plain"), made.name("new"));
        let command = ["decrypt", &from, &to, "--keys", &made.keys()];
        fails(&mut keycell(&command)?, &["no layer of this image is encrypted"])
    });
    case("destination-is-something-else", || {
        let made = Made::new()?;
        let (from, recipient) = (made.name("plain"), made.recipient());
        let to = format!("oci:{}", made.keys());
        let command = ["encrypt", &from, &to, "-r", &recipient, "--platform", "linux/arm64"];
        fails(&mut keycell(&command)?, &["no OCI image layout", "name a directory that is empty"])?;
        ensure!(fs::read_dir(made.path("keys"))?.count() == 1, "something was left behind");
        Ok(())
    });
    case("not-a-layout", || {
        let made = Made::new()?;
        fails(
            &mut keycell(&["inspect", &format!("oci:{}", made.keys())])?,
            &["cannot read", "index.json"],
        )
    });
}

fn refused(recipient: &str, words: &[&str]) -> Result<()> {
    let made = Made::new()?;
    let (from, to) = (made.name("plain"), made.name("new"));
    let mut command = keycell(&["encrypt", &from, &to, "-r", recipient])?;
    fails(command.env_remove("OCICRYPT_KEYPROVIDER_CONFIG"), words)?;
    ensure!(!made.path("new").exists(), "something was left behind");
    Ok(())
}

/// In the middle of a long layer: the source is what it was, and the destination not there.
fn killed() -> Result<()> {
    let made = Made::new()?;
    let large = made.path("plain").join("large");
    let layer = layers(&made.path("plain"))?.swap_remove(0);
    // A blob that never ends: a pipe that stays open.
    let blob = layout::path(&made.path("plain"), &layer)?;
    fs::rename(&blob, &large)?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &blob,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )?;
    let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
    let mut command = keycell(&["encrypt", &from, &to, "-r", &recipient, "--drop-attestations"])?;
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut pipe = fs::File::options().read(true).write(true).open(&blob)?;
    pipe.write_all(&fs::read(&large)?)?;
    sleep(Duration::from_millis(200));
    child.kill()?;
    child.wait()?;
    ensure!(!made.path("new").exists(), "half an image is there");
    drop(pipe);
    fs::rename(&large, &blob)?;
    made.encrypt(&[])?;
    Ok(())
}

fn layer_altered() -> Result<()> {
    let made = Made::new()?;
    let layer = layers(&made.path("plain"))?.swap_remove(1);
    let path = layout::path(&made.path("plain"), &layer)?;
    let mut bytes = fs::read(&path)?;
    bytes[600_000] ^= 1;
    fs::write(&path, bytes)?;
    let (from, to, recipient) = (made.name("plain"), made.name("new"), made.recipient());
    let command = ["encrypt", &from, &to, "-r", &recipient, "--drop-attestations"];
    fails(&mut keycell(&command)?, &["layer 2", "altered"])?;
    ensure!(!made.path("new").exists(), "something was left behind");
    Ok(())
}

fn encrypted_layer_altered() -> Result<()> {
    let made = Made::new()?;
    made.encrypt(&[])?;
    let layer = layers(&made.path("encrypted"))?.swap_remove(1);
    let path = layout::path(&made.path("encrypted"), &layer)?;
    let mut bytes = fs::read(&path)?;
    bytes[600_000] ^= 1;
    fs::write(&path, bytes)?;
    let (from, to) = (made.name("encrypted"), made.name("new"));
    let command = ["decrypt", &from, &to, "--keys", &made.keys()];
    fails(&mut keycell(&command)?, &["layer 2", "altered"])?;
    ensure!(!made.path("new").exists(), "something was left behind");
    Ok(())
}

fn wrong_key() -> Result<()> {
    let (made, stranger) = (Made::new()?, Made::new()?);
    made.encrypt(&[])?;
    let (from, to) = (made.name("encrypted"), made.name("new"));
    let command = ["decrypt", &from, &to, "--keys", &stranger.keys()];
    fails(&mut keycell(&command)?, &["layer 1", "1 key was tried: P-256", "hint: "])?;
    ensure!(!made.path("new").exists(), "something was left behind");
    Ok(())
}
