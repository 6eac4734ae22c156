//! The memory of another process, while it runs and at its exit.
#![allow(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::ptr::null_mut;

use anyhow::{Context, Result, bail, ensure};

use crate::mapping::Mapping;

/// Bytes that are looked for in memory, by name.
#[derive(Default)]
pub struct Secrets {
    patterns: Vec<(String, Vec<u8>)>,
}

/// The shortest pattern: eight bytes are too many to match by chance.
const SHORTEST: usize = 8;

/// The longest.
const LONGEST: usize = 128;

impl Secrets {
    /// Adds what must be found whole, or at least its first [`LONGEST`] bytes.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        assert!(bytes.len() >= SHORTEST, "`{name}` is too short to be told from other bytes");
        self.patterns.push((name.to_owned(), bytes.to_owned()));
    }

    /// Adds each line of a text that is long enough.
    pub fn add_lines(&mut self, name: &str, text: &str) {
        for (number, line) in text.lines().enumerate() {
            if line.len() >= 16 && !line.starts_with('-') {
                self.add(&format!("{name}, line {}", number + 1), line.as_bytes());
            }
        }
    }

    /// Adds a number (big-endian) in pieces of eight bytes, in both orders of bytes: as it stands in
    /// a file, and as limbs in memory.
    pub fn add_number(&mut self, name: &str, number: &[u8]) {
        for (index, chunk) in number.rchunks_exact(SHORTEST).enumerate() {
            let reversed: Vec<u8> = chunk.iter().rev().copied().collect();
            self.add(&format!("{name}, piece {index}"), chunk);
            self.add(&format!("{name}, limb {index}"), &reversed);
        }
    }

    /// The names of those that are somewhere in the memory of a process, and of the mappings.
    ///
    /// # Errors
    /// When it cannot be read, or hardly any of it.
    pub fn found_in(&self, pid: u32) -> Result<Vec<String>> {
        let mut starts: HashMap<[u8; SHORTEST], Vec<usize>> = HashMap::new();
        let mut begins = vec![false; 1 << 16];
        for (index, (_, bytes)) in self.patterns.iter().enumerate() {
            let start = *bytes.first_chunk().context("a pattern is long enough")?;
            starts.entry(start).or_default().push(index);
            begins[usize::from(bytes[0]) << 8 | usize::from(bytes[1])] = true;
        }
        let mut found = vec![BTreeSet::new(); self.patterns.len()];
        let mut look = |memory: &[u8], limit: usize, mapping: &str| {
            for at in 0..limit.min(memory.len().saturating_sub(SHORTEST - 1)) {
                if !begins[usize::from(memory[at]) << 8 | usize::from(memory[at + 1])] {
                    continue;
                }
                let start: [u8; SHORTEST] =
                    memory[at..at + SHORTEST].try_into().unwrap_or_default();
                for &index in starts.get(&start).into_iter().flatten() {
                    if memory[at..].starts_with(&self.patterns[index].1) {
                        found[index].insert(mapping.to_owned());
                    }
                }
            }
        };
        let read = read_all(pid, &mut look)?;
        ensure!(read > 1 << 20, "only {read} bytes of its memory could be read");
        let seen = self.patterns.iter().zip(found).filter(|(_, places)| !places.is_empty());
        Ok(seen.map(|((name, _), places)| format!("{name} in {places:?}")).collect())
    }
}

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Hands over all memory in pieces that overlap, with the number of bytes in each at which a
/// pattern may start, and returns how much there was.
fn read_all(pid: u32, look: &mut impl FnMut(&[u8], usize, &str)) -> Result<usize> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut buffer = vec![0; PIECE + LONGEST];
    let mut total = 0;
    for Mapping { range: Range { start, end }, rights, line } in Mapping::all(pid)? {
        if !rights.starts_with('r') || line.contains("[vvar") {
            continue;
        }
        let length = (end - start) as usize;
        for offset in (0..length).step_by(PIECE) {
            let wanted = (length - offset).min(PIECE + LONGEST);
            match memory.read_exact_at(&mut buffer[..wanted], start + offset as u64) {
                Ok(()) => look(&buffer[..wanted], PIECE, &line),
                Err(_) if line.ends_with(']') => continue, // `[vsyscall]` and its like
                Err(error) => bail!("{line}: {error}"),
            }
            total += wanted.min(PIECE);
        }
    }
    Ok(total)
}

/// A process that will be stopped when it ends: its memory is all there, and it does nothing more.
pub struct LastMoment {
    pid: libc::pid_t,
}

impl LastMoment {
    /// Begins to watch a process, from the calling thread.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub fn of(pid: u32) -> Result<Self> {
        let pid: libc::pid_t = pid.try_into()?;
        let options = libc::PTRACE_O_TRACEEXIT;
        // SAFETY: neither address nor data are pointers in this request.
        let result = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, null_mut::<()>(), options) };
        ensure!(result == 0, "ptrace: {}", io::Error::last_os_error());
        Ok(Self { pid })
    }

    /// Waits until the process is about to be gone.
    ///
    /// # Errors
    /// When it is gone.
    pub fn wait(&self) -> Result<()> {
        loop {
            let mut status = 0;
            // SAFETY: `status` is written to, and nothing else.
            let waited = unsafe { libc::waitpid(self.pid, &mut status, libc::__WALL) };
            ensure!(waited == self.pid, "waitpid: {}", io::Error::last_os_error());
            ensure!(libc::WIFSTOPPED(status), "it has ended before it could be looked at");
            if status >> 8 == libc::SIGTRAP | libc::PTRACE_EVENT_EXIT << 8 {
                return Ok(());
            }
            // A signal is being delivered: pass it on.
            self.go_on(libc::WSTOPSIG(status))?;
        }
    }

    /// Lets it go.
    ///
    /// # Errors
    /// When it is gone.
    pub fn let_go(self) -> Result<()> {
        self.go_on(0)
    }

    fn go_on(&self, signal: libc::c_int) -> Result<()> {
        // SAFETY: neither address nor data are pointers in this request.
        let result = unsafe { libc::ptrace(libc::PTRACE_CONT, self.pid, null_mut::<()>(), signal) };
        ensure!(result == 0, "ptrace: {}", io::Error::last_os_error());
        Ok(())
    }
}
