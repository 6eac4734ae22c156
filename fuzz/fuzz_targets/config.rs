//! The host's configuration file: whatever is in it, it stands for nothing but flags that there are.

#![no_main]

use keycell_diagnostic::Diagnostic;
use keycell_fuzz::{OwnFile, tell};
use keycell_settings::configuration::{arguments, keys};
use keycell_settings::flags::command;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let command = command();
    let file = OwnFile::with(bytes);
    match arguments(Some(file.path()), &command) {
        Ok(arguments) => {
            for argument in arguments {
                let argument = argument.into_string().expect("TOML is UTF-8");
                let flag = argument.strip_prefix("--").and_then(|rest| rest.split_once('='));
                let (flag, _) = flag.expect("a flag with its value");
                assert!(flag != "config" && keys(&command).any(|key| key == flag), "{flag}");
            }
        }
        Err(error) => {
            let failure = Diagnostic::from(keycell_settings::ArgumentError::from(error));
            tell(&failure.message.replace('\n', " "));
            failure.hints.iter().for_each(tell);
        }
    }
});
