//! Reads variables and arguments in `unwrap`.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture, found};

struct ReadsEnvironment;

impl Fixture for ReadsEnvironment {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
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
