//! What a line of the log says: an event in JSON, or an entry of the journal.
//!
//! Newer and older decoders log other members than this one. A member that is unknown, or has another
//! type, counts as absent.

use serde_json::{Map, Value};

/// The verdicts of this release's decoder.
pub const VERDICTS: [&str; 3] = ["decrypted", "failed", "abandoned"];

/// What stands for a verdict of another release's decoder.
pub const OTHER: &str = "other";

/// How an event begins that a decoder logs to a file.
const START: &str = "{\"time\":";

/// The event of a layer, as far as metrics need it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LayerEvent {
    /// One of [`VERDICTS`], or [`OTHER`].
    pub verdict: String,
    /// Empty if no key was opened, like the next one.
    pub scheme: String,
    /// Of the key that opened the layer.
    pub fingerprint: String,
    /// Bytes of the plain layer.
    pub bytes: u64,
    /// Absent if a signal or a limit ended the decoder.
    pub microseconds: Option<u64>,
    /// The calls of each key provider.
    pub providers: Vec<ProviderCalls>,
    /// The walls that were missing.
    pub missing_walls: Vec<String>,
}

/// The calls of a key provider for one layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ProviderCalls {
    /// The name of the provider.
    pub name: String,
    /// How often it was asked.
    pub requests: u64,
    /// How often it failed.
    pub failures: u64,
    /// How long it took.
    pub microseconds: u64,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The event of a layer.
    Layer(LayerEvent),
    /// An event that no metric counts: a note, or an event of another release.
    Other,
    /// It is no event.
    Garbage,
}

/// Reads a line of a log file. If the disk was full, the rest of an event may be missing, and the next
/// event follows on the same line.
pub fn of_file(line: &[u8]) -> Line {
    if let Some(event) = object(line) {
        return of_members(&event);
    }
    // Within a JSON string, quotes have a backslash before them, so this is the start of an event.
    let text = String::from_utf8_lossy(line);
    let last = text.rfind(START).and_then(|start| object(&text.as_bytes()[start..]));
    last.map_or(Line::Garbage, |event| of_members(&event))
}

/// Reads an entry of the journal as `journalctl --output json` prints it. A decoder that logs to the
/// syslog has its event in the message.
pub fn of_journal(entry: &Map<String, Value>) -> Line {
    if entry.contains_key("KEYCELL_EVENT") {
        let ours = entry.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix("KEYCELL_")?.to_ascii_lowercase(), value.clone()))
        });
        return of_members(&ours.collect());
    }
    match entry.get("MESSAGE").and_then(Value::as_str) {
        Some(message) => of_file(message.as_bytes()),
        None => Line::Garbage,
    }
}

/// The JSON object that `text` is.
pub fn object(text: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(text).ok()
}

fn of_members(event: &Map<String, Value>) -> Line {
    match event.get("event").and_then(Value::as_str) {
        None => return Line::Garbage,
        Some("layer") => {}
        Some(_) => return Line::Other,
    }
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let verdict = match text("verdict") {
        "" => return Line::Garbage,
        known if VERDICTS.contains(&known) => known,
        _ => OTHER,
    };
    Line::Layer(LayerEvent {
        verdict: verdict.to_owned(),
        scheme: text("scheme").to_owned(),
        fingerprint: text("fingerprint").to_owned(),
        bytes: event.get("bytes").and_then(number).unwrap_or_default(),
        microseconds: event.get("milliseconds").and_then(microseconds),
        providers: list(event.get("providers")).iter().filter_map(calls).collect(),
        missing_walls: list(event.get("missing_walls"))
            .iter()
            .filter_map(|wall| Some(wall.as_str()?.to_owned()))
            .collect(),
    })
}

/// A list. The journal shows a list of one member as that member.
fn list(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(members)) => members,
        Some(value) => std::slice::from_ref(value),
        None => &[],
    }
}

/// The calls of a provider: an object, which the journal has as text.
fn calls(value: &Value) -> Option<ProviderCalls> {
    let parsed;
    let members = match value {
        Value::Object(members) => members,
        text => {
            parsed = object(text.as_str()?.as_bytes())?;
            &parsed
        }
    };
    let count = |name: &str| members.get(name).and_then(number).unwrap_or_default();
    Some(ProviderCalls {
        name: members.get("name")?.as_str()?.to_owned(),
        requests: count("requests"),
        failures: count("failures"),
        microseconds: members.get("milliseconds").and_then(microseconds).unwrap_or_default(),
    })
}

