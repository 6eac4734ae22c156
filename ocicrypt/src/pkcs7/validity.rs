//! For how long a certificate is valid, and what for (RFC 5280, sections 4.1.2.5 and 4.2.1.3).

use pkcs8::der::DateTime;
use pkcs8::der::Decode;
use pkcs8::der::asn1::{GeneralizedTime, UtcTime};
use pkcs8::spki::ObjectIdentifier;

use crate::encoding::asn1::{
    BIT_STRING, CONSTRUCTED, INTEGER, OCTET_STRING, Reader, SEQUENCE, context,
};
use crate::encoding::oid;

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");

const BOOLEAN: u8 = 0x01;

const UTC_TIME: u8 = 0x17;

/// The time in which a certificate is valid, ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: DateTime,
    pub(crate) not_after: DateTime,
}

impl Validity {
    /// Reads that of a certificate in DER. None if it has another form.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let mut signed = signed(der)?;
        let mut validity = signed.inside(SEQUENCE)?;
        Some(Self { not_before: time(&mut validity)?, not_after: time(&mut validity)? })
    }
}

/// Whether the owner of a certificate in DER allows that keys are encrypted for it: it says so, or says
/// nothing about the usage of its key.
pub(super) fn allows_encryption(der: &[u8]) -> bool {
    /// `keyEncipherment`, counted from the most significant bit.
    const KEY_ENCIPHERMENT: u8 = 0x80 >> 2;
    let usage = key_usage(der);
    usage.is_none_or(|first| first & KEY_ENCIPHERMENT != 0)
}

/// The first byte of the bits of the extension.
fn key_usage(der: &[u8]) -> Option<u8> {
    let mut signed = signed(der)?;
    // These are the validity, the subject and its key.
    for _ in 0..3 {
        signed.element(SEQUENCE)?;
    }
    signed.optional(context(1));
    signed.optional(context(2));
    let mut extensions = signed.inside(context(3) | CONSTRUCTED)?.inside(SEQUENCE)?;
    while let Some(mut extension) = extensions.inside(SEQUENCE) {
        if oid::read(&mut extension)? == KEY_USAGE {
            extension.optional(BOOLEAN);
            let value = extension.element(OCTET_STRING)?;
            let bits = Reader::new(value.content).element(BIT_STRING)?;
            // The number of unused bits comes first.
            return Some(bits.content.get(1).copied().unwrap_or(0));
        }
    }
    None
}

/// The signed part of a certificate after its issuer.
fn signed(der: &[u8]) -> Option<Reader<'_>> {
    let mut signed = Reader::new(der).inside(SEQUENCE)?.inside(SEQUENCE)?;
    signed.optional(context(0) | CONSTRUCTED);
    signed.element(INTEGER)?;
    signed.element(SEQUENCE)?; // the algorithm of the signature
    signed.element(SEQUENCE)?; // the issuer
    Some(signed)
}

fn time(reader: &mut Reader<'_>) -> Option<DateTime> {
    let found = reader.any()?;
    match found.tag {
        UTC_TIME => UtcTime::from_der(found.whole).ok().map(|time| time.to_date_time()),
        _ => GeneralizedTime::from_der(found.whole).ok().map(|time| time.to_date_time()),
    }
}
