//! Passwords and tokens.

use serde::Deserialize;
use ureq::http::HeaderValue;
use zeroize::Zeroizing;

/// A password or a token. It is wiped when it is dropped, and cannot be shown.
#[derive(Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps a secret.
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value of an `Authorization` header, or none if it has characters that no header can have.
    pub fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&self.0).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}

impl Clone for Secret {
    fn clone(&self) -> Self {
        Self(Zeroizing::new(self.0.to_string()))
    }
}

impl PartialEq for Secret {
    /// Compares two secrets that were both made here, never one with what somebody sends.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
