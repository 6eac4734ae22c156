//! The events of the operator's log: one for each layer, and a note for each file that was passed over.
//!
//! The scheme, the key, the algorithms and the digest of the layer are what the guest reports, because
//! the guest parsed them. They are logged if they have the expected form; otherwise they are sanitized
//! and cut. So no secret gets into a log by mistake, but a guest that an attacker controls can choose
//! these few hundred bytes.

use std::time::{Duration, SystemTime};

use keycell_core::contract::Opened;
use keycell_core::sanitize::sanitize;
use keycell_settings::key_permissions::Warning;
use serde_json::{Value, json};

/// The longest name of a scheme or a key, in characters.
const MAX_NAME: usize = 128;

/// The most algorithms that are logged for one layer.
const MAX_ALGORITHMS: usize = 16;

/// The most key providers that are logged for one layer. An image names them, so there may be many.
const MAX_PROVIDERS: usize = 4;

/// The most manifests that are logged for one layer. Usually there is one.
const MAX_MANIFESTS: usize = 4;

/// What is known about the layer so far.
#[derive(Default)]
pub struct Layer {
    guest: Option<String>,
    media_type: Option<String>,
    digest: Option<String>,
    scheme: Option<String>,
    key: Option<String>,
    fingerprint: Option<String>,
    algorithms: Vec<String>,
    warning: Option<String>,
    missing_walls: Vec<&'static str>,
    providers: Vec<ProviderCalls>,
    manifests: Vec<String>,
    bytes: u64,
    /// The run ends with the key of the layer, and reads no layer.
    key_only: bool,
}

/// The calls of one key provider for the layer.
pub struct ProviderCalls {
    /// Its name in the operator's configuration, as the image's annotation has it.
    pub name: String,
    /// How often it was asked.
    pub requests: u32,
    /// How often it did not open the wrapped key.
    pub failures: u32,
    /// How long the answers took together.
    pub took: Duration,
}

/// How the layer ended.
pub enum Verdict {
    /// The whole layer was written, and has verified; with `--unwrap`, its key was written.
    Decrypted,
    /// Nobody reads the plain layer any more.
    Abandoned,
    /// A signal ended the decoder before it was done.
    Terminated {
        /// What standard error says.
        error: String,
        /// How to fix it.
        hints: Vec<String>,
    },
    /// The layer was not decrypted: why, and how to fix that.
    Failed {
        /// What standard error says.
        error: String,
        /// How to fix it.
        hints: Vec<String>,
    },
}

impl Layer {
    /// Takes containerd's media type of the layer from the environment.
    pub fn starts(&mut self) {
        let media_type = std::env::var("STREAM_PROCESSOR_MEDIATYPE").ok();
        self.media_type = media_type.map(|text| name(&text)).filter(|text| !text.is_empty());
    }

    /// The run is to write the key of the layer, not the layer.
    pub fn is_key_only(&mut self) {
        self.key_only = true;
    }

    /// The digest of the guest that decodes, if it is known.
    pub fn runs(&mut self, guest: Option<&str>) {
        self.guest = guest.map(str::to_owned);
    }

    /// Sets the warning about the keys, which applies whichever key opens the layer.
    pub fn warns(&mut self, warning: Option<&Warning>) {
        self.warning = warning.map(Warning::to_string);
    }

    /// Adds a required wall that this kernel does not provide.
    pub fn lacks_wall(&mut self, name: &'static str) {
        self.missing_walls.push(name);
    }

    /// Sets which key providers were asked, and how they answered.
    pub fn asked(&mut self, providers: Vec<ProviderCalls>) {
        self.providers = providers;
        self.providers.truncate(MAX_PROVIDERS);
    }

    /// Sets the digests of the manifests that name a layer without a payload.
    pub fn is_in(&mut self, manifests: impl Iterator<Item = String>) {
        self.manifests = manifests.take(MAX_MANIFESTS).collect();
    }

