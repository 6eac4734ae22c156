//! Hints about command lines.

use std::fmt;

/// What mends a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageHint {
    /// A name is unknown, and another one is similar.
    SimilarName {
        /// The other one.
        name: String,
    },
    /// The command line cannot be used.
    Help {
        /// The command.
        command: String,
    },
}

impl fmt::Display for UsageHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SimilarName { name } => write!(f, "a similar one is `{name}`"),
            Self::Help { command } => write!(f, "`{command} --help` lists what there is"),
        }
    }
}
