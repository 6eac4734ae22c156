//! The decoder's reports: failures on standard error, an event for each layer in the log, and grants
//! for `--explain`.

pub mod crash;
pub mod event;
pub mod explain;
pub mod failure;
pub mod log;
pub mod message;
pub mod stderr;
pub mod stream;
