//! Sanitizes text from a guest or from another source outside the host, for messages.

use ocicrypt::text::{is_invisible, redacted, without_pem};

/// The longest message, in bytes. containerd copies it into all its own errors.
pub const MAX_MESSAGE: usize = 4096;

/// Makes text from outside suitable for a terminal and a log: one line, no control characters, no PEM
/// block, and no run of letters and digits as long as a line of key material. It removes secrets that
/// got into a message by mistake. A guest that wants to leak one can always encode it differently.
pub fn sanitize(text: &str) -> String {
    // This comes first, so that no invisible character can hide what the next line removes.
    let line: String = text
        .chars()
        .filter_map(|c| if c.is_control() { Some(' ') } else { (!is_invisible(c)).then_some(c) })
        .collect();
    let mut line = redacted(&without_pem(&line));
    cut(&mut line, MAX_MESSAGE);
    line
}

/// Cuts `text` after at most `limit` bytes, between two characters.
pub fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_key_material_is_taken_out() {
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
        assert_eq!(sanitize(&format!("read {line} here")), "read … here");
    }

    #[test]
    fn slashes_do_not_hide_key_material() {
        let line = "bgpYygjE1MviyUPvbknN3/jnYylD94SoUjiPzLBTOo/WlSLjALdSoAm/W71ESoP1";
        assert_eq!(sanitize(&format!("read {line} here")), "read … here");
    }

    #[test]
    fn a_pem_block_is_taken_out_to_its_last_line() {
        let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\nBB==\n-----END PRIVATE KEY-----";
        assert_eq!(sanitize(&format!("bad `{pem}`, sorry")), "bad `…`, sorry");
        assert_eq!(sanitize("bad -----BEGIN PRIVATE KEY-----\nAAAA\n"), "bad …");
    }

    #[test]
    fn what_cannot_be_seen_does_not_hide_a_pem_block() {
        let pem = "-----BEGIN\u{200b} PRIVATE KEY-----\nAA\u{200b}AA\n-----END PRIVATE KEY-----";
        assert_eq!(sanitize(&format!("bad `{pem}`, sorry")), "bad `…`, sorry");
    }

    #[test]
    fn paths_of_pods_stay() {
        let text = "/var/lib/kubelet/pods/3f2504e0-4f89-41d3-9a0c-0305e82c3301/volumes/Secret1";
        assert_eq!(sanitize(text), text);
    }

    #[test]
    fn text_cannot_be_turned_around() {
        assert_eq!(sanitize("a\u{202e}b\u{2028}c\u{feff}"), "abc");
    }

    #[test]
    fn fingerprints_and_paths_stay() {
        let text = "`/etc/containerd/ocicrypt/keys/tenant-a/pod-identity.pem` \
                    SHA256:uNiVztksCsDhcc0u9e8BrrQXVUDQ7v9RzJMVlQx2tKA";
        assert_eq!(sanitize(text), text);
    }

    #[test]
    fn control_characters_and_lines_are_flattened() {
        assert_eq!(sanitize("a\x1b[31mb\nc\0"), "a [31mb c ");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        assert!(sanitize(&"é ".repeat(5000)).len() < MAX_MESSAGE + 8);
    }
}
