//! Hints about keys that are made, and about recipients.

use std::fmt;

/// What mends a warning about a recipient, or a failure with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientHint {
    /// The file of a new key exists.
    KeyExists,
    /// The public key would have the file of the private key.
    PublicElsewhere,
    /// The file of a new key cannot be written.
    KeyNotWritten,
    /// A public key is asked for, and there is not exactly one private key.
    OnePrivateKey,

    /// A layer would have no recipient left.
    LastRecipient,
    /// No layer names this recipient.
    RemoveByKey,
    /// No layer is opened by this private key.
    RemoveByName,

    /// The validity of a certificate has ended, or has not begun.
    RenewCertificate,
    /// The owner of a certificate does not allow encryption with it.
    CertificateForEncryption,
    /// An RSA key is short.
    LongerKey,
    /// RSA-OAEP uses SHA-1 because that is the default.
    JweOaepSha256,
    /// RSA-OAEP uses SHA-1 because a JSON Web Key says so.
    JwkAlgorithm,
    /// RSA-OAEP uses SHA-1 for a key in a token.
    TokenOaepSha256,
    /// A CMS message uses PKCS#1 v1.5.
    AuthEnveloped,
    /// An OpenPGP message uses PKCS#1 v1.5.
    OpenPgpCurve,
}

impl fmt::Display for RecipientHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyExists => KEY_EXISTS,
            Self::PublicElsewhere => PUBLIC_ELSEWHERE,
            Self::KeyNotWritten => KEY_NOT_WRITTEN,
            Self::OnePrivateKey => ONE_PRIVATE_KEY,
            Self::LastRecipient => LAST_RECIPIENT,
            Self::RemoveByKey => REMOVE_BY_KEY,
            Self::RemoveByName => REMOVE_BY_NAME,
            Self::RenewCertificate => RENEW_CERTIFICATE,
            Self::CertificateForEncryption => CERTIFICATE_FOR_ENCRYPTION,
            Self::LongerKey => LONGER_KEY,
            Self::JweOaepSha256 => JWE_OAEP_SHA256,
            Self::JwkAlgorithm => JWK_ALGORITHM,
            Self::TokenOaepSha256 => TOKEN_OAEP_SHA256,
            Self::AuthEnveloped => AUTH_ENVELOPED,
            Self::OpenPgpCurve => OPEN_PGP_CURVE,
        })
    }
}

const KEY_EXISTS: &str =
    "no key is ever overwritten: name another file, or move this one away first";
const PUBLIC_ELSEWHERE: &str = "name another file with `--public`";
const KEY_NOT_WRITTEN: &str = "name a file in a directory that exists and that you can write to";
const ONE_PRIVATE_KEY: &str =
    "name one file with one private key; `keycell keys` without `--public` lists what a file has";
const LAST_RECIPIENT: &str = "add another recipient first: `keycell encrypt SOURCE DESTINATION --recipient \
    RECIPIENT --keys FILE`";
const REMOVE_BY_KEY: &str = "JWE that skopeo wrote does not say whose key it is for: `--key FILE` with the \
    private key finds it";
const REMOVE_BY_NAME: &str = "in place of `--key`, `--recipient` names a recipient by what the list above \
    shows, such as `pgp:KEYID` or `pkcs7:CERTIFICATE.pem`";
const RENEW_CERTIFICATE: &str = "ask its owner for the current certificate; the layer is encrypted all the \
    same, because the private key does not expire";
const CERTIFICATE_FOR_ENCRYPTION: &str = "ask its owner for a certificate whose key usage has \
    `keyEncipherment`";
const LONGER_KEY: &str = "`keycell keygen FILE --public FILE` makes a P-256 key for `jwe:`, and with `--type rsa3072` \
    an RSA key for any scheme but `pgp:`";
const JWE_OAEP_SHA256: &str =
    "add `--jwe-oaep-hash sha256`, which Go ocicrypt and Keycell read too";
const JWK_ALGORITHM: &str = "change the `alg` of the JSON Web Key to `RSA-OAEP-256`";
const TOKEN_OAEP_SHA256: &str = "leave out `--oaep-hash sha1` and `OCICRYPT_OAEP_HASHALG`, unless the token is \
    SoftHSM, which has no other hash, or the key has 2048 bits, which suffice for no other hash";
const AUTH_ENVELOPED: &str = "add `--pkcs7-form auth-enveloped` for RSA-OAEP with SHA-256, if only Keycell \
    and openssl have to read it: Go ctd-decoder, skopeo and nerdctl cannot";
const OPEN_PGP_CURVE: &str = "OpenPGP has no other padding for RSA; `gpg --quick-add-key FINGERPRINT cv25519 \
    encr` adds an elliptic curve subkey, which does not need one";
