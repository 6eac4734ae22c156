//! Failures that are expected of a target, by name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::case::Family;

/// The lists that this program holds.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/known.rs"));

/// Names of cases.
pub struct Known(BTreeSet<String>);

impl Known {
    /// From a file, or the list of this name that this program holds: a name on each line, and
    /// comments after `#`.
    ///
    /// # Errors
    /// When there is neither.
    pub fn read(path: &Path) -> Result<Self> {
        let held = EMBEDDED.iter().find(|(name, _)| Path::new(name) == path && !path.exists());
        let text = match held {
            Some((_, text)) => (*text).to_owned(),
            None => fs::read_to_string(path).with_context(|| {
                let names: Vec<_> = EMBEDDED.iter().map(|(name, _)| format!("`{name}`")).collect();
                let held = names.join(", ");
                format!("cannot read `{}`, and the lists held here are {held}", path.display())
            })?,
        };
        let names = text.lines().filter_map(|line| line.split('#').next()).map(str::trim);
        Ok(Self(names.filter(|name| !name.is_empty()).map(String::from).collect()))
    }

    /// A list with a name that no case has was written for other cases.
    ///
    /// # Errors
    /// The names.
    pub fn check(&self, families: &[Family]) -> Result<()> {
        let cases = || families.iter().flat_map(|family| &family.cases);
        let strange: Vec<_> =
            self.0.iter().filter(|name| !cases().any(|case| case.name == **name)).collect();
        if let Some(first) = strange.first() {
            bail!("{} known failures are names of no case, `{first}` the first", strange.len());
        }
        Ok(())
    }

    /// Whether the case is expected to fail.
    pub fn holds(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}