    /// Sets what, according to the guest, opened the layer, and the warning about that key.
    pub fn opened(&mut self, opened: &Opened, warning: Option<String>) {
        self.warning = warning.or(self.warning.take());
        self.scheme = Some(name(&opened.scheme));
        self.key = Some(name(&opened.key));
        self.fingerprint = opened.fingerprint.clone().filter(|text| is_fingerprint(text));
        let algorithms = opened.algorithms.iter().take(MAX_ALGORITHMS);
        self.algorithms = algorithms.map(|text| name(text)).collect();
        self.is(opened.layer_digest.as_deref());
    }

    fn is(&mut self, digest: Option<&str>) {
        self.digest = digest.filter(|text| is_digest(text)).map(str::to_owned);
    }

    /// Sets which layer a failure is about, if it is known.
    pub fn is_of(&mut self, digest: Option<&str>) {
        if digest.is_some() {
            self.is(digest);
        }
    }

    /// Sets how many bytes of the plain layer were written.
    pub fn wrote(&mut self, bytes: u64) {
        self.bytes = bytes;
    }

    /// The event at the end, with the time that the layer took. With `None`, the event is prepared in
    /// advance, when neither the time nor the number of bytes is known.
    pub fn event(&self, verdict: &Verdict, after: Option<Duration>) -> Event {
        let texts = [
            ("layer", &self.digest),
            ("media_type", &self.media_type),
            ("guest", &self.guest),
            ("scheme", &self.scheme),
            ("key", &self.key),
            ("fingerprint", &self.fingerprint),
        ];
        let (word, severity) = match verdict {
            Verdict::Decrypted if self.key_only => ("unwrapped", INFORMATIONAL),
            Verdict::Decrypted => ("decrypted", INFORMATIONAL),
            Verdict::Abandoned | Verdict::Terminated { .. } => ("abandoned", NOTICE),
            Verdict::Failed { .. } => ("failed", ERROR),
        };
        let kind = if self.key_only { "layer-key" } else { "layer" };
        let mut fields = vec![("event", kind.into()), ("verdict", word.into())];
        let known = texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?.into())));
        fields.extend(known);
        if !self.algorithms.is_empty() {
            fields.push(("algorithms", self.algorithms.clone().into()));
        }
        if let Some(after) = after {
            if !self.key_only {
                fields.push(("bytes", self.bytes.into()));
            }
            fields.push(("milliseconds", milliseconds(after).into()));
        }
        if !self.providers.is_empty() {
            fields.push(("providers", self.providers.iter().map(ProviderCalls::json).collect()));
        }
        if !self.missing_walls.is_empty() {
            fields.push(("missing_walls", self.missing_walls.clone().into()));
        }
        if !self.manifests.is_empty() {
            fields.push(("manifests", self.manifests.clone().into()));
        }
        fields.extend(self.warning.clone().map(|text| ("warning", text.into())));
        if let Verdict::Failed { error, hints } | Verdict::Terminated { error, hints } = verdict {
            fields.push(("error", error.as_str().into()));
            fields.push(("hints", hints.clone().into()));
        }
        Event { severity, message: self.sentence(verdict), fields }
    }

    /// The event as a sentence, for people who read a log without tools.
    fn sentence(&self, verdict: &Verdict) -> String {
        let layer = self.digest.as_deref().unwrap_or("a layer");
        match verdict {
            Verdict::Decrypted => {
                let key = self.key.as_deref().unwrap_or("unknown");
                let scheme = self.scheme.as_deref().unwrap_or("unknown");
                let done = if self.key_only { "unwrapped the key of" } else { "decrypted" };
                let mut text = format!("{done} {layer} with `{key}` ({scheme}");
                self.fingerprint.iter().for_each(|print| text += &format!(", {print}"));
                text += ")";
                if !self.key_only {
                    text += &format!(", {} bytes", self.bytes);
                }
                self.warning.iter().for_each(|warning| text += &format!("; {warning}"));
                text
            }
            Verdict::Abandoned => {
                format!("abandoned {layer}: nobody reads the plain layer any more")
            }
            Verdict::Terminated { error, .. } => format!("abandoned {layer}: {error}"),
            Verdict::Failed { error, hints } => {
                let hints = hints.iter().map(|hint| format!("\nhint: {hint}"));
                format!("error: {error}{}", hints.collect::<String>())
            }
        }
    }
}

