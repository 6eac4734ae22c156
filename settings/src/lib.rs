//! The decoder's flags and its configuration file: one definition for `ctd-decoder` and `keycell`.

#![forbid(unsafe_code)]
