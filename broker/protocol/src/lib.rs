//! What Keycell's host and its broker say to each other, over a pair of pipes.

#![forbid(unsafe_code)]
