//! Lines of a stream, none of which takes more memory than an event may.

use std::io::{self, BufRead};

/// The longest line that is read, in bytes. An event has at most a few KiB, the journal's form of it
/// at most some more.
pub const MAX_LINE: usize = 256 * 1024;

/// A line of a stream, with its end.
pub struct Line<'a> {
    /// Its bytes without the line feed. None if the line is too long: it was passed over.
    pub text: Option<&'a [u8]>,
    /// How many bytes the line has in the stream.
    pub length: u64,
}

/// Calls `each` for every complete line. A last line without a line feed may still grow: it is not
/// complete.
///
/// # Errors
/// The stream cannot be read.
pub fn for_each(stream: &mut impl BufRead, mut each: impl FnMut(Line<'_>)) -> io::Result<()> {
    let mut line = Vec::new();
    let mut length = 0;
    loop {
        let part = match stream.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            part => part?,
        };
        if part.is_empty() {
            return Ok(());
        }
        let end = part.iter().position(|byte| *byte == b'\n');
        let content = &part[..end.unwrap_or(part.len())];
        let fits = length + content.len() as u64 <= MAX_LINE as u64;
        if fits {
            line.extend_from_slice(content);
        }
        let taken = end.map_or(part.len(), |end| end + 1);
        length += taken as u64;
        stream.consume(taken);
        if end.is_some() {
            each(Line { text: fits.then_some(&line), length });
            line.clear();
            length = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn lines_are_complete_and_bounded() {
        let long = "x".repeat(MAX_LINE);
        let text = format!("a\n\n{long}\n{long}y\nb\nhalf");
        for capacity in [1, 7, 1 << 20] {
            let mut found = Vec::new();
            let mut stream = BufReader::with_capacity(capacity, text.as_bytes());
            for_each(&mut stream, |line| {
                found.push((line.text.map(<[u8]>::len), line.length));
            })
            .expect("a slice can be read");
            let long = MAX_LINE as u64;
            let wanted = [
                (Some(1), 2),
                (Some(0), 1),
                (Some(MAX_LINE), long + 1),
                (None, long + 2),
                (Some(1), 2),
            ];
            assert_eq!(found, wanted);
        }
    }
}
