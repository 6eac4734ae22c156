//! The challenges of `WWW-Authenticate` headers (RFC 9110, section 11.6.1; RFC 6750, section 3).
//!
//! The crate `http-auth` parses them too, but needs an older generation of RustCrypto.

/// The longest header that is read, in bytes.
const MAX_HEADER: usize = 8192;

/// How a registry wants to be told who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// By a name and a password (RFC 7617).
    Basic,
    /// By a token from a token server.
    Bearer(Bearer),
}

/// What a token is asked for with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bearer {
    /// The address of the token server.
    pub realm: String,
    /// What the registry is called there.
    pub service: Option<String>,
    /// Whether the token that was sent is good, but does not allow what was asked for.
    pub insufficient: bool,
}

/// The challenge that is answered: `Bearer` before `Basic`, as containers/image chooses. None if there
/// is neither.
pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers.filter(|header| header.len() <= MAX_HEADER) {
        for challenge in parse(header).into_iter().flatten() {
            match challenge {
                Challenge::Bearer(_) => return Some(challenge),
                Challenge::Basic => basic = Some(challenge),
            }
        }
    }
    basic
}

/// The challenges in order, with none for those of other schemes.
fn parse(header: &str) -> Vec<Option<Challenge>> {
    let mut challenges = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',', '=']);
        let (word, after) = take_token(rest);
        if word.is_empty() {
            return challenges;
        }
        match after.trim_start_matches([' ', '\t']).strip_prefix('=') {
            Some(value) => {
                let (value, after) = take_value(value.trim_start_matches([' ', '\t']));
                if let Some(Some(Challenge::Bearer(bearer))) = challenges.last_mut() {
                    bearer.set(word, value);
                }
                rest = after;
            }
            None => {
                challenges.push(if word.eq_ignore_ascii_case("basic") {
                    Some(Challenge::Basic)
                } else if word.eq_ignore_ascii_case("bearer") {
                    Some(Challenge::Bearer(Bearer::default()))
                } else {
                    None
                });
                rest = after;
            }
        }
    }
}

impl Bearer {
    fn set(&mut self, name: &str, value: String) {
        match name.to_ascii_lowercase().as_str() {
            "realm" => self.realm = value,
            "service" => self.service = Some(value),
            "error" => self.insufficient = value == "insufficient_scope",
            _ => {}
        }
    }
}

fn take_token(text: &str) -> (&str, &str) {
    let is_end = |c: char| matches!(c, ' ' | '\t' | ',' | '=' | '"');
    text.split_at(text.find(is_end).unwrap_or(text.len()))
}

fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = take_token(text);
        return (token.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[index + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, insufficient: bool) -> Option<Challenge> {
        let service = service.map(str::to_owned);
        Some(Challenge::Bearer(Bearer { realm: realm.to_owned(), service, insufficient }))
    }

    #[test]
    fn challenges_are_parsed_and_chosen() {
        for (headers, chosen) in [
            (vec![r#"Basic realm="r""#], Some(Challenge::Basic)),
            (vec!["basic"], Some(Challenge::Basic)),
            (
                vec![r#"Bearer realm="https://a/token",service="s, t",scope="repository:a:pull""#],
                bearer("https://a/token", Some("s, t"), false),
            ),
            (
                vec![r#"BEARER Realm = "https://a/\"x" , error="insufficient_scope""#],
                bearer("https://a/\"x", None, true),
            ),
            (vec![r#"Basic realm="r", Bearer realm=x"#], bearer("x", None, false)),
            (vec![r#"Basic realm="r""#, "Bearer realm=x"], bearer("x", None, false)),
            (vec!["Negotiate abc==, Digest x=y"], None),
            (vec!["Negotiate abc==, Basic realm=x"], Some(Challenge::Basic)),
            (vec!["Bearer realm=x, Digest realm=y"], bearer("x", None, false)),
            (vec![r#"Bearer realm="unterminated"#], bearer("unterminated", None, false)),
            (vec![""], None),
            (vec![r#"=,"""=,,"#], None),
            (vec![], None),
        ] {
            assert_eq!(choose(headers.iter().copied()), chosen, "{headers:?}");
        }
        let long = format!("Basic realm=\"{}\"", "x".repeat(9000));
        assert_eq!(choose(std::iter::once(long.as_str())), None);
    }
}
