//! Key providers of every kind, started by the cases themselves.

#![allow(clippy::unwrap_used)]

mod command;
mod configuration;
mod confined;
mod go;
mod grpc;
mod setup;
mod tls;
mod ttrpc;

use std::process::{Command, ExitCode, Stdio};

use keycell_broker::child;
use libtest_mimic::{Arguments, Trial};

/// The system's: the one that Debian's `python3-grpcio` belongs to.
const PYTHON: &str = "/usr/bin/python3";

/// A case, what it needs, and how it is run.
type Case = (&'static str, &'static [Need], fn());

/// Something that a case cannot run without.
#[derive(Clone, Copy)]
enum Need {
    /// The provider of the tests is written in it.
    Python,
    /// Debian's `python3-grpcio`.
    Grpcio,
    Openssl,
    Containerd,
}

fn main() -> ExitCode {
    if child::is_asked() {
        return child::main();
    }
    let arguments = Arguments::from_args();
    let groups = [
        ("command", command::CASES),
        ("configuration", configuration::CASES),
        ("confined", confined::CASES),
        ("go", go::CASES),
        ("grpc", grpc::CASES),
        ("tls", tls::CASES),
        ("ttrpc", ttrpc::CASES),
    ];
    let cases =
        groups.iter().flat_map(|(group, cases)| cases.iter().map(move |case| (group, case)));
    let trials = cases.map(|(group, case)| trial(group, case)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Without what it needs a case is skipped, and says why; with `CI` set it fails.
fn trial(group: &str, (name, needs, run): &Case) -> Trial {
    let name = format!("{group}: {name}");
    let run = *run;
    match needs.iter().find_map(|need| need.missing()) {
        None => Trial::test(name, move || {
            run();
            Ok(())
        }),
        Some(reason) => {
            let ci = std::env::var_os("CI").is_some();
            if !ci {
                eprintln!("skipping `{name}`: {reason}");
            }
            Trial::test(name, move || Err(reason.into())).with_ignored_flag(!ci)
        }
    }
}

impl Need {
    fn missing(self) -> Option<&'static str> {
        let (command, reason): (&[&str], _) = match self {
            Self::Python => (&[PYTHON, "--version"], "`/usr/bin/python3` is missing"),
            Self::Grpcio => (&[PYTHON, "-c", "import grpc"], "`python3-grpcio` is missing"),
            Self::Openssl => (&["openssl", "version"], "`openssl` is missing"),
            Self::Containerd => (&["containerd", "--version"], "`containerd` is missing"),
        };
        let status = Command::new(command[0])
            .args(&command[1..])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        (!status.is_ok_and(|status| status.success())).then_some(reason)
    }
}
