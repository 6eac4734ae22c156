//! Uses a PKCS #11 module (PKCS #11 version 2.40). Only the process of [`super::child`] runs this code.

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
use super::module_error::{Call, Failure, LoginFailure};
use super::pin::Pin;
use super::printable;
use super::tpm::is_tpm_module;
use super::tpm_cause::{cause, check_tries};
use super::wire::{Answer, OaepHash, Operation, Question, Selection};

/// Loads the module, performs the operation and passes its result to `reply`. Then it logs out and
/// finalizes the module, which the answer need not wait for.
pub(super) fn perform(question: &Question, lock: &LoginLock, reply: impl FnOnce(Answer)) {
    let context = match load(question) {
        Ok(context) => context,
        Err(failure) => return reply(cause(question, failure).into()),
    };
    match open(&context, question, lock) {
        Ok(session) => {
            let outcome = match &question.operation {
                Operation::Decrypt(hash, blob) => decrypt(&session, question, *hash, blob),
                Operation::PublicKey => public_key(&session, question),
            };
            let outcome = outcome.map_err(|failure| cause(question, failure));
            reply(outcome.map_or_else(Answer::from, Answer::Done));
            // A session that stays open may count against a device's limit.
            let _ = session.logout();
            let _ = session.close();
        }
        Err(failure) => reply(cause(question, failure).into()),
    }
    let _ = context.finalize();
}

fn load(question: &Question) -> Result<Pkcs11, Failure> {
    let module = printable(&question.module.to_string_lossy());
    let context = match Pkcs11::new(&question.module) {
        Ok(context) => context,
        // The error's own `Display` says only that something failed, so this takes the text of the
        // dynamic loader.
        Err(Error::LibraryLoading(error)) => {
            return Err(Failure::NotLoaded { module, why: printable(&error.to_string()) });
        }
        Err(error) => return Err(Failure::NoModule { module, call: Call(error) }),
    };
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(context),
        Err(error) => Err(Failure::NotStarted { module, call: Call(error) }),
    }
}

