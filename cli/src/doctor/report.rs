//! The findings, with their severity.

use std::fmt::{Display, Write as _};

use keycell_diagnostic::hint::ToolHint;
use serde_json::{Value, json};

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Worth knowing.
    Note,
    /// Works, but should be fixed.
    Warning,
    /// It could not be examined.
    Unknown,
    /// Something will fail.
    Failure,
}

impl Severity {
    /// How it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Failure => "fails",
        }
    }
}

#[derive(PartialEq, Eq)]
struct Finding {
    section: &'static str,
    severity: Severity,
    message: String,
    hints: Vec<String>,
}

/// What was found so far.
#[derive(Default)]
pub struct Report {
    findings: Vec<Finding>,
    section: &'static str,
}

impl Report {
    /// What follows is about `section`.
    pub fn section(&mut self, section: &'static str) {
        self.section = section;
    }

    /// Something is as it should be.
    pub fn fine(&mut self, message: impl Into<String>) {
        self.add(Severity::Fine, message, None::<ToolHint>);
    }

    /// Something worth knowing.
    pub fn note(&mut self, message: impl Into<String>) {
        self.add(Severity::Note, message, None::<ToolHint>);
    }

    /// Something that works, and should be fixed.
    pub fn warn(&mut self, message: impl Into<String>, hint: impl Into<Option<ToolHint>>) {
        self.add(Severity::Warning, message, hint.into());
    }

    /// Something that could not be examined.
    pub fn unknown(&mut self, message: impl Into<String>, hint: impl Into<Option<ToolHint>>) {
        self.add(Severity::Unknown, message, hint.into());
    }

    /// Something that will fail.
    pub fn fails(&mut self, message: impl Into<String>, hint: impl Into<Option<ToolHint>>) {
        self.add(Severity::Failure, message, hint.into());
    }

    /// A finding with its hints. What two decoders have in common is reported once.
    pub fn add(
        &mut self,
        severity: Severity,
        message: impl Into<String>,
        hints: impl IntoIterator<Item = impl Display>,
    ) {
        let message = message.into();
        let section = self.section;
        let hints = hints.into_iter().map(|hint| hint.to_string()).collect();
        let finding = Finding { section, severity, message, hints };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// 0, nothing will fail; 1, something will; 2, nothing that is known, but something could not be
    /// examined.
    pub fn exit_code(&self) -> u8 {
        match self.findings.iter().map(|finding| finding.severity).max() {
            Some(Severity::Failure) => 1,
            Some(Severity::Unknown) => 2,
            _ => 0,
        }
    }

    /// How many findings have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// For people: a block for each section.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for finding in &self.findings {
            if finding.section != section {
                section = finding.section;
                let gap = if text.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{gap}{section}");
            }
            let _ = writeln!(text, "  {:<8} {}", finding.severity.word(), finding.message);
            for hint in &finding.hints {
                let _ = writeln!(text, "           hint: {hint}");
            }
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> String {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "section": finding.section,
                "severity": finding.severity.word(),
                "message": finding.message,
                "hints": finding.hints,
            })
        });
        let findings: Vec<Value> = findings.collect();
        let report = json!({ "exit": self.exit_code(), "findings": findings });
        format!("{report:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_the_exit_code() {
        let mut report = Report::default();
        report.section("a");
        assert_eq!(report.exit_code(), 0);
        report.note("n");
        report.warn("w", ToolHint::RunAsRoot);
        assert_eq!(report.exit_code(), 0);
        report.unknown("u", None);
        assert_eq!(report.exit_code(), 2);
        report.fails("f", None);
        assert_eq!(report.exit_code(), 1);
        let text = report.text();
        assert_eq!(
            text,
            "a\n  note     n\n  warning  w\n           hint: run `keycell doctor` as root\n  unknown  u\n  fails    f\n"
        );
    }
}
