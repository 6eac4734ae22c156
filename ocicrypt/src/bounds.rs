//! What a search for the key of a layer may use, and what it may cost.

use crate::algorithms::MinAlgorithms;
use crate::budget::Budget;

/// What a search for the key of a layer may use, and what it may cost.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// Which algorithms are accepted.
    pub algorithms: MinAlgorithms,
    /// The budget that is left.
    pub budget: Budget,
}
