//! Slow fixtures that cases share: images, keys.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Result, anyhow};

/// Makes each value once; values of different keys are made in parallel.
pub struct Memo<K, V>(Mutex<HashMap<K, Arc<Cell<V>>>>);

type Cell<V> = OnceLock<Result<Arc<V>, String>>;

impl<K: Eq + Hash, V> Memo<K, V> {
    /// The value of `key`, which the first caller makes.
    ///
    /// # Errors
    ///
    /// The error of the attempt to make it, for every caller.
    pub fn get_or_make(&self, key: K, make: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        let cell = {
            let mut cells = self.0.lock().map_err(|_| anyhow!("a case panicked"))?;
            cells.entry(key).or_default().clone()
        };
        cell.get_or_init(|| make().map(Arc::new).map_err(|error| format!("{error:#}")))
            .clone()
            .map_err(|error| anyhow!(error))
    }
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
