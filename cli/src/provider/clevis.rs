//! `keycell clevis`: wraps the keys of layers with Clevis, so that a Tang server in the network or the
//! TPM of a node opens them.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::Result;
use base64ct::{Base64, Base64Url, Encoding as _};
use clap::Args;
use keycell_diagnostic::hint::ProviderHint;
use keycell_diagnostic::{Diagnostic, os_error};
use keycell_trusted_path::{self as trusted, Trust};
use ocicrypt::text::{printable_to, redacted};
use serde_json::Value;
use zeroize::Zeroizing;

use super::pins::{Allowed, PinError};
use crate::keyprovider::message::{self, Request};
use crate::keyprovider::{KeyproviderError, read_request, write_answer};

/// The arguments of `keycell clevis`.
#[derive(Args)]
pub struct Arguments {
    /// A Tang server that images may ask for, as its URL stands in them; give it once for each server
    #[arg(long, value_name = "URL")]
    tang: Vec<String>,
    /// Let images ask for the TPM of this machine
    #[arg(long)]
    tpm2: bool,
}

/// The name of the provider in a recipient `provider:clevis:…`.
const NAME: &str = "clevis";

/// The longest answer of `clevis` in bytes: a few hundred bytes of private options, wrapped.
const MAX_OUTPUT: u64 = 1 << 20;

/// How many bytes of what `clevis` writes to standard error are kept.
const MAX_STDERR: u64 = 4096;

/// Answers one request of ocicrypt's protocol for key providers, from standard input to standard output.
///
/// # Errors
/// Standard input is not a request, the image asks for what is not allowed, or `clevis` fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    let request = read_request().and_then(|json| Request::parse(&json)).map_err(Error::Protocol);
    let answer = match request.map_err(Diagnostic::from)? {
        Request::Wrap { options, parameters } => {
            let jwe = wrap(&options, &own(parameters)).map_err(Diagnostic::from)?;
            message::wrapped(jwe.trim_ascii_end())
        }
        Request::Unwrap { annotation } => {
            let allowed = Allowed { tang: &arguments.tang, tpm2: arguments.tpm2 };
            message::unwrapped(&unwrap(&annotation, &allowed).map_err(Diagnostic::from)?)
        }
    };
    Ok(write_answer(&answer).map_err(Error::Protocol).map_err(Diagnostic::from)?)
}

/// The parameters for this provider. The operator may have given it another name; they are the only ones
/// then.
fn own(mut parameters: BTreeMap<String, Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
    let only = |all: BTreeMap<_, _>| match all.len() {
        1 => all.into_values().next(),
        _ => None,
    };
    parameters.remove(NAME).or_else(|| only(parameters)).unwrap_or_default()
}

/// Why a key was not wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the recipient has to be one `provider:clevis:PIN:CONFIG`, and is {0} of them")]
    NotOneRecipient(usize),
    #[error("the recipient has no pin `tang`, `tpm2` or `sss` with a configuration in JSON")]
    Recipient,
    #[error("the recipient does not say which keys of the Tang server `{0}` can be trusted")]
    NoThumbprint(String),
    #[error(transparent)]
    Pin(#[from] PinError),
    #[error("there is no program `clevis` in `PATH`")]
    NoClevis,
    #[error("`{}` is not executed: {why}", program.display())]
    Untrusted { program: PathBuf, why: trusted::Error },
    #[error("`clevis {verb}` cannot be run: {}", os_error(.error))]
    NotRun { verb: &'static str, error: io::Error },
    #[error("`clevis {verb}` {}{}", ending(*.status), said(.stderr))]
    Failed { verb: &'static str, status: ExitStatus, stderr: String },
    #[error("`clevis {verb}` has written nothing")]
    Nothing { verb: &'static str },
    #[error(transparent)]
    Protocol(KeyproviderError),
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let hint = match error {
            Error::NotOneRecipient(_) | Error::Recipient => ProviderHint::ClevisRecipient,
            Error::NoThumbprint(_) => ProviderHint::TangThumbprint,
            Error::Pin(PinError::Tang(url)) => ProviderHint::AllowTang { url },
            Error::Pin(PinError::Tpm2) => ProviderHint::AllowTpm,
            Error::Pin(PinError::Pin(_)) => ProviderHint::OtherPins,
            Error::Pin(PinError::NotClevis | PinError::Member(_) | PinError::TooMany) => {
                ProviderHint::EncryptAgain
            }
            Error::NoClevis => ProviderHint::InstallClevis,
            Error::Untrusted { why, .. } => ProviderHint::ProtectClevis { fix: why.mend() },
            Error::NotRun { verb, .. } | Error::Failed { verb, .. } | Error::Nothing { verb } => {
                match verb {
                    "encrypt" => ProviderHint::ClevisEncrypt,
                    _ => ProviderHint::ClevisDecrypt,
                }
            }
            Error::Protocol(_) => ProviderHint::NotByHand,
        };
        Self::new(message, hint)
    }
}

fn ending(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("failed with exit code {code}"),
        None => "was ended by a signal".to_owned(),
    }
}

fn said(stderr: &str) -> String {
    match stderr {
        "" => "; it said nothing on standard error".to_owned(),
        text => format!(": {text}"),
    }
}

/// Wraps `options` for the recipient that `parameters` hold: `PIN:CONFIG`.
fn wrap(options: &[u8], parameters: &[Vec<u8>]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let [parameter] = parameters else { return Err(Error::NotOneRecipient(parameters.len())) };
    let (pin, config) = recipient(parameter).ok_or(Error::Recipient)?;
    if let Some(url) = without_trust(pin, &config) {
        return Err(Error::NoThumbprint(printable_to(url, 128)));
    }
    clevis("encrypt", &[pin, &config.to_string()], options)
}

/// The pin and its configuration: JSON, or base64 of it, because skopeo takes recipients apart at commas.
fn recipient(parameter: &[u8]) -> Option<(&'static str, Value)> {
    let (pin, config) = std::str::from_utf8(parameter).ok()?.split_once(':')?;
    let pin = ["tang", "tpm2", "sss"].into_iter().find(|known| *known == pin)?;
    let decoded = Base64::decode_vec(config).or_else(|_| Base64Url::decode_vec(config));
    let json = decoded.unwrap_or_else(|_| config.as_bytes().to_vec());
    let config: Value = serde_json::from_slice(&json).ok()?;
    config.is_object().then_some((pin, config))
}

/// The URL of a Tang server whose keys `clevis` would ask a person to trust: nobody is there to answer.
fn without_trust<'v>(pin: &str, config: &'v Value) -> Option<&'v str> {
    match pin {
        "tang" if config.get("thp").is_some() || config.get("adv").is_some() => None,
        "tang" => Some(config["url"].as_str().unwrap_or_default()),
        "sss" => config["pins"].as_object()?.iter().find_map(|(pin, config)| match config {
            Value::Array(many) => many.iter().find_map(|config| without_trust(pin, config)),
            one => without_trust(pin, one),
        }),
        _ => None,
    }
}

