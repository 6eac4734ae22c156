//! Arithmetic modulo the prime of NIST P-256 (SP 800-186, section 3.2.1.3), in constant time.
//!
//! As in [`super::modulus`], digits are shorter than words, so that a column of products is summed up
//! before anything is carried: in WebAssembly that takes a third of the instructions that carries
//! from word to word take. Here a number has five digits of 53 bits, and they have signs, so that
//! nothing is carried after additions and subtractions either.
//!
//! Multiplication is Montgomery's (1985). For |x| ≤ c·p and |y| ≤ d·p its result is within
//! (c·d / 512 + 1)·p of 0, since R = 2²⁶⁵ is 512 times the prime. In [`super::point`] what is multiplied is
//! within 16·p of 0, so results are within 1.5·p. Digits are below 2⁵⁸ then, and a column of five
//! products below 2¹¹⁹, far from the end of 128 bits.

use std::ops::{Add, Mul, Sub};

use zeroize::Zeroize;

/// Bits of a digit.
const DIGIT: u32 = 53;
const MASK: i64 = (1 << DIGIT) - 1;

/// Digits of a number.
const DIGITS: usize = 5;

/// Bytes of a number, the most significant one first.
pub type Bytes = [u8; 32];

/// A number modulo p in Montgomery's form: it stands for itself divided by R. The least digit comes first.
#[derive(Clone, Copy, Default, Zeroize)]
pub struct Element([i64; DIGITS]);

impl Element {
    /// 0.
    pub const ZERO: Self = Self([0; DIGITS]);

    /// 1.
    pub const ONE: Self =
        Self([0x200, 0x10_0000_0000_0000, 0x1f_ffff_ffff_ffff, 0x1f_fbff_ffff_ffff, 0x1f_ffff]);

    /// The curve's coefficient b.
    pub const B: Self = Self([
        0x1e_c453_897b_bfb8,
        0x9_c843_090d_89cd,
        0x10_976b_5678_02e6,
        0xd026_8882_afdc,
        0x600_c3bc_10e9,
    ]);

    /// R² modulo p, as a number: what is multiplied with it gets into Montgomery's form.
    const R_SQUARED: Self = Self([
        0xc_0000,
        0x1f_ffff_e000_0000,
        0x1f_feff_ffff_fbff,
        0xf_ffff_ffff_ffff,
        0x1_3fff_ffff,
    ]);

    /// The number of these bytes.
    pub fn of(bytes: &Bytes) -> Self {
        let mut number = Self::ZERO;
        for (at, digit) in (0..).step_by(DIGIT as usize).zip(&mut number.0) {
            // A digit's bits are in at most eight bytes, from the one that its first bit is in.
            let mut word = 0;
            for (place, byte) in bytes.iter().rev().skip(at / 8).take(8).enumerate() {
                word |= u64::from(*byte) << (8 * place);
            }
            *digit = (word >> (at % 8)) as i64 & MASK;
        }
        number * Self::R_SQUARED
    }

    /// The bytes of the number that it stands for: below p, but p itself for 0.
    pub fn to_bytes(self) -> Bytes {
        // The result is at most p, and not negative: the summand is less than R by far.
        let Self(digits) = self * Self([1, 0, 0, 0, 0]);
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().rev().enumerate() {
            let (digit, at) = (8 * place / DIGIT as usize, 8 * place as u32 % DIGIT);
            let next = digits.get(digit + 1).map_or(0, |next| next << (DIGIT - at));
            *byte = (digits[digit] >> at | next) as u8;
        }
        bytes
    }

    /// Adds a number, or with a mask of 0 nothing.
    pub fn add_masked(&mut self, other: &Self, mask: i64) {
        for (to, from) in self.0.iter_mut().zip(&other.0) {
            *to += from & mask;
        }
    }

    /// Itself times itself.
    pub fn square(&self) -> Self {
        let [a, b, c, d, e] = self.0.map(i128::from);
        let [a2, b2, c2, d2, _] = self.0.map(|digit| i128::from(digit << 1));
        reduced([
            a * a,
            a2 * b,
            a2 * c + b * b,
            a2 * d + b2 * c,
            a2 * e + b2 * d + c * c,
            b2 * e + c2 * d,
            c2 * e + d * d,
            d2 * e,
            e * e,
        ])
    }

    /// So many times.
    fn squared(self, times: u32) -> Self {
        (0..times).fold(self, |power, _| power.square())
    }

    /// What it has to be multiplied with to get 1; 0 for 0. By Fermat: itself to the power of p - 2.
    pub fn inverse(&self) -> Self {
        // p - 2 in binary: 32 ones, 31 zeros and a one, 96 zeros, 94 ones, a zero, a one.
        let two = self.square() * *self;
        let four = two.squared(2) * two;
        let eight = four.squared(4) * four;
        let sixteen = eight.squared(8) * eight;
        let thirty_two = sixteen.squared(16) * sixteen;
        let thirty = sixteen.squared(8) * eight;
        let thirty = (thirty.squared(4) * four).squared(2) * two;
        let upper = thirty_two.squared(32) * *self;
        let lower = (upper.squared(128) * thirty_two).squared(32) * thirty_two;
        (lower.squared(30) * thirty).squared(2) * *self
    }
}

