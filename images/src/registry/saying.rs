//! What a registry says about an error (OCI distribution specification 1.1, section "Error codes").

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// The longest text that is shown, in characters.
const MAX_SHOWN: usize = 300;

/// What a registry says about an error. It is shown escaped and shortened, because anyone can be behind
/// a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saying {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: Value,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    detail: Value,
}

impl Saying {
    /// What the body of an answer says, or nothing where it is no list of errors.
    pub fn parse(body: &[u8]) -> Self {
        let errors = serde_json::from_slice(body).map(|Body { errors }| errors);
        let Some(first) = errors.unwrap_or_default().into_iter().next() else {
            return Self::default();
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let detail = text(&first.detail);
        let message = match text(&first.message) {
            message if detail.is_empty() => message,
            message if message.is_empty() => detail,
            message => format!("{message}: {detail}"),
        };
        Self { code: text(&first.code), message }
    }

    /// The code of the error, such as `NAME_UNKNOWN`.
    pub fn code(&self) -> &str {
        &self.code
    }
}

impl fmt::Display for Saying {
    /// With what separates it from a sentence before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.code.as_str(), self.message.as_str()];
        let shown = parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(": ");
        if shown.is_empty() {
            return Ok(());
        }
        let mut escaped: String = shown.escape_debug().take(MAX_SHOWN).collect();
        if shown.escape_debug().nth(MAX_SHOWN).is_some() {
            escaped.push('…');
        }
        write!(f, ": the registry says `{escaped}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_quoted_safely() {
        let long = "x".repeat(1000);
        let long_body = format!(r#"{{"errors":[{{"message":"{long}"}}]}}"#);
        for (body, shown) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"no","detail":{"a":1}},{"code":"B"}]}"#,
                ": the registry says `DENIED: no`".to_owned(),
            ),
            (
                r#"{"errors":[{"code":"UNKNOWN","message":"m","detail":"no space left"}]}"#,
                ": the registry says `UNKNOWN: m: no space left`".to_owned(),
            ),
            (
                r#"{"errors":[{"message":"\u001b[31mred\n"}]}"#,
                ": the registry says `\\u{1b}[31mred\\n`".to_owned(),
            ),
            (&long_body, format!(": the registry says `{}…`", &long[..300])),
            (r#"{"errors":[]}"#, String::new()),
            (r#"{"errors":[{"code":5}]}"#, String::new()),
            (r#"{"errors":null}"#, String::new()),
            ("<html>", String::new()),
            ("", String::new()),
        ] {
            assert_eq!(Saying::parse(body.as_bytes()).to_string(), shown, "{body}");
        }
    }
}
