//! The fields of a frame: numbers of four bytes, big-endian, and bytes after their length.

use zeroize::Zeroizing;

use crate::Malformed;

/// Writes fields one after the other.
#[derive(Default)]
pub struct Writer(Vec<Zeroizing<Vec<u8>>>);

impl Writer {
    /// Writes a number.
    pub fn number(&mut self, number: u32) -> &mut Self {
        self.0.push(Zeroizing::new(number.to_be_bytes().to_vec()));
        self
    }

    /// Writes bytes, which may be secret: the copy is wiped when it is dropped.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u32);
        self.0.push(Zeroizing::new(bytes.to_vec()));
        self
    }

    /// Writes bytes that may be absent.
    pub fn optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            None => self.number(0),
            Some(bytes) => self.number(1).bytes(bytes),
        }
    }

    /// Returns all fields in one allocation of the right size, because a growing vector leaves copies
    /// behind.
    pub fn finish(self) -> Zeroizing<Vec<u8>> {
        let length = self.0.iter().map(|part| part.len()).sum();
        let mut frame = Zeroizing::new(Vec::with_capacity(length));
        self.0.iter().for_each(|part| frame.extend_from_slice(part));
        frame
    }
}

/// Reads fields from the front of a frame.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Makes a reader of the fields of `frame`.
    pub fn new(frame: &'a [u8]) -> Self {
        Self(frame)
    }

    /// Reads a number.
    ///
    /// # Errors
    /// [`Malformed`]: the frame ends before the number does.
    pub fn number(&mut self) -> Result<u32, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// [`Malformed`]: the frame ends before the bytes do.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.number()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Reads text.
    ///
    /// # Errors
    /// [`Malformed`]: the frame ends before the text does, or the text is not UTF-8.
    pub fn text(&mut self) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)?;
        Ok(text.to_owned())
    }

    /// Reads bytes that may be absent, as [`Writer::optional`] wrote them.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn optional(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.number()? {
            0 => Ok(None),
            1 => self.bytes().map(Some),
            _ => Err(Malformed),
        }
    }

    /// Reads the number of items, and then the items. Each item takes bytes of the frame, so the list
    /// is no longer than the frame.
    ///
    /// # Errors
    /// [`Malformed`], or the error of `item`.
    pub fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.number()?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(item(self)?);
        }
        Ok(list)
    }

    /// Checks that the frame has no more bytes.
    ///
    /// # Errors
    /// [`Malformed`]: the frame has more bytes.
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
