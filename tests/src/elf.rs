//! The headers of a program's file: elf(5), 64 bits, little-endian.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A program's headers.
pub struct Elf {
    /// Whether it can be loaded at any address: `ET_DYN`.
    pub goes_anywhere: bool,
    /// What is loaded, and how.
    pub segments: Vec<Segment>,
}

/// A program header.
pub struct Segment {
    /// `PT_…`.
    pub kind: u64,
    /// `PF_…`: 1 is code, 2 can be written to, 4 can be read.
    pub flags: u64,
    /// Its first byte in memory, from where the program is loaded.
    pub start: u64,
    /// Bytes in memory.
    pub length: u64,
}

impl Segment {
    /// What is loaded.
    pub const LOADED: u64 = 1;
    /// The dynamic linker's name.
    pub const INTERPRETER: u64 = 3;
    /// The stack.
    pub const STACK: u64 = 0x6474_e551;
    /// The segment that only relocations write to.
    pub const RELOCATED: u64 = 0x6474_e552;
}

impl Elf {
    /// Reads the headers of a program.
    ///
    /// # Errors
    /// When the file cannot be read, or is not such a program.
    pub fn of(program: &Path) -> Result<Self> {
        let bytes = fs::read(program)?;
        ensure!(bytes.starts_with(b"\x7fELF\x02\x01"), "{} is no such file", program.display());
        let number = |at: u64, size: u64| {
            let place = usize::try_from(at)?..usize::try_from(at + size)?;
            let bytes = bytes.get(place).context("a header is cut off")?;
            anyhow::Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        let (table, size) = (number(32, 8)?, number(54, 2)?);
        let segments = (0..number(56, 2)?).map(|index| {
            let at = table + index * size;
            Ok(Segment {
                kind: number(at, 4)?,
                flags: number(at + 4, 4)?,
                start: number(at + 16, 8)?,
                length: number(at + 40, 8)?,
            })
        });
        let segments = segments.collect::<Result<_>>()?;
        Ok(Self { goes_anywhere: number(16, 2)? == 3, segments })
    }

    /// The segments of a kind.
    pub fn of_kind(&self, kind: u64) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.kind == kind)
    }
}
