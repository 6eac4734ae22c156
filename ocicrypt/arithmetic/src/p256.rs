//! Multiplication of a point of the curve NIST P-256, in constant time: what ECDH spends its time with.
//!
//! Additions are those of Renes, Costello and Batina, "Complete addition formulas for prime order elliptic
//! curves" (2016), algorithm 4: they hold for all points, so there is no case to tell from another. The crate
//! `p256` has them too. It is the arithmetic in [`field`] that is faster in WebAssembly, and doublings
//! in Jacobian coordinates.
//!
//! No branch and no address depends on a coordinate or a scalar. `ocicrypt` has the library look whether
//! what comes out is a point of the curve, as it would hardly be after a wrong step.

mod field;

use std::ops::Add;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use self::field::{Bytes, Element};

/// The scalar's bits that are dealt with at a time.
const WINDOW: u32 = 4;

/// The affine coordinates x and y of `scalar` times a point, of which the affine coordinates are given.
/// What is no point of the curve gives something. For a multiple of the order, which is nowhere, both are 0 modulo p.
pub fn multiple(scalar: &Bytes, [x, y]: [&Bytes; 2]) -> Zeroizing<[Bytes; 2]> {
    let point = Point { x: Element::of(x), y: Element::of(y), z: Element::ONE };
    let mut multiples = Zeroizing::new([Point::NOWHERE; 1 << WINDOW]);
    for times in 1..multiples.len() {
        multiples[times] = multiples[times - 1] + point;
    }
    let windows = windows(scalar);
    let mut sum = chosen(&multiples[..], windows[0]);
    for window in &windows[1..] {
        *sum = sum.sixteenfold() + *chosen(&multiples[..], *window);
    }
    let inverse = Zeroizing::new(sum.z.inverse());
    Zeroizing::new([sum.x, sum.y].map(|coordinate| (coordinate * *inverse).to_bytes()))
}

/// Twice the order of the curve (SP 800-186, section 3.2.1.3).
const TWICE_THE_ORDER: [u8; 33] = [
    0x01, 0xff, 0xff, 0xff, 0xfe, 0x00, 0x00, 0x00, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0x79, 0xcd, 0xf5, 0x5b, 0x4e, 0x2f, 0x3d, 0x09, 0xe7, 0x73, 0x95, 0x85, 0xf8, 0xc6, 0x4a,
    0xa2,
];

/// The scalar, [`WINDOW`] bits at a time, the highest first. With twice the order it is the same multiple,
/// and starts with a window that is not 0, so that no sum but the last is a multiple of the order.
fn windows(scalar: &Bytes) -> Zeroizing<[u8; 65]> {
    let mut windows = Zeroizing::new([0; 65]);
    let mut carry = 0;
    let bytes = scalar.iter().rev().chain([&0]).zip(TWICE_THE_ORDER.iter().rev());
    for ((byte, order), pair) in bytes.zip(windows.rchunks_mut(2)) {
        let sum = u16::from(*byte) + u16::from(*order) + carry;
        carry = sum >> 8;
        for (window, value) in pair.iter_mut().rev().zip([sum & 15, sum >> WINDOW & 15]) {
            *window = value as u8;
        }
    }
    windows
}

/// Entry `index` of `table`; all of them are read, so that nobody sees which it was.
fn chosen(table: &[Point], index: u8) -> Zeroizing<Point> {
    let mut chosen = Zeroizing::new(Point { z: Element::ZERO, y: Element::ZERO, x: Element::ZERO });
    for (i, entry) in (0_u8..).zip(table) {
        let mask = i64::from(i.ct_eq(&index).unwrap_u8()).wrapping_neg();
        chosen.x.add_masked(&entry.x, mask);
        chosen.y.add_masked(&entry.y, mask);
        chosen.z.add_masked(&entry.z, mask);
    }
    chosen
}

/// A point in projective coordinates: (x/z, y/z), and nowhere where z is 0. Each coordinate is within
/// 10·p of 0.
#[derive(Clone, Copy, Zeroize)]
struct Point {
    x: Element,
    y: Element,
    z: Element,
}

impl Point {
    const NOWHERE: Self = Self { x: Element::ZERO, y: Element::ONE, z: Element::ZERO };

    /// Doubled four times, in coordinates (x/z², y/z³): "dbl-2001-b" of Bernstein, which takes eight
    /// multiplications where algorithm 6 takes 13. For every point but [`Self::NOWHERE`]: none has an
    /// order of 2.
    #[inline(never)]
    fn sixteenfold(&self) -> Self {
        let (mut x, mut y, mut z) = (self.x * self.z, self.y * self.z.square(), self.z);
        for _ in 0..WINDOW {
            let (yy, zz) = (y.square(), z.square());
            let xyy = x * yy;
            let slope = thrice((x - zz) * (x + zz));
            let four = twice(twice(xyy));
            x = slope.square() - twice(four);
            z = (y + z).square() - yy - zz;
            y = slope * (four - x) - twice(twice(twice(yy.square())));
        }
        Self { x: x * z, y, z: z.square() * z }
    }
}

