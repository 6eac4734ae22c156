//! What was found, and how bad it is.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Worth knowing.
    Note,
    /// Works, and should be mended all the same.
    Warning,
    /// It could not be looked at.
    Unknown,
    /// Something will fail.
    Failure,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Failure => "fails",
        }
    }
}

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
        self.add(Severity::Fine, message, &[]);
    }

    /// Something worth knowing.
    pub fn note(&mut self, message: impl Into<String>) {
        self.add(Severity::Note, message, &[]);
    }

    /// Something that works, and should be mended.
    pub fn warn(&mut self, message: impl Into<String>, hint: &str) {
        self.add(Severity::Warning, message, &[hint]);
    }

    /// Something that could not be looked at.
    pub fn unknown(&mut self, message: impl Into<String>, hint: &str) {
        self.add(Severity::Unknown, message, &[hint]);
    }

    /// Something that will fail.
    pub fn fails(&mut self, message: impl Into<String>, hint: &str) {
        self.add(Severity::Failure, message, &[hint]);
    }

    /// A finding with its ways out; empty hints are none.
    pub fn add(&mut self, severity: Severity, message: impl Into<String>, hints: &[&str]) {
        let hints = hints.iter().filter(|hint| !hint.is_empty());
        let hints = hints.map(|hint| (*hint).to_owned()).collect();
        let message = message.into();
        let section = self.section;
        self.findings.push(Finding { section, severity, message, hints });
    }

    /// 0, nothing will fail; 1, something will; 2, nothing that is known, but something could not be
    /// looked at.
    pub fn exit_code(&self) -> u8 {
        match self.findings.iter().map(|finding| finding.severity).max() {
            Some(Severity::Failure) => 1,
            Some(Severity::Unknown) => 2,
            _ => 0,
        }
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
        report.warn("w", "h");
        assert_eq!(report.exit_code(), 0);
        report.unknown("u", "");
        assert_eq!(report.exit_code(), 2);
        report.fails("f", "");
        assert_eq!(report.exit_code(), 1);
        let text = report.text();
        assert_eq!(
            text,
            "a\n  note     n\n  warning  w\n           hint: h\n  unknown  u\n  fails    f\n"
        );
    }
}
