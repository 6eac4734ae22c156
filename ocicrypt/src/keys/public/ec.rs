//! Elliptic curve public keys (SEC 1, section 3.2), and key agreement with their owners.

use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytesSize, Generate, PublicKey, SecretKey,
};
use pkcs8::EncodePublicKey;
use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::PublicKeyError;
use crate::crypto::rng::NoRandomness;
use crate::keys::{Fingerprint, KeyKind};

/// A point of a curve that the format has, other than the one at infinity.
#[derive(Clone)]
pub(crate) enum EcPublicKey {
    P256(p256::PublicKey),
    P384(p384::PublicKey),
    P521(p521::PublicKey),
}

/// The sender's part of a key agreement for one message.
pub(crate) struct Agreed {
    /// The ephemeral public key: a 4 and the two coordinates (SEC 1, section 2.3.3).
    pub(crate) point: Vec<u8>,
    /// The shared secret, as long as the field.
    pub(crate) shared: Zeroizing<Vec<u8>>,
}

impl EcPublicKey {
    /// Reads a point in the form of SEC 1, section 2.3.3, on the curve that `kind` names.
    pub(crate) fn new(kind: KeyKind, point: &[u8]) -> Result<Self, PublicKeyError> {
        let key = match kind {
            KeyKind::P256 => p256::PublicKey::from_sec1_bytes(point).map(Self::P256),
            KeyKind::P384 => p384::PublicKey::from_sec1_bytes(point).map(Self::P384),
            KeyKind::P521 => p521::PublicKey::from_sec1_bytes(point).map(Self::P521),
            KeyKind::Rsa { .. } => return Err(PublicKeyError::OtherCurve),
        };
        key.map_err(|_| PublicKeyError::Malformed("elliptic curve point"))
    }

    pub(crate) fn kind(&self) -> KeyKind {
        match self {
            Self::P256(_) => KeyKind::P256,
            Self::P384(_) => KeyKind::P384,
            Self::P521(_) => KeyKind::P521,
        }
    }

    /// The fingerprint of the key.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let info = match self {
            Self::P256(key) => key.to_public_key_der(),
            Self::P384(key) => key.to_public_key_der(),
            Self::P521(key) => key.to_public_key_der(),
        };
        Fingerprint::of(&info.map(|der| der.as_bytes().to_vec()).unwrap_or_default())
    }

    /// ECDH (SP 800-56A, section 5.7.1.2) with a new key on the same curve.
    pub(crate) fn agree<R>(&self, rng: &mut R) -> Result<Agreed, NoRandomness>
    where
        R: TryCryptoRng + ?Sized,
    {
        match self {
            Self::P256(key) => agree(key, rng),
            Self::P384(key) => agree(key, rng),
            Self::P521(key) => agree(key, rng),
        }
    }
}

fn agree<C, R>(public: &PublicKey<C>, rng: &mut R) -> Result<Agreed, NoRandomness>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
    R: TryCryptoRng + ?Sized,
{
    let ephemeral = SecretKey::<C>::try_generate_from_rng(rng).map_err(|_| NoRandomness)?;
    let point = ephemeral.public_key().as_affine().to_sec1_point(false).as_bytes().to_vec();
    let shared = ephemeral.diffie_hellman(public).raw_secret_bytes().to_vec();
    Ok(Agreed { point, shared: Zeroizing::new(shared) })
}
