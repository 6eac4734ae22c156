//! Key providers: programs and services that wrap and unwrap the keys of layers.
