//! Elliptic curve private keys (SEC 1, section 3.2) and the one operation that they are for.

use p256::elliptic_curve::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytes, FieldBytesSize, PublicKey, SecretKey,
};
use pkcs8::{AssociatedOid, EncodePublicKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::NotAKey;

/// A curve, and how a point of it is multiplied.
pub trait Curve: CurveArithmetic {
    /// The x coordinate of `secret` times `public` (SP 800-56A, section 5.7.1.2).
    fn shared(secret: &SecretKey<Self>, public: &PublicKey<Self>) -> Zeroizing<Vec<u8>> {
        library(secret, public)
    }
}

impl Curve for p256::NistP256 {
    /// By the arithmetic for WebAssembly; by the library where what that finds is no point of the curve.
    #[cfg(target_arch = "wasm32")]
    fn shared(secret: &SecretKey<Self>, public: &PublicKey<Self>) -> Zeroizing<Vec<u8>> {
        ours(secret, public).unwrap_or_else(|| library(secret, public))
    }
}

impl Curve for p384::NistP384 {}
impl Curve for p521::NistP521 {}

/// A private key on the curve `C`. Wipes itself when dropped.
pub struct EcKey<C: CurveArithmetic> {
    pub(super) secret: SecretKey<C>,
    /// What the key's file says of its public half. A point of the curve, but perhaps another
    /// key's: to compute it takes as long as to use the key, so it only ever names the key.
    stated: Option<PublicKey<C>>,
}

impl<C> EcKey<C>
where
    C: Curve + AssociatedOid,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    /// Takes a big-endian scalar. Some writers drop its leading zeros and some add more: both
    /// are read, as Go does. `stated` is the public point, if it stands beside the scalar; what
    /// is not one is passed over, as Go does with all of them.
    pub(crate) fn new(scalar: &[u8], stated: Option<&[u8]>) -> Result<Self, NotAKey> {
        let mut bytes = Zeroizing::new(FieldBytes::<C>::default());
        let extra = scalar.len().saturating_sub(bytes.len());
        let (zeros, scalar) = scalar.split_at(extra);
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(NotAKey::Inconsistent);
        }
        let start = bytes.len() - scalar.len();
        bytes[start..].copy_from_slice(scalar);
        let secret = SecretKey::from_bytes(&bytes).map_err(|_| NotAKey::Inconsistent)?;
        let stated = stated.and_then(|point| PublicKey::from_sec1_bytes(point).ok());
        Ok(Self { secret, stated })
    }

    /// ECDH (SP 800-56A, section 5.7.1.2) with the public point whose affine coordinates are
    /// `x` and `y`. The shared secret is as long as the field. None if a coordinate has another
    /// length, or the point is not on the curve.
    pub fn agree(&self, x: &[u8], y: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let size = FieldBytes::<C>::default().len();
        if x.len() != size || y.len() != size {
            return None;
        }
        let point = [&[4], x, y].concat();
        let public = PublicKey::<C>::from_sec1_bytes(&point).ok()?;
        Some(C::shared(&self.secret, &public))
    }

    /// DER `SubjectPublicKeyInfo`, with the point uncompressed.
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        let public = self.stated.unwrap_or_else(|| self.secret.public_key());
        let encoded = public.to_public_key_der();
        encoded.map(|der| der.as_bytes().to_vec()).unwrap_or_default()
    }

    /// The same key, whatever its file states.
    pub(super) fn unstated(self) -> Self {
        Self { stated: None, ..self }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.secret.ct_eq(&other.secret).into()
    }
}

fn library<C: CurveArithmetic>(secret: &SecretKey<C>, public: &PublicKey<C>) -> Zeroizing<Vec<u8>> {
    let shared = diffie_hellman(secret.to_nonzero_scalar(), public.as_affine());
    Zeroizing::new(shared.raw_secret_bytes().to_vec())
}

/// None where it is no point of the curve.
#[cfg(target_arch = "wasm32")]
fn ours(
    secret: &SecretKey<p256::NistP256>,
    public: &PublicKey<p256::NistP256>,
) -> Option<Zeroizing<Vec<u8>>> {
    let scalar = Zeroizing::new(secret.to_bytes());
    let public = public.to_sec1_point(false);
    let (x, y) = (public.x()?.as_ref(), public.y()?.as_ref());
    let [x, y] = &*ocicrypt_arithmetic::p256::multiple(scalar.as_slice().try_into().ok()?, [x, y]);
    let whole = Zeroizing::new([&[4][..], x, y].concat());
    PublicKey::<p256::NistP256>::from_sec1_bytes(&whole).ok()?;
    Some(Zeroizing::new(x.to_vec()))
}

#[cfg(test)]
mod tests {
    use p256::elliptic_curve::Generate;
    use p256::{NistP256, PublicKey, SecretKey};

    use super::*;

    /// A square root of the curve's b: the y of the points whose x is 0.
    const ROOT_OF_B: [u8; 32] = [
        0x66, 0x48, 0x5c, 0x78, 0x0e, 0x2f, 0x83, 0xd7, 0x24, 0x33, 0xbd, 0x5d, 0x84, 0xa0, 0x6b,
        0xb6, 0x54, 0x1c, 0x2a, 0xf3, 0x1d, 0xae, 0x87, 0x17, 0x28, 0xbf, 0x85, 0x6a, 0x17, 0x4f,
        0x93, 0xf4,
    ];

    /// Of 0 the arithmetic for WebAssembly gives the prime, which the library does not take.
    #[test]
    fn a_result_whose_x_is_0_is_the_librarys() {
        let root = ROOT_OF_B;
        let whole = [&[4][..], &[0; 32], &root].concat();
        let zero = PublicKey::from_sec1_bytes(&whole).expect("a point").to_projective();
        let secret = SecretKey::generate();
        let inverse = secret.to_nonzero_scalar().invert().expect("not 0");
        let public = PublicKey::from_affine((zero * inverse).to_affine()).expect("a point");
        let key = EcKey::<NistP256>::new(&secret.to_bytes(), None).expect("a key");
        let public = public.to_sec1_point(false);
        let (x, y) = (public.x().expect("x"), public.y().expect("y"));
        assert!(key.agree(x, y).is_some_and(|shared| *shared == [0; 32]));
    }
}
