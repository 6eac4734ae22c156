//! Two words of 64 bits in one: a vector where the processor has one.

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
