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

/// A private key on the curve `C`. Wipes itself when dropped.
pub struct EcKey<C: CurveArithmetic> {
    secret: SecretKey<C>,
    /// What the key's file says of its public half. A point of the curve, but perhaps another
    /// key's: to compute it takes as long as to use the key, so it only ever names the key.
    stated: Option<PublicKey<C>>,
}

impl<C> EcKey<C>
where
    C: CurveArithmetic + AssociatedOid,
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
        let shared = diffie_hellman(self.secret.to_nonzero_scalar(), public.as_affine());
        Some(Zeroizing::new(shared.raw_secret_bytes().to_vec()))
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
