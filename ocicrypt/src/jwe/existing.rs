//! The recipients of an existing JWE, and how some are cut out.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Jwe;
use super::message::Message;

/// The recipients, each with its text and its `kid`.
pub(crate) fn existing(bytes: &[u8]) -> Vec<(String, Option<String>)> {
    let (Ok(jwe), Ok((_, recipients))) = (Jwe::parse(bytes), Message::parse(bytes)) else {
        return Vec::new();
    };
    let identity = |recipient: &Result<(super::header::Header, _), _>| {
        let kid = recipient.as_ref().ok().and_then(|(header, _)| header.kid());
        kid.map(str::to_owned)
    };
    jwe.recipients().into_iter().zip(recipients.iter().map(identity)).collect()
}

/// Cuts recipients out of `recipients` (RFC 7516, section 7.2.1). The members that are authenticated
/// stay as they are.
pub(crate) fn without(bytes: &[u8], positions: &BTreeSet<usize>) -> Option<Vec<u8>> {
    let mut jwe: Value = serde_json::from_slice(bytes).ok()?;
    let members = jwe.as_object_mut()?;
    let recipients = members.get_mut("recipients")?.as_array_mut()?;
    let mut position = 0..;
    recipients.retain(|_| position.next().is_none_or(|position| !positions.contains(&position)));
    if recipients.is_empty() {
        return None;
    }
    // Go repeats the first recipient's here, and it may be one of those that are cut out. Beside
    // `recipients` they mean nothing.
    members.remove("encrypted_key");
    members.remove("header");
    serde_json::to_vec(&jwe).ok()
}
