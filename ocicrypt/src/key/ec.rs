//! Elliptic curve private keys (SEC 1, section 3.2) and the one operation that they are for.

use p256::elliptic_curve::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{
    AffinePoint, Curve, CurveArithmetic, FieldBytes, FieldBytesSize, PublicKey, SecretKey,
};
use pkcs8::{AssociatedOid, EncodePublicKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::NotAKey;

/// A private key on the curve `C`. Wipes itself when dropped.
pub struct EcKey<C: Curve>(SecretKey<C>);

impl<C> EcKey<C>
where
    C: CurveArithmetic + AssociatedOid,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    /// Takes a big-endian scalar. Some writers drop its leading zeros and some add more: both
    /// are read, as Go does.
    pub(crate) fn new(scalar: &[u8]) -> Result<Self, NotAKey> {
        let mut bytes = Zeroizing::new(FieldBytes::<C>::default());
        let extra = scalar.len().saturating_sub(bytes.len());
        let (zeros, scalar) = scalar.split_at(extra);
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(NotAKey::Inconsistent);
        }
        let start = bytes.len() - scalar.len();
        bytes[start..].copy_from_slice(scalar);
        SecretKey::from_bytes(&bytes).map(Self).map_err(|_| NotAKey::Inconsistent)
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
        let shared = diffie_hellman(self.0.to_nonzero_scalar(), public.as_affine());
        Some(Zeroizing::new(shared.raw_secret_bytes().to_vec()))
    }

    /// DER `SubjectPublicKeyInfo`, with the point uncompressed.
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        let encoded = self.0.public_key().to_public_key_der();
        encoded.map(|der| der.as_bytes().to_vec()).unwrap_or_default()
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
