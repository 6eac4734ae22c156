//! `keycell metrics`: exact numbers from what the real decoder logs, in a form that Prometheus takes.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use keycell_tests::decoder::Decoder;
use keycell_tests::jwe::Recipient;
use keycell_tests::node::{KEY, Node};
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, filtered, output};
use serde_json::json;

use crate::{exits, keycell, says};

/// Go through every parser that has to take the text.
const PARSERS: [Tool; 2] = [Tool::Promtool, Tool::PrometheusClient];

const PROVIDERS: &str = "OCICRYPT_KEYPROVIDER_CONFIG";

const PROVIDER_KEYS: &str = "org.opencontainers.image.enc.keys.provider.vault";

/// Reads OpenMetrics, strictly, and prints the names of all samples.
const STRICT: &str = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(sample.name)
";

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        suite.case(format!("metrics/{name}"), tools, run);
    };
    case("of-every-verdict", &PARSERS, of_every_verdict);
    case("of-key-providers", &PARSERS, of_key_providers);
    case("of-a-hostile-log", &PARSERS, of_a_hostile_log);
    case("of-a-rotated-log", &[Tool::Logrotate], of_a_rotated_log);
    case("of-the-node", &PARSERS, of_the_node);
    case("into-a-file", &[], into_a_file);
    case("what-fails", &[], what_fails);
    case("alerts", &[Tool::Promtool], alerts);
}

/// A node whose containerd calls the decoder that was built, and whose decoder logs to a file.
struct Metered {
    node: Node,
    sealed: Sealed,
}

impl Metered {
    fn new() -> Result<Self> {
        let metered = Self { node: Node::new()?, sealed: Sealed::of_length(1000) };
        metered.configure("")?;
        Ok(metered)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.node.outside().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("log.json")
    }

    /// Writes containerd's configuration, with `more` in the table of the processor.
    fn configure(&self, more: &str) -> Result<()> {
        let processor = json!(["--decryption-keys-path", self.node.keys(), "--log", self.log(),]);
        let text = format!(
            "version = 2\n[stream_processors.\"io.containerd.ocicrypt.decoder.v1.tar\"]\n\
             accepts = [\"application/vnd.oci.image.layer.v1.tar+encrypted\"]\n\
             returns = \"application/vnd.oci.image.layer.v1.tar\"\n\
             path = \"{}\"\nargs = {processor}\n{more}\n",
            keycell_tests::dist("ctd-decoder")?.display(),
        );
        Ok(fs::write(self.path("config.toml"), text)?)
    }

    fn decoder(&self) -> Result<Decoder> {
        Ok(self.node.decoder(&self.sealed)?.arg("--log").arg(self.log()))
    }

    fn decrypts(&self) -> Result<()> {
        self.decoder()?.run()?.is_silent_success(&self.sealed.plain)
    }

    fn append(&self, text: &[u8]) -> Result<()> {
        let mut log = OpenOptions::new().append(true).create(true).open(self.log())?;
        Ok(log.write_all(text)?)
    }

    fn command(&self, more: &[&str]) -> Result<Command> {
        let mut command = keycell(&["metrics", "--containerd", "/nowhere/containerd"])?;
        command.arg("--config").arg(self.path("config.toml"));
        command.arg("--state").arg(self.path("state.json"));
        command.args(more);
        Ok(command)
    }

    fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(exits(&mut self.command(&[])?, 0)?)
    }
}

