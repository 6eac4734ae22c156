//! The sandbox: what must be right for the promise of two instances to hold.