impl Add for Point {
    type Output = Self;

    /// Algorithm 4.
    #[inline(never)]
    fn add(self, other: Self) -> Self {
        let (xx, yy, zz) = (self.x * other.x, self.y * other.y, self.z * other.z);
        let xy = (self.x + self.y) * (other.x + other.y) - (xx + yy);
        let yz = (self.y + self.z) * (other.y + other.z) - (yy + zz);
        let xz = (self.x + self.z) * (other.x + other.z) - (xx + zz);
        let part = thrice(xz - Element::B * zz);
        let (minus, plus) = (yy - part, yy + part);
        let zz = thrice(zz);
        let slope = thrice(Element::B * xz - zz - xx);
        let xx = thrice(xx) - zz;
        Self { x: xy * plus - yz * slope, y: plus * minus + xx * slope, z: yz * minus + xy * xx }
    }
}

fn twice(number: Element) -> Element {
    number + number
}

fn thrice(number: Element) -> Element {
    number + number + number
}

/// (0, √b) is a point of the curve.
#[cfg(test)]
const ROOT_OF_B: Bytes = [
    0x66, 0x48, 0x5c, 0x78, 0x0e, 0x2f, 0x83, 0xd7, 0x24, 0x33, 0xbd, 0x5d, 0x84, 0xa0, 0x6b, 0xb6,
    0x54, 0x1c, 0x2a, 0xf3, 0x1d, 0xae, 0x87, 0x17, 0x28, 0xbf, 0x85, 0x6a, 0x17, 0x4f, 0x93, 0xf4,
];

#[cfg(test)]
mod tests {
    use p256::elliptic_curve::sec1::ToSec1Point;
    use p256::elliptic_curve::{Group, PrimeField};
    use p256::{FieldBytes, ProjectivePoint, Scalar};

    use super::*;

    type Affine = [Bytes; 2];

    fn affine(point: &ProjectivePoint) -> Affine {
        let point = point.to_affine().to_sec1_point(false);
        [point.x(), point.y()].map(|coordinate| (*coordinate.expect("a coordinate")).into())
    }

    fn ours(scalar: &Scalar, point: &ProjectivePoint) -> Affine {
        let [x, y] = affine(point);
        *multiple(&scalar.to_repr().into(), [&x, &y])
    }

    /// Those at the ends, with few bits and with many, and others.
    fn scalars() -> Vec<Scalar> {
        let powers =
            std::iter::successors(Some(Scalar::ONE), |power| Some(power.double())).take(260);
        let mut scalars: Vec<Scalar> = (1..40_u64).map(Scalar::from).chain(powers).collect();
        for byte in [0x0f, 0xf0, 0x11, 0x88, 0xfe] {
            scalars.extend(Option::<Scalar>::from(Scalar::from_repr(FieldBytes::from([byte; 32]))));
        }
        let mut other = Scalar::from(0x1234_5678_9abc_def1_u64);
        for _ in 0..200 {
            other = other.square() + Scalar::ONE;
            scalars.push(other);
        }
        let negative: Vec<Scalar> = scalars.iter().map(|scalar| -*scalar).collect();
        scalars.extend(negative);
        scalars
    }

    #[test]
    fn multiples_are_those_of_the_library() {
        let mut point = ProjectivePoint::GENERATOR;
        for (i, scalar) in scalars().into_iter().enumerate() {
            assert_eq!(ours(&scalar, &point), affine(&(point * scalar)), "{i}");
            point = if i % 3 == 0 { ProjectivePoint::GENERATOR } else { point.double() };
        }
    }

    #[test]
    fn a_point_whose_x_is_0_is_multiplied() {
        let whole = [&[4][..], &[0; 32], &ROOT_OF_B].concat();
        let point = p256::PublicKey::from_sec1_bytes(&whole).expect("a point").to_projective();
        for scalar in [2_u64, 3, 0xffff_ffff_ffff_ffff] {
            let scalar = Scalar::from(scalar);
            assert_eq!(ours(&scalar, &point), affine(&(point * scalar)));
        }
    }

    #[test]
    fn a_multiple_of_the_order_is_nowhere() {
        let order = [
            0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
            0x25, 0x51,
        ];
        let [x, y] = affine(&ProjectivePoint::GENERATOR);
        for coordinate in *multiple(&order, [&x, &y]) {
            assert!(Element::of(&coordinate).is_zero(), "{coordinate:x?}");
        }
    }
}
