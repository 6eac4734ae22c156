//! The JOSE header (RFC 7516, section 4), which is merged from up to three parts.

use std::sync::Arc;

use super::JweError;
use crate::encoding::json::Json;
use crate::encoding::text::printable;

/// The longest member, in bytes. Legitimate ones have less than a hundred. All recipients read the
/// shared members, so this limit keeps the work proportional to the input.
const MAX_MEMBER: usize = 4096;

/// The relevant members of a merged header. Empty strings and `null` count as absent. It is cheap to
/// clone, because there may be many recipients.
#[derive(Clone, Default)]
pub(super) struct Header {
    alg: Option<Arc<str>>,
    enc: Option<Arc<str>>,
    kid: Option<Arc<str>>,
    apu: Option<Arc<str>>,
    apv: Option<Arc<str>>,
    epk: Option<Arc<PublicPoint>>,
    critical: bool,
}

/// An ephemeral public key with the members that were present.
pub(super) struct PublicPoint {
    pub(super) kty: String,
    pub(super) crv: String,
    pub(super) x: String,
    pub(super) y: String,
}

impl Header {
    /// Adds members that are not set yet. The parts are merged in the order protected, unprotected,
    /// recipient, and the first one takes precedence.
    ///
    /// RFC 7516, section 7.2.1, requires the names to be disjoint. Go does not check that. Because the
    /// protected part comes first, no authenticated member can be replaced.
    pub(super) fn merge(&mut self, part: &Json<'_>) -> Result<(), JweError> {
        if part.as_object().is_none() {
            return Err(JweError::Malformed("a header is not an object"));
        }
        if let Some(name) = part.duplicate() {
            return Err(JweError::Duplicate(printable(name)));
        }
        for (name, place) in [
            ("alg", &mut self.alg),
            ("enc", &mut self.enc),
            ("apu", &mut self.apu),
            ("apv", &mut self.apv),
        ] {
            if place.is_none() {
                *place = short(part, name)?.map(Arc::from);
            }
        }
        // The `kid` is only a hint, so an invalid one is ignored.
        let kid = part.member("kid").and_then(Json::as_str);
        let kid = kid.filter(|kid| (1..=MAX_MEMBER).contains(&kid.len()));
        self.kid = self.kid.take().or_else(|| kid.map(Arc::from));
        if self.epk.is_none()
            && let Some(epk) = part.member("epk").filter(|epk| !epk.is_null())
        {
            self.epk = Some(Arc::new(PublicPoint::read(epk)?));
        }
        self.critical |= part.member("crit").is_some_and(|crit| !crit.is_null());
        Ok(())
    }

    pub(super) fn alg(&self) -> Result<&str, JweError> {
        self.alg.as_deref().ok_or(JweError::Malformed("no `alg`"))
    }

    pub(super) fn enc(&self) -> Result<&str, JweError> {
        self.enc.as_deref().ok_or(JweError::Malformed("no `enc`"))
    }

    /// The name of the recipient's key, if the message gives it one.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The producer's part of the key derivation, still in base64url.
    pub(super) fn apu(&self) -> &str {
        self.apu.as_deref().unwrap_or_default()
    }

    /// The recipient's part of the key derivation, still in base64url.
    pub(super) fn apv(&self) -> &str {
        self.apv.as_deref().unwrap_or_default()
    }

    pub(super) fn epk(&self) -> Option<&PublicPoint> {
        self.epk.as_deref()
    }

    /// Whether there are extensions that must be understood.
    pub(super) fn is_critical(&self) -> bool {
        self.critical
    }
}

impl PublicPoint {
    fn read(epk: &Json<'_>) -> Result<Self, JweError> {
        let member = |name| short(epk, name).map(Option::unwrap_or_default);
        if epk.as_object().is_none() {
            return Err(JweError::Malformed("`epk` is not an object"));
        }
        Ok(Self { kty: member("kty")?, crv: member("crv")?, x: member("x")?, y: member("y")? })
    }
}

fn short(object: &Json<'_>, name: &str) -> Result<Option<String>, JweError> {
    match string(object, name)? {
        Some(text) if text.len() > MAX_MEMBER => {
            Err(JweError::Malformed("a member of the header is too long"))
        }
        text => Ok(text),
    }
}

/// A string member; none if it is absent, `null` or empty.
pub(super) fn string(object: &Json<'_>, name: &str) -> Result<Option<String>, JweError> {
    match object.member(name) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => {
            let text = value.as_str().ok_or(JweError::Malformed("a member is not a string"))?;
            Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
        }
    }
}
