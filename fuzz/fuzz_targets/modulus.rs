//! Ours and the library's arithmetic modulo an odd number, as RSA's private-key operation uses it.

#![no_main]

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use keycell_fuzz::Fields;
use libfuzzer_sys::fuzz_target;
use ocicrypt_arithmetic::rsa::Modulus;

/// The longest modulus, in bytes: four blocks of nine digits, and what is left of the last one.
const LONGEST: usize = 256;

fuzz_target!(|bytes: &[u8]| {
    let mut fields = Fields(bytes);
    let (public, part) = (u64::from(fields.u32()) | 1, fields.0.len() / 4);
    let mut numbers = fields.0.chunks(part.clamp(1, LONGEST)).map(number);
    let mut next = || numbers.next().unwrap_or_else(BoxedUint::one);
    let (modulus, base, other, exponent) = (next(), next(), next(), next());
    let Some(modulus) = Odd::new(modulus).into_option().filter(|it| **it > BoxedUint::one()) else {
        return;
    };

    let params = BoxedMontyParams::new(modulus.clone());
    let form = |it: &BoxedUint| BoxedMontyForm::new(it.rem(modulus.as_nz_ref()), &params);
    let mut ours = Modulus::new(modulus.as_nz_ref());
    let (x, y) = (ours.residue(&base), ours.residue(&other));
    for (computed, library) in [
        (ours.product(&x, &y), form(&base) * form(&other)),
        (ours.power(&x, &exponent), form(&base).pow(&exponent)),
        (ours.power_of_public(&x, public), form(&base).pow(&BoxedUint::from(public))),
    ] {
        assert_eq!(*ours.number(&computed), library.retrieve());
    }
});

fn number(bytes: &[u8]) -> BoxedUint {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    BoxedUint::from_be_slice(bytes, 8 * bytes.len().max(8) as u32).expect("as many bytes as bits")
}
