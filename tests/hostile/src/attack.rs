//! One run of the host with a hostile guest, and what must hold after any attack.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::events;
use serde_json::Value;

use crate::keys::{Keys, OUTSIDE};
use crate::layer::{LARGE, Layer, SMALL};
use crate::{FIXTURES, guest};

/// A layer of up to so many bytes must not come out in part.
const HELD_BACK: usize = 64 * 1024;

/// Memory of the process where the guest needs none to speak of, in KiB.
const MODEST: u64 = 48 * 1024;

/// The longest message, in bytes, with some room for the mark that it was cut.
const MAX_MESSAGE: usize = 4096 + 16;

/// A PKCS#11 key file. No guest may see what stands behind the question mark.
const TOKEN: &str = "pkcs11:\n  uri: pkcs11:token=node;object=images?pin-value=Pin-1234&\
    module-path=/usr/lib/softhsm/libsofthsm2.so\nmodule:\n  env:\n    SOFTHSM2_CONF: /conf\n";

/// Key providers that fail, each in its own way. No guest may see a path of these.
const PROVIDERS: &str = r#"{"key-providers": {
    "plain": {"cmd": {"path": "/bin/false"}},
    "prints": {"cmd": {"path": "/bin/ls", "args": ["/nowhere/printed"]}},
    "absent": {"cmd": {"path": "/nowhere/program"}},
    "remote": {"grpc": "unix:///nowhere/socket"}
}}"#;

/// The most that one run may add to a log, in bytes and in lines.
const MAX_LOG: (usize, usize) = (128 * 1024, 300);

/// One fixture and the circumstances of its run.
pub struct Attack {
    decoder: PathBuf,
    meter: Option<PathBuf>,
    fixture: String,
    note: String,
    tag: Option<u8>,
    seconds: u64,
    memory: u64,
    inside: bool,
    decompressing: bool,
    uninterrupted: bool,
    garbled: bool,
    special: bool,
    lease: bool,
    started_by: Vec<OsString>,
    provider: bool,
    token: bool,
    files: Vec<(String, Vec<u8>)>,
    store: Option<PathBuf>,
}

impl Attack {
    /// `fixture` in `decoder`, the program `hostile-decoder`.
    pub fn new(decoder: &Path, fixture: &str) -> Self {
        Self {
            decoder: decoder.to_owned(),
            meter: None,
            fixture: fixture.to_owned(),
            note: String::new(),
            tag: None,
            seconds: 30,
            memory: MODEST,
            inside: false,
            decompressing: false,
            uninterrupted: false,
            garbled: false,
            special: false,
            lease: false,
            started_by: Vec::new(),
            provider: false,
            token: false,
            files: Vec::new(),
            store: None,
        }
    }

    /// As on a kernel without a wall, or without a call: `program` is `hostile-without`.
    pub fn without(mut self, program: &Path, what: &str) -> Self {
        self.started_by = vec![program.into(), what.into()];
        self
    }

    /// With a guest that is installed in `store`, where the fixture is not one of this package.
    pub fn installed_in(mut self, store: &Path) -> Self {
        self.store = Some(store.to_owned());
        self.garbled()
    }

    /// Measures memory, with the program `hostile-meter`.
    pub fn measured(mut self, meter: &Path) -> Self {
        self.meter = Some(meter.to_owned());
        self
    }

