//! The process's Unix resources: descriptors, signals, memory.

pub mod caller_limits;
pub mod descriptors;
pub mod hold_stdout;
pub mod prefault;
pub mod regular_file;
pub mod signals;
