//! Two words of 64 bits in one: a vector where the processor has one.
//!
//! Bytes are moved by shuffles only where `simd128` is on for all of a program, as in the portable guest.
//! The embedded one is compiled for the oldest x86-64 processors, which cannot shuffle bytes: there each
//! shuffle would be a call.

use std::ops::{BitAnd, BitXor};

#[cfg(target_arch = "wasm32")]
use std::arch::wasm32 as wasm;

#[cfg(target_arch = "wasm32")]
type Pair = wasm::v128;
#[cfg(not(target_arch = "wasm32"))]
type Pair = [u64; 2];

#[derive(Clone, Copy)]
pub(super) struct Lanes(Pair);

#[cfg(target_arch = "wasm32")]
impl Lanes {
    #[inline(always)]
    pub(super) fn new(first: u64, second: u64) -> Self {
        Self(wasm::u64x2(first, second))
    }

    /// The same in both.
    #[inline(always)]
    pub(super) fn both(word: u64) -> Self {
        Self(wasm::u64x2_splat(word))
    }

    #[inline(always)]
    pub(super) fn first(self) -> u64 {
        wasm::u64x2_extract_lane::<0>(self.0)
    }

    #[inline(always)]
    pub(super) fn second(self) -> u64 {
        wasm::u64x2_extract_lane::<1>(self.0)
    }

    #[inline(always)]
    pub(super) fn shifted_left(self, bits: u32) -> Self {
        Self(wasm::u64x2_shl(self.0, bits))
    }

    #[inline(always)]
    pub(super) fn shifted_right(self, bits: u32) -> Self {
        Self(wasm::u64x2_shr(self.0, bits))
    }
}