/// What was printed: each sample by its name and labels.
struct Metrics {
    text: String,
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    fn parse(text: String) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').context("no value")?;
            Ok((name.to_owned(), value.parse()?))
        });
        let samples = samples.collect::<Result<BTreeMap<_, _>>>()?;
        Ok(Self { text, samples })
    }

    fn of(&self, sample: &str) -> Result<f64> {
        let found = self.samples.get(sample).copied();
        found.with_context(|| format!("there is no `{sample}`:\n{}", self.text))
    }

    fn are(&self, wanted: &[(&str, f64)]) -> Result<()> {
        for (sample, value) in wanted {
            let found = self.of(sample)?;
            ensure!(found == *value, "`{sample}` is {found}, not {value}:\n{}", self.text);
        }
        Ok(())
    }

    /// All layers with this verdict.
    fn layers(&self, verdict: &str) -> f64 {
        let start = format!("keycell_layers_total{{verdict=\"{verdict}\"");
        let of_verdict = self.samples.iter().filter(|(name, _)| name.starts_with(&start));
        of_verdict.map(|(_, value)| value).sum()
    }

    /// Prometheus and OpenMetrics both take it, without a complaint.
    fn are_valid(&self) -> Result<()> {
        let mut promtool = Command::new(Tool::Promtool.find()?);
        filtered(promtool.args(["check", "metrics"]), self.text.as_bytes())?;
        let mut python = Command::new(Tool::PrometheusClient.find()?);
        let names = filtered(python.args(["-c", STRICT]), self.text.as_bytes())?;
        let names = String::from_utf8(names)?;
        let read = names.lines().count();
        ensure!(read == self.samples.len(), "{read} of {} samples were read", self.samples.len());
        Ok(())
    }
}

fn of_every_verdict() -> Result<()> {
    let metered = Metered::new()?;
    let before = metered.metrics()?;
    before.are_valid()?;
    for verdict in ["decrypted", "failed", "abandoned"] {
        let none =
            format!("keycell_layers_total{{verdict=\"{verdict}\",scheme=\"\",fingerprint=\"\"}}");
        before.are(&[(&none, 0.0)])?;
    }
    metered.decrypts()?;
    metered.decrypts()?;
    let other = Recipient::generate();
    let payload = metered.sealed.payload_for(&other).bytes();
    metered.decoder()?.payload(payload).run()?.error_without_output()?;
    let large = Sealed::of_length(4 << 20);
    let reader_leaves = metered.node.decoder(&large)?.arg("--log").arg(metered.log());
    reader_leaves.reader_closes_after(100_000).run()?;
    let after = metered.metrics()?;
    after.are_valid()?;
    let print = keycell_tests::events::read(&metered.log())?[0]["fingerprint"].clone();
    let print = print.as_str().context("no fingerprint")?;
    let decrypted = format!(
        "keycell_layers_total{{verdict=\"decrypted\",scheme=\"jwe\",fingerprint=\"{print}\"}}"
    );
    after.are(&[
        (&decrypted, 2.0),
        ("keycell_layer_bytes_total{verdict=\"decrypted\"}", 2000.0),
        ("keycell_layer_bytes_total{verdict=\"failed\"}", 0.0),
        ("keycell_layer_duration_seconds_count{verdict=\"decrypted\"}", 2.0),
        ("keycell_layer_duration_seconds_bucket{verdict=\"decrypted\",le=\"+Inf\"}", 2.0),
        ("keycell_layer_duration_seconds_count{verdict=\"failed\"}", 1.0),
        ("keycell_log_skipped_total", 0.0),
        ("keycell_log_readable", 1.0),
    ])?;
    ensure!((after.layers("failed"), after.layers("abandoned")) == (1.0, 1.0), "{}", after.text);
    ensure!(after.of("keycell_layer_bytes_total{verdict=\"abandoned\"}")? > 0.0);
    let seconds = after.of("keycell_layer_duration_seconds_sum{verdict=\"decrypted\"}")?;
    ensure!(seconds > 0.0 && seconds < 60.0, "{seconds}");
    let again = metered.metrics()?;
    again.are(&[(&decrypted, 2.0)])
}

