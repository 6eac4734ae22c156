//! Keys of layers that Clevis wraps: a real Tang server and a software TPM, through the real decoder and
//! its broker, behind the walls of `files`.

mod page;
mod setup;

use std::net::TcpListener;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use base64ct::{Base64, Encoding};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use serde_json::json;

use crate::setup::{Here, TOOLS, Tang, Tpm, says};

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    let tpm = [&TOOLS[..], &[Tool::Swtpm, Tool::Tpm2Tools, Tool::ClevisTpm2]].concat();
    suite.case("tang/opens", &TOOLS, tang_opens);
    suite.case("tang/away", &TOOLS, tang_away);
    suite.case("tang/keys-gone", &TOOLS, tang_keys_gone);
    suite.case("tang/not-allowed", &TOOLS, tang_not_allowed);
    suite.case("tang/not-json", &TOOLS, || tang_lies(Some("HTTP/1.0 200 OK\r\n\r\n<html>")));
    suite.case("tang/not-a-key", &TOOLS, || tang_lies(Some("HTTP/1.0 200 OK\r\n\r\n{}")));
    suite.case("tang/hangs", &TOOLS, || tang_lies(None));
    suite.case("tang/thumbprint-of-another", &TOOLS, thumbprint_of_another);
    suite.case("recipient/unusable", &TOOLS, unusable_recipients);
    suite.case("tpm2/opens", &tpm, tpm_opens);
    suite.case("tpm2/wrong-pcr", &tpm, tpm_wrong_pcr);
    suite.case("tpm2/another-tpm", &tpm, another_tpm);
    suite.case("tpm2/not-allowed", &tpm, tpm_not_allowed);
    suite.case("sss/two-of-three", &TOOLS, two_of_three);
    suite.case("sss/one-not-allowed", &TOOLS, one_not_allowed);
    suite.case("page", &TOOLS, page::commands_of_the_page);
    suite.run()
}

fn tang_opens() -> Result<()> {
    let tang = Tang::new()?;
    let here = Here::new(&[&tang], false, None)?;
    here.encrypt(&tang.recipient())?;
    here.opens()?;
    // As skopeo needs it, which takes recipients apart at commas.
    let config = Base64::encode_string(tang.config().to_string().as_bytes());
    here.encrypt(&format!("tang:{config}"))?;
    here.opens()
}

fn tang_away() -> Result<()> {
    let mut tang = Tang::new()?;
    let here = Here::new(&[&tang], false, None)?;
    here.encrypt(&tang.recipient())?;
    tang.stop();
    says(&here.refused()?, &["Error communicating with server", &tang.url(), "is the Tang server"])
}

fn tang_keys_gone() -> Result<()> {
    let tang = Tang::new()?;
    let here = Here::new(&[&tang], false, None)?;
    here.encrypt(&tang.recipient())?;
    tang.replace_keys()?;
    says(&here.refused()?, &["Error communicating with server", "are the keys that it had"])
}

fn tang_not_allowed() -> Result<()> {
    let (tang, other) = (Tang::new()?, Tang::new()?);
    let here = Here::new(&[&other], false, None)?;
    here.encrypt(&tang.recipient())?;
    let asked = tang.requests()?;
    let refused = format!("the image asks for the Tang server '{}'", tang.url());
    says(&here.refused()?, &[&refused, "--tang"])?;
    ensure!(tang.requests()? == asked, "the server was asked");
    Ok(())
}

/// A server that answers anything but Tang's answer, or nothing until the provider's time is over.
fn tang_lies(answer: Option<&'static str>) -> Result<()> {
    let mut tang = Tang::new()?;
    let here = Here::new(&[&tang], false, None)?;
    here.encrypt(&tang.recipient())?;
    tang.stop();
    let listener = TcpListener::bind(("127.0.0.1", tang.port))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            match answer {
                Some(answer) => {
                    let mut request = [0; 4096];
                    let _ = std::io::Read::read(&mut stream, &mut request);
                    let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
                }
                None => thread::sleep(Duration::from_secs(120)),
            }
        }
    });
    match answer {
        Some(_) => says(&here.refused()?, &["'clevis decrypt' failed", "is the Tang server"]),
        None => says(&here.refused()?, &["did not answer within", "and was killed"]),
    }
}

