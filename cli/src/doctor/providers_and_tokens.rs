//! Key providers and PKCS#11 tokens, as the broker finds them.

use keycell_diagnostic::hint::ToolHint;
use std::ffi::OsString;
use std::path::Path;

use keycell_broker::Refusal;
use keycell_broker::providers::Providers;
use keycell_broker::tokens::Policy;
use keycell_broker::tokens::tpm::is_tpm_module;
use keycell_trusted_path::{Trust, Word};

use crate::keys::Keys;

use super::caller::Caller;
use super::decoder::Decoder;
use super::report::Report;
use super::tpm;

/// Examines what the environment of the processor configures. containerd's own environment is not
/// visible here.
pub fn examine(decoder: &Decoder, caller: &Caller, keys: Option<&Keys>, report: &mut Report) {
    let variable = |name: &str| decoder.processor.variable(name).filter(|value| !value.is_empty());
    let providers = match variable("OCICRYPT_KEYPROVIDER_CONFIG").map(Path::new) {
        None => {
            report.note("no key providers are configured");
            false
        }
        Some(path) if !path.exists() => {
            report
                .note(format!("no key providers are configured: there is no `{}`", path.display()));
            false
        }
        Some(path) => {
            providers(path, report);
            true
        }
    };
    let policy = Policy::find(|name| variable(name).map(OsString::from));
    // Where the decoder refuses the policy, that is reported already.
    let tokens = (decoder.works || policy.is_ok()) && {
        if let Ok(Some(policy)) = &policy {
            in_a_tpm(policy, decoder, caller, keys, report);
        }
        tokens(policy, keys, report)
    };
    if !providers && !tokens || !decoder.works {
        return;
    }
    let broker = decoder.program.with_file_name("keycell-broker");
    let shown = broker.display();
    if broker.is_file() {
        match Trust::of_root().check(&broker) {
            Ok(_) => report.fine(format!("`{shown}` asks them")),
            Err(error) => report.fails(
                format!("`{shown}`, which asks them, is not started by the decoder: {error}"),
                ToolHint::Untrusted { fix: error.mend() },
            ),
        }
    } else {
        report.fails(
            format!("there is no `{shown}`, which asks key providers and tokens"),
            ToolHint::InstallBroker,
        );
    }
}

fn providers(path: &Path, report: &mut Report) {
    let correct = || ToolHint::CorrectProviders { file: path.display().to_string() };
    let providers = match Providers::open(path) {
        Ok(providers) => providers,
        Err(refusal) => return report.fails(refusal.to_string(), correct()),
    };
    let names: Vec<_> = providers.names().map(str::to_owned).collect();
    if names.is_empty() {
        report.note(format!("`{}` names no key provider", path.display()));
    }
    for name in names {
        match providers.check(&name) {
            Ok(way) => report.fine(format!("key provider `{name}`: {way}")),
            Err(refusal) => report.fails(format!("key provider `{name}`: {refusal}"), correct()),
        }
    }
}

/// What the keys need that are in a TPM.
fn in_a_tpm(
    policy: &Policy,
    decoder: &Decoder,
    caller: &Caller,
    keys: Option<&Keys>,
    report: &mut Report,
) {
    for token in keys.into_iter().flat_map(Keys::tokens) {
        if token.module_in(policy).is_some_and(|module| is_tpm_module(&module)) {
            tpm::examine(token, policy, decoder, caller, report);
        }
    }
}

/// Whether the broker would be needed.
fn tokens(
    policy: Result<Option<Policy>, Refusal>,
    keys: Option<&Keys>,
    report: &mut Report,
) -> bool {
    let tokens = keys.into_iter().flat_map(Keys::tokens);
    match policy {
        Err(refusal) => {
            report.fails(
                format!("{refusal}: nothing is decrypted as long as PINs may lie among the keys"),
                ToolHint::TokenConfigurationRefused,
            );
            true
        }
        Ok(None) => {
            for token in tokens {
                report.fails(
                    format!(
                        "the token's key `{}` cannot be used: no PKCS#11 module is allowed",
                        token.shown()
                    ),
                    ToolHint::NoModuleConfigured,
                );
            }
            false
        }
        Ok(Some(policy)) => {
            for token in tokens {
                match token.check(&policy) {
                    Ok(module) => report.fine(format!(
                        "token's key `{}` through `{}`",
                        token.shown(),
                        module.display()
                    )),
                    Err(Refusal::NotConfigured) => report.fails(
                        format!(
                            "the token's key `{}` cannot be used: no PKCS#11 module is allowed",
                            token.shown()
                        ),
                        ToolHint::ModuleNotAllowed,
                    ),
                    Err(refusal) => {
                        let pin = token.pin_file().filter(|pin| !pin.exists());
                        let make = pin.map(|pin| ToolHint::MakePin {
                            command: format!("install -m 600 /dev/stdin {}", Word(pin)),
                        });
                        report.fails(format!("token's key {refusal}"), make);
                    }
                }
            }
            true
        }
    }
}