/// One provider opens a layer, and then refuses two.
fn of_key_providers() -> Result<()> {
    let metered = Metered::new()?;
    let (vault, config) = (metered.path("vault"), metered.path("providers.json"));
    let providers = json!({ "key-providers": { "vault": { "cmd": { "path": vault } } } });
    fs::write(&config, providers.to_string())?;
    metered.configure(&format!("env = [\"{PROVIDERS}={}\"]", config.display()))?;
    let answers = |script: &str| -> Result<()> {
        fs::write(&vault, format!("#!/bin/sh\ncat >/dev/null\n{script}\n"))?;
        Ok(fs::set_permissions(&vault, Permissions::from_mode(0o755))?)
    };
    let options = Base64::encode_string(metered.sealed.private.to_string().as_bytes());
    let answer = json!({ "keyunwrapresults": { "optsdata": options } });
    answers(&format!("sleep 0.1; echo '{answer}'"))?;
    let none = "keycell_provider_failures_total{provider=\"vault\"}";
    metered.metrics()?.are(&[(none, 0.0)])?;
    let payload = metered.sealed.payload_with(PROVIDER_KEYS, &[b"wrapped"]).bytes();
    let decoder = metered.decoder()?.payload(payload).env(PROVIDERS, &config);
    decoder.run()?.is_silent_success(&metered.sealed.plain)?;
    answers("echo 'the vault is sealed' >&2; exit 1")?;
    for _ in 0..2 {
        decoder.run()?.error_without_output()?;
    }
    // A name that is not configured is the image's own: it makes no series.
    let stranger = PROVIDER_KEYS.replace("vault", "stranger");
    let payload = metered.sealed.payload_with(&stranger, &[b"wrapped"]).bytes();
    decoder.clone().payload(payload).run()?.error_without_output()?;
    let metrics = metered.metrics()?;
    metrics.are_valid()?;
    metrics.are(&[
        ("keycell_provider_requests_total{provider=\"vault\"}", 3.0),
        (none, 2.0),
        (
            "keycell_layers_total{verdict=\"decrypted\",scheme=\"provider.vault\",fingerprint=\"\"}",
            1.0,
        ),
    ])?;
    let seconds = metrics.of("keycell_provider_seconds_total{provider=\"vault\"}")?;
    ensure!(seconds >= 0.1, "{seconds}");
    ensure!(!metrics.text.contains("stranger"), "{}", metrics.text);
    Ok(())
}

