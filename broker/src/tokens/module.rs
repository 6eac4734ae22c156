//! A PKCS #11 module at work (PKCS #11 version 2.40). Only the process that [`super::child`] is
//! ever comes here.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use pkcs1::UintRef;
use pkcs8::der::Encode;
use pkcs8::der::asn1::{BitStringRef, Null};
use pkcs8::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use super::lock::LoginLock;
use super::pin::Pin;
use super::printable;
use super::wire::{Answer, OaepHash, Operation, Question, Selection};

/// Loads the module, performs the operation and gives its outcome to `reply`; then logs out and
/// takes the module down, which no answer has to wait for.
pub(super) fn perform(question: &Question, lock: &LoginLock, reply: impl FnOnce(Answer)) {
    let context = match load(question) {
        Ok(context) => context,
        Err(failure) => return reply(failure.into()),
    };
    match open(&context, question, lock) {
        Ok(session) => {
            let outcome = match &question.operation {
                Operation::Decrypt(hash, blob) => decrypt(&session, question, *hash, blob),
                Operation::PublicKey => public_key(&session, question),
            };
            reply(outcome.map_or_else(Answer::from, Answer::Done));
            // A session that is left open may count against a device's limit.
            let _ = session.logout();
            let _ = session.close();
        }
        Err(failure) => reply(failure.into()),
    }
    let _ = context.finalize();
}

enum Failure {
    Pin(String),
    Absent(String),
    Other(String),
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Pin(why) => Self::PinRefused(why),
            Failure::Absent(why) => Self::Absent(why),
            Failure::Other(why) => Self::Failed(why),
        }
    }
}

fn other<T>(why: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Other(why.into()))
}

fn load(question: &Question) -> Result<Pkcs11, Failure> {
    let module = printable(&question.module.to_string_lossy());
    let context = match Pkcs11::new(&question.module) {
        Ok(context) => context,
        // What the dynamic loader says; its own `Display` says only that something failed.
        Err(Error::LibraryLoading(error)) => {
            let why = printable(&error.to_string());
            return other(format!("the module `{module}` cannot be loaded: {why}"));
        }
        Err(error) => {
            return other(format!("`{module}` is no PKCS#11 module: {}", named(&error)));
        }
    };
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(context),
        Err(error) => other(format!("the module `{module}` does not start: {}", named(&error))),
    }
}

/// Opens a session with the token, logged in when there is a PIN.
///
/// Go tries one token of the same label after the other, and the PIN at each. So does this, for
/// tokens that fail otherwise; but a PIN that one has refused is not tried at the next, where it
/// would count towards locking that too. And `serial`, `model` and `manufacturer`, which Go ignores,
/// say which is meant where the label does not.
fn open(context: &Pkcs11, question: &Question, lock: &LoginLock) -> Result<Session, Failure> {
    let selection = &question.selection;
    let candidates = match selection.slot {
        Some(slot) => vec![Slot::try_from(u64::from(slot)).map_err(failed("`slot-id`"))?],
        None => tokens(context, selection, question.stranger)?,
    };
    let mut first = None;
    for slot in candidates {
        match log_in(context, slot, question, lock) {
            Ok(session) => return Ok(session),
            Err(Failure::Pin(why)) => return Err(Failure::Pin(why)),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    Err(first.unwrap_or_else(|| Failure::Other("there is no such token".to_owned())))
}

fn tokens(context: &Pkcs11, selection: &Selection, stranger: bool) -> Result<Vec<Slot>, Failure> {
    let Some(label) = &selection.token else {
        return other("the URI names no token: add `token` or `slot-id` to it");
    };
    let slots = context.get_slots_with_token().map_err(failed("the module lists no tokens"))?;
    let all: Vec<_> = slots
        .into_iter()
        .filter_map(|slot| context.get_token_info(slot).ok().map(|info| (slot, info)))
        .collect();
    let labelled: Vec<_> =
        all.iter().filter(|(_, info)| info.label().as_bytes() == label.as_slice()).collect();
    if labelled.is_empty() {
        let known: Vec<_> = all
            .iter()
            .filter(|(_, info)| info.token_initialized())
            .map(|(_, info)| format!("`{}`", printable(info.label())))
            .collect();
        let known = match (stranger, known.is_empty()) {
            (true, _) => String::new(),
            (false, true) => "; the module has none".to_owned(),
            (false, false) => format!("; the module has {}", known.join(", ")),
        };
        let label = printable(&String::from_utf8_lossy(label));
        return Err(Failure::Absent(format!("no token is called `{label}`{known}")));
    }
    let is_meant = |info: &TokenInfo| {
        let same = |wanted: &Option<Vec<u8>>, is: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.as_slice() == is.as_bytes())
        };
        same(&selection.serial, info.serial_number())
            && same(&selection.model, info.model())
            && same(&selection.manufacturer, info.manufacturer_id())
    };
    let meant: Vec<_> = labelled.iter().filter(|(_, i)| is_meant(i)).map(|(s, _)| *s).collect();
    // Where none is, the label decides alone, as in Go.
    Ok(if meant.is_empty() { labelled.iter().map(|(slot, _)| *slot).collect() } else { meant })
}

