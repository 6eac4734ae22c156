//! The one place that speaks: standard error for containerd, and a log for the operator, because
//! containerd drops standard error when it sees a stream end early.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::ExitCode;

use crate::contract::Failure;
use crate::linger;

/// The longest message, in bytes: containerd carries it through every layer of its errors.
const MAX_MESSAGE: usize = 4096;

/// The longest error without its hints, in bytes: they must not be what is cut off.
const MAX_ERROR: usize = 3072;

/// The most hints: the longest list of ours has five.
const MAX_HINTS: usize = 8;

/// The system's log, a datagram socket (syslog(3), journald).
const SYSTEM_LOG: &str = "/dev/log";

/// Facility `daemon`, severity `error` (RFC 5424, section 6.2.1).
const PRIORITY: u8 = 3 << 3 | 3;

/// Where failures and skipped keys are remembered.
pub enum Log {
    /// The system's.
    System(UnixDatagram),
    /// A file that the operator named.
    File(File),
    /// There is none.
    Nowhere,
}

impl Log {
    /// Opens `file` for appending, or else the system's log. A log that cannot be opened must not
    /// keep a layer from being decrypted.
    pub fn open(file: Option<&Path>) -> Self {
        let opened = match file {
            // A pipe that nobody reads would make the program wait.
            Some(path) => {
                let mut options = OpenOptions::new();
                options.append(true).create(true).custom_flags(libc::O_NONBLOCK);
                options.open(path).map(Self::File)
            }
            None => UnixDatagram::unbound().and_then(|socket| {
                socket.connect(SYSTEM_LOG)?;
                socket.set_nonblocking(true)?;
                Ok(Self::System(socket))
            }),
        };
        opened.unwrap_or(Self::Nowhere)
    }

    /// Remembers `text`, a line each.
    pub fn write(&self, text: &str) {
        for line in text.lines() {
            let pid = std::process::id();
            // A full or broken log is no reason to fail: there is nobody left to tell.
            let _ = match self {
                Self::System(socket) => {
                    socket.send(format!("<{PRIORITY}>ctd-decoder[{pid}]: {line}").as_bytes())
                }
                Self::File(file) => {
                    let mut file = file;
                    file.write(format!("ctd-decoder[{pid}]: {line}\n").as_bytes())
                }
                Self::Nowhere => Ok(0),
            };
        }
    }
}

/// Says why there is no layer, and how to mend it.
pub fn fail(failure: &Failure, log: Option<&Log>) -> ExitCode {
    let mut message = cleaned(&failure.message);
    if message.trim().is_empty() {
        message = "the guest failed and does not say why".to_owned();
    }
    cut(&mut message, MAX_ERROR);
    let mut text = format!("ctd-decoder: error: {message}\n");
    let hints = failure.hints.iter().map(|hint| cleaned(hint));
    for hint in hints.filter(|hint| !hint.trim().is_empty()).take(MAX_HINTS) {
        let _ = writeln!(text, "hint: {hint}");
    }
    cut(&mut text, MAX_MESSAGE);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    say(&text);
    if let Some(log) = log {
        log.write(&text);
        linger::hold_stdout();
    }
    ExitCode::FAILURE
}

/// Prints help or the version.
pub fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes to standard error, which may be closed.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A bug of ours is one error line too, without a backtrace, which would open files.
pub fn speak_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        // The name alone: the directory is one of whoever built this.
        let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let place = panic.location();
        let place = place.map(|place| format!(" in `{}:{}`", file(place.file()), place.line()));
        say(&format!(
            "ctd-decoder: error: internal error{}\nhint: please report this: it is a bug\n",
            place.unwrap_or_default()
        ));
        std::process::exit(1);
    }));
}

/// What came from outside, fit for a terminal and a log: one line, no control characters, no PEM
/// block, and no run of letters and digits as long as a line of key material. It keeps secrets
/// out that got into a message by mistake; a guest that means to can always find another code.
pub fn cleaned(text: &str) -> String {
    let text = without_pem(text);
    let line: String = text
        .chars()
        .filter_map(|c| if c.is_control() { Some(' ') } else { (!is_format(c)).then_some(c) })
        .collect();
    let mut line = redacted(&line);
    cut(&mut line, MAX_MESSAGE);
    line
}

/// The shortest run of base64 or hexadecimal that is taken for a secret: a 32-byte key has 44
/// characters in base64, a public fingerprint, which messages need, has 43.
const SECRET_RUN: usize = 44;

fn redacted(line: &str) -> String {
    let of_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-');
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let run = rest.find(|c| !of_base64(c)).unwrap_or(rest.len());
        // A path has slashes more often than base64 has: its parts are looked at one by one.
        let secret = rest[..run].split('/').any(is_secret) || is_dense(&rest[..run]);
        out.push_str(if secret { "…" } else { &rest[..run] });
        let next = rest[run..].chars().next().map_or(0, char::len_utf8);
        out.push_str(&rest[run..run + next]);
        rest = &rest[run + next..];
    }
    out
}

/// Names of files are long too, but do not mix cases and digits, and are not hexadecimal.
fn is_secret(run: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| run.as_bytes().iter().any(kind);
    let mixed =
        has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    run.len() >= SECRET_RUN && (mixed || run.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Base64 with its slashes: its letters and digits alternate, which those of a path do not.
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
    run.len() >= SECRET_RUN && other.len() * 2 > same.len()
}

/// What turns text around, breaks a line or cannot be seen, without being a control character.
fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// Text without what stands between the lines of a PEM block, or behind one that does not end.
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

fn cut(text: &mut String, limit: usize) {
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
        assert_eq!(cleaned(&format!("read {line} here")), "read … here");
    }

    #[test]
    fn slashes_do_not_hide_key_material() {
        let line = "bgpYygjE1MviyUPvbknN3/jnYylD94SoUjiPzLBTOo/WlSLjALdSoAm/W71ESoP1";
        assert_eq!(cleaned(&format!("read {line} here")), "read … here");
    }

    #[test]
    fn a_pem_block_is_taken_out_to_its_last_line() {
        let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\nBB==\n-----END PRIVATE KEY-----";
        assert_eq!(cleaned(&format!("bad `{pem}`, sorry")), "bad `…`, sorry");
        assert_eq!(cleaned("bad -----BEGIN PRIVATE KEY-----\nAAAA\n"), "bad …");
    }

    #[test]
    fn paths_of_pods_stay() {
        let text = "/var/lib/kubelet/pods/3f2504e0-4f89-41d3-9a0c-0305e82c3301/volumes/Secret1";
        assert_eq!(cleaned(text), text);
    }

    #[test]
    fn text_cannot_be_turned_around() {
        assert_eq!(cleaned("a\u{202e}b\u{2028}c\u{feff}"), "abc");
    }

    #[test]
    fn fingerprints_and_paths_stay() {
        let text = "`/etc/containerd/ocicrypt/keys/tenant-a/pod-identity.pem` \
                    SHA256:uNiVztksCsDhcc0u9e8BrrQXVUDQ7v9RzJMVlQx2tKA";
        assert_eq!(cleaned(text), text);
    }

    #[test]
    fn control_characters_and_lines_are_flattened() {
        assert_eq!(cleaned("a\x1b[31mb\nc\0"), "a [31mb c ");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        assert!(cleaned(&"é ".repeat(5000)).len() < MAX_MESSAGE + 8);
    }
}
