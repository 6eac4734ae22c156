//! Named cases, the tools that each needs, and a list of those that could not run.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Error, Result};
use libtest_mimic::{Arguments, Trial};

use crate::descriptors;
use crate::tools::Tool;

/// A set of cases that becomes one test program (`harness = false`).
pub struct Suite {
    arguments: Arguments,
    trials: Vec<Trial>,
    /// Reasons, and how many cases each of them stops.
    skipped: BTreeMap<String, usize>,
}

impl Suite {
    /// An empty suite, and the command line that selects from it. Call it first in `main`, before any thread.
    pub fn from_args() -> Self {
        descriptors::reserve();
        // Ends the process when the command line is wrong, before any file is made.
        let arguments = Arguments::from_args();
        Self { arguments, trials: Vec::new(), skipped: BTreeMap::new() }
    }

    /// Cases that share the machine's resources: no more than this many at the same time.
    pub fn at_most(mut self, cases: usize) -> Self {
        let asked = self.arguments.test_threads.unwrap_or(cases);
        self.arguments.test_threads = Some(asked.min(cases));
        self
    }

    /// Adds a case. Without one of the tools it is skipped, or fails when `CI` is set: there a
    /// suite that silently tests nothing is worse than one that fails.
    pub fn case<F>(&mut self, name: impl Into<String>, needs: &[Tool], run: F)
    where
        F: FnOnce() -> Result<()> + Send + 'static,
    {
        self.case_unless(needs.iter().find_map(|tool| tool.find().err()), name, run);
    }

    /// The same, with the reason why it cannot run.
    pub fn case_unless<F>(&mut self, missing: Option<Error>, name: impl Into<String>, run: F)
    where
        F: FnOnce() -> Result<()> + Send + 'static,
    {
        let name = name.into();
        let trial = match missing {
            None => Trial::test(name, || run().map_err(|e| format!("{e:#}").into())),
            Some(error) if std::env::var_os("CI").is_some() => {
                Trial::test(name, move || Err(format!("{error:#}").into()))
            }
            Some(error) => {
                let reason = format!("{error:#}");
                *self.skipped.entry(reason.clone()).or_default() += 1;
                Trial::test(name, move || Err(reason.into())).with_ignored_flag(true)
            }
        };
        self.trials.push(trial);
    }

    /// Runs the cases that the command line selects. The summary counts skipped ones as ignored.
    pub fn run(self) -> ExitCode {
        if !self.arguments.list {
            let all = self.trials.len();
            for (reason, cases) in &self.skipped {
                eprintln!("skipping {cases} of {all} cases: {reason}");
            }
        }
        libtest_mimic::run(&self.arguments, self.trials).exit_code()
    }
}

/// A suite most of whose cases need no tool.
pub struct Cases(pub Suite);

impl Cases {
    /// Adds a case that needs no tool.
    pub fn case(&mut self, name: &str, run: impl FnOnce() -> Result<()> + Send + 'static) {
        self.0.case(name, &[], run);
    }

    /// Adds a case that needs these tools.
    pub fn case_with(
        &mut self,
        tools: &[Tool],
        name: &str,
        run: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        self.0.case(name, tools, run);
    }
}
