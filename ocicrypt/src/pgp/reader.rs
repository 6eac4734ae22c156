//! The primitive fields of OpenPGP (RFC 9580, section 3).

/// Reads fields from the front of a byte string. `None` means that the string is too short.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads as many bytes as the preceding byte states.
    pub(super) fn prefixed(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A multiprecision integer (section 3.2): its length in bits, then its bytes, big-endian. Some
    /// writers count leading zeros, so only the length in bytes is used.
    pub(super) fn mpi(&mut self) -> Option<&'a [u8]> {
        let bits = self.array().map(u16::from_be_bytes)?;
        self.take(usize::from(bits).div_ceil(8))
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