/// A number, which the journal has as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Milliseconds with a fraction, as microseconds.
fn microseconds(value: &Value) -> Option<u64> {
    let milliseconds = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    let is_plausible = milliseconds.is_finite() && milliseconds >= 0.0;
    is_plausible.then_some((milliseconds * 1000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(line: &str) -> LayerEvent {
        match of_file(line.as_bytes()) {
            Line::Layer(event) => event,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn an_event_in_a_file() {
        let event = layer(
            r#"{"time":"t","pid":7,"event":"layer","verdict":"decrypted","scheme":"jwe",
            "fingerprint":"SHA256:a","bytes":12,"milliseconds":1.234,
            "providers":[{"name":"kms","requests":3,"failures":1,"milliseconds":2.5},7,{"name":8}],
            "missing_walls":["Landlock",1]}"#,
        );
        let kms =
            ProviderCalls { name: "kms".to_owned(), requests: 3, failures: 1, microseconds: 2500 };
        let wanted = LayerEvent {
            verdict: "decrypted".to_owned(),
            scheme: "jwe".to_owned(),
            fingerprint: "SHA256:a".to_owned(),
            bytes: 12,
            microseconds: Some(1234),
            providers: vec![kms],
            missing_walls: vec!["Landlock".to_owned()],
        };
        assert_eq!(event, wanted);
    }

    #[test]
    fn an_entry_of_the_journal() {
        let entry = |text: &str| of_journal(&object(text.as_bytes()).expect("JSON"));
        let Line::Layer(event) = entry(
            r#"{"KEYCELL_EVENT":"layer","KEYCELL_VERDICT":"failed","KEYCELL_BYTES":"5",
            "KEYCELL_MILLISECONDS":"1.5","KEYCELL_MISSING_WALLS":["a","b"],
            "KEYCELL_PROVIDERS":"{\"name\":\"kms\",\"requests\":1}","MESSAGE":"x"}"#,
        ) else {
            panic!()
        };
        assert_eq!((event.bytes, event.microseconds), (5, Some(1500)));
        assert_eq!((event.missing_walls.len(), event.providers[0].requests), (2, 1));
        let message =
            r#"{"MESSAGE":"{\"time\":\"t\",\"event\":\"layer\",\"verdict\":\"failed\"}"}"#;
        assert!(matches!(entry(message), Line::Layer(_)));
        assert_eq!(entry(r#"{"KEYCELL_EVENT":"note"}"#), Line::Other);
        for garbage in [r#"{"KEYCELL_EVENT":[1]}"#, r#"{"MESSAGE":null}"#, r#"{"MESSAGE":[1,2]}"#] {
            assert_eq!(entry(garbage), Line::Garbage, "{garbage}");
        }
    }

    #[test]
    fn other_releases_and_garbage() {
        assert_eq!(of_file(br#"{"event":"pull"}"#), Line::Other);
        assert_eq!(layer(r#"{"event":"layer","verdict":"postponed"}"#).verdict, OTHER);
        let deep = "[".repeat(100_000);
        for garbage in
            ["", "{", "null", "[]", "\0", r#"{"event":7}"#, r#"{"event":"layer"}"#, &deep]
        {
            assert_eq!(of_file(garbage.as_bytes()), Line::Garbage, "{garbage}");
        }
        assert_eq!(of_file(b"\xff\xfe"), Line::Garbage);
        for number in ["-1", "1e999", "\"NaN\"", "null", "\"inf\"", "[]"] {
            let line = format!(
                r#"{{"event":"layer","verdict":"failed","bytes":{number},"milliseconds":{number}}}"#
            );
            if let Line::Layer(event) = of_file(line.as_bytes()) {
                assert_eq!((event.bytes, event.microseconds), (0, None), "{line}");
            }
        }
    }

    /// A half event, and a whole one that another decoder appended to it.
    #[test]
    fn an_event_after_a_torn_one() {
        let event = layer(
            r#"{"time":"t","event":"layer","verd{"time":"t","event":"layer","verdict":"failed"}"#,
        );
        assert_eq!(event.verdict, "failed");
        let hostile = r#"{"time":"t","event":"layer","verdict":"failed","key":"{\"time\":"}"#;
        assert_eq!(layer(hostile).verdict, "failed");
    }
}