/// The bytes of each lane in another order.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
macro_rules! shuffled {
    ($lanes:ident: $($at:literal),*) => {
        Self(wasm::u8x16_shuffle::<$($at,)* $({ $at + 8 }),*>($lanes.0, $lanes.0))
    };
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
impl Lanes {
    /// Each lane is four rows of 16 bits, each row four columns: rotated by so many rows, and each row by
    /// so many columns.
    #[inline(always)]
    pub(super) fn turned<const ROWS: u32, const COLUMNS: u32>(self) -> Self {
        match (ROWS, COLUMNS) {
            (1, 0) => shuffled!(self: 2, 3, 4, 5, 6, 7, 0, 1),
            (1, 2) => shuffled!(self: 3, 2, 5, 4, 7, 6, 1, 0),
            (2, 0) => shuffled!(self: 4, 5, 6, 7, 0, 1, 2, 3),
            (2, 2) => shuffled!(self: 5, 4, 7, 6, 1, 0, 3, 2),
            _ => {
                let rows = self.turned::<ROWS, 0>().0;
                let (low, high) = (4 * COLUMNS, 16 - 4 * COLUMNS);
                Self(wasm::v128_xor(wasm::u16x8_shr(rows, low), wasm::u16x8_shl(rows, high)))
            }
        }
    }

    /// The bytes of `low` and `high` in turns: those of the lower half of each lane, and those of the upper.
    #[inline(always)]
    pub(super) fn in_turns(low: Self, high: Self) -> [Self; 2] {
        let first = wasm::u8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>;
        let second =
            wasm::u8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>;
        let (first, second) = (first(low.0, high.0), second(low.0, high.0));
        let lower = wasm::u64x2_shuffle::<0, 2>(first, second);
        [Self(lower), Self(wasm::u64x2_shuffle::<1, 3>(first, second))]
    }

    /// [`Self::in_turns`] undone.
    #[inline(always)]
    pub(super) fn parted([lower, upper]: [Self; 2]) -> [Self; 2] {
        let first = wasm::u64x2_shuffle::<0, 2>(lower.0, upper.0);
        let second = wasm::u64x2_shuffle::<1, 3>(lower.0, upper.0);
        let low = wasm::u8x16_shuffle::<0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30>;
        let high = wasm::u8x16_shuffle::<1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31>;
        [Self(low(first, second)), Self(high(first, second))]
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Lanes {
    pub(super) fn new(first: u64, second: u64) -> Self {
        Self([first, second])
    }

    /// The same in both.
    pub(super) fn both(word: u64) -> Self {
        Self([word; 2])
    }

    pub(super) fn first(self) -> u64 {
        self.0[0]
    }

    pub(super) fn second(self) -> u64 {
        self.0[1]
    }

    pub(super) fn shifted_left(self, bits: u32) -> Self {
        Self(self.0.map(|word| word << bits))
    }

    pub(super) fn shifted_right(self, bits: u32) -> Self {
        Self(self.0.map(|word| word >> bits))
    }
}

impl Lanes {
    /// Each lane by itself.
    #[inline(always)]
    pub(super) fn rotated_right(self, bits: u32) -> Self {
        self.shifted_right(bits) ^ self.shifted_left(64 - bits)
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
impl Lanes {
    /// Each lane is four rows of 16 bits, each row four columns: rotated by so many rows, and each row by
    /// so many columns.
    #[inline(always)]
    pub(super) fn turned<const ROWS: u32, const COLUMNS: u32>(self) -> Self {
        if COLUMNS == 0 {
            return self.rotated_right(16 * ROWS);
        }
        let stayed = const { in_all_rows(0xf >> COLUMNS) };
        let bits = 16 * ROWS + 4 * COLUMNS;
        (self.rotated_right(bits) & Self::both(stayed))
            ^ (self.rotated_right(bits - 16) & Self::both(!stayed))
    }

    /// The bytes of `low` and `high` in turns: those of the lower half of each lane, and those of the upper.
    #[inline(always)]
    pub(super) fn in_turns(low: Self, high: Self) -> [Self; 2] {
        let lower = Self::both(0xffff_ffff);
        let upper = (low.shifted_right(32), high.shifted_right(32));
        [
            (low & lower).spread() ^ (high & lower).spread().shifted_left(8),
            upper.0.spread() ^ upper.1.spread().shifted_left(8),
        ]
    }

    /// [`Self::in_turns`] undone.
    #[inline(always)]
    pub(super) fn parted([lower, upper]: [Self; 2]) -> [Self; 2] {
        [
            lower.gathered() ^ upper.gathered().shifted_left(32),
            lower.shifted_right(8).gathered() ^ upper.shifted_right(8).gathered().shifted_left(32),
        ]
    }

    /// The four lower bytes, with a gap of one byte behind each. There are no others.
    #[inline(always)]
    fn spread(self) -> Self {
        let pairs = (self ^ self.shifted_left(16)) & Self::both(0x0000_ffff_0000_ffff);
        (pairs ^ pairs.shifted_left(8)) & Self::both(0x00ff_00ff_00ff_00ff)
    }

    /// [`Self::spread`] undone; what is in the gaps is dropped.
    #[inline(always)]
    fn gathered(self) -> Self {
        let bytes = self & Self::both(0x00ff_00ff_00ff_00ff);
        let pairs = (bytes ^ bytes.shifted_right(8)) & Self::both(0x0000_ffff_0000_ffff);
        (pairs ^ pairs.shifted_right(16)) & Self::both(0xffff_ffff)
    }
}

/// The columns of every row that `columns` has a bit for. A row is 16 bits, a column of it four: one bit for
/// each block.
pub(super) const fn in_all_rows(columns: u64) -> u64 {
    let (mut row, mut at) = (0, 0);
    while at < 4 {
        row += ((columns >> at) & 1) * (0xf << (4 * at));
        at += 1;
    }
    row * 0x0001_0001_0001_0001
}

impl BitXor for Lanes {
    type Output = Self;

    #[inline(always)]
    fn bitxor(self, other: Self) -> Self {
        #[cfg(target_arch = "wasm32")]
        return Self(wasm::v128_xor(self.0, other.0));
        #[cfg(not(target_arch = "wasm32"))]
        Self::new(self.0[0] ^ other.0[0], self.0[1] ^ other.0[1])
    }
}

impl BitAnd for Lanes {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        #[cfg(target_arch = "wasm32")]
        return Self(wasm::v128_and(self.0, other.0));
        #[cfg(not(target_arch = "wasm32"))]
        Self::new(self.0[0] & other.0[0], self.0[1] & other.0[1])
    }
}
