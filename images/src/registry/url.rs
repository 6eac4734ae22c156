//! Addresses that requests go to, some of which a registry names.

use std::fmt;

use ureq::http::Uri;

/// An absolute `http` or `https` address without a user name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url(Uri);

impl Url {
    /// Parses an address, or none if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let uri: Uri = format!("{}:{rest}", scheme.to_ascii_lowercase()).parse().ok()?;
        let scheme = uri.scheme_str()?;
        let authority = uri.authority()?.as_str();
        let good = matches!(scheme, "http" | "https") && !authority.contains('@');
        good.then_some(Self(uri))
    }

    /// The address that `reference` means in an answer from this one (RFC 3986, section 5.2).
    pub fn join(&self, reference: &str) -> Option<Self> {
        let scheme = self.0.scheme_str().unwrap_or("https");
        let path = self.0.path();
        let text = if reference.starts_with("//") {
            format!("{scheme}:{reference}")
        } else if reference.starts_with('/') {
            format!("{scheme}://{}{reference}", self.authority())
        } else if reference.starts_with('?') {
            format!("{scheme}://{}{path}{reference}", self.authority())
        } else if has_scheme(reference) {
            reference.to_owned()
        } else {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{scheme}://{}{directory}/{reference}", self.authority())
        };
        Self::parse(&text)
    }

    /// The address with a further parameter, whose characters need no encoding.
    pub fn with_query(&self, parameter: &str) -> Option<Self> {
        let separator = if self.0.query().is_some() { '&' } else { '?' };
        Self::parse(&format!("{}{separator}{parameter}", self.0))
    }

    /// Whether it is `https`.
    pub fn is_secure(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The host, with its port if one is named.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// Whether the other has the same scheme, host and port.
    pub fn is_beside(&self, other: &Self) -> bool {
        let port = |url: &Self| url.0.port_u16().unwrap_or(if url.is_secure() { 443 } else { 80 });
        let host = |url: &Self| url.0.host().map(str::to_ascii_lowercase);
        self.is_secure() == other.is_secure()
            && port(self) == port(other)
            && host(self) == host(other)
    }

    /// The address as the HTTP client takes it.
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

/// Whether a reference begins with a scheme that addresses have here, in whatever case it is written.
fn has_scheme(reference: &str) -> bool {
    let scheme = reference.split_once(':').map_or("", |(scheme, _)| scheme);
    ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// A value of a parameter, with all characters encoded that may mean something (RFC 3986, section 2.3).
pub fn encode(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().fold(String::new(), |encoded, byte| match is_plain(byte) {
        true => encoded + &char::from(byte).to_string(),
        false => encoded + &format!("%{byte:02X}"),
    })
}

impl fmt::Display for Url {
    /// Without its parameters, which can carry a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}{}", self.authority(), self.0.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn locations_are_resolved() {
        let base = url("https://r.example:5000/v2/a/blobs/uploads/?x=1");
        for (reference, full) in [
            ("/v2/b?_state=1", "https://r.example:5000/v2/b?_state=1"),
            ("https://other.example/c", "https://other.example/c"),
            ("http://other.example/c", "http://other.example/c"),
            ("HTTPS://Other.example/C", "https://Other.example/C"),
            ("Http://other.example/c", "http://other.example/c"),
            ("//other.example/c", "https://other.example/c"),
            ("d-e", "https://r.example:5000/v2/a/blobs/uploads/d-e"),
            ("?y=2", "https://r.example:5000/v2/a/blobs/uploads/?y=2"),
        ] {
            assert!(base.join(reference).is_some_and(|it| it.uri() == full), "{reference}");
        }
        for reference in ["ftp://x/", "https://u:p@x/", "http:///x", "https://x/\n", "a b", ""] {
            let joined = base.join(reference);
            assert!(joined.is_none_or(|it| it.is_beside(&base)), "{reference}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let base = url("https://R.example/v2/");
        assert!(base.is_beside(&url("https://r.example:443/other")));
        for other in ["http://r.example/", "https://r.example:444/", "https://r.example.evil/"] {
            assert!(!base.is_beside(&url(other)), "{other}");
        }
    }

    #[test]
    fn parameters_are_added_and_never_shown() {
        let base = url("https://r.example/a?signature=secret");
        let more = base.with_query("digest=sha256:00").unwrap_or_else(|| panic!());
        assert_eq!(more.uri(), "https://r.example/a?signature=secret&digest=sha256:00");
        assert_eq!(more.to_string(), "https://r.example/a");
        let first = url("https://r.example/a").with_query("x=1").unwrap_or_else(|| panic!());
        assert_eq!(first.uri(), "https://r.example/a?x=1");
    }
}
