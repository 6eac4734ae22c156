//! Sanitizes text from outside for messages, for all code that shows text of images, keys and other
//! programs.

/// The most characters of a name from outside that a message shows.
pub const SHOWN: usize = 64;

/// The shortest run of base64 or hexadecimal digits that is treated as a secret. A 32-byte key has 44
/// characters in base64; a public fingerprint, which messages need, has 43.
const SECRET_RUN: usize = 44;

/// Sanitizes a name from outside for a message: at most [`SHOWN`] characters, none of which can move
/// the cursor, reorder the line or end the backticks around it.
pub fn printable(name: &str) -> String {
    printable_to(name, SHOWN)
}

/// The same with another maximum length, in characters.
pub fn printable_to(name: &str, length: usize) -> String {
    let is_fit = |c: &char| !c.is_control() && !is_invisible(*c) && *c != '`';
    let mut shown: String = name.chars().filter(is_fit).take(length + 1).collect();
    if let Some((cut, _)) = shown.char_indices().nth(length) {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

/// Whether the character changes the direction of text, breaks a line or is invisible, without being a
/// control character.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns the line without runs of letters and digits that are as long as a line of key material. It
/// removes secrets that got into a message by mistake; an attacker can always use another encoding.
pub fn redacted(line: &str) -> String {
    let of_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-');
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let run = rest.find(|c| !of_base64(c)).unwrap_or(rest.len());
        out.push_str(if is_secret(&rest[..run]) { "…" } else { &rest[..run] });
        let next = rest[run..].chars().next().map_or(0, char::len_utf8);
        out.push_str(&rest[run..run + next]);
        rest = &rest[run + next..];
    }
    out
}

fn is_secret(run: &str) -> bool {
    // A path has more slashes than base64, so its parts are checked one by one.
    run.len() >= SECRET_RUN
        && (run.split('/').any(is_mixed)
            || run.split(|c: char| !c.is_ascii_alphanumeric()).any(is_hexadecimal)
            || is_dense(run))
}

/// Whether the run mixes cases and digits. Long file names usually do not.
fn is_mixed(run: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| run.as_bytes().iter().any(kind);
    run.len() >= SECRET_RUN
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

fn is_hexadecimal(run: &str) -> bool {
    run.len() >= SECRET_RUN && run.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether the run is base64 with slashes: its letters and digits alternate more often than in a path.
fn is_dense(run: &str) -> bool {
    let kind = |byte: u8| match byte {
        b'A'..=b'Z' => 1,
        b'a'..=b'z' => 2,
        b'0'..=b'9' => 3,
        _ => 0,
    };
    let kinds: Vec<_> = run.bytes().map(kind).collect();
    let pairs = kinds.windows(2).filter(|pair| !pair.contains(&0));
    let (same, other): (Vec<_>, Vec<_>) = pairs.partition(|pair| pair[0] == pair[1]);
    other.len() * 2 > same.len()
}

/// Returns the text without the content of PEM blocks, and without everything after a block that does
/// not end.
pub fn without_pem(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, block)) = rest.split_once("-----BEGIN ") {
        out.push_str(before);
        out.push('…');
        rest = block
            .split_once("-----END ")
            .map_or("", |(_, after)| after.split_once("-----").map_or("", |(_label, after)| after));
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_is_dropped() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n`c`\u{202e}d"), "a[2Jbcd");
    }

    #[test]
    fn a_name_before_it_does_not_hide_a_key() {
        let key = "00112233445566778899aaaaaaaabbbbccccddddeeeeffff0011223344556677";
        assert_eq!(redacted(&format!("symkey={key}")), "…");
        assert_eq!(redacted(&format!("key-{key}, and more")), "…, and more");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let shown = printable(&"é".repeat(1000));
        assert_eq!(shown.chars().count(), SHOWN + 1);
        assert!(shown.ends_with("é…"));
        assert_eq!(printable(&"é".repeat(SHOWN)), "é".repeat(SHOWN));
    }
}
