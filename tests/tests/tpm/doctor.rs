//! What `keycell doctor` says of a key in a TPM, and that its hints mend it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::suite::Suite;
use keycell_tests::tools::output;

use crate::setup::{LONG, SoftTpm, TOOLS};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| {
        suite.case(format!("doctor/{name}"), &TOOLS, run);
    };
    case("all-is-well", || {
        let tpm = SoftTpm::with_keys()?;
        let text = doctor(&tpm, 0)?;
        ensure!(!text.contains("PIN in `"), "{text}");
        says(
            &text,
            &[
                "answers, and counted no wrong PIN",
                "ok       the store `",
                "ok       `module-files` lists the TPM's device and the store",
                "ok       token's key `pkcs11:token=node;object=images` through `",
            ],
        )
    });
    case("another-module", || {
        let tpm = SoftTpm::with_keys()?;
        let text = fs::read_to_string(tpm.path("keys/node.yaml"))?;
        tpm.add("keys/node.yaml", &text.replace("tpm2_pkcs11&", "softhsm2&"))?;
        let text = doctor(&tpm, 1)?;
        ensure!(!text.contains("TPM"), "no TPM is used: {text}");
        Ok(())
    });
    case("no-device", || {
        let tpm = SoftTpm::with_keys()?;
        tpm.key_file(LONG, &[("TPM2_PKCS11_TCTI", "device:/dev/nowhere")])?;
        says(&doctor(&tpm, 1)?, &["fails    there is no TPM at `/dev/nowhere`", "firmware"])
    });
    case("switched-off", || {
        let mut tpm = SoftTpm::with_keys()?;
        tpm.stop()?;
        says(&doctor(&tpm, 1)?, &["fails    the TPM at `", "` gives no answer"])
    });
    case("wrong-pins", wrong_pins);
    case("store", store);
    case("pin-file", pin_file);
    case("module-files", module_files);
}

fn wrong_pins() -> Result<()> {
    let tpm = SoftTpm::with_keys()?;
    tpm.has_pin(false)?;
    let layer = crate::setup::layer()?;
    tpm.refuses(layer, &["the PIN is wrong"])?;
    says(&doctor(&tpm, 0)?, &["warning  the TPM at `", "has counted 1 of 3 wrong PINs"])?;
    (0..2).try_for_each(|_| tpm.refuses(layer, &["the PIN is wrong"]).map(drop))?;
    let text = doctor(&tpm, 1)?;
    says(&text, &["fails    the TPM at `", "is locked out: it has counted 3 of 3 wrong PINs"])?;
    tpm.has_pin(true)?;
    tpm.shell(&hinted(&text, "tpm2_dictionarylockout")?)?;
    doctor(&tpm, 0).map(drop)
}

fn store() -> Result<()> {
    let tpm = SoftTpm::with_keys()?;
    tpm.key_file(LONG, &[("TPM2_PKCS11_STORE", "")])?;
    says(&doctor(&tpm, 1)?, &["fails    `TPM2_PKCS11_STORE` is not set", "`module.env`"])?;
    let empty = tpm.path("empty");
    fs::create_dir(&empty)?;
    tpm.policy(Some(&["tpmrm0", "store", "empty"]))?;
    tpm.key_file(LONG, &[("TPM2_PKCS11_STORE", &empty.display().to_string())])?;
    let text = doctor(&tpm, 1)?;
    says(&text, &["fails    there is no `", "empty/tpm2_pkcs11.sqlite3`"])?;
    tpm.shell(&hinted(&text, "tpm2_ptool init")?)?;
    says(&doctor(&tpm, 0)?, &["ok       the store `"])?;
    fs::set_permissions(empty.join("tpm2_pkcs11.sqlite3"), Permissions::from_mode(0o666))?;
    let text = doctor(&tpm, 0)?;
    says(&text, &["warning  `", "so others can change the store"])?;
    tpm.shell(&hinted(&text, "chmod go-w")?)?;
    ensure!(!doctor(&tpm, 0)?.contains("so others can change the store"));
    Ok(())
}

