//! What the operator chose for the processors: at first with flags, and afterwards as the configuration
//! that is installed has it, so that nothing is lost when it is written again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::processor::{PROVIDERS, Processor};
use super::{KEYS, WITH_PAYLOAD};

/// The choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// The keys directory.
    pub keys: PathBuf,
    /// The decoder.
    pub decoder: PathBuf,
    /// Whether the decoder decompresses gzip layers.
    pub decompress: bool,
    /// The root of containerd, if it is not a usual one, or `off`.
    pub content_store: Option<String>,
    /// More arguments, environment and media types, by the id of the processor.
    pub more: BTreeMap<String, More>,
    /// Other settings in the file, as they are: those above the first table, and tables.
    pub settings: (String, String),
}

/// What one processor has besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct More {
    /// Arguments that follow ours.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<String>,
    /// Media types that Keycell does not know.
    pub accepts: Vec<String>,
}

impl Default for More {
    fn default() -> Self {
        let env = vec![format!("OCICRYPT_KEYPROVIDER_CONFIG={PROVIDERS}")];
        Self { args: Vec::new(), env, accepts: Vec::new() }
    }
}

impl Choices {
    /// What is usual, with this decoder.
    pub fn new(decoder: PathBuf, decompress: bool) -> Self {
        Self {
            keys: KEYS.into(),
            decoder,
            decompress,
            content_store: None,
            more: BTreeMap::new(),
            settings: Default::default(),
        }
    }

    /// What stands in a text that Keycell wrote, perhaps changed by hand since. None if it has no processor
    /// of ours.
    pub fn of(text: &str) -> Option<Self> {
        let table: Table = text.parse().ok()?;
        let processors = table.get("stream_processors")?.as_table()?;
        let mut found: Option<Self> = None;
        for id in WITH_PAYLOAD {
            let Some(processor) = processors.get(id) else { continue };
            let Processor { accepts, path, args, env, .. } =
                Processor::parse(processor, Path::new("")).ok()?;
            let choices = found.get_or_insert_with(|| Self::new(path.into(), false));
            let args = choices.take(args);
            let is_foreign = |media_type: &String| ocicrypt::media_type::plain(media_type).is_err();
            let accepts = accepts.into_iter().filter(is_foreign).collect();
            choices.more.insert(id.to_owned(), More { args, env, accepts });
        }
        if let Some(choices) = &mut found {
            choices.settings = others(text, &table);
        }
        found
    }

    /// Takes the arguments that have a meaning here, and returns the others.
    fn take(&mut self, args: Vec<String>) -> Vec<String> {
        let mut others = Vec::new();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            match name {
                "--decryption-keys-path" => {
                    if let Some(value) = value.or_else(|| args.next()) {
                        self.keys = value.into();
                    }
                }
                "--content-store" => self.content_store = value.or_else(|| args.next()),
                "--decompress" => self.decompress = true,
                _ => others.push(arg),
            }
        }
        others
    }
}

/// The settings that are not Keycell's: the lines above the first table, and the other tables.
fn others(text: &str, table: &Table) -> (String, String) {
    let ours = WITH_PAYLOAD.map(|id| format!("[stream_processors.\"{id}\"]"));
    let (mut above, mut tables) = (String::new(), String::new());
    let (mut is_above, mut is_ours) = (true, false);
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if trimmed.starts_with('[') {
            is_above = false;
            is_ours = ours.iter().any(|header| header == trimmed);
        }
        if is_above {
            let is_version = trimmed.starts_with("version") && !trimmed.starts_with('#');
            if !is_version && !trimmed.is_empty() && !trimmed.starts_with('#') {
                above += line;
            }
        } else if !is_ours {
            tables += line;
        }
    }
    // Nothing is kept that would not be read the same.
    let is_whole = format!("{above}{tables}").parse::<Table>().is_ok_and(|rest| {
        let mut expected = table.clone();
        expected.remove("version");
        if let Some(processors) =
            expected.get_mut("stream_processors").and_then(Value::as_table_mut)
        {
            WITH_PAYLOAD.iter().for_each(|id| drop(processors.remove(*id)));
            if processors.is_empty() {
                expected.remove("stream_processors");
            }
        }
        rest == expected
    });
    if is_whole { (above, tables) } else { Default::default() }
}

#[cfg(test)]
mod tests {
    use super::super::snippet;
    use super::*;

    #[test]
    fn what_is_written_keeps_its_choices() {
        let mut choices = Choices::new("/opt/x/ctd-decoder".into(), true);
        choices.keys = "/srv/\"keys\"".into();
        choices.content_store = Some("/data/containerd".to_owned());
        choices.settings.0 = "oom_score = 7\n".to_owned();
        choices.settings.1 =
            "[stream_processors.mine]\n  path = \"/bin/true\"\n  args = [\n  \"a\"]\n".to_owned();
        let more = More {
            args: vec!["--log".to_owned(), "journald".to_owned()],
            env: vec!["A=1".to_owned()],
            accepts: vec!["application/mine+encrypted".to_owned()],
        };
        choices.more.insert(WITH_PAYLOAD[0].to_owned(), more);
        choices.more.insert(WITH_PAYLOAD[1].to_owned(), More::default());
        let text = snippet(2, &choices);
        assert_eq!(Choices::of(&text), Some(choices.clone()), "{text}");
        assert_eq!(snippet(2, &choices), text);
        assert_eq!(Choices::of("version = 2\n"), None);
    }
}
