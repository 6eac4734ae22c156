//! Ours and the library's multiples of points of P-256, as ECDH uses them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ocicrypt_arithmetic::p256::multiple;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey};

fuzz_target!(|bytes: &[u8]| {
    let Some((scalar, bytes)) = bytes.split_first_chunk::<32>() else { return };
    let Some((other, _)) = bytes.split_first_chunk::<32>() else { return };
    let (Ok(secret), Ok(other)) = (SecretKey::from_slice(scalar), SecretKey::from_slice(other))
    else {
        return;
    };
    let point = other.public_key();
    let expected = point.to_projective() * *secret.to_nonzero_scalar();
    let expected = PublicKey::from_affine(expected.to_affine()).expect("not nowhere");
    let computed = *multiple(scalar, affine(&point).each_ref());
    // The result for 0 is the prime, which the library then rejects.
    let whole = [&[4][..], &computed[0], &computed[1]].concat();
    match PublicKey::from_sec1_bytes(&whole) {
        Ok(computed) => assert_eq!(computed, expected),
        Err(_) => assert!(affine(&expected).contains(&[0; 32])),
    }
});

fn affine(point: &PublicKey) -> [[u8; 32]; 2] {
    let point = point.to_sec1_point(false);
    [point.x(), point.y()].map(|coordinate| (*coordinate.expect("a coordinate")).into())
}