fn unwrap(annotation: &[u8], allowed: &Allowed<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let jwe = std::str::from_utf8(annotation).map_err(|_| PinError::NotClevis)?;
    allowed.check(jwe)?;
    clevis("decrypt", &[], annotation)
}

/// Runs `clevis` with `input`, and returns what it writes.
fn clevis(
    verb: &'static str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let program = find().ok_or(Error::NoClevis)?;
    if let Err(why) = Trust::of_this_process().check(&program) {
        return Err(Error::Untrusted { program, why });
    }
    let mut command = Command::new(program);
    command.arg(verb).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let not_run = |error| Error::NotRun { verb, error };
    let child = command.spawn().map_err(not_run)?;
    let (output, stderr, status) = exchange(child, input).map_err(not_run)?;
    if !status.success() {
        return Err(Error::Failed { verb, status, stderr });
    }
    if output.trim_ascii().is_empty() {
        return Err(Error::Nothing { verb });
    }
    Ok(output)
}

/// The program `clevis` in `PATH`, as far as that has whole paths.
fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let places = env::split_paths(&path).filter(|place| place.is_absolute());
    places.map(|place| place.join("clevis")).find(|file| file.is_file())
}

/// Writes `input`, and reads both outputs to their ends at the same time.
fn exchange(
    mut child: Child,
    input: &[u8],
) -> io::Result<(Zeroizing<Vec<u8>>, String, ExitStatus)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (output, said) = thread::scope(|scope| {
        let said = scope.spawn(|| excerpt(stderr));
        scope.spawn(move || {
            // A program that does not read everything is judged by its answer.
            stdin.map(|mut stdin| stdin.write_all(input))
        });
        // The capacity is that of the longest output: a growing vector would leave copies behind.
        let mut output = Zeroizing::new(Vec::with_capacity(MAX_OUTPUT as usize));
        let read = stdout.map(|stdout| stdout.take(MAX_OUTPUT).read_to_end(&mut output));
        (read.transpose().map(|_| output), said.join().unwrap_or_default())
    });
    Ok((output?, said, child.wait()?))
}

/// The beginning of what a program writes, in one line that may be shown.
fn excerpt(stderr: Option<impl Read>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let mut bytes = Vec::new();
    let _ = stderr.by_ref().take(MAX_STDERR).read_to_end(&mut bytes);
    let _ = io::copy(&mut stderr, &mut io::sink()); // so that it can go on
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<_> = text.split_whitespace().map(redacted).collect();
    printable_to(&words.join(" ").replace('`', "'"), 600)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_json_or_base64_of_it() {
        let json = r#"{"url":"http://a","thp":"x"}"#;
        for config in [json.to_owned(), Base64::encode_string(json.as_bytes())] {
            let (pin, config) = recipient(format!("tang:{config}").as_bytes()).unwrap();
            assert_eq!((pin, config["url"].as_str()), ("tang", Some("http://a")));
        }
        for other in ["tang", "Enabled", "null:{}", "tang:", "tang:[]", "tang:1", "../x:{}"] {
            assert!(recipient(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn nobody_can_answer_whether_keys_are_trusted() {
        for (text, missing) in [
            (r#"tang:{"url":"http://a","thp":"x"}"#, None),
            (r#"tang:{"url":"http://a","adv":"/etc/adv"}"#, None),
            (r#"tang:{"url":"http://a"}"#, Some("http://a")),
            (r#"tpm2:{}"#, None),
            (r#"sss:{"t":1,"pins":{"tang":[{"url":"http://a","thp":"x"}],"tpm2":{}}}"#, None),
            (r#"sss:{"t":1,"pins":{"sss":{"t":1,"pins":{"tang":{"url":"b"}}}}}"#, Some("b")),
        ] {
            let (pin, config) = recipient(text.as_bytes()).unwrap();
            assert_eq!(without_trust(pin, &config), missing, "{text}");
        }
    }
}