fn log_in(
    context: &Pkcs11,
    slot: Slot,
    question: &Question,
    lock: &LoginLock,
) -> Result<Session, Failure> {
    // From the look at the token to the end of the login.
    let _held = match (&question.pin, question.stranger) {
        (None, _) => None,
        (Some(_), false) => lock.share(),
        (Some(_), true) => Some(lock.take().map_err(|why| {
            Failure::Other(format!("a PIN that came with the image is not tried: {why}"))
        })?),
    };
    // A token that does not describe itself may work all the same, with a PIN of the operator's.
    let info = context.get_token_info(slot).ok();
    if question.stranger && question.pin.is_some() && info.is_none() {
        return other(
            "the token does not tell how many tries its PIN has left, and this key came with the \
             image: its PIN is not tried",
        );
    }
    if let (Some(info), Some(_)) = (&info, &question.pin) {
        if info.user_pin_locked() {
            return other("the token's PIN is locked: have it unlocked");
        }
        if question.stranger && info.user_pin_final_try() {
            return other(
                "one more wrong PIN would lock the token, and this key came with the image: log \
                 in once with the right PIN",
            );
        }
    }
    let session = context.open_ro_session(slot).map_err(|error| match error {
        Error::Pkcs11(RvError::SlotIdInvalid | RvError::TokenNotPresent, _) => {
            Failure::Absent(format!("slot {} holds no token", slot.id()))
        }
        error => failed("the token opens no session")(error),
    })?;
    if let Some(pin) = &question.pin {
        session.login_with_raw(UserType::User, &raw(pin)).or_else(|error| match error {
            Error::Pkcs11(RvError::UserAlreadyLoggedIn, _) => Ok(()),
            error => Err(refused_login(&error)),
        })?;
    }
    Ok(session)
}

fn raw(pin: &Pin) -> RawAuthPin {
    RawAuthPin::new(Box::new(pin.expose().to_vec()))
}

fn refused_login(error: &Error) -> Failure {
    let Error::Pkcs11(code, _) = error else {
        return failed("the token does not take a login")(error);
    };
    let why = match code {
        RvError::PinIncorrect => "the PIN is wrong: correct `pin-value` or `pin-source`",
        RvError::PinInvalid | RvError::PinLenRange => {
            "the PIN is wrong, for the token has none of its length or characters: correct \
             `pin-value` or `pin-source`"
        }
        RvError::PinLocked => "the token's PIN is locked: have it unlocked",
        RvError::PinExpired => "the token's PIN has expired: set a new one",
        // Or SoftHSM reads the token's file while another process writes it anew.
        RvError::UserPinNotInitialized => {
            return Failure::Absent("the token has no PIN yet: set one".to_owned());
        }
        // What SoftHSM says while another process logs in.
        RvError::GeneralError | RvError::FunctionFailed => {
            return Failure::Absent(format!("the token does not take a login: {}", named(error)));
        }
        _ => return failed("the token does not take a login")(error),
    };
    Failure::Pin(why.to_owned())
}

