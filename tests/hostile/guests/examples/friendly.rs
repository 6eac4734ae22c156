//! Does what it should: the harness itself works.

use keycell_hostile_guests::{Fixture, fixture};

struct Friendly;

impl Fixture for Friendly {}

fixture!(Friendly);
