//! That it computes what the library does.

use crypto_bigint::Odd;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use sha2::{Digest as _, Sha256};

use super::*;

/// Numbers of so many bits: those where carries go far, and some without a pattern.
fn numbers(bits: u32) -> Vec<BoxedUint> {
    let bytes = bits as usize / 8;
    let of = |byte: &dyn Fn(usize) -> u8| {
        let bytes: Vec<_> = (0..bytes).map(byte).collect();
        BoxedUint::from_be_slice(&bytes, bits).expect("as many bytes as bits")
    };
    let last = bytes - 1;
    let scattered = |seed: u8| {
        of(&|i| match i {
            0 => 0x80 | seed,
            i if i == last => seed,
            i => Sha256::digest([seed, i as u8, (i >> 8) as u8])[0],
        })
    };
    vec![
        of(&|_| 0xff),
        of(&|i| if i == last { 0xfe } else { 0xff }),
        of(&|i| if i == 0 { 0x80 } else { u8::from(i == last) }),
        of(&|i| u8::from(i == last)),
        of(&|_| 0),
        scattered(1),
        scattered(2),
    ]
}

#[test]
fn it_computes_what_the_library_does() {
    let mut compared = 0;
    for bits in [512, 576, 1024, 1088, 1536, 2048, 4096] {
        let numbers = numbers(bits);
        let moduli = numbers.iter().filter(|it| **it > BoxedUint::one());
        for modulus in moduli.filter_map(|it| Odd::new(it.clone()).into_option()) {
            let params = BoxedMontyParams::new(modulus.clone());
            let mut ours = Modulus::new(modulus.as_nz_ref());
            for (base, other) in numbers.iter().zip(numbers.iter().rev()) {
                let reduced = |it: &BoxedUint| it.rem(modulus.as_nz_ref());
                let form = |it| BoxedMontyForm::new(reduced(it), &params);
                let residue = ours.residue(base);
                // The library takes long, and these tests are not optimised.
                let small = &other.clone().resize_unchecked(bits.min(256));
                let expected = [
                    reduced(base),
                    form(base).mul(&form(other)).retrieve(),
                    form(base).pow(small).retrieve(),
                    form(base).pow(&BoxedUint::from(65537_u64)).retrieve(),
                ];
                let computed = [
                    ours.residue(base),
                    {
                        let other = ours.residue(other);
                        ours.product(&residue, &other)
                    },
                    ours.power(&residue, small),
                    ours.power_of_public(&residue, 65537),
                ];
                for (computed, expected) in computed.iter().zip(&expected) {
                    assert_eq!(*ours.number(computed), *expected, "{bits} bits");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 7 * 3 * 7 * 4);
}

/// The columns of the longest modulus stay within 128 bits: with digits that are all ones.
#[test]
fn the_highest_columns_do_not_overflow() {
    let most = u128::from(2 * MASK + 1) * u128::from(MASK) * 288 * 2;
    assert!(most.checked_add(most >> DIGIT).is_some());
    const { assert!(16_384 + 2 <= 288 * DIGIT) };
}