fn thumbprint_of_another() -> Result<()> {
    let (tang, other) = (Tang::new()?, Tang::new()?);
    let here = Here::new(&[&tang], false, None)?;
    let config = json!({"url": tang.url(), "thp": other.thumbprint()});
    let why = here.not_encrypted(&format!("tang:{config}"))?;
    // Tang itself has no advertisement that this key has signed.
    ensure!(why.contains("Unable to fetch advertisement"), "{why}");
    Ok(())
}

fn unusable_recipients() -> Result<()> {
    let tang = Tang::new()?;
    let here = Here::new(&[&tang], false, None)?;
    let untrusted = format!("tang:{}", json!({"url": tang.url()}));
    for (recipient, words) in [
        (untrusted.as_str(), "does not say which keys of the Tang server"),
        ("null:{}", "has no pin 'tang', 'tpm2' or 'sss'"),
        ("tang:x", "has no pin 'tang', 'tpm2' or 'sss'"),
    ] {
        let why = here.not_encrypted(recipient)?;
        ensure!(why.contains(words), "`{recipient}`: {why}");
    }
    Ok(())
}

/// The recipient whom the TPM serves with this value of a PCR.
const PCR: &str = r#"tpm2:{"pcr_bank":"sha256","pcr_ids":"7"}"#;

fn tpm_opens() -> Result<()> {
    let tpm = Tpm::new()?;
    let here = Here::new(&[], true, Some(&tpm))?;
    here.encrypt(PCR)?;
    here.opens()
}

fn tpm_wrong_pcr() -> Result<()> {
    let tpm = Tpm::new()?;
    let here = Here::new(&[], true, Some(&tpm))?;
    here.encrypt(PCR)?;
    tpm.extend(7)?;
    says(&here.refused()?, &["a policy check failed", "with the same PCR values"])
}

fn another_tpm() -> Result<()> {
    let (tpm, other) = (Tpm::new()?, Tpm::new()?);
    let mut here = Here::new(&[], true, Some(&tpm))?;
    here.encrypt("tpm2:{}")?;
    here.opens()?;
    here.use_tpm(&other);
    says(&here.refused()?, &["Loading jwk to TPM2 failed", "is the TPM the same"])
}

fn tpm_not_allowed() -> Result<()> {
    let tpm = Tpm::new()?;
    let here = Here::new(&[], false, Some(&tpm))?;
    here.encrypt("tpm2:{}")?;
    says(&here.refused()?, &["the image asks for the TPM of this node", "--tpm2"])
}

fn two_of_three() -> Result<()> {
    let (one, mut two, mut three) = (Tang::new()?, Tang::new()?, Tang::new()?);
    let here = Here::new(&[&one, &two, &three], false, None)?;
    let config = json!({"t": 2, "pins": {"tang": [one.config(), two.config(), three.config()]}});
    here.encrypt(&format!("sss:{config}"))?;
    here.opens()?;
    two.stop();
    here.opens()?;
    three.stop();
    says(&here.refused()?, &["'clevis decrypt' failed", "is the Tang server"])
}

/// One server that is not allowed spoils the whole, though the others would do: nobody calls it.
fn one_not_allowed() -> Result<()> {
    let (one, two) = (Tang::new()?, Tang::new()?);
    let here = Here::new(&[&one], false, None)?;
    let config = json!({"t": 1, "pins": {"tang": [one.config(), two.config()]}});
    here.encrypt(&format!("sss:{config}"))?;
    let asked = two.requests()?;
    says(&here.refused()?, &["the image asks for the Tang server", &two.url()])?;
    ensure!(two.requests()? == asked, "the server was asked");
    Ok(())
}
