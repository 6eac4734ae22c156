//! The host's configuration file: whatever is in it, it stands for nothing but flags that there are.

#![no_main]

use clap::{Arg, ArgAction, Command};
use keycell_fuzz::host::config::arguments;
use keycell_fuzz::{OwnFile, tell};
use libfuzzer_sys::fuzz_target;

const FLAGS: [&str; 4] = ["decryption-keys-path", "cipher", "log", "config"];

fuzz_target!(|bytes: &[u8]| {
    let flags = FLAGS.map(|name| Arg::new(name).long(name));
    let command = Command::new("ctd-decoder").args(flags);
    let command = command.arg(Arg::new("explain").long("explain").action(ArgAction::SetTrue));
    let file = OwnFile::with(bytes);
    match arguments(Some(file.path()), &command) {
        Ok(arguments) => {
            for argument in arguments {
                let argument = argument.into_string().expect("TOML is UTF-8");
                let flag = argument.strip_prefix("--").and_then(|rest| rest.split_once('='));
                let (flag, _) = flag.expect("a flag with its value");
                assert!(flag != "config" && (FLAGS.contains(&flag) || flag == "explain"), "{flag}");
            }
        }
        Err(failure) => {
            tell(&failure.message.replace('\n', " "));
            failure.hints.iter().for_each(tell);
        }
    }
});
