//! The walk through a directory of private keys, for the guest, the broker, the host and `keycell`.

#![forbid(unsafe_code)]
