//! `keycell` as a key provider: a program that wraps and unwraps the keys of layers for other programs,
//! as ocicrypt defines it (`docs/keyprovider.md` there).

pub mod clevis;
mod pins;