fn decrypt(
    session: &Session,
    question: &Question,
    hash: OaepHash,
    blob: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let key = find(session, ObjectClass::PRIVATE_KEY, &question.selection)?;
    let Some(key) = key else {
        return other("the token has no such private key: correct `object` or `id`");
    };
    let (name, fix, digest, mask) = match hash {
        OaepHash::Sha1 => ("SHA-1", "sha256", MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        OaepHash::Sha256 => ("SHA-256", "sha1", MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
    };
    let parameters = PkcsOaepParams::new(digest, mask, PkcsOaepSource::empty());
    let opened = session.decrypt(&Mechanism::RsaPkcsOaep(parameters), key, blob);
    opened.map(Zeroizing::new).or_else(|error| {
        let Error::Pkcs11(code, function) = &error else {
            return Err(failed("the token does not decrypt")(error));
        };
        match code {
            RvError::ArgumentsBad | RvError::MechanismParamInvalid
                if matches!(function, Function::DecryptInit) =>
            {
                other(format!(
                    "the token does not do RSA-OAEP with {name}; have the image encrypted with \
                     OCICRYPT_OAEP_HASHALG={fix}"
                ))
            }
            RvError::MechanismInvalid => other("the token does not do RSA-OAEP"),
            RvError::KeyTypeInconsistent => other("the key in the token is not an RSA key"),
            RvError::KeyFunctionNotPermitted => {
                other("the key in the token may not decrypt: its CKA_DECRYPT is false")
            }
            RvError::UserNotLoggedIn => other("the key asks for a login: the PIN is missing"),
            // One text for all of these: which of them it is would help who forges blobs
            // (Manger's attack on OAEP).
            RvError::DataInvalid
            | RvError::DataLenRange
            | RvError::EncryptedDataInvalid
            | RvError::EncryptedDataLenRange
            | RvError::FunctionFailed
            | RvError::GeneralError
            | RvError::ArgumentsBad => {
                other("the key in the token does not open it: it was wrapped for another key")
            }
            _ => Err(failed("the token does not decrypt")(error)),
        }
    })
}

/// The public key as SubjectPublicKeyInfo (RFC 8017, appendix A.1). Where the token has only the
/// private half, that knows the public one too.
fn public_key(session: &Session, question: &Question) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let selection = &question.selection;
    let key = match find(session, ObjectClass::PUBLIC_KEY, selection)? {
        Some(key) => Some(key),
        None => find(session, ObjectClass::PRIVATE_KEY, selection)?,
    };
    let Some(key) = key else {
        return other("the token has no such public key: correct `object` or `id`");
    };
    let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
    let attributes =
        session.get_attributes(key, &wanted).map_err(failed("the key is not shown"))?;
    let (mut modulus, mut exponent) = (None, None);
    for attribute in &attributes {
        match attribute {
            Attribute::Modulus(value) => modulus = Some(value),
            Attribute::PublicExponent(value) => exponent = Some(value),
            _ => {}
        }
    }
    let (Some(modulus), Some(exponent)) = (modulus, exponent) else {
        return other("the key in the token is not an RSA key");
    };
    encode(modulus, exponent).map(Zeroizing::new).or_else(|_| other("the token's key is damaged"))
}

fn encode(modulus: &[u8], exponent: &[u8]) -> pkcs8::der::Result<Vec<u8>> {
    let key = pkcs1::RsaPublicKey {
        modulus: UintRef::new(modulus)?,
        public_exponent: UintRef::new(exponent)?,
    };
    let key = key.to_der()?;
    SubjectPublicKeyInfo {
        algorithm: AlgorithmIdentifier { oid: pkcs1::ALGORITHM_OID, parameters: Some(Null) },
        subject_public_key: BitStringRef::from_bytes(&key)?,
    }
    .to_der()
}

/// The one key of its class that `id` and `object` name. `None`: there is none.
fn find(
    session: &Session,
    class: ObjectClass,
    selection: &Selection,
) -> Result<Option<ObjectHandle>, Failure> {
    let mut template = vec![Attribute::Class(class)];
    let named = |value: &Option<Vec<u8>>| value.clone().filter(|value| !value.is_empty());
    template.extend(named(&selection.object).map(Attribute::Label));
    template.extend(named(&selection.id).map(Attribute::Id));
    if template.len() == 1 {
        return other("the URI names no key: add `object` or `id` to it");
    }
    let found = session.find_objects(&template).map_err(failed("the token lists no keys"))?;
    match found[..] {
        [] => Ok(None),
        [key] => Ok(Some(key)),
        _ => other(format!(
            "{} keys in the token match: name one of them by both `id` and `object`",
            found.len()
        )),
    }
}

fn failed<E: std::borrow::Borrow<Error>>(what: &str) -> impl Fn(E) -> Failure {
    move |error| Failure::Other(format!("{what}: {}", named(error.borrow())))
}

/// The name of an error instead of its text: the standard's are paragraphs.
fn named(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("`{function:?}` ended with `{code:?}`"),
        error => printable(&error.to_string()),
    }
}
