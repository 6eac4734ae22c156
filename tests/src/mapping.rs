//! The memory mappings of a process: proc(5), `maps`.

use std::fs;
use std::ops::Range;

use anyhow::{Context, Result};

/// A line of it.
pub struct Mapping {
    /// Its addresses.
    pub range: Range<u64>,
    /// Its permissions, such as `r--p`.
    pub rights: String,
    /// The whole line; it ends with what is mapped, if that has a name.
    pub line: String,
}

impl Mapping {
    /// All mappings of a process.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn all(pid: u32) -> Result<Vec<Self>> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mappings = maps.lines().map(|line| {
            let mut words = line.split_whitespace();
            let range = words.next().and_then(|range| range.split_once('-')).context("no range")?;
            let rights = words.next().context("no rights")?.to_owned();
            let address = |text| u64::from_str_radix(text, 16);
            let range = address(range.0)?..address(range.1)?;
            Ok(Self { range, rights, line: line.to_owned() })
        });
        mappings.collect()
    }
}
