//! The score of a target: as text for people, as JSON for programs.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::case::{Case, Level};
use super::cases::Chosen;
use super::known::Known;
use super::verdict::Verdict;

/// A case and its result.
pub struct Scored<'a> {
    /// The case.
    pub case: &'a Case,
    /// Its result.
    pub verdict: Verdict,
    /// How long it took.
    pub time: Duration,
}

/// All results of a target.
pub struct Report<'a> {
    target: String,
    scored: Vec<Scored<'a>>,
    known: Option<&'a Known>,
    require: Level,
}

/// Cases that passed, of those that say something of the target.
#[derive(Default)]
struct Count {
    passed: usize,
    of: usize,
}

impl<'a> Report<'a> {
    /// `require` is the lowest level at which a failure counts, where none are `known`.
    pub fn new(
        target: &Path,
        scored: Vec<Scored<'a>>,
        known: Option<&'a Known>,
        require: Level,
    ) -> Self {
        Self { target: target.display().to_string(), scored, known, require }
    }

    /// Whether the target conforms.
    pub fn conforms(&self) -> bool {
        self.unexpected().next().is_none() && self.mended().next().is_none()
    }

    /// Failures that count.
    fn unexpected(&self) -> impl Iterator<Item = &Scored<'a>> {
        self.failed().filter(|scored| match self.known {
            Some(known) => !known.holds(&scored.case.name),
            None => scored.case.level <= self.require,
        })
    }

    /// Cases that are known to fail, and passed.
    fn mended(&self) -> impl Iterator<Item = &Scored<'a>> {
        self.scored.iter().filter(|scored| {
            scored.verdict == Verdict::Passed
                && self.known.is_some_and(|known| known.holds(&scored.case.name))
        })
    }

    fn failed(&self) -> impl Iterator<Item = &Scored<'a>> {
        self.scored.iter().filter(|scored| matches!(scored.verdict, Verdict::Failed(_)))
    }

    fn count(&self, which: impl Fn(&Case) -> bool) -> Count {
        let mut count = Count::default();
        for scored in self.scored.iter().filter(|scored| which(scored.case)) {
            count.passed += usize::from(scored.verdict == Verdict::Passed);
            count.of += usize::from(!matches!(scored.verdict, Verdict::NotApplicable(_)));
        }
        count
    }

    fn not_applicable(&self) -> usize {
        self.scored.len() - self.count(|_| true).of
    }

    /// A table, then what failed and why it should not have.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        for scored in self.failed() {
            let Verdict::Failed(what) = &scored.verdict else { continue };
            let Case { name, level, why, rule, .. } = scored.case;
            let known = self.known.is_some_and(|known| known.holds(name));
            writeln!(text, "{} {level:<10} {name}", if known { "known " } else { "failed" })?;
            if !known {
                writeln!(text, "       {what}\n       expected: {why} ({rule})")?;
            }
        }
        for scored in self.mended() {
            writeln!(
                text,
                "passed {:<10} {}, which is known to fail",
                scored.case.level, scored.case.name
            )?;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        write!(text, "{:<10}", "")?;
        for level in Level::ALL {
            write!(text, "{level:>12}")?;
        }
        writeln!(text)?;
        for family in self.families() {
            write!(text, "{family:<10}")?;
            self.row(text, |case| case.name.split('/').next() == Some(family))?;
        }
        write!(text, "{:<10}", "all")?;
        self.row(text, |_| true)?;
        let all = self.count(|_| true);
        write!(text, "\n`{}`: {} of {} cases passed", self.target, all.passed, all.of)?;
        if self.not_applicable() > 0 {
            write!(text, ", {} do not apply", self.not_applicable())?;
        }
        let (unexpected, mended) = (self.unexpected().count(), self.mended().count());
        match self.known {
            _ if self.conforms() && self.known.is_none() => writeln!(text, ": it conforms"),
            Some(_) if self.conforms() => writeln!(text, ": exactly the known failures"),
            Some(_) => writeln!(text, ": {unexpected} new failures, {mended} that no longer fail"),
            None => writeln!(text, ": it does not conform, for {unexpected} failures"),
        }
    }

    fn row(&self, text: &mut String, which: impl Fn(&Case) -> bool) -> std::fmt::Result {
        for level in Level::ALL {
            let count = self.count(|case| case.level == level && which(case));
            let cell = match count.of {
                0 => String::new(),
                of => format!("{}/{of}", count.passed),
            };
            write!(text, "{cell:>12}")?;
        }
        writeln!(text)
    }

    /// In the order of the cases.
    fn families(&self) -> Vec<&str> {
        let mut families: Vec<_> =
            self.scored.iter().filter_map(|scored| scored.case.name.split('/').next()).collect();
        families.dedup();
        families
    }

    /// The score and every case.
    pub fn json(&self) -> String {
        let counted = |count: Count| json!({ "passed": count.passed, "of": count.of });
        let levels = Level::ALL
            .map(|level| (level.to_string(), counted(self.count(|case| case.level == level))));
        let names = |scored: &mut dyn Iterator<Item = &Scored<'a>>| -> Vec<Value> {
            scored.map(|scored| scored.case.name.clone().into()).collect()
        };
        let value = json!({
            "target": self.target,
            "conforms": self.conforms(),
            "levels": Map::from_iter(levels),
            "not-applicable": self.not_applicable(),
            "unexpected": names(&mut self.unexpected()),
            "no-longer-failing": names(&mut self.mended()),
            "cases": self.scored.iter().map(|scored| self.case(scored)).collect::<Vec<_>>(),
        });
        format!("{value:#}\n")
    }

    fn case(&self, scored: &Scored<'_>) -> Value {
        let (outcome, reason) = match &scored.verdict {
            Verdict::Passed => ("passed", None),
            Verdict::Failed(what) => ("failed", Some(what.as_str())),
            Verdict::NotApplicable(why) => ("not-applicable", Some(*why)),
        };
        json!({
            "name": scored.case.name,
            "level": scored.case.level.to_string(),
            "outcome": outcome,
            "reason": reason,
            "expected": scored.case.why,
            "rule": scored.case.rule,
            "known": self.known.map(|known| known.holds(&scored.case.name)),
            "milliseconds": u64::try_from(scored.time.as_millis()).ok(),
        })
    }
}

/// A line for each case.
pub fn list(chosen: &[Chosen<'_>]) -> String {
    chosen.iter().fold(String::new(), |mut text, Chosen { case, .. }| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<10} {}: {} ({})", case.level, case.name, case.why, case.rule);
        text
    })
}
