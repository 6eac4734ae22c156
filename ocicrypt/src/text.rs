//! Text from outside, made fit for a message.

/// Characters of a name from outside that a message shows at most.
pub(crate) const SHOWN: usize = 64;

/// A name from outside for a message: at most [`SHOWN`] characters, none of which can move the
/// cursor, reorder the line or end the backticks that it is put in.
pub(crate) fn printable(name: &str) -> String {
    let mut shown: String = name.chars().filter(|c| !is_unfit(*c)).take(SHOWN + 1).collect();
    if let Some((cut, _)) = shown.char_indices().nth(SHOWN) {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '`' | '\u{ad}' | '\u{61c}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_is_dropped() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n`c`\u{202e}d"), "a[2Jbcd");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let shown = printable(&"é".repeat(1000));
        assert_eq!(shown.chars().count(), SHOWN + 1);
        assert!(shown.ends_with("é…"));
        assert_eq!(printable(&"é".repeat(SHOWN)), "é".repeat(SHOWN));
    }
}
