//! A progress bar on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The progress of an operation. Without a terminal, nothing is shown.
#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A progress bar for this number of bytes.
    pub fn new(bytes: u64) -> Self {
        let bar = ProgressBar::new(bytes);
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(
                "[{bar:40}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self(bar)
    }

    /// Adds bytes that are done.
    pub fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}