    /// Which variant of the attack, for `unwrap`.
    pub fn note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }

    /// Which variant of the attack, for `decrypt`.
    pub fn tag(mut self, tag: u8) -> Self {
        self.tag = Some(tag);
        self
    }

    /// A host that is not patient.
    pub fn seconds(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    /// The most memory that the process may take, in MiB.
    pub fn memory(mut self, mebibytes: u64) -> Self {
        self.memory = mebibytes * 1024;
        self
    }

    /// With `--cipher guest`: the host lends nothing.
    pub fn inside(mut self) -> Self {
        self.inside = true;
        self.garbled()
    }

    /// With `--decompress`: the guest may write what it likes.
    pub fn decompressing(mut self) -> Self {
        self.decompressing = true;
        self.garbled()
    }

    /// Compiled as the embedded guest is: it cannot be trapped when its time is over.
    pub fn uninterrupted(mut self) -> Self {
        self.uninterrupted = true;
        self
    }

    /// The output need not be the layer's, as long as it is not complete.
    pub fn garbled(mut self) -> Self {
        self.garbled = true;
        self
    }

    /// With a pipe among the keys that nobody writes to, a socket and a device.
    pub fn with_special_files(mut self) -> Self {
        self.special = true;
        self
    }

    /// With a lease on the key file, for which whoever opens it waits.
    pub fn with_lease(mut self) -> Self {
        self.lease = true;
        self
    }

    /// Behind these words, which start the decoder. It is not measured then.
    pub fn started_by(mut self, words: &[&str]) -> Self {
        self.started_by = words.iter().map(Into::into).collect();
        self.meter = None;
        self
    }

    /// With key providers that are configured, and fail.
    pub fn with_provider(mut self) -> Self {
        self.provider = true;
        self
    }

    /// With a PKCS#11 key file among the keys, and a module that is allowed.
    pub fn with_token(mut self) -> Self {
        self.token = true;
        self
    }

    /// With one more file among the keys.
    pub fn with_file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Succeeds: the layer is decrypted, short or long.
    ///
    /// # Errors
    /// Where it does not.
    pub fn succeeds(&self) -> Result<()> {
        [SMALL, LARGE].into_iter().try_for_each(|length| self.succeeds_with(length))
    }

    /// Succeeds on a layer of `length` bytes.
    ///
    /// # Errors
    /// Where it does not.
    pub fn succeeds_with(&self, length: usize) -> Result<()> {
        let seen = self.run(length)?;
        seen.outcome.is_silent_success(&seen.layer.plain)?;
        seen.logs_cleanly()?;
        self.is_modest(&seen)
    }

    /// Fails as everything must fail that is forbidden, with each of `words` in its message or in
    /// the log; on a layer that may come out in part and on one that may not.
    ///
    /// # Errors
    /// What the attack achieved.
    pub fn is_refused(&self, words: &[&str]) -> Result<()> {
        [SMALL, LARGE].into_iter().try_for_each(|length| self.is_refused_with(length, words))
    }

    /// Fails so on a layer of `length` bytes.
    ///
    /// # Errors
    /// What the attack achieved.
    pub fn is_refused_with(&self, length: usize, words: &[&str]) -> Result<()> {
        let seen = self.run(length)?;
        self.is_refusal(&seen, words).with_context(|| {
            format!(
                "a layer of {length} bytes, {}, {} of them came out, peak {} KiB\nstderr: {}\n\
                 log: {}",
                seen.outcome.status,
                seen.outcome.stdout.len(),
                seen.outcome.peak,
                shortened(&seen.outcome.stderr),
                shortened(&seen.log)
            )
        })
    }

    fn is_refusal(&self, seen: &Seen, words: &[&str]) -> Result<()> {
        let code = seen.outcome.status.code();
        ensure!(code == Some(1), "exit code {code:?}");
        seen.is_incomplete()?;
        let genuine = seen.layer.plain.starts_with(&seen.outcome.stdout);
        ensure!(genuine || self.garbled, "other bytes than the layer's came out");
        seen.tells_cleanly()?;
        self.is_modest(seen)?;
        for word in words {
            let said = seen.outcome.stderr.contains(word) || seen.log.contains(word);
            ensure!(said, "nothing of `{word}`");
        }
        Ok(())
    }

    fn is_modest(&self, seen: &Seen) -> Result<()> {
        let peak = seen.outcome.peak;
        ensure!(peak <= self.memory, "{peak} KiB of memory, {} are allowed", self.memory);
        Ok(())
    }

    /// Runs it on a layer of `length` bytes.
    ///
    /// # Errors
    /// A hang, and a keys directory that is not what it was.
    pub fn run(&self, length: usize) -> Result<Seen> {
        let layer = self.tag.map_or_else(|| Layer::of(length), |tag| Layer::tagged(length, tag));
        let artefact = match self.store {
            Some(_) => guest::EMBEDDED,
            None => {
                let found = FIXTURES.iter().find(|(name, _)| *name == self.fixture);
                found.with_context(|| format!("no fixture `{}`", self.fixture))?.1
            }
        };
        let artefact = match self.uninterrupted {
            true => Path::new(artefact)
                .with_file_name("embedded")
                .join(&self.fixture)
                .with_extension("cwasm"),
            false => PathBuf::from(artefact),
        };
        let keys = Keys::new()?;
        if self.special {
            keys.add_special()?;
        }
        if self.token {
            fs::write(keys.path().join("token.yaml"), TOKEN)?;
        }
        for (name, content) in &self.files {
            fs::write(keys.path().join(name), content)?;
        }
        let before = keys.state()?;
        let lease = self.lease.then(|| keys.lease()).transpose()?;
        let mut decoder = Decoder::at(&self.decoder)
            .env(guest::GUEST, artefact)
            .env(guest::SECONDS, self.seconds.to_string())
            .media_type("application/vnd.oci.image.layer.v1.tar+encrypted")
            .keys(&keys.path())
            .arg("--log")
            .arg(keys.log())
            .payload(layer.payload(&self.note))
            .layer(layer.encrypted.clone())
            .inside(self.started_by.clone())
            .deadline(Duration::from_secs(40));
        if self.token {
            let policy = keys.log().with_extension("conf");
            fs::write(&policy, "pkcs11: {allowed-module-paths: [/usr/lib/softhsm/]}\n")?;
            decoder = decoder.env("OCICRYPT_CONFIG", policy);
        }
        if self.provider {
            let config = keys.log().with_extension("json");
            fs::write(&config, PROVIDERS)?;
            decoder = decoder.env("OCICRYPT_KEYPROVIDER_CONFIG", config);
        }
        if let Some(store) = &self.store {
            decoder = decoder.arg("--guest-store").arg(store).arg("--guest").arg(&self.fixture);
        }
        if self.inside {
            decoder = decoder.arg("--cipher").arg("guest");
        }
        if self.decompressing {
            decoder = decoder.arg("--decompress");
        }
        if self.uninterrupted {
            decoder = decoder.env(guest::UNINTERRUPTED, "1");
        }
        if let Some(meter) = &self.meter {
            decoder = decoder.measured(meter);
        }
        let outcome = decoder.run()?;
        drop(lease);
        if keys.state()? != before {
            bail!("the keys directory was changed: {:#?}\nbefore: {before:#?}", keys.state()?);
        }
        let log = fs::read_to_string(keys.log()).unwrap_or_default();
        Ok(Seen { outcome, log, layer, key: keys.key.clone() })
    }
}

