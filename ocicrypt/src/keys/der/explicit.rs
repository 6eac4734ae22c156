//! Elliptic curves that are not named but written out (RFC 3279, section 2.3.5), as OpenSSL does it with
//! `-param_enc explicit`.
//!
//! Parameters are taken only if all of them are those of a curve that the format has: with others, whoever
//! wrote the file would choose the group.

use pkcs8::spki::ObjectIdentifier;

use super::{BIT_STRING, INTEGER, OCTET_STRING, P256, P384, P521, SEQUENCE, element};

/// The numbers of a curve, in hexadecimal digits (SEC 2, section 2).
struct Curve {
    name: ObjectIdentifier,
    p: &'static str,
    a: &'static str,
    b: &'static str,
    /// The generator, uncompressed.
    g: &'static str,
    n: &'static str,
}

/// `1.2.840.10045.1.1`, prime-field.
const PRIME_FIELD: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x01, 0x01];

/// The name of the curve whose parameters the bytes are: an `ECParameters`.
pub(super) fn curve(der: &[u8]) -> Option<ObjectIdentifier> {
    let mut rest = element(der).filter(|all| all.tag == SEQUENCE)?.content;
    let mut next = |tag: u8| {
        let found = element(rest).filter(|found| found.tag == tag)?;
        rest = found.rest;
        Some(found.content)
    };
    next(INTEGER).filter(|version| (1..=3).contains(&version.last().copied().unwrap_or(0)))?;
    let field = next(SEQUENCE)?;
    let coefficients = next(SEQUENCE)?;
    let generator = next(OCTET_STRING)?;
    let order = next(INTEGER)?;
    // The cofactor, which is 1 for all of them, may be left out.
    match next(INTEGER) {
        None | Some([1]) => {}
        Some(_) => return None,
    }
    let kind = element(field).filter(|kind| kind.tag == 0x06 && kind.content == PRIME_FIELD)?;
    let prime = element(kind.rest).filter(|prime| prime.tag == INTEGER && prime.rest.is_empty())?;
    let a = element(coefficients).filter(|a| a.tag == OCTET_STRING)?;
    let b = element(a.rest).filter(|b| b.tag == OCTET_STRING)?;
    // A seed says how `b` was chosen, and changes nothing.
    if !b.rest.is_empty() && element(b.rest).is_none_or(|seed| seed.tag != BIT_STRING) {
        return None;
    }
    let numbers = [prime.content, a.content, b.content, order].map(|number| hex(trim(number)));
    let is_it = |curve: &&Curve| {
        numbers
            .iter()
            .zip([curve.p, curve.a, curve.b, curve.n])
            .all(|(found, number)| found == number)
            && is_generator(&hex(generator), curve.g)
    };
    CURVES.iter().find(is_it).map(|curve| curve.name)
}

/// Whether a point is the generator `g`, compressed or not (SEC 1, section 2.3.3).
fn is_generator(point: &str, g: &str) -> bool {
    let (x, y) = g[2..].split_at(g.len() / 2 - 1);
    let is_odd = y.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']);
    match point.split_at_checked(2) {
        Some(("04", _)) => point == g,
        Some(("02", compressed)) => compressed == x && !is_odd,
        Some(("03", compressed)) => compressed == x && is_odd,
        _ => false,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn trim(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[rustfmt::skip]
const CURVES: [Curve; 3] = [
    Curve {
        name: P256,
        p: "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        a: "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
        b: "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
        g: "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        n: "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    },
    Curve {
        name: P384,
        p: "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
        a: "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000fffffffc",
        b: "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
        g: "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab73617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
        n: "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    },
    Curve {
        name: P521,
        p: "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        a: "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc",
        b: "51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
        g: "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
        n: "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    },
];
