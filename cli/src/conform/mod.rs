//! `keycell conform`: a black-box kit for anything that speaks the protocol of `ctd-decoder`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`case`] | the format of the case files |
//! | [`cases`] | where they come from: out of this program, or from a path |
//! | [`target`] | what is tested, and how it is called |
//! | [`stage`] | the files of one case, on disk |
//! | [`call`] | one run, on pipes, within a time limit |
//! | [`verdict`] | whether the outcome is the expected one |
//! | [`known`] | failures that are expected, by name |
//! | [`report`] | the score, as text and as JSON |

mod call;
mod case;
mod cases;
mod known;
mod report;
mod stage;
mod target;
mod verdict;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use case::{Family, Level};
use cases::Chosen;
use known::Known;
use report::{Report, Scored};
use target::Target;
use verdict::Verdict;

use crate::output::print;

/// The arguments of `keycell conform`.
#[derive(clap::Args)]
pub struct Arguments {
    /// A decoder: a program such as `ctd-decoder`, or a guest (`.wasm`), which `wasmtime run` runs
    #[arg(required_unless_present = "list")]
    target: Option<PathBuf>,
    /// Arguments that the program gets before those of each case: `-- --guest NAME`
    #[arg(last = true)]
    args: Vec<OsString>,
    /// Run the cases whose names contain one of these words
    #[arg(long, value_name = "WORD")]
    filter: Vec<String>,
    /// The lowest level at which a failure counts: `must`, `should`, `may` or `decompress`
    #[arg(long, value_name = "LEVEL", default_value = "must")]
    require: Level,
    /// Failures that are expected: a file with their names, or `go-imgcrypt`. Success is then that
    /// exactly these fail
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// A case file, or a directory with some, in the place of those that this program holds
    #[arg(long, value_name = "PATH")]
    cases: Option<PathBuf>,
    /// Run cases with arguments, variables or files of their own, though others wrote them: they can
    /// make the target execute what they like
    #[arg(long, requires = "cases")]
    trust_cases: bool,
    /// Seconds that a case may take; a decoder that hangs has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    timeout: u64,
    /// Cases that run at the same time; as many as there are processors
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// The runtime for guests
    #[arg(long, value_name = "PROGRAM", default_value = "wasmtime")]
    wasmtime: PathBuf,
    /// Print the score and every case as JSON
    #[arg(long)]
    json: bool,
    /// List the cases and run none
    #[arg(long)]
    list: bool,
}

/// Tests the target and prints the score. Exit code 0: it conforms; 1: it does not.
///
/// # Errors
/// When the kit cannot be run: no such target, no such cases.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut families = match &arguments.cases {
        Some(path) => cases::read(path)?,
        None => cases::embedded()?,
    };
    families.iter_mut().for_each(|family| family.is_trusted |= arguments.trust_cases);
    let chosen = cases::choose(&families, &arguments.filter);
    if chosen.is_empty() {
        bail!("no case has a name with {}; `--list` lists them", words(&arguments.filter));
    }
    let Some(path) = arguments.target.as_deref().filter(|_| !arguments.list) else {
        print(report::list(&chosen))?;
        return Ok(ExitCode::SUCCESS);
    };
    cases::check(&chosen)?;
    let known = arguments.known.as_deref().map(Known::read).transpose()?;
    if let Some(known) = &known {
        known.check(&families)?;
    }
    let target = Target::find(path, &arguments.args, &arguments.wasmtime)?;
    let jobs = arguments.jobs.or_else(|| thread::available_parallelism().ok());
    let limit = Duration::from_secs(arguments.timeout);
    let scored = judge(&target, &chosen, limit, jobs.map_or(1, NonZeroUsize::get))?;
    let report = Report::new(path, scored, known.as_ref(), arguments.require);
    print(if arguments.json { report.json() } else { report.text() })?;
    Ok(if report.conforms() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the cases, several at a time, and keeps their order.
fn judge<'a>(
    target: &Target,
    chosen: &[Chosen<'a>],
    limit: Duration,
    jobs: usize,
) -> Result<Vec<Scored<'a>>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(chosen.len()));
    let work = || -> Result<()> {
        while let Some(Chosen { family, case }) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let verdict = match target.cannot(case) {
                Some(reason) => Verdict::NotApplicable(reason),
                None => one(target, family, case, limit)?,
            };
            let scored = Scored { case, verdict, time: started.elapsed() };
            // A panic elsewhere ends the scope and with it this program.
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(scored);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut scored = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    scored.sort_by_key(|scored| {
        chosen.iter().position(|chosen| std::ptr::eq(chosen.case, scored.case))
    });
    Ok(scored)
}

fn one(target: &Target, family: &Family, case: &case::Case, limit: Duration) -> Result<Verdict> {
    let stage = stage::Stage::set(family, case)?;
    let outcome = call::run(target, &stage, case, limit)?;
    Ok(verdict::judge(case, &stage, &outcome))
}

fn words(filter: &[String]) -> String {
    let words: Vec<_> = filter.iter().map(|word| format!("`{word}`")).collect();
    words.join(" or ")
}
