//! Tokens of token servers (distribution's token authentication; RFC 6749, section 6).

use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use zeroize::Zeroizing;

use super::answer::{About, Answer};
use super::challenge::Bearer;
use super::credentials::Identity;
use super::error::{Malformation, RegistryError};
use super::http::{Call, Http, Limit};
use super::reference::Repository;
use super::secret::Secret;
use super::url::{Url, encode};

/// The longest answer of a token server, in bytes.
const MAX_ANSWER: u64 = 256 * 1024;
/// How long a token is good if the server does not say so.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long a token is used at most.
const LONGEST: Duration = Duration::from_secs(86400);
/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(10);

/// A token as a header, and until when it is used.
pub struct Token {
    /// The value of the `Authorization` header.
    pub header: Secret,
    /// Until when it is used.
    pub until: Instant,
}

/// What a token server answers.
#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    access_token: Option<Secret>,
    #[serde(default)]
    expires_in: Value,
}

impl Granted {
    /// How long the token is good. Some servers write the number as text; what is no number, or not
    /// above 0, says nothing.
    fn lifetime(&self) -> Duration {
        let text = self.expires_in.as_str().and_then(|text| text.trim().parse().ok());
        let seconds = self.expires_in.as_f64().or(text).filter(|seconds| *seconds > 0.0);
        seconds.map_or(LIFETIME, |seconds| {
            Duration::try_from_secs_f64(seconds).map_or(LONGEST, |time| time.min(LONGEST))
        })
    }
}

/// Asks the token server that a registry names for a token.
///
/// # Errors
/// A token server that would get a password without encryption, that does not accept it, or that sends
/// no token.
pub fn fetch(
    http: &Http,
    registry: &Url,
    repository: &Repository,
    bearer: &Bearer,
    scopes: &[String],
    identity: Option<&Identity>,
) -> Result<Token, RegistryError> {
    let host = registry.authority().to_owned();
    let Some(realm) = Url::parse(&bearer.realm) else {
        let what = Malformation::Header("WWW-Authenticate");
        return Err(RegistryError::Malformed { host, what });
    };
    if registry.is_secure() && !realm.is_secure() {
        return Err(RegistryError::Insecure { host, location: realm.to_string() });
    }
    let begun = Instant::now();
    // What asks the registry again asks the token server again, too.
    let answer = ask(http, &realm, bearer, scopes, identity)?;
    if !answer.is_success() {
        return Err(refused(answer, repository, identity));
    }
    let no_token = answer.malformed(Malformation::Token);
    let bytes = Zeroizing::new(answer.read(MAX_ANSWER)?);
    let Ok(granted) = serde_json::from_slice::<Granted>(&bytes) else {
        return Err(no_token);
    };
    let lifetime = granted.lifetime();
    let Granted { token, access_token, .. } = granted;
    let token = token.or(access_token).filter(|it| !it.expose().is_empty()).ok_or(no_token)?;
    Ok(Token {
        header: Secret::new(format!("Bearer {}", token.expose())),
        until: begun + lifetime.saturating_sub(MARGIN).max(lifetime / 2),
    })
}

fn ask(
    http: &Http,
    realm: &Url,
    bearer: &Bearer,
    scopes: &[String],
    identity: Option<&Identity>,
) -> Result<Answer, RegistryError> {
    let mut parameters = Vec::new();
    if let Some(service) = &bearer.service {
        parameters.push(format!("service={}", encode(service)));
    }
    let mut headers = HeaderMap::new();
    let mut form = None;
    match identity {
        Some(Identity::Token(refresh)) => {
            parameters.push(format!("scope={}", encode(&scopes.join(" "))));
            parameters.push("grant_type=refresh_token&client_id=keycell".to_owned());
            let secret = format!("&refresh_token={}", encode(refresh.expose()));
            form = Some(Secret::new(parameters.join("&") + &Zeroizing::new(secret)));
            let urlencoded = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, urlencoded);
        }
        Some(Identity::Password { username, password }) => {
            parameters.push(format!("account={}", encode(username)));
            insert(&mut headers, header::AUTHORIZATION, &basic(username, password));
        }
        None => {}
    }
    let url = match form {
        Some(_) => Some(realm.clone()),
        None => {
            parameters.extend(scopes.iter().map(|scope| format!("scope={}", encode(scope))));
            realm.with_query(&parameters.join("&"))
        }
    };
    let malformed = || RegistryError::Malformed {
        host: realm.authority().to_owned(),
        what: Malformation::Header("WWW-Authenticate"),
    };
    let body = form.as_ref().map(|form| form.expose().as_bytes());
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let (url, patience, limit) = (url.ok_or_else(malformed)?, None, Limit::Document);
    http.send(&Call { method, url, headers, body, patience, limit })
}

/// The value of an `Authorization` header with a name and a password (RFC 7617).
pub fn basic(username: &str, password: &Secret) -> Secret {
    let pair = Zeroizing::new(format!("{username}:{}", password.expose()));
    Secret::new(format!("Basic {}", *Zeroizing::new(Base64::encode_string(pair.as_bytes()))))
}

/// Sets a header to a secret. One that no header can have is not sent: the server then says so.
pub fn insert(headers: &mut HeaderMap, name: HeaderName, secret: &Secret) {
    if let Some(value) = secret.header() {
        headers.insert(name, value);
    }
}

fn refused(answer: Answer, repository: &Repository, who: Option<&Identity>) -> RegistryError {
    let host = answer.url().authority().to_owned();
    let repository_name = repository.to_string();
    match (answer.status(), who) {
        (400 | 401, Some(_)) => {
            let registry = repository.host.clone();
            RegistryError::WrongCredentials { host, registry, saying: answer.saying() }
        }
        (401 | 403, None) => {
            RegistryError::SignIn { host, repository: repository_name, saying: answer.saying() }
        }
        _ => answer.refuse(repository, About::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_can_be_anything() {
        for (answer, seconds) in [
            ("{}", 60),
            (r#"{"expires_in": 300}"#, 300),
            (r#"{"expires_in": "300"}"#, 300),
            (r#"{"expires_in": 300.0}"#, 300),
            (r#"{"expires_in": 0}"#, 60),
            (r#"{"expires_in": -1}"#, 60),
            (r#"{"expires_in": null}"#, 60),
            (r#"{"expires_in": "soon"}"#, 60),
            (r#"{"expires_in": [1]}"#, 60),
            (r#"{"expires_in": "NaN"}"#, 60),
            (r#"{"expires_in": 1e300}"#, 86400),
            (r#"{"expires_in": 99999999999999999999999}"#, 86400),
            (r#"{"expires_in": 18446744073709551615}"#, 86400),
        ] {
            let granted: Granted =
                serde_json::from_str(answer).unwrap_or_else(|_| panic!("{answer}"));
            assert_eq!(granted.lifetime(), Duration::from_secs(seconds), "{answer}");
        }
    }
}
