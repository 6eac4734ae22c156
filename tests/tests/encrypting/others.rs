//! Wrapped keys, each opened by a program that has nothing to do with containers.

use keycell_tests::suite::Suite;

pub fn add(_suite: &mut Suite) {}