impl Add for Element {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] + other.0[at]))
    }
}

impl Sub for Element {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] - other.0[at]))
    }
}

impl Mul for Element {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        product(&self, &other)
    }
}

/// One copy of it, however often it is called.
#[inline(never)]
fn product(x: &Element, y: &Element) -> Element {
    let [a, b, c, d, e] = x.0.map(i128::from);
    let [v, w, x, y, z] = y.0.map(i128::from);
    reduced([
        a * v,
        a * w + b * v,
        a * x + b * w + c * v,
        a * y + b * x + c * w + d * v,
        a * z + b * y + c * x + d * w + e * v,
        b * z + c * y + d * x + e * w,
        c * z + d * y + e * x,
        d * z + e * y,
        e * z,
    ])
}

/// The columns divided by R: multiples of p are added until the lower digits are zero.
///
/// p's own digits are 2⁵³ - 1, 2⁴³ - 1, 0, 2³³ and 2⁴⁴ - 2¹². The lowest is -1 modulo 2⁵³, so a
/// column's lowest digit says itself how often p is to be added.
#[inline(always)]
fn reduced(mut columns: [i128; 2 * DIGITS - 1]) -> Element {
    for at in 0..DIGITS {
        let times = columns[at] as i64 & MASK;
        let times = i128::from(times);
        // With times · (2⁵³ - 1) the column loses its lowest digit, and `times` is carried.
        columns[at + 1] += (columns[at] >> DIGIT) + (times << 43);
        columns[at + 3] += times << 33;
        columns[at + 4] += times * ((1 << 44) - (1 << 12));
    }
    let mut digits = [0; DIGITS];
    let mut sum = 0;
    for (digit, column) in digits.iter_mut().zip(&columns[DIGITS..]) {
        sum += column;
        *digit = sum as i64 & MASK;
        sum >>= DIGIT;
    }
    // The highest digit keeps the sign.
    digits[DIGITS - 1] = sum as i64;
    Element(digits)
}

#[cfg(test)]
mod tests {
    use crypto_bigint::{Encoding, NonZero, U256};

    use super::*;

    const P: U256 =
        U256::from_be_hex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");

    fn modulus() -> NonZero<U256> {
        NonZero::new(P).expect("not 0")
    }

    impl Element {
        pub(in super::super) fn is_zero(&self) -> bool {
            number(*self) == U256::ZERO
        }
    }

    fn number(element: Element) -> U256 {
        let number = U256::from_be_bytes(element.to_bytes().into());
        assert!(number <= P, "{number}");
        number.rem(&modulus())
    }

    fn element(number: &U256) -> Element {
        let bytes: [u8; 32] = number.to_be_bytes().into();
        Element::of(&bytes)
    }

    fn numbers() -> Vec<U256> {
        let mut numbers = vec![P.wrapping_sub(&U256::ONE), U256::ZERO, U256::ONE];
        numbers.extend((0..256).map(|bit| U256::ONE.shl(bit).rem(&modulus())));
        let mut other =
            U256::from_be_hex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");
        for _ in 0..100 {
            other = other.square_mod(&modulus()).wrapping_add(&U256::ONE);
            numbers.push(other);
        }
        numbers
    }

    #[test]
    fn bytes_go_in_and_come_out() {
        for it in numbers() {
            assert_eq!(number(element(&it)), it);
        }
        assert_eq!(number(Element::ONE), U256::ONE);
        let b = "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b";
        assert_eq!(number(Element::B), U256::from_be_hex(b));
    }

    #[test]
    fn products_are_those_of_the_library() {
        let numbers = numbers();
        for (x, y) in numbers.iter().zip(numbers.iter().rev()) {
            let (a, b) = (element(x), element(y));
            assert_eq!(number(a * b), x.mul_mod(y, &modulus()));
            assert_eq!(number(a.square()), x.square_mod(&modulus()));
            assert_eq!(number(a + b), x.add_mod(y, &modulus()));
            assert_eq!(number(a - b), x.sub_mod(y, &modulus()));
        }
    }

    /// 21·p, with either sign, and digits beyond those of any sum.
    #[test]
    fn sums_as_large_as_any_are_multiplied() {
        let most = element(&P.wrapping_sub(&U256::ONE));
        let sum = (0..21).fold(Element::ZERO, |sum, _| sum + most);
        let minus = Element::ZERO - sum;
        let expected = U256::from_u64(441);
        assert_eq!(number(sum * sum), expected);
        assert_eq!(number(minus * minus), expected);
        assert_eq!(number(minus.square()), expected);
        assert_eq!(number(minus * sum), P.wrapping_sub(&expected));
        for digit in [1 << 58, -(1 << 58)] {
            let wide = Element([digit, digit, digit, digit, digit.signum() * (20 << 44)]);
            let narrow = wide * Element::R_SQUARED * Element([1, 0, 0, 0, 0]);
            assert_eq!(number(wide * wide), number(narrow * narrow));
            assert_eq!(number(wide.square()), number(narrow * narrow));
        }
    }

    #[test]
    fn an_inverse_is_one() {
        for it in numbers() {
            let inverse = element(&it).inverse();
            let expected = if it == U256::ZERO { U256::ZERO } else { U256::ONE };
            assert_eq!(number(inverse * element(&it)), expected);
        }
    }
}
