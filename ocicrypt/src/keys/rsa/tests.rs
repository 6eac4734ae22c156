//! That nothing is accepted that the library refuses, and that a wrong coefficient is none.

use crypto_bigint::Resize as _;
use getrandom::SysRng;
use rsa::traits::PublicKeyParts as _;

use super::*;

/// Of 1024 bits.
fn numbers() -> [BoxedUint; 5] {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys/rsa-1024.pkcs8.pem");
    let pem = std::fs::read_to_string(path).expect("a key of the tests");
    let key: rsa::PrivateKey = pkcs8::DecodePrivateKey::from_pkcs8_pem(&pem).expect("a key");
    let [p, q] = key.primes() else { panic!("not two primes") };
    let (p, q) = (p.as_ref().clone(), q.as_ref().clone());
    [key.n().as_ref().clone(), key.e().clone(), key.d().clone(), p, q]
}

fn new(
    [n, e, d]: [&BoxedUint; 3],
    primes: &[&BoxedUint],
    coefficient: Option<&BoxedUint>,
) -> Result<RsaKey, NotAKey> {
    let bytes = |number: &BoxedUint| number.to_be_bytes();
    let primes: Vec<_> = primes.iter().map(|prime| bytes(prime)).collect();
    let primes: Vec<_> = primes.iter().map(|prime| &**prime).collect();
    RsaKey::new(
        &bytes(n),
        &bytes(e),
        &bytes(d),
        &primes,
        coefficient.map(bytes).as_deref(),
        &mut Budget::new(u64::MAX),
    )
}

#[test]
fn a_coefficient_that_is_none_is_computed() {
    let [n, e, d, p, q] = &numbers();
    let good = q.invert_mod(&p.to_nz().expect("a prime")).expect("another prime");
    let (zero, one) = (BoxedUint::zero(), BoxedUint::one());
    let other = p.invert_mod(&q.to_nz().expect("a prime")).expect("another prime");
    let (near, more) = (good.wrapping_add(&one), good.concatenating_mul(&one).wrapping_add(p));
    let ciphertext = [0x42; 128];
    let mut decrypted = Vec::new();
    for stated in [&good, &zero, &one, &other, &near, &more, n].map(Some).into_iter().chain([None])
    {
        let key = new([n, e, d], &[p, q], stated).expect("a good key");
        assert!(is_one(&key.coefficient, q, &p.to_nz().expect("a prime")));
        decrypted.push(key.decrypt_raw(&ciphertext, &mut SysRng).expect("a message"));
    }
    assert_eq!(decrypted.len(), 8);
    assert!(decrypted.windows(2).all(|pair| pair[0] == pair[1]));
}

/// What the library says of the same numbers, which it checks itself.
#[test]
fn keys_are_refused_that_the_library_refuses() {
    let [n, e, d, p, q] = &numbers();
    let of = |number: u64| BoxedUint::from(number);
    let less = |number: &BoxedUint| number.wrapping_sub(of(1));
    let totient = less(p).concatenating_mul(less(q));
    let (longer, half) = (d.concatenating_mul(of(1)).wrapping_add(&totient), totient.shr(1));
    let again = d.rem(&half.to_nz().expect("a number"));
    let (thrice, multiple) = (n.concatenating_mul(of(3)), n.concatenating_mul(p));
    // The least private exponent that is none for three primes only because it is not below the modulus.
    let mut over = again.clone().resize_unchecked(1088);
    while over < thrice {
        over = over.wrapping_add(&half);
    }
    // Exponents also for products of numbers that are no primes, of which two have a factor in
    // common.
    let inverse = |e: &BoxedUint, order: &BoxedUint| {
        let e = e.clone().resize_unchecked(order.bits_precision());
        e.invert_mod(&order.to_nz().expect("an order")).into_option()
    };
    let uneven = inverse(e, &less(n)).expect("a prime exponent");
    let common = inverse(e, &less(n).concatenating_mul(less(p))).expect("a prime exponent");
    // The least one that is longer than the library computes with.
    let long = (1_u64 << 33..).map(of).find_map(|e| inverse(&e, &totient).map(|d| (e, d)));
    let exponents = [
        (e.clone(), d.clone()),
        (e.clone(), uneven),
        (e.clone(), common),
        (e.clone(), longer),
        (e.clone(), again),
        (e.clone(), over),
        (e.clone(), n.clone()),
        (e.clone(), of(1)),
        (of(2), d.clone()),
        (of(3), d.clone()),
        long.expect("an odd number"),
        (less(n), less(n)),
        (d.clone(), e.clone()),
    ];
    let (square, composite) = (p.concatenating_mul(p), p.concatenating_mul(of(3)));
    let repeated = n.concatenating_mul(q);
    let (even, odd) = (less(n), less(&less(n)));
    let (one, three) = (of(1), of(3));
    let factors: [(&BoxedUint, &[&BoxedUint]); 21] = [
        (n, &[p, q]),
        (n, &[q, p]),
        (n, &[]),
        (n, &[n]),
        (n, &[n, &one]),
        (n, &[p]),
        (n, &[p, p]),
        (n, &[p, q, q]),
        (n, &[p, q, &one]),
        (&square, &[p, p]),
        (&repeated, &[p, q, q]),
        (&repeated, &[q, q, p]),
        (&thrice, &[p, q, &three]),
        (&thrice, &[&composite, q]),
        (&thrice, &[q, &composite]),
        (&thrice, &[n, &three]),
        (&multiple, &[n, p]),
        (&multiple, &[p, n]),
        (&odd, &[p, q]),
        (&even, &[p, q]),
        (&even, &[]),
    ];
    let mut accepted = 0;
    for (e, d) in &exponents {
        for (n, primes) in factors {
            let wide = primes.len() == 2 && (n == &thrice || n == &multiple);
            accepted += usize::from(accepted_like_the_library([n, e, d], primes, wide));
        }
    }
    // Two pairs of exponents, each with the primes in both orders, without them, and with 3 as a third;
    // the longer one, with the third; and the uneven one.
    assert_eq!(accepted, 2 * 4 + 2);
}

/// Whether a key of these numbers is accepted, which must be as in the library. `wide` says that two primes
/// have different lengths.
fn accepted_like_the_library(
    [n, e, d]: [&BoxedUint; 3],
    primes: &[&BoxedUint],
    wide: bool,
) -> bool {
    let ours = new([n, e, d], primes, None);
    let owned = primes.iter().map(|prime| (*prime).clone()).collect();
    let make = if wide {
        rsa::PrivateKey::from_components_with_wide_primes
    } else {
        rsa::PrivateKey::from_components
    };
    let library = make(n.clone(), e.clone(), d.clone(), owned);
    assert_eq!(ours.is_ok(), library.is_ok(), "{e} {d} {primes:?}");
    let (Ok(ours), Ok(library)) = (ours, library) else {
        return false;
    };
    assert_eq!(ours.of_library().ok(), Some(library));
    true
}
