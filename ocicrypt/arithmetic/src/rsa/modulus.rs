//! Arithmetic modulo an odd number, in constant time: what the private-key operation of RSA spends
//! its time with.
//!
//! `crypto-bigint` computes with digits of 64 bits and carries from each to the next, which
//! WebAssembly can only say in many instructions. Here a digit has 58 bits, so that a column of
//! products is summed up in 128 bits before anything is carried: a multiplication and an addition of
//! two words each, which WebAssembly has (`wide-arithmetic`). It takes a third of the instructions
//! there (docs/performance.md). Multiplication is Montgomery's (1985), in columns, nine digits by nine
//! digits at a time, or all eighteen for the primes of RSA-2048; its results stay below twice the
//! modulus (Walter, "Montgomery exponentiation needs no final subtractions", 1999), so nothing is
//! subtracted and nothing compared.
//!
//! No branch and no address depends on a number, but for exponents that are said to be public. The
//! library computes in [`super::decrypt`] whether the result is right.

use crypto_bigint::{BoxedUint, NonZero, Resize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

mod prime1024;
#[cfg(test)]
mod tests;

/// Bits of a digit. A column is the sum of at most 2 · 288 products, for a prime that is as long as a
/// modulus of 16,384 bits, so it is below 2¹²⁶.
const DIGIT: u32 = 58;
const MASK: u64 = (1 << DIGIT) - 1;

/// Digits of a block.
const BLOCK: usize = 9;
const BLOCK_BITS: u32 = DIGIT * BLOCK as u32;

/// The exponent's bits that are dealt with at a time, and how many powers they choose from.
const WINDOW: u32 = 4;
const POWERS: usize = 1 << WINDOW;

type Block = [u64; BLOCK];

/// The columns of a product of two blocks.
type Columns = [u128; 2 * BLOCK - 1];

/// A block of each of the powers, digit by digit.
type Powers = [[u64; POWERS]; BLOCK];

/// Digits, the least first.
type Digits = Zeroizing<Vec<Block>>;

/// An odd modulus that is computed with. Wipes itself when dropped.
pub struct Modulus {
    modulus: Digits,
    /// The modulus as it was given.
    number: Zeroizing<NonZero<BoxedUint>>,
    /// -modulus⁻¹ modulo 2⁵⁸.
    inverse: u64,
    /// R² modulo the modulus, where R is 2 to the power of all bits of its blocks.
    r_squared: Residue,
    /// Two blocks for each of the modulus: a product.
    columns: Zeroizing<Vec<u128>>,
}

/// A number in Montgomery's form, below twice the modulus: it stands for itself divided by R.
#[derive(Clone)]
pub struct Residue(Digits);

impl Modulus {
    /// `modulus` is odd and more than 1.
    pub fn new(modulus: &NonZero<BoxedUint>) -> Self {
        // R is more than four times the modulus.
        let blocks = (modulus.bits_precision() + 2).div_ceil(BLOCK_BITS);
        let lowest = modulus.as_words()[0];
        // Newton's iteration doubles the bits that are right: 1, 2, … 64.
        let inverse = (0..6).fold(1_u64, |inverse, _| {
            inverse.wrapping_mul(2_u64.wrapping_sub(lowest.wrapping_mul(inverse)))
        });
        let twice = 2 * blocks * BLOCK_BITS;
        let power = BoxedUint::one_with_precision(twice + 1).shl(twice);
        let blocks = blocks as usize;
        Self {
            modulus: digits(modulus, blocks),
            number: Zeroizing::new(modulus.clone()),
            inverse: inverse.wrapping_neg() & MASK,
            r_squared: Residue(digits(&Zeroizing::new(power.rem(modulus)), blocks)),
            columns: Zeroizing::new(vec![0; 2 * BLOCK * blocks]),
        }
    }

    /// `number` modulo this.
    pub fn residue(&mut self, number: &BoxedUint) -> Residue {
        let number = Zeroizing::new(number.rem(&self.number));
        let number = Residue(digits(&number, self.modulus.len()));
        self.product(&number, &self.r_squared.clone())
    }

    /// The number that `residue` stands for.
    pub fn number(&mut self, residue: &Residue) -> Zeroizing<BoxedUint> {
        let one = Residue(digits(&BoxedUint::one(), self.modulus.len()));
        // At most the modulus, and that only for 0.
        let number = Zeroizing::new(number(&self.product(residue, &one).0));
        Zeroizing::new(number.rem(&self.number))
    }

    /// `x` · `y`.
    pub fn product(&mut self, x: &Residue, y: &Residue) -> Residue {
        let mut product = x.clone();
        self.multiply(&mut product, y);
        product
    }

    /// `base` to the power of `exponent`, of which only the precision shows in the time it takes.
    pub fn power(&mut self, base: &Residue, exponent: &BoxedUint) -> Residue {
        let mut result = self.residue(&BoxedUint::one());
        let mut table = Zeroizing::new(vec![[[0; POWERS]; BLOCK]; self.modulus.len()]);
        let mut power = result.clone();
        for i in 0..POWERS {
            for (powers, block) in table.iter_mut().zip(power.0.iter()) {
                for (powers, digit) in powers.iter_mut().zip(block) {
                    powers[i] = *digit;
                }
            }
            self.multiply(&mut power, base);
        }
        let exponent = Zeroizing::new(exponent.to_be_bytes());
        let windows = exponent.iter().flat_map(|byte| [byte >> WINDOW, byte & 15]);
        for window in windows {
            for _ in 0..WINDOW {
                self.square(&mut result);
            }
            let masks = std::array::from_fn(|i| {
                u64::from((i as u8).ct_eq(&window).unwrap_u8()).wrapping_neg()
            });
            for (block, powers) in power.0.iter_mut().zip(table.iter()) {
                choose(powers, &masks, block);
            }
            self.multiply(&mut result, &power);
        }
        result
    }

    /// `base` to the power of a public exponent that is not 0.
    pub fn power_of_public(&mut self, base: &Residue, exponent: u64) -> Residue {
        let mut result = base.clone();
        for bit in (0..exponent.max(1).ilog2()).rev() {
            self.square(&mut result);
            if exponent >> bit & 1 == 1 {
                self.multiply(&mut result, base);
            }
        }
        result
    }

    fn multiply(&mut self, x: &mut Residue, y: &Residue) {
        if let Some(modulus) = flat(&self.modulus)
            && let Some(y) = flat(&y.0)
            && let Some(x) = flat_mut(&mut x.0)
        {
            return prime1024::multiply(x, y, modulus, self.inverse);
        }
        self.columns.fill(0);
        for (i, x) in x.0.iter().enumerate() {
            for (j, y) in y.0.iter().enumerate() {
                add_product(at(&mut self.columns, i + j), x, y);
            }
        }
        self.reduce(x);
    }

    fn square(&mut self, x: &mut Residue) {
        if let Some(modulus) = flat(&self.modulus)
            && let Some(x) = flat_mut(&mut x.0)
        {
            return prime1024::square(x, modulus, self.inverse);
        }
        self.columns.fill(0);
        for (i, block) in x.0.iter().enumerate() {
            let twice = block.map(|digit| digit << 1);
            add_square(at(&mut self.columns, 2 * i), block, &twice);
            for (j, later) in x.0.iter().enumerate().skip(i + 1) {
                add_product(at(&mut self.columns, i + j), later, &twice);
            }
        }
        self.reduce(x);
    }

    /// The columns divided by R: multiples of the modulus are added until the lower half is zero.
    fn reduce(&mut self, result: &mut Residue) {
        for i in 0..self.modulus.len() {
            let factor = clear(at(&mut self.columns, i), &self.modulus[0], self.inverse);
            for (j, block) in self.modulus.iter().enumerate().skip(1) {
                add_product(at(&mut self.columns, i + j), &factor, block);
            }
        }
        let mut sum = 0_u128;
        let (upper, _) = self.columns[self.modulus.len() * BLOCK..].as_chunks::<BLOCK>();
        for (block, columns) in result.0.iter_mut().zip(upper) {
            for (digit, column) in block.iter_mut().zip(columns) {
                sum = sum.wrapping_add(*column);
                *digit = sum as u64 & MASK;
                sum >>= DIGIT;
            }
        }
    }
}

/// The digits, if they are as many as there is a faster way for.
fn flat(blocks: &[Block]) -> Option<&prime1024::Number> {
    blocks.as_flattened().try_into().ok()
}

/// As [`flat`], to be changed.
fn flat_mut(blocks: &mut [Block]) -> Option<&mut prime1024::Number> {
    blocks.as_flattened_mut().try_into().ok()
}

/// The columns that the product of two blocks is added to, where their places add up to `block`.
fn at(columns: &mut [u128], block: usize) -> &mut Columns {
    // The slice has two blocks for each of the modulus, so there are columns enough.
    columns[block * BLOCK..].first_chunk_mut().expect("columns for each product")
}

/// `$do` with each of the numbers, as constants: the loops in it are unrolled then.
macro_rules! each {
    ($do:ident: $($column:literal)*) => { $($do!($column);)* };
}
use each;

/// Copies the block of that power whose mask is all ones. All of them are read, so that nobody sees
/// which it was.
#[inline(never)]
fn choose(powers: &Powers, masks: &[u64; POWERS], chosen: &mut Block) {
    macro_rules! digit {
        ($k:literal) => {
            let masked = powers[$k].iter().zip(masks).map(|(power, mask)| power & mask);
            chosen[$k] = masked.fold(0, |digit, masked| digit | masked);
        };
    }
    each!(digit: 0 1 2 3 4 5 6 7 8);
}

/// Adds `x` · `y`.
#[inline(never)]
fn add_product(columns: &mut Columns, x: &Block, y: &Block) {
    macro_rules! column {
        ($k:literal) => {
            columns[$k] = sum::<{ first($k) }, { behind($k) }, $k, BLOCK>(columns[$k], x, y);
        };
    }
    each!(column: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
}

/// Adds `x` · `x`; `twice` is `x` with each digit doubled.
#[inline(never)]
fn add_square(columns: &mut Columns, x: &Block, twice: &Block) {
    macro_rules! column {
        ($k:literal) => {
            // Each pair of different digits once.
            columns[$k] = sum::<{ first($k) }, { half($k) }, $k, BLOCK>(columns[$k], x, twice);
            if $k % 2 == 0 {
                columns[$k] = columns[$k].wrapping_add(wide(x[$k / 2], x[$k / 2]));
            }
        };
    }
    each!(column: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
}

/// Adds the multiple of `lowest`, the modulus's least block, with which the least nine columns are
/// zero, carries what is above their digits, and returns its factor.
#[inline(never)]
fn clear(columns: &mut Columns, lowest: &Block, inverse: u64) -> Block {
    let (mut factor, mut carried) = ([0; BLOCK], 0_u128);
    macro_rules! lower {
        ($k:literal) => {
            let column =
                sum::<0, $k, $k, BLOCK>(columns[$k].wrapping_add(carried), &factor, lowest);
            factor[$k] = (column as u64).wrapping_mul(inverse) & MASK;
            carried = column.wrapping_add(wide(factor[$k], lowest[0])) >> DIGIT;
        };
    }
    macro_rules! upper {
        ($k:literal) => {
            columns[$k] = sum::<{ first($k) }, BLOCK, $k, BLOCK>(columns[$k], &factor, lowest);
        };
    }
    each!(lower: 0 1 2 3 4 5 6 7 8);
    columns[BLOCK] = columns[BLOCK].wrapping_add(carried);
    each!(upper: 9 10 11 12 13 14 15 16);
    factor
}

/// The first digit that has a partner in column `k`.
const fn first(k: usize) -> usize {
    (k + 1).saturating_sub(BLOCK)
}

/// The one behind the last digit that has a partner in column `k`.
const fn behind(k: usize) -> usize {
    if k < BLOCK { k + 1 } else { BLOCK }
}

/// The one behind the last digit whose partner in column `k` comes later.
const fn half(k: usize) -> usize {
    k.div_ceil(2)
}

/// `sum` and all x[i] · y[k - i] with `i` from `FIRST` to below `BEHIND`.
///
/// Not a loop, even if it would be unrolled: LLVM turns each of its additions round, and then the guest
/// has all products of a column in memory before the first addition. It takes 40 % fewer instructions.
#[inline(always)]
fn sum<const FIRST: usize, const BEHIND: usize, const K: usize, const DIGITS: usize>(
    mut sum: u128,
    x: &[u64; DIGITS],
    y: &[u64; DIGITS],
) -> u128 {
    macro_rules! term {
        ($i:literal) => {
            if FIRST <= $i && $i < BEHIND {
                sum = sum.wrapping_add(wide(x[$i], y[K - $i]));
            }
        };
    }
    each!(term: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17);
    sum
}

#[inline(always)]
fn wide(x: u64, y: u64) -> u128 {
    u128::from(x) * u128::from(y)
}

/// Splits a number that has at most as many bits as the blocks.
fn digits(number: &BoxedUint, blocks: usize) -> Digits {
    let word = |i: usize| u128::from(number.as_words().get(i).copied().unwrap_or(0));
    let mut digits = Zeroizing::new(vec![[0; BLOCK]; blocks]);
    for (i, digit) in digits.as_flattened_mut().iter_mut().enumerate() {
        let bit = i * DIGIT as usize;
        *digit = ((word(bit / 64) | word(bit / 64 + 1) << 64) >> (bit % 64)) as u64 & MASK;
    }
    digits
}

fn number(digits: &[Block]) -> BoxedUint {
    let digits = digits.as_flattened();
    let mut words = Zeroizing::new(vec![0_u64; (digits.len() * DIGIT as usize).div_ceil(64) + 1]);
    for (i, digit) in digits.iter().enumerate() {
        let bit = i * DIGIT as usize;
        let shifted = u128::from(*digit) << (bit % 64);
        words[bit / 64] |= shifted as u64;
        words[bit / 64 + 1] |= (shifted >> 64) as u64;
    }
    let bits = 64 * words.len() as u32;
    BoxedUint::from_words(words.iter().copied()).resize_unchecked(bits)
}