impl ProviderCalls {
    fn json(&self) -> Value {
        json!({
            "name": name(&self.name),
            "requests": self.requests,
            "failures": self.failures,
            "milliseconds": milliseconds(self.took),
        })
    }
}

/// Microseconds are the precision of the measurement.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Severities of RFC 5424, section 6.2.1.
pub const ERROR: u8 = 3;
const NOTICE: u8 = 5;
const INFORMATIONAL: u8 = 6;

/// An entry of the log.
pub struct Event {
    /// The severity of syslog.
    pub severity: u8,
    /// The text; a failure has one line for each hint.
    pub message: String,
    /// The same for programs: names and values, in order.
    pub fields: Vec<(&'static str, Value)>,
}

impl Event {
    /// A note. `text` is already sanitized.
    pub fn note(text: &str) -> Self {
        let fields = vec![("event", "note".into()), ("note", text.into())];
        Self { severity: NOTICE, message: text.to_owned(), fields }
    }

    /// Formats the event as a JSON object on one line, with the time of the system's clock.
    pub fn json(&self) -> String {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let ours = [("time", time.into()), ("pid", std::process::id().into())];
        let members = ours.iter().chain(&self.fields);
        let members: Vec<_> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }

    /// Formats the event as an entry in the native protocol of journald.
    pub fn journal(&self) -> Vec<u8> {
        let mut entry = Vec::new();
        put(&mut entry, "MESSAGE", &self.message);
        put(&mut entry, "PRIORITY", &self.severity.to_string());
        put(&mut entry, "SYSLOG_IDENTIFIER", "ctd-decoder");
        for (name, value) in &self.fields {
            let name = format!("KEYCELL_{}", name.to_ascii_uppercase());
            match value {
                Value::Array(lines) => {
                    for line in lines {
                        let json = line.to_string();
                        put(&mut entry, &name, line.as_str().unwrap_or(&json));
                    }
                }
                Value::String(text) => put(&mut entry, &name, text),
                other => put(&mut entry, &name, &other.to_string()),
            }
        }
        entry
    }
}

/// Writes a field: `NAME=value`; or, if the value has several lines, the name, the length of the value
/// in eight bytes, little-endian, and the value.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

fn name(text: &str) -> String {
    let text = sanitize(text);
    match text.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Whether the text is `SHA256:…` as OpenSSH writes it, or the fingerprint of an OpenPGP key of version
/// 4 or 6.
fn is_fingerprint(text: &str) -> bool {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    match (text.strip_prefix("SHA256:"), text.strip_prefix("OpenPGP ")) {
        (Some(hash), _) => hash.len() == 43 && hash.bytes().all(base64),
        (_, Some(hash)) => {
            matches!(hash.len(), 40 | 64) && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        _ => false,
    }
}

/// Whether the text is a digest as the OCI image specification defines it, with one of its algorithms.
fn is_digest(text: &str) -> bool {
    let lengths = [("sha256", 64), ("sha384", 96), ("sha512", 128)];
    let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.split_once(':').is_some_and(|(algorithm, hash)| {
        lengths.contains(&(algorithm, hash.len())) && hash.bytes().all(hexadecimal)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(key: &str, fingerprint: &str, digest: &str) -> Layer {
        let mut layer = Layer::default();
        let opened = Opened {
            scheme: "jwe".to_owned(),
            key: key.to_owned(),
            fingerprint: Some(fingerprint.to_owned()),
            layer_digest: Some(digest.to_owned()),
            algorithms: Vec::new(),
        };
        layer.opened(&opened, None);
        layer
    }

    #[test]
    fn what_has_its_form_is_kept() {
        let print = format!("SHA256:{}", "aZ0+/".repeat(9).split_at(43).0);
        let digest = format!("sha256:{}", "0f".repeat(32));
        let layer = opened("node.pem", &print, &digest);
        let event = layer.event(&Verdict::Decrypted, Some(Duration::from_micros(1234)));
        let json: Value = serde_json::from_str(&event.json()).expect("JSON");
        assert_eq!(json["key"], "node.pem");
        assert_eq!(json["fingerprint"], *print);
        assert_eq!(json["layer"], *digest);
        assert_eq!(json["milliseconds"], 1.234);
    }

    #[test]
    fn a_key_that_is_handed_over_is_no_decrypted_layer() {
        let mut layer = opened("node.pem", "", "");
        layer.is_key_only();
        let event = layer.event(&Verdict::Decrypted, Some(Duration::ZERO));
        let json: Value = serde_json::from_str(&event.json()).expect("JSON");
        assert_eq!((&json["event"], &json["verdict"]), (&"layer-key".into(), &"unwrapped".into()));
        assert!(json.get("bytes").is_none(), "{json}");
        assert_eq!(event.message, "unwrapped the key of a layer with `node.pem` (jwe)");
    }

    #[test]
    fn what_has_not_is_dropped_or_cut() {
        let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
        let layer = opened(&format!("a\n{key}\u{202e}"), key, key);
        let event = layer.event(&Verdict::Decrypted, Some(Duration::ZERO)).json();
        assert!(!event.contains(&key[..40]), "{event}");
        assert!(event.contains("\"key\":\"a …\""), "{event}");
        assert!(!event.contains("fingerprint") && !event.contains("\"layer\":\"M"), "{event}");
        let layer = opened(&"é".repeat(1000), "", "");
        assert_eq!(layer.key.map(|key| key.chars().count()), Some(MAX_NAME + 1));
    }

    #[test]
    fn a_prepared_event_claims_no_numbers() {
        let verdict = Verdict::Terminated { error: "e".to_owned(), hints: vec!["h".to_owned()] };
        let event = Layer::default().event(&verdict, None);
        assert_eq!(event.message, "abandoned a layer: e");
        let json: Value = serde_json::from_str(&event.json()).expect("JSON");
        assert_eq!((&json["verdict"], &json["error"]), (&"abandoned".into(), &"e".into()));
        assert!(json.get("bytes").is_none() && json.get("milliseconds").is_none(), "{json}");
    }

    #[test]
    fn providers_and_missing_walls_are_lists() {
        let mut layer = Layer::default();
        layer.lacks_wall("Landlock");
        let calls = |name: &str| ProviderCalls {
            name: name.to_owned(),
            requests: 3,
            failures: 1,
            took: Duration::from_micros(1500),
        };
        layer.asked(["va\nult", "b", "c", "d", "e"].map(calls).into());
        let event = layer.event(&Verdict::Abandoned, None);
        let json: Value = serde_json::from_str(&event.json()).expect("JSON");
        assert_eq!(json["missing_walls"], json!(["Landlock"]));
        assert_eq!(json["providers"].as_array().map(Vec::len), Some(MAX_PROVIDERS));
        let first = r#"{"failures":1,"milliseconds":1.5,"name":"va ult","requests":3}"#;
        let first: Value = serde_json::from_str(first).expect("JSON");
        assert_eq!(json["providers"][0], first);
        let entry = String::from_utf8(event.journal()).expect("UTF-8");
        let field = entry.lines().find_map(|line| line.strip_prefix("KEYCELL_PROVIDERS="));
        assert_eq!(field.map(|text| serde_json::from_str(text).ok()), Some(Some(first)));
        assert!(entry.contains("\nKEYCELL_MISSING_WALLS=Landlock\n"), "{entry}");
    }

    #[test]
    fn lines_in_a_journal_entry_have_their_length_before_them() {
        let verdict = Verdict::Failed { error: "e".to_owned(), hints: vec!["h".to_owned()] };
        let entry = Layer::default().event(&verdict, Some(Duration::ZERO)).journal();
        let wanted = b"MESSAGE\n\x10\0\0\0\0\0\0\0error: e\nhint: h\nPRIORITY=3\n";
        assert!(entry.starts_with(wanted), "{}", String::from_utf8_lossy(&entry));
    }
}
