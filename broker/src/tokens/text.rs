//! Text from outside, made fit for a message.

/// Characters that are shown at most.
const SHOWN: usize = 200;

/// At most [`SHOWN`] characters, none of which can move the cursor, reorder the line or end the
/// backticks that the text is put in.
pub(super) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !is_unfit(*c)).take(SHOWN + 1).collect();
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
    fn what_moves_the_cursor_is_dropped_and_what_is_long_is_cut() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n`c`\u{202e}d"), "a[2Jbcd");
        assert_eq!(printable(&"é".repeat(SHOWN)), "é".repeat(SHOWN));
        assert_eq!(printable(&"é".repeat(1000)).chars().count(), SHOWN + 1);
    }
}