/// What a run has left.
pub struct Seen {
    /// How the process ended, and what it wrote.
    pub outcome: Outcome,
    /// What it logged.
    pub log: String,
    /// The layer that it was given.
    pub layer: Layer,
    /// The private key that it was given.
    pub key: String,
}

impl Seen {
    fn is_incomplete(&self) -> Result<()> {
        let (came, whole) = (self.outcome.stdout.len(), self.layer.plain.len());
        ensure!(came < whole, "all {came} bytes of the layer came out");
        ensure!(whole > HELD_BACK || came == 0, "{came} bytes of a short layer came out");
        Ok(())
    }

    /// What it logged, one after the other.
    ///
    /// # Errors
    /// A line that is no event.
    pub fn events(&self) -> Result<Vec<Value>> {
        events::parse(&self.log)
    }

    /// One error and its hints, nothing that a terminal or a log could mistake, no secret.
    fn tells_cleanly(&self) -> Result<()> {
        let message = &self.outcome.stderr;
        let mut lines = message.lines();
        let error = lines.next().unwrap_or_default();
        let told = error.strip_prefix("ctd-decoder: error: ").context("no error")?;
        ensure!(told.chars().any(char::is_alphanumeric), "an empty error");
        ensure!(lines.all(|line| line.starts_with("hint: ")), "more than an error and hints");
        ensure!(message.len() <= MAX_MESSAGE, "a message of {} bytes", message.len());
        ensure!(message.lines().all(|line| line.trim_end() != "hint:"), "an empty hint");

        self.is_clean(message)?;
        self.logs_cleanly()
    }

    /// One event of the layer, and notes.
    fn logs_cleanly(&self) -> Result<()> {
        let (bytes, lines) = (self.log.len(), self.log.lines().count());
        ensure!(bytes <= MAX_LOG.0 && lines <= MAX_LOG.1, "a log of {bytes} bytes, {lines} lines");
        let events = self.events()?;
        let ends = events.iter().filter(|event| event["event"] == "layer").count();
        ensure!(ends == 1, "{ends} events of a layer: {}", self.log);
        for event in events.iter().filter(|event| event["event"] != "layer") {
            let note = event["note"].as_str().unwrap_or_default();
            ensure!(!note.trim().is_empty(), "neither a layer nor a note: {event}");
        }
        self.is_clean(&self.log)
    }

    fn is_clean(&self, text: &str) -> Result<()> {
        let bad = text.chars().find(|&c| c != '\n' && is_treacherous(c));
        ensure!(bad.is_none(), "{bad:?} was passed on");
        ensure!(!text.contains("HARM"), "an attempt succeeded");
        ensure!(!text.contains(OUTSIDE), "a file from outside was shown");
        for line in self.key.lines().filter(|line| !line.starts_with('-')) {
            let shown = text.contains(&line[..line.len().min(40)]);
            ensure!(!shown, "a line of the key was shown: {line}");
        }
        Ok(())
    }
}

/// What moves the cursor, breaks a line, hides or turns around what stands beside it.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || c == '\u{feff}'
}

/// Enough of a text to see what is wrong with it.
fn shortened(text: &str) -> String {
    text.chars()
        .take(3000)
        .flat_map(|c| if c == '\n' { vec![c] } else { c.escape_debug().collect() })
        .collect()
}
