//! Reads variables and arguments in `decrypt`.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, Report, fixture, found};

struct ReadsEnvironment;

impl Fixture for ReadsEnvironment {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        let mut report = Report::default();
        report.attempt("variables", found(std::env::vars_os()));
        report.attempt("arguments", found(std::env::args_os()));
        report.attempt("get-environment", found(wasip2::cli::environment::get_environment()));
        report.attempt("get-arguments", found(wasip2::cli::environment::get_arguments()));
        report.attempt("initial-cwd", found(wasip2::cli::environment::initial_cwd()));
        Err(report.failure())
    }
}

fixture!(ReadsEnvironment);
