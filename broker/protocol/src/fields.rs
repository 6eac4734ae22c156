//! The fields of a frame.

use zeroize::Zeroizing;

use crate::Malformed;

/// Puts fields one after the other.
#[derive(Default)]
pub(crate) struct Writer(Vec<Zeroizing<Vec<u8>>>);

impl Writer {
    pub(crate) fn number(&mut self, number: u32) -> &mut Self {
        self.0.push(Zeroizing::new(number.to_be_bytes().to_vec()));
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u32);
        self.0.push(Zeroizing::new(bytes.to_vec()));
        self
    }

    /// All fields in one allocation of the right size: a vector that grows leaves copies behind.
    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        let length = self.0.iter().map(|part| part.len()).sum();
        let mut frame = Zeroizing::new(Vec::with_capacity(length));
        self.0.iter().for_each(|part| frame.extend_from_slice(part));
        frame
    }
}

/// Takes fields from the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn number(&mut self) -> Result<u32, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.number()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)?;
        Ok(text.to_owned())
    }

    /// Each item takes bytes of the frame, so the list is no longer than it.
    pub(crate) fn list<T>(
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

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
