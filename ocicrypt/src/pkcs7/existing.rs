//! The recipients of an existing message, and how some are cut out.

use std::collections::BTreeSet;

use super::Envelope;
use super::recipient::{Name, Recipient};
use crate::encoding::asn1::{self, CONSTRUCTED, INTEGER, Reader, SEQUENCE, SET, context, element};
use crate::encoding::oid;

/// The recipients, each with its text and its certificate.
pub(crate) fn existing(bytes: &[u8]) -> Vec<(String, Option<Name>)> {
    if Envelope::parse(bytes).is_err() {
        return Vec::new();
    }
    let Some(parts) = asn1::definite(bytes) else { return Vec::new() };
    let Some(parts) = Parts::read(&parts) else { return Vec::new() };
    let described = parts.recipients.iter().map(|(_, recipient)| match recipient {
        Ok(recipient) => (recipient.describe(), Some(recipient.name.clone())),
        Err(error) => (error.to_string(), None),
    });
    described.collect()
}

/// Cuts recipients out of the SET. All other elements stay as they are, but lengths that are
/// indefinite (X.690, section 8.1.3.6) become definite.
pub(crate) fn without(bytes: &[u8], positions: &BTreeSet<usize>) -> Option<Vec<u8>> {
    let message = asn1::definite(bytes)?;
    let parts = Parts::read(&message)?;
    let kept = parts.recipients.iter().enumerate();
    let kept = kept.filter(|(position, _)| !positions.contains(position));
    let kept: Vec<_> = kept.map(|(_, (info, _))| *info).collect();
    let recipients = element(SET, &kept);
    let data = element(SEQUENCE, &[parts.before, &recipients, parts.after]);
    let data = element(context(0) | CONSTRUCTED, &[&data]);
    Some(element(SEQUENCE, &[parts.content_type, &data]))
}

/// A `ContentInfo` (RFC 5652, section 3) around the recipients.
struct Parts<'a> {
    content_type: &'a [u8],
    /// The version, and what says who sent it.
    before: &'a [u8],
    /// Each `RecipientInfo`, and what it says.
    recipients: Vec<(&'a [u8], Result<Recipient, super::Pkcs7Error>)>,
    /// The content, and what follows it.
    after: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let mut message = Reader::new(message).inside(SEQUENCE)?;
        let start = message.rest();
        oid::read(&mut message)?;
        let content_type = &start[..start.len() - message.rest().len()];
        let mut data = message.inside(context(0) | CONSTRUCTED)?.inside(SEQUENCE)?;
        let start = data.rest();
        data.element(INTEGER)?;
        data.optional(context(0) | CONSTRUCTED);
        let before = &start[..start.len() - data.rest().len()];
        let mut infos = data.inside(SET)?;
        let mut recipients = Vec::new();
        while !infos.is_empty() {
            let info = infos.any()?;
            recipients.push((info.whole, Recipient::parse(&info)));
        }
        Some(Self { content_type, before, recipients, after: data.rest() })
    }
}
