//! The PKCS #11 URI scheme (RFC 7512), parsed in the same way as Go's `go-pkcs11uri`.

use std::fmt;

use zeroize::Zeroizing;

use super::mentions::mentions_pin;
use super::printable;

/// The longest URI, in bytes.
const SIZE: usize = 8192;

/// The path attributes of RFC 7512, section 2.3. No others are ever shown: an operator who writes a PIN
/// into the wrong half of the URI must not find it in a log.
const PATH_ATTRIBUTES: [&str; 13] = [
    "id",
    "library-description",
    "library-manufacturer",
    "library-version",
    "manufacturer",
    "model",
    "object",
    "serial",
    "slot-description",
    "slot-id",
    "slot-manufacturer",
    "token",
    "type",
];

/// Which part of RFC 7512 a URI violates. The text quotes nothing, because a PIN may be anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is too long.
    #[error("the URI is longer than 8 KiB")]
    TooLong,
    /// It has another scheme.
    #[error("the URI does not begin with `pkcs11:`")]
    Scheme,
    /// An attribute has no value.
    #[error("an attribute in the URI's {0} has no `=`")]
    NoEquals(Half),
    /// An attribute has a `%` that encodes nothing.
    #[error("an attribute in the URI's {0} is not percent-encoded: write a `%` as `%25`")]
    NotEncoded(Half),
    /// An attribute occurs twice.
    #[error("an attribute is twice in the URI's {0}")]
    Twice(Half),
    /// `slot-id` is not a number of a slot.
    #[error("`slot-id` is not a number from 0 to 4294967295")]
    SlotId,
    /// `type` is not one of the RFC.
    #[error("`type` is none of RFC 7512")]
    Type,
    /// `library-version` is not a version.
    #[error("`library-version` is not a version")]
    LibraryVersion,
    /// There are two PINs.
    #[error("there are both `pin-source` and `pin-value`: remove one")]
    TwoPins,
    /// `module-path` is relative.
    #[error("`module-path` is not absolute")]
    RelativeModule,
}

/// One half of a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Before the question mark.
    Path,
    /// After the question mark.
    Query,
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Query => "query",
        })
    }
}

/// A URI: its attributes without percent-encoding. All of them are wiped when they are dropped, because
/// one may be a PIN.
pub(super) struct Uri {
    path: Vec<Attribute>,
    query: Vec<Attribute>,
}

type Attribute = (String, Zeroizing<Vec<u8>>);

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    ///
    /// Which part of RFC 7512 the URI violates, without quoting it.
    pub(super) fn parse(uri: &str) -> Result<Self, Error> {
        if uri.len() > SIZE {
            return Err(Error::TooLong);
        }
        let Some(rest) = uri.strip_prefix("pkcs11:") else {
            return Err(Error::Scheme);
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let path = if path.is_empty() { Vec::new() } else { attributes(path, ';', Half::Path)? };
        let query = query.map(|query| attributes(query, '&', Half::Query)).transpose()?;
        let uri = Self { path, query: query.unwrap_or_default() };
        uri.check()?;
        Ok(uri)
    }

    /// The path attribute called `name`.
    pub(super) fn path(&self, name: &str) -> Option<&[u8]> {
        find(&self.path, name)
    }

    /// The query attribute called `name`.
    pub(super) fn query(&self, name: &str) -> Option<&[u8]> {
        find(&self.query, name)
    }

    /// `slot-id`.
    pub(super) fn slot(&self) -> Option<u32> {
        self.path("slot-id").and_then(slot)
    }

    /// The path attributes of RFC 7512 in the order of the URI, percent-encoded and cut if they are
    /// long.
    pub(super) fn shown(&self) -> String {
        let mut shown = "pkcs11:".to_owned();
        let known = self.path.iter().filter(|(name, _)| PATH_ATTRIBUTES.contains(&name.as_str()));
        for (index, (name, value)) in known.enumerate() {
            if index > 0 {
                shown.push(';');
            }
            shown.push_str(name);
            shown.push('=');
            if holds_query(value) {
                shown.push('…');
            } else {
                value.iter().for_each(|byte| encode(*byte, &mut shown));
            }
        }
        printable(&shown)
    }

    fn check(&self) -> Result<(), Error> {
        if let Some(value) = self.path("slot-id")
            && slot(value).is_none()
        {
            return Err(Error::SlotId);
        }
        // Go's regular expression has a bug and never matches the last two.
        let kinds: [&[u8]; 6] = [b"public", b"private", b"cert", b"secret-key", b"data", b""];
        if self.path("type").is_some_and(|kind| !kinds.contains(&kind)) {
            return Err(Error::Type);
        }
        if self.path("library-version").is_some_and(|version| !is_version(version)) {
            return Err(Error::LibraryVersion);
        }
        if self.query("pin-source").is_some() && self.query("pin-value").is_some() {
            return Err(Error::TwoPins);
        }
        if self.query("module-path").is_some_and(|path| !path.starts_with(b"/")) {
            return Err(Error::RelativeModule);
        }
        Ok(())
    }
}

