//! Montgomery multiplication of eighteen digits: modulo a prime of 1024 bits, of which an RSA key of
//! 2048 has two.
//!
//! Column after column, product and reduction together: the one sum is never stored. That takes three
//! quarters of the instructions of a block after the other, but as much code for each length.

use super::{DIGIT, MASK, each, half, sum, wide};

/// Digits of a number, the least first.
pub(super) const DIGITS: usize = 18;

pub(super) type Number = [u64; DIGITS];

/// `x` becomes `x` · `y`, reduced; `inverse` is -`modulus`⁻¹ modulo 2⁵⁸.
#[inline(never)]
pub(super) fn multiply(x: &mut Number, y: &Number, modulus: &Number, inverse: u64) {
    let (mut column, mut factors) = (0_u128, [0; DIGITS]);
    macro_rules! lower {
        ($k:literal) => {
            column = sum::<0, { $k + 1 }, $k, DIGITS>(column, x, y);
            column = clear::<$k>(column, &mut factors, modulus, inverse);
        };
    }
    // A digit of the result takes the place of one that no later column needs.
    macro_rules! upper {
        ($k:literal) => {
            column = sum::<{ $k + 1 - DIGITS }, DIGITS, $k, DIGITS>(column, x, y);
            column = sum::<{ $k + 1 - DIGITS }, DIGITS, $k, DIGITS>(column, &factors, modulus);
            x[$k - DIGITS] = column as u64 & MASK;
            column >>= DIGIT;
        };
    }
    each!(lower: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17);
    each!(upper: 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34);
    x[DIGITS - 1] = column as u64;
}

/// `x` becomes `x` · `x`, reduced: each product of two different digits is computed once.
#[inline(never)]
pub(super) fn square(x: &mut Number, modulus: &Number, inverse: u64) {
    let twice = x.map(|digit| digit << 1);
    let (mut column, mut factors) = (0_u128, [0; DIGITS]);
    macro_rules! middle {
        ($k:literal) => {
            if $k % 2 == 0 {
                column = column.wrapping_add(wide(x[$k / 2], x[$k / 2]));
            }
        };
    }
    macro_rules! lower {
        ($k:literal) => {
            column = sum::<0, { half($k) }, $k, DIGITS>(column, x, &twice);
            middle!($k);
            column = clear::<$k>(column, &mut factors, modulus, inverse);
        };
    }
    macro_rules! upper {
        ($k:literal) => {
            column = sum::<{ $k + 1 - DIGITS }, { half($k) }, $k, DIGITS>(column, x, &twice);
            middle!($k);
            column = sum::<{ $k + 1 - DIGITS }, DIGITS, $k, DIGITS>(column, &factors, modulus);
            x[$k - DIGITS] = column as u64 & MASK;
            column >>= DIGIT;
        };
    }
    each!(lower: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17);
    each!(upper: 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34);
    x[DIGITS - 1] = column as u64;
}

/// Adds the multiple of the modulus with which the lower column `K` is zero, and returns what is
/// carried to the next.
#[inline(always)]
fn clear<const K: usize>(
    column: u128,
    factors: &mut Number,
    modulus: &Number,
    inverse: u64,
) -> u128 {
    let column = sum::<0, K, K, DIGITS>(column, factors, modulus);
    factors[K] = (column as u64).wrapping_mul(inverse) & MASK;
    column.wrapping_add(wide(factors[K], modulus[0])) >> DIGIT
}