/// Opens a session with the token, and logs in if there is a PIN.
///
/// Go tries one token of the same label after the other, with the same PIN. This function does so only
/// for tokens that fail for other reasons: a PIN that one token has refused is not tried with the next,
/// where it would count towards locking that one too. `serial`, `model` and `manufacturer`, which Go
/// ignores, select the token if the label is ambiguous.
fn open(context: &Pkcs11, question: &Question, lock: &LoginLock) -> Result<Session, Failure> {
    let selection = &question.selection;
    let candidates = match selection.slot {
        Some(slot) => {
            vec![Slot::try_from(u64::from(slot)).map_err(|error| Failure::SlotId(Call(error)))?]
        }
        None => tokens(context, selection, question.stranger)?,
    };
    let mut first = None;
    for slot in candidates {
        match log_in(context, slot, question, lock) {
            Ok(session) => return Ok(session),
            Err(failure) if failure.is_refused_pin() => return Err(failure),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    Err(first.unwrap_or(Failure::NoToken))
}

fn tokens(context: &Pkcs11, selection: &Selection, stranger: bool) -> Result<Vec<Slot>, Failure> {
    let Some(label) = &selection.token else {
        return Err(Failure::NoTokenInUri);
    };
    let slots =
        context.get_slots_with_token().map_err(|error| Failure::NoTokenList(Call(error)))?;
    let all: Vec<_> = slots
        .into_iter()
        .filter_map(|slot| context.get_token_info(slot).ok().map(|info| (slot, info)))
        .collect();
    let labelled: Vec<_> =
        all.iter().filter(|(_, info)| info.label().as_bytes() == label.as_slice()).collect();
    if labelled.is_empty() {
        let known = all.iter().filter(|(_, info)| info.token_initialized());
        let known = known.map(|(_, info)| printable(info.label()));
        let label = printable(&String::from_utf8_lossy(label));
        return Err(Failure::NoTokenCalled { label, known: (!stranger).then(|| known.collect()) });
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
    // If none matches, only the label decides, as in Go.
    Ok(if meant.is_empty() { labelled.iter().map(|(slot, _)| *slot).collect() } else { meant })
}

fn log_in(
    context: &Pkcs11,
    slot: Slot,
    question: &Question,
    lock: &LoginLock,
) -> Result<Session, Failure> {
    // The lock is held from the check of the token to the end of the login.
    let _held = match (&question.pin, question.stranger) {
        (None, _) => None,
        (Some(_), false) => lock.share(),
        (Some(_), true) => Some(lock.take().map_err(Failure::NotLocked)?),
    };
    // A token that returns no information may still work, with a PIN of the operator.
    let info = context.get_token_info(slot).ok();
    if question.stranger && question.pin.is_some() && info.is_none() {
        return Err(Failure::TriesUnknown);
    }
    if let (Some(info), Some(_)) = (&info, &question.pin) {
        if info.user_pin_locked() {
            return Err(Failure::PinIsLocked);
        }
        if question.stranger && info.user_pin_final_try() {
            return Err(Failure::FinalTry);
        }
    }
    // Tokens in a TPM never report their last try: the TPM counts for all of them.
    if question.stranger && question.pin.is_some() && is_of_tpm(context, question) {
        check_tries()?;
    }
    let session = context.open_ro_session(slot).map_err(|error| match error {
        Error::Pkcs11(RvError::SlotIdInvalid | RvError::TokenNotPresent, _) => {
            Failure::EmptySlot(slot.id())
        }
        error => Failure::NoSession(Call(error)),
    })?;
    if let Some(pin) = &question.pin {
        session.login_with_raw(UserType::User, &raw(pin)).or_else(|error| match error {
            Error::Pkcs11(RvError::UserAlreadyLoggedIn, _) => Ok(()),
            error => Err(refused_login(error)),
        })?;
    }
    Ok(session)
}

/// Whether the module is that of tpm2-pkcs11, whatever its file is called.
fn is_of_tpm(context: &Pkcs11, question: &Question) -> bool {
    let made_by = context.get_library_info().ok();
    is_tpm_module(&question.module)
        || made_by.is_some_and(|info| info.manufacturer_id().starts_with("tpm2-software"))
}

fn raw(pin: &Pin) -> RawAuthPin {
    RawAuthPin::new(Box::new(pin.expose().to_vec()))
}

fn refused_login(error: Error) -> LoginFailure {
    let Error::Pkcs11(code, _) = &error else { return LoginFailure::Other(Call(error)) };
    match code {
        RvError::PinIncorrect => LoginFailure::WrongPin,
        RvError::PinInvalid | RvError::PinLenRange => LoginFailure::ImpossiblePin,
        RvError::PinLocked => LoginFailure::Locked,
        RvError::PinExpired => LoginFailure::Expired,
        RvError::UserPinNotInitialized => LoginFailure::NoPinYet,
        RvError::GeneralError | RvError::FunctionFailed => LoginFailure::NotNow(Call(error)),
        _ => LoginFailure::Other(Call(error)),
    }
}

fn decrypt(
    session: &Session,
    question: &Question,
    hash: OaepHash,
    blob: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let key = find(session, ObjectClass::PRIVATE_KEY, &question.selection)?;
    let Some(key) = key else {
        return Err(Failure::NoPrivateKey);
    };
    let (name, other, digest, mask) = match hash {
        OaepHash::Sha1 => ("SHA-1", "sha256", MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        OaepHash::Sha256 => ("SHA-256", "sha1", MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
    };
    let parameters = PkcsOaepParams::new(digest, mask, PkcsOaepSource::empty());
    let opened = session.decrypt(&Mechanism::RsaPkcsOaep(parameters), key, blob);
    opened.map(Zeroizing::new).map_err(|error| {
        let Error::Pkcs11(code, function) = &error else {
            return Failure::NotDecrypted(Call(error));
        };
        match code {
            RvError::ArgumentsBad | RvError::MechanismParamInvalid
                if matches!(function, Function::DecryptInit) =>
            {
                Failure::Hash { hash: name, other }
            }
            RvError::MechanismInvalid => Failure::NoOaep,
            RvError::KeyTypeInconsistent => Failure::NotRsa,
            RvError::KeyFunctionNotPermitted => Failure::MayNotDecrypt,
            RvError::UserNotLoggedIn => Failure::PinMissing,
            // The module has not seen the blob yet.
            _ if matches!(function, Function::DecryptInit) => Failure::NotDecrypted(Call(error)),
            RvError::DataInvalid
            | RvError::DataLenRange
            | RvError::EncryptedDataInvalid
            | RvError::EncryptedDataLenRange
            | RvError::FunctionFailed
            | RvError::GeneralError
            | RvError::ArgumentsBad => Failure::OtherKey,
            _ => Failure::NotDecrypted(Call(error)),
        }
    })
}

/// The public key as SubjectPublicKeyInfo (RFC 8017, appendix A.1). If the token has only the private
/// key, the public key is read from that.
fn public_key(session: &Session, question: &Question) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let selection = &question.selection;
    let key = match find(session, ObjectClass::PUBLIC_KEY, selection)? {
        Some(key) => Some(key),
        None => find(session, ObjectClass::PRIVATE_KEY, selection)?,
    };
    let Some(key) = key else {
        return Err(Failure::NoPublicKey);
    };
    let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
    let attributes =
        session.get_attributes(key, &wanted).map_err(|error| Failure::NotShown(Call(error)))?;
    let (mut modulus, mut exponent) = (None, None);
    for attribute in &attributes {
        match attribute {
            Attribute::Modulus(value) => modulus = Some(value),
            Attribute::PublicExponent(value) => exponent = Some(value),
            _ => {}
        }
    }
    let (Some(modulus), Some(exponent)) = (modulus, exponent) else {
        return Err(Failure::NotRsa);
    };
    encode(modulus, exponent).map(Zeroizing::new).map_err(|_| Failure::Damaged)
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

/// The only key of its class that `id` and `object` name. It returns `None` if there is none.
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
        return Err(Failure::NoKeyInUri);
    }
    let found = session.find_objects(&template).map_err(|error| Failure::NoKeyList(Call(error)))?;
    match found[..] {
        [] => Ok(None),
        [key] => Ok(Some(key)),
        _ => Err(Failure::SeveralKeys(found.len())),
    }
}