/// Whether the value contains a query attribute. An operator who writes `&pin-value=` instead of
/// `?pin-value=` has the PIN in the value of another attribute, and with `&module-path=` the path of a
/// module.
fn holds_query(value: &[u8]) -> bool {
    const MODULES: [&[u8]; 2] = [b"module-path", b"module-name"];
    let holds =
        |name: &&[u8]| value.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name));
    mentions_pin(value) || MODULES.iter().any(holds)
}

fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a [u8]> {
    attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
}

fn attributes(text: &str, separator: char, half: Half) -> Result<Vec<Attribute>, Error> {
    let mut attributes: Vec<Attribute> = Vec::new();
    for part in text.split(separator) {
        let Some((name, value)) = part.split_once('=') else {
            return Err(Error::NoEquals(half));
        };
        let Some(value) = decode(value) else {
            return Err(Error::NotEncoded(half));
        };
        if attributes.iter().any(|(n, _)| n == name) {
            return Err(Error::Twice(half));
        }
        attributes.push((name.to_owned(), value));
    }
    Ok(attributes)
}

/// Decodes percent-encoding, also that of the URI in `pin-source`.
pub(super) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (high, low) = (hex(*rest.first()?)?, hex(*rest.get(1)?)?);
        decoded.push(high << 4 | low);
        rest = rest.get(2..)?;
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn encode(byte: u8, to: &mut String) {
    if byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=&".contains(&byte) {
        to.push(char::from(byte));
    } else {
        to.push_str(&format!("%{byte:02X}"));
    }
}