fn of_a_hostile_log() -> Result<()> {
    let metered = Metered::new()?;
    metered.decrypts()?;
    let layer = |more: &str| {
        format!("{{\"time\":\"t\",\"event\":\"layer\",\"verdict\":\"decrypted\"{more}}}\n")
    };
    let odd = r#"x\"}\n# TYPE keycell_layers_total counter\n\\ é\u0000\u2028{"#;
    metered.append(layer(&format!(r#","scheme":"{odd}","fingerprint":"{odd}""#)).as_bytes())?;
    metered.append(
        layer(&format!(
            r#","missing_walls":["{odd}"],"providers":[{{"name":"{odd}","requests":1}}]"#
        ))
        .as_bytes(),
    )?;
    for n in 0..1000 {
        metered.append(layer(&format!(r#","scheme":"provider.{n}""#)).as_bytes())?;
    }
    let huge = "x".repeat(3 << 20);
    let deep = "[".repeat(50_000);
    let garbage = format!("\n\0\u{feff}\n{huge}\n{deep}\n[]\nnull\n{{\"event\":\"layer\"}}\n");
    metered.append(garbage.as_bytes())?;
    metered.append(b"\xff\xfe\xfd\n")?;
    metered.append(b"{\"event\":\"layer\",\"verdict\":\"of tomorrow\",\"bytes\":-1}\n")?;
    metered.append(b"{\"event\":\"of tomorrow\"}\n{\"event\":\"layer\",\"verdict\":\"failed\"")?;
    let metrics = metered.metrics()?;
    metrics.are_valid()?;
    ensure!(metrics.layers("decrypted") == 1003.0, "{}", metrics.text);
    ensure!(metrics.layers("failed") == 0.0 && metrics.layers("other") == 1.0);
    metrics.are(&[("keycell_log_skipped_total", 8.0)])?;
    let series = metrics.samples.keys().filter(|name| name.starts_with("keycell_layers_total"));
    let series = series.count();
    ensure!(series < 300, "{series} series");
    // The event was still being written.
    metered.append(b"}\n")?;
    ensure!(metered.metrics()?.layers("failed") == 1.0);
    // A damaged state begins anew, with what the log has.
    fs::write(metered.path("state.json"), "{\"version\":1,\"totals\":{}")?;
    ensure!(metered.metrics()?.layers("decrypted") == 1003.0);
    Ok(())
}

/// Whatever logrotate does between two runs, each layer is counted once.
fn of_a_rotated_log() -> Result<()> {
    for how in
        ["nocreate", "copytruncate", "create 0640 root root", "nocreate\n delaycompress\n compress"]
    {
        let metered = Metered::new()?;
        let (rules, state) = (metered.path("rules"), metered.path("state"));
        let log = metered.log();
        fs::write(
            &rules,
            format!("\"{}\" {{\n rotate 3\n size 1\n {how}\n su root root\n}}\n", log.display()),
        )?;
        let mut layers = 0.0;
        for between in [2, 1, 0, 3] {
            for _ in 0..between {
                metered.decrypts()?;
                layers += 1.0;
            }
            let rotate = ["-f".as_ref(), "-s".as_ref(), state.as_os_str(), rules.as_os_str()];
            Tool::Logrotate.run(rotate)?;
            metered.decrypts()?;
            layers += 1.0;
            let metrics = metered.metrics()?;
            let counted = metrics.layers("decrypted");
            ensure!(counted == layers, "`{how}`: {counted} of {layers}\n{}", metrics.text);
        }
        ensure!(fs::read_dir(metered.node.outside())?.count() > 4, "`{how}` rotated nothing");
    }
    Ok(())
}

/// Keys and doctor's verdict, which is the one that doctor itself gives.
fn of_the_node() -> Result<()> {
    let metered = Metered::new()?;
    metered.node.add("second.pem", Recipient::generate().private_pem())?;
    metered.node.add("README", "no key")?;
    let old = ["-d", "100 seconds ago"].map(std::ffi::OsStr::new);
    let key = metered.node.keys().join(KEY);
    output(Command::new("touch").args(old).arg(&key))?;
    let metrics = metered.metrics()?;
    metrics.are_valid()?;
    metrics.are(&[("keycell_key_files", 2.0)])?;
    let keys = metered.node.keys();
    let age = |name: &str| {
        let directory = keys.display();
        metrics.of(&format!("keycell_key_age_seconds{{directory=\"{directory}\",file=\"{name}\"}}"))
    };
    let ages = (age(KEY)?, age("second.pem")?);
    ensure!((100.0..160.0).contains(&ages.0) && ages.1 < 60.0, "{ages:?}");
    ensure!(!metrics.text.contains("README") && !metrics.text.contains("PRIVATE"));
    for broken in [false, true] {
        if broken {
            fs::remove_file(&key)?;
            fs::remove_file(metered.node.keys().join("second.pem"))?;
        }
        let mut doctor = keycell(&["doctor", "--containerd", "/nowhere/containerd", "--json"])?;
        let doctor = doctor.arg("--config").arg(metered.path("config.toml")).output()?;
        let report: serde_json::Value = serde_json::from_slice(&doctor.stdout)?;
        let code = f64::from(doctor.status.code().context("ended by a signal")?);
        let findings = report["findings"].as_array().context("no findings")?;
        let fails = findings.iter().filter(|finding| finding["severity"] == "fails").count();
        let metrics = metered.metrics()?;
        metrics.are(&[
            ("keycell_doctor_exit_code", code),
            ("keycell_doctor_findings{severity=\"fails\"}", fails as f64),
        ])?;
        ensure!(!broken || code == 1.0, "{report:#}");
    }
    Ok(())
}

/// It appears as a whole, for everyone to read, beside nothing else that node_exporter would read.
fn into_a_file() -> Result<()> {
    let metered = Metered::new()?;
    metered.decrypts()?;
    let directory = metered.path("textfile");
    fs::create_dir(&directory)?;
    let file = directory.join("keycell.prom");
    fs::write(&file, "of before\n")?;
    let mut command = metered.command(&["--output"])?;
    let said = exits(command.arg(&file), 0)?;
    ensure!(said.is_empty(), "{said}");
    ensure!(fs::read_dir(&directory)?.count() == 1);
    let mode = fs::metadata(&file)?.permissions().mode();
    ensure!(mode & 0o777 == 0o644, "{mode:o}");
    ensure!(fs::metadata(metered.path("state.json"))?.permissions().mode() & 0o077 == 0);
    let text = fs::read_to_string(&file)?;
    ensure!(text.ends_with("\n# EOF\n"), "{text}");
    ensure!(Metrics::parse(text)?.layers("decrypted") == 1.0);
    Ok(())
}

fn what_fails() -> Result<()> {
    let metered = Metered::new()?;
    metered.decrypts()?;
    let fails = |more: &[&str], words: &[&str]| -> Result<String> {
        let done = metered.command(more)?.output()?;
        ensure!(done.status.code() == Some(1), "{more:?}: {}", done.status);
        let said = String::from_utf8(done.stderr)?;
        says(&said, words)?;
        Ok(String::from_utf8(done.stdout)?)
    };
    let printed = fails(
        &["--output", "/nowhere/keycell.prom"],
        &["cannot write `/nowhere/keycell.prom`", "hint: name a file in an existing directory"],
    )?;
    ensure!(printed.is_empty(), "{printed}");
    let mut no_state = keycell(&["metrics", "--log", "off", "--state", "/proc/state.json"])?;
    let done = no_state.output()?;
    says(
        &String::from_utf8(done.stderr)?,
        &[
            "cannot keep the counters in `/proc/state.json`",
            "hint: `--state FILE` names another file",
        ],
    )?;
    ensure!(done.status.code() == Some(1) && done.stdout.is_empty());
    // Everything else is printed where the log cannot be read.
    let printed = fails(&["--log", "off"], &["the decoder's log is off", "hint: remove"])?;
    Metrics::parse(printed)?.are(&[("keycell_log_readable", 0.0), ("keycell_key_files", 1.0)])?;
    let mut no_journal = metered.command(&["--log", "journal"])?;
    let done = no_journal.env("PATH", "/nowhere").output()?;
    says(&String::from_utf8(done.stderr)?, &["cannot start `journalctl`", "hint: "])?;
    Metrics::parse(String::from_utf8(done.stdout)?)?.are(&[("keycell_log_readable", 0.0)])
}

/// Prometheus takes the rules, and every metric in them exists.
fn alerts() -> Result<()> {
    let rules = keycell_tests::workspace().join("package/alerts.yml");
    Tool::Promtool.run(["check".as_ref(), "rules".as_ref(), rules.as_os_str()])?;
    let text = fs::read_to_string(&rules)?;
    let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names: Vec<_> = names.filter(|word| word.starts_with("keycell_")).collect();
    ensure!(names.len() > 5, "{names:?}");
    let metered = Metered::new()?;
    metered.append(
        b"{\"time\":\"t\",\"event\":\"layer\",\"verdict\":\"failed\",\"providers\":[{\"name\":\"a\"}]}\n",
    )?;
    let metrics = metered.metrics()?;
    let page = fs::read_to_string(keycell_tests::workspace().join("docs/metrics.md"))?;
    for name in names {
        let is_there = metrics.samples.keys().any(|sample| sample.starts_with(name));
        ensure!(is_there, "there is no `{name}`");
    }
    let documented = |line: &&str| line.starts_with("# HELP ");
    for line in metrics.text.lines().filter(documented) {
        let name = line.split(' ').nth(2).unwrap_or_default();
        ensure!(page.contains(&format!("`{name}`")), "docs/metrics.md does not know `{name}`");
    }
    promtool_tests(&rules)
}

/// Time passes in promtool, which knows when each alert fires.
fn promtool_tests(rules: &Path) -> Result<()> {
    let tests =
        include_str!("alerts-test.yml").replace("- RULES", &format!("- {}", rules.display()));
    let dir = tempfile::TempDir::with_prefix("keycell-alerts-")?;
    let file = dir.path().join("test.yml");
    fs::write(&file, tests)?;
    Tool::Promtool.run(["test".as_ref(), "rules".as_ref(), file.as_os_str()])?;
    Ok(())
}
