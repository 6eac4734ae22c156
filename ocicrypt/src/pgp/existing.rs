//! The recipients of an existing message, and how some are cut out.

use std::collections::BTreeSet;

use super::PgpMessage;
use super::packet::{Packets, tag};
use super::recipient::{Recipient, Whom};

/// The recipients, each with its text and its key.
pub(crate) fn existing(bytes: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let Ok(message) = PgpMessage::parse(bytes) else { return Vec::new() };
    let identity = |recipient: &Result<Recipient, _>| match recipient.as_ref().map(|r| &r.whom) {
        Ok(Whom::KeyId(id)) => Some(id.to_vec()),
        Ok(Whom::Fingerprint(fingerprint)) => Some(fingerprint.clone()),
        Ok(Whom::Hidden) | Err(_) => None,
    };
    message.recipients().into_iter().zip(message.recipients.iter().map(identity)).collect()
}

/// Cuts packets with session keys out. All other packets stay as they are.
pub(crate) fn without(bytes: &[u8], positions: &BTreeSet<usize>) -> Option<Vec<u8>> {
    let mut packets = Packets::new(bytes);
    let (mut rest, mut position) = (Vec::with_capacity(bytes.len()), 0);
    loop {
        let start = packets.offset(bytes);
        let Some(packet) = packets.next() else { break };
        let tag = packet.ok()?.tag;
        let is_session_key = tag == tag::PUBLIC_KEY_SESSION_KEY;
        if matches!(tag, tag::ENCRYPTED | tag::PROTECTED | tag::GNUPG_AEAD) {
            // Session keys come before the encrypted data.
            rest.extend_from_slice(&bytes[start..]);
            break;
        }
        if !(is_session_key && positions.contains(&position)) {
            rest.extend_from_slice(&bytes[start..packets.offset(bytes)]);
        }
        position += usize::from(is_session_key);
    }
    Some(rest)
}
