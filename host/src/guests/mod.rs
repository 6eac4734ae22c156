//! Guests: the choice of the one that runs, and the ways to run it.

pub mod command;
pub mod decrypt;
pub mod hand_over;
pub mod installed;
pub mod native_code;
pub mod shared;
mod sockets;
pub mod steps;
pub mod trap;
pub mod unwrap;
pub mod wasip1;