fn pin_file() -> Result<()> {
    let tpm = SoftTpm::with_keys()?;
    fs::set_permissions(tpm.path("pin"), Permissions::from_mode(0o644))?;
    let text = doctor(&tpm, 0)?;
    says(&text, &["warning  others than its owner may read or change the PIN in `"])?;
    tpm.shell(&hinted(&text, "chmod 600")?)?;
    ensure!(!doctor(&tpm, 0)?.contains("the PIN in `"));
    fs::remove_file(tpm.path("pin"))?;
    let text = doctor(&tpm, 1)?;
    says(
        &text,
        &["fails    token's key `pkcs11:token=node;object=images`: the PIN cannot be read"],
    )?;
    let command = hinted(&text, "install -m 600")?;
    tpm.shell(&format!("echo {} | {command}", crate::setup::PIN))?;
    doctor(&tpm, 0)?;
    tpm.opens(crate::setup::layer()?)
}

fn module_files() -> Result<()> {
    let tpm = SoftTpm::with_keys()?;
    tpm.policy(None)?;
    let text = doctor(&tpm, 0)?;
    says(&text, &["warning  the module of the TPM can reach most files"])?;
    let listed = hinted(&text, "module-files:")?;
    let policy = fs::read_to_string(tpm.path("ocicrypt.conf"))?;
    tpm.add("ocicrypt.conf", &format!("{policy}  {listed}\n"))?;
    says(&doctor(&tpm, 0)?, &["ok       `module-files` lists the TPM's device and the store"])?;
    tpm.opens(crate::setup::layer()?)?;
    tpm.policy(Some(&["store"]))?;
    let text = doctor(&tpm, 1)?;
    says(&text, &["fails    `module-files` keeps the module from `", "tpmrm0`, which it needs"])?;
    let listed = hinted(&text, "module-files:")?;
    tpm.add("ocicrypt.conf", &format!("{policy}  {listed}\n"))?;
    doctor(&tpm, 0)?;
    tpm.opens(crate::setup::layer()?)
}

/// The command in a hint that begins with these words.
fn hinted(text: &str, words: &str) -> Result<String> {
    let hints = text.lines().filter(|line| line.trim_start().starts_with("hint: "));
    let command = hints.flat_map(|line| line.split('`')).find(|part| part.starts_with(words));
    Ok(command.with_context(|| format!("no hint `{words}`: {text}"))?.to_owned())
}

/// Runs `keycell doctor` on a node with this TPM. It exits with `code`.
fn doctor(tpm: &SoftTpm, code: i32) -> Result<String> {
    let mut config = Command::new(keycell_tests::dist("keycell")?);
    config.args(["config", "containerd", "--version", "1.7", "--keys"]).arg(tpm.path("keys"));
    config.arg("--decoder").arg(keycell_tests::dist("ctd-decoder")?);
    let text = String::from_utf8(output(&mut config)?)?;
    let policy = format!("env = [\"OCICRYPT_CONFIG={}\", ", tpm.path("ocicrypt.conf").display());
    let shown = tpm.path("").display().to_string();
    let places = format!(
        "root = \"{shown}root\"\nstate = \"{shown}state-of-containerd\"\n\
         [grpc]\n  address = \"{shown}containerd.sock\"\n"
    );
    let text = text.replacen("\n\n", &format!("\n{places}\n"), 1).replace("env = [", &policy);
    tpm.add("config.toml", &text)?;
    let mut doctor = Command::new(keycell_tests::dist("keycell")?);
    doctor.args(["doctor", "--containerd", "/nowhere/containerd", "--config"]);
    let output = doctor.arg(tpm.path("config.toml")).output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(code), "{}: {text}", output.status);
    ensure!(!text.contains(crate::setup::PIN), "the PIN: {text}");
    Ok(text)
}

fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "nothing of `{word}`: {text}");
    }
    Ok(())
}