fn slot(value: &[u8]) -> Option<u32> {
    // `parse` would accept a sign.
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

fn is_version(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b'.');
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    parts.next().is_some_and(is_number)
        && parts.next().is_none_or(is_number)
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    // This is from ocicrypt's documentation of its key files.
    const DOCUMENTED: &str = "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;\
        serial=f21985c5bec65cff;token=ocicrypt-test;id=%2B%74%4C%87%C6;object=mykey;\
        type=public?pin-value=1234&module-name=softhsm2";

    fn uri(text: &str) -> Uri {
        Uri::parse(text).unwrap_or_else(|why| panic!("`{text}`: {why}"))
    }

    #[test]
    fn attributes_are_decoded() {
        let read = uri(DOCUMENTED);
        assert_eq!(read.path("model"), Some(&b"SoftHSM v2"[..]));
        assert_eq!(read.path("id"), Some(&b"\x2b\x74\x4c\x87\xc6"[..]));
        assert_eq!(read.query("module-name"), Some(&b"softhsm2"[..]));
        assert_eq!((read.path("pin-value"), read.query("token")), (None, None));
    }

    #[test]
    fn only_path_attributes_of_the_standard_are_shown() {
        let read = uri(DOCUMENTED);
        assert_eq!(
            read.shown(),
            "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=f21985c5bec65cff;\
             token=ocicrypt-test;id=+tL%87%C6;object=mykey;type=public"
        );
        // This is how go-pkcs11uri encodes it.
        let read = uri("pkcs11:token=%3a%5b%5d%40%21%24%27%28%29%2a%2b%2c%26%3d-%60%20%3c%3e%7b");
        assert_eq!(read.shown(), "pkcs11:token=:[]@!$'()*+,&=-%60%20%3C%3E%7B");
        let misplaced = "pkcs11:pin-value=1234;object=a%60%0A%1B;x=1234?pin-value=1234";
        let read = uri(misplaced);
        assert_eq!(read.shown(), "pkcs11:object=a%60%0A%1B");
        for misplaced in [
            "pkcs11:token=node;object=key&pin-value=1234",
            "pkcs11:token=node;object=key&PIN-value=1234",
            "pkcs11:token=node;object=key%3Fpin%2Dvalue=1234",
            "pkcs11:token=node;object=key&pin%252Dvalue=1234",
            "pkcs11:token=node;object=key&pin-source=/etc/pin",
            "pkcs11:token=node;object=key&Module-Path=/usr/lib/a.so",
            "pkcs11:token=node;object=key&module-name=a",
        ] {
            assert_eq!(uri(misplaced).shown(), "pkcs11:token=node;object=…");
        }
    }

    #[test]
    fn what_breaks_the_standard_is_refused_without_being_quoted() {
        for uri in [
            "",
            "foobar",
            "pkcs12:object=1234",
            "pkcs11:1234",
            "pkcs11:object=1234;",
            "pkcs11:object=1234?",
            "pkcs11:object=1234?pin-value",
            "pkcs11:object=1234;object=5",
            "pkcs11:object=1234?pin-value=1234&pin-value=1234",
            "pkcs11:object=%1",
            "pkcs11:object=%",
            "pkcs11:object=%+1",
            "pkcs11:object=%é234",
            "pkcs11:slot-id=-1234",
            "pkcs11:slot-id=+1234",
            "pkcs11:slot-id=",
            "pkcs11:slot-id=4294967296",
            "pkcs11:type=1234",
            "pkcs11:library-version=1234.",
            "pkcs11:library-version=1.2.3",
            "pkcs11:object=a?pin-value=1234&pin-source=/1234",
            "pkcs11:object=a?module-path=1234",
        ] {
            let error = Uri::parse(uri).err().unwrap_or_else(|| panic!("`{uri}` is taken"));
            let error = error.to_string();
            assert!(!error.is_empty() && !error.contains("1234"), "`{uri}`: {error}");
        }
        assert!(Uri::parse(&format!("pkcs11:object={}", "a".repeat(SIZE))).is_err());
    }

    #[test]
    fn what_go_accepts_is_accepted() {
        for uri in [
            "pkcs11:",
            "pkcs11:slot-id=2053753261?module-name=softhsm2&pin-value=1234",
            "pkcs11:slot-id=4294967295;library-version=3;type=",
            "pkcs11:library-version=3.0;x-vendor=1?x-other=a=b&pin-value=",
            // These are the examples of RFC 7512, section 3, in go-pkcs11uri's tests, and its own.
            "pkcs11:object=my-pubkey;type=public",
            "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;\
             model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=\
             ?pin-source=file:/etc/token_pin",
            "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
            "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
            "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.\
             ?pin-value=the-pin",
            "pkcs11:slot-description=Sun%20Metaslot",
            "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;\
             library-description=Soft%20Token%20Library;library-version=1.23",
            "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;\
             id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
            "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
            "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;\
             object=my-certificate;type=cert",
            "pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a\
             ?pin-source=file:/etc/token_pin&vendor-bbb=value-b",
            "pkcs11:token=:[]@!$'()*+,=&?attr=:[]@!$'()*+,=/?",
            "pkcs11:token=%00%01%02Hello%FF%FE",
        ] {
            assert!(Uri::parse(uri).is_ok(), "`{uri}`");
        }
    }
}
