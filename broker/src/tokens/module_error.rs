//! Why a module or a token does not do what it was asked for.

use cryptoki::error::Error as CryptokiError;

use super::lock::NoLock;
use super::printable;
use super::tpm_fault::TpmFault;
use super::wire::Answer;

/// Why an operation failed, in the process with the module. It becomes text when it is sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the module `{module}` cannot be loaded: {why}")]
    NotLoaded { module: String, why: String },
    #[error("`{module}` is no PKCS#11 module: {call}")]
    NoModule { module: String, call: Call },
    #[error("the module `{module}` does not start: {call}")]
    NotStarted { module: String, call: Call },

    #[error("the URI names no token: add `token` or `slot-id` to it")]
    NoTokenInUri,
    #[error("the URI names no key: add `object` or `id` to it")]
    NoKeyInUri,
    #[error("`slot-id`: {0}")]
    SlotId(Call),
    #[error("the module lists no tokens: {0}")]
    NoTokenList(Call),
    #[error("no token is called `{label}`{}", known_labels(.known))]
    NoTokenCalled {
        label: String,
        /// The labels of all tokens. `None` where the question comes with an image.
        known: Option<Vec<String>>,
    },
    #[error("there is no such token")]
    NoToken,
    #[error("slot {0} holds no token")]
    EmptySlot(u64),
    #[error("the token opens no session: {0}")]
    NoSession(Call),

    #[error("a PIN that came with the image is not tried: {0}")]
    NotLocked(NoLock),
    #[error(
        "the token does not tell how many tries its PIN has left, and this key came with the \
         image: its PIN is not tried"
    )]
    TriesUnknown,
    #[error(
        "one more wrong PIN would lock the token, and this key came with the image: log in once \
         with the right PIN"
    )]
    FinalTry,
    /// The token says so before a login is tried.
    #[error("the token's PIN is locked: have it unlocked")]
    PinIsLocked,
    #[error(transparent)]
    Login(#[from] LoginFailure),
    /// What the TPM behind the module says, or does not say.
    #[error(transparent)]
    Tpm(#[from] TpmFault),

    #[error("the token has no such private key: correct `object` or `id`")]
    NoPrivateKey,
    #[error("the token has no such public key: correct `object` or `id`")]
    NoPublicKey,
    #[error("{0} keys in the token match: name one of them by both `id` and `object`")]
    SeveralKeys(usize),
    #[error("the token lists no keys: {0}")]
    NoKeyList(Call),
    #[error("the key is not shown: {0}")]
    NotShown(Call),
    #[error("the key in the token is not an RSA key")]
    NotRsa,
    #[error("the token's key is damaged")]
    Damaged,

    #[error(
        "the token does not do RSA-OAEP with {hash}; have the image encrypted with \
         OCICRYPT_OAEP_HASHALG={other}"
    )]
    Hash { hash: &'static str, other: &'static str },
    #[error("the token does not do RSA-OAEP")]
    NoOaep,
    #[error("the key in the token may not decrypt: its CKA_DECRYPT is false")]
    MayNotDecrypt,
    #[error("the key asks for a login: the PIN is missing")]
    PinMissing,
    /// One text for every outcome of a forged blob: the difference would help an attacker (Manger's
    /// attack on OAEP).
    #[error("the key in the token does not open it: it was wrapped for another key")]
    OtherKey,
    #[error("the token does not decrypt: {0}")]
    NotDecrypted(Call),
}

/// Why a token refuses a login.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginFailure {
    #[error("the PIN is wrong: correct `pin-value` or `pin-source`")]
    WrongPin,
    #[error(
        "the PIN is wrong, for the token has none of its length or characters: correct \
         `pin-value` or `pin-source`"
    )]
    ImpossiblePin,
    #[error("the token's PIN is locked: have it unlocked")]
    Locked,
    #[error("the token's PIN has expired: set a new one")]
    Expired,
    /// The token has no PIN. SoftHSM also says this while another process rewrites the token's file.
    #[error("the token has no PIN yet: set one")]
    NoPinYet,
    /// The token may accept a login later: SoftHSM says this while another process logs in.
    #[error("the token does not take a login: {0}")]
    NotNow(Call),
    #[error("the token does not take a login: {0}")]
    Other(Call),
}

/// An error of a call to the module. Its text is its name: the standard's texts are paragraphs.
#[derive(Debug, thiserror::Error)]
#[error("{}", name(.0))]
pub(super) struct Call(pub(super) CryptokiError);

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::NoTokenCalled { .. }
            | Failure::EmptySlot(_)
            | Failure::Login(LoginFailure::NoPinYet | LoginFailure::NotNow(_)) => {
                Self::Absent(text)
            }
            failure if failure.is_refused_pin() => Self::PinRefused(text),
            _ => Self::Failed(text),
        }
    }
}

impl Failure {
    /// Whether the token refused the PIN, which then must not be tried at another token.
    pub(super) fn is_refused_pin(&self) -> bool {
        matches!(
            self,
            Self::Login(
                LoginFailure::WrongPin
                    | LoginFailure::ImpossiblePin
                    | LoginFailure::Locked
                    | LoginFailure::Expired
            ) | Self::Tpm(TpmFault::WrongPin { .. } | TpmFault::LockedOut { .. })
        )
    }
}

fn known_labels(labels: &Option<Vec<String>>) -> String {
    match labels.as_deref() {
        None => String::new(),
        Some([]) => "; the module has none".to_owned(),
        Some(labels) => format!("; the module has `{}`", labels.join("`, `")),
    }
}

fn name(error: &CryptokiError) -> String {
    match error {
        CryptokiError::Pkcs11(code, function) => format!("`{function:?}` ended with `{code:?}`"),
        error => printable(&error.to_string()),
    }
}
