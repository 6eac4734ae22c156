//! JSON (RFC 8259) as a tree that keeps what `serde_json::Value` loses: the order of members, and
//! whether one occurs twice. Strings without escapes are borrowed, so that secrets are not copied.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroize;

/// One JSON value. The strings that it owns are wiped when dropped.
pub(crate) enum Json<'a> {
    Null,
    Bool,
    /// An integer that fits; `None` for every other number.
    Number(Option<i64>),
    String(Text<'a>),
    Array(Vec<Json<'a>>),
    Object(Vec<(Text<'a>, Json<'a>)>),
}

/// The text is not JSON, at this line and column, counted from 1. The text itself is never quoted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotJson {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl NotJson {
    /// The position as an offset in bytes in `text`, the text that was parsed.
    pub(crate) fn offset(self, text: &[u8]) -> usize {
        let lines = text.split_inclusive(|byte| *byte == b'\n').take(self.line.saturating_sub(1));
        (lines.map(<[u8]>::len).sum::<usize>() + self.column).min(text.len())
    }
}

impl<'a> Json<'a> {
    /// Parses exactly one value. Values that are nested deeper than 127 levels are refused.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, NotJson> {
        serde_json::from_slice(bytes)
            .map_err(|error| NotJson { line: error.line(), column: error.column() })
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text.as_str()),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Json<'a>]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&[(Text<'a>, Json<'a>)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The member with exactly this name; the last one if there are several.
    pub(crate) fn member(&self, name: &str) -> Option<&Json<'a>> {
        let mut members = self.as_object()?.iter().rev();
        members.find(|(found, _)| found.as_str() == name).map(|(_, value)| value)
    }

    /// The member that Go's `encoding/json` stores in a struct field with the name `name`: the last one
    /// whose name is equal apart from case and that is not `null` (Go leaves a field unchanged for
    /// `null`).
    pub(crate) fn field(&self, name: &str) -> Option<&Json<'a>> {
        let mut members = self.as_object()?.iter().rev();
        members
            .find(|(found, value)| !value.is_null() && equal_folded(found.as_str(), name))
            .map(|(_, value)| value)
    }

    /// The first member name, at any depth, that occurs twice in one object.
    pub(crate) fn duplicate(&self) -> Option<&str> {
        match self {
            Self::Array(values) => values.iter().find_map(Self::duplicate),
            Self::Object(members) => {
                let mut seen = BTreeSet::new();
                let twice = members.iter().map(|(name, _)| name.as_str());
                let twice = twice.into_iter().find(|name| !seen.insert(*name));
                twice.or_else(|| members.iter().find_map(|(_, value)| value.duplicate()))
            }
            _ => None,
        }
    }
}

/// A string of the document, which is borrowed if it has no escapes. An owned string is wiped when
/// dropped.
pub(crate) struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            text.zeroize();
        }
    }
}

/// Whether two names are equal under the simple case folding of Go's `encoding/json`. For names of
/// ASCII letters, it treats the Kelvin sign as a `k` and the long s as an `s`.
pub(crate) fn equal_folded(found: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        c => c.to_ascii_lowercase(),
    };
    found.chars().map(fold).eq(name.chars().map(fold))
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(Some(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(i64::try_from(value).ok()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Json::Number(None))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::String(Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::String(Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Json<'_> {
        Json::parse(text.as_bytes()).unwrap_or_else(|_| panic!("not JSON: {text}"))
    }

    #[test]
    fn fields_are_found_in_any_case_and_null_leaves_them_alone() {
        let json = parse(r#"{"SymKey":"a","symkey":"b","ſymKey":"c","symkey":null}"#);
        assert_eq!(json.field("symkey").and_then(Json::as_str), Some("c"));
        assert_eq!(json.member("SymKey").and_then(Json::as_str), Some("a"));
        assert!(json.member("SYMKEY").is_none());
    }

    #[test]
    fn duplicates_are_found_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"b":[{"c":{"a":1,"\u0061":2}}]}"#] {
            assert_eq!(parse(text).duplicate(), Some("a"), "{text}");
        }
        assert_eq!(parse(r#"{"a":{"a":[{"a":1},{"a":1}]},"A":1}"#).duplicate(), None);
    }

    #[test]
    fn what_is_not_json_is_told_by_its_place_only() {
        let error =
            Json::parse(b"{\n \"secret\": x}").err().map(|error| (error.line, error.column));
        assert_eq!(error, Some((2, 12)));
        assert!(Json::parse(b"").is_err());
        assert!(Json::parse(b"{} {}").is_err());
        assert!(Json::parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
