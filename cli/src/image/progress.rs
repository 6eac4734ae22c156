//! The progress of an operation, on standard error.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::tell;

/// The progress of an operation: a bar on a terminal, and else a line for each blob.
pub struct Progress {
    bar: ProgressBar,
    has_terminal: bool,
}

impl Progress {
    /// The progress of this number of bytes.
    pub fn new(bytes: u64) -> Self {
        let bar = ProgressBar::new(bytes);
        let has_terminal = stderr().is_terminal();
        if has_terminal {
            let style = ProgressStyle::with_template(
                "[{bar:40}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bar, has_terminal }
    }

    /// Adds bytes that are done.
    pub fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// A blob is done.
    pub fn blob(&self, place: &str, is_replaced: bool, bytes: u64) {
        if !self.has_terminal {
            let done = if is_replaced { "done" } else { "copied" };
            tell(format_args!("{place}: {done}, {bytes} bytes\n"));
        }
    }

    /// All is done: the bar goes.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
