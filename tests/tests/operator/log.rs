//! The log: one event for each layer, wherever it goes.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use keycell_tests::events;
use keycell_tests::gpg::Gpg;
use keycell_tests::image::hex;
use keycell_tests::jwe::Recipient;
use keycell_tests::node::{KEY, Node};
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, filtered, output};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::journal::{self, Journal};
use crate::says;

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        suite.case(format!("log/{name}"), tools, run);
    };
    case("a-layer", &[Tool::Openssl], a_layer);
    case("a-failure-names-the-layer", &[], a_failure_names_the_layer);
    case("a-reader-that-leaves", &[], a_reader_that_leaves);
    case("a-key-that-everyone-reads", &[], a_key_that_everyone_reads);
    case("a-public-key-beside-its-private-key", &[Tool::Gpg], public_keys);
    case("many-at-once", &[], many_at_once);
    case("rotated", &[Tool::Logrotate], rotated);
    case("configured", &[], configured);
    case("a-symbolic-link", &journal::TOOLS, a_symbolic_link);
    case("quiet-errors", &[], quiet_errors);
    case("journal-and-syslog", &[Tool::Root, Tool::Unshare, Tool::Journald], journal_and_syslog);
}

/// What was logged of one layer with the node's key.
fn logged(node: &Node, sealed: &Sealed) -> Result<Value> {
    let log = node.outside().join("log");
    let outcome = node.decoder(sealed)?.arg("--log").arg(&log).run()?;
    outcome.is_silent_success(&sealed.plain)?;
    events::of_layer(&log)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Everything in it can be checked with other tools.
fn a_layer() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(100_000));
    let event = logged(&node, &sealed)?;
    let pem = node.recipient.public_pem();
    let mut openssl = Command::new(Tool::Openssl.find()?);
    let der = filtered(openssl.args(["pkey", "-pubin", "-outform", "DER"]), pem.as_bytes())?;
    let print = Base64::encode_string(&Sha256::digest(der));
    let print = format!("SHA256:{}", print.trim_end_matches('='));
    let guest = fs::read(keycell_tests::dist("decoder.wasm")?)?;
    for (name, wanted) in [
        ("event", Value::from("layer")),
        ("verdict", "decrypted".into()),
        ("layer", digest(&sealed.encrypted).into()),
        ("media_type", "application/vnd.oci.image.layer.v1.tar+encrypted".into()),
        ("guest", digest(&guest).into()),
        ("scheme", "jwe".into()),
        ("key", KEY.into()),
        ("fingerprint", print.into()),
        ("bytes", 100_000.into()),
        ("error", Value::Null),
    ] {
        ensure!(event[name] == wanted, "`{name}` is {}, not {wanted}", event[name]);
    }
    let milliseconds = event["milliseconds"].as_f64().unwrap_or_default();
    ensure!(milliseconds > 0.0, "it took {milliseconds} ms");
    let time = event["time"].as_str().unwrap_or_default();
    let year = output(Command::new("date").args(["-u", "+%Y-%m-%dT%H:"]))?;
    ensure!(time.starts_with(String::from_utf8(year)?.trim()) && time.ends_with('Z'), "{time}");
    let mode = fs::metadata(node.outside().join("log"))?.permissions().mode();
    ensure!(mode & 0o007 == 0, "everyone may read the log: {mode:o}");
    Ok(())
}

fn a_failure_names_the_layer() -> Result<()> {
    let (node, sealed) = (Node::without_key()?, Sealed::of_length(1000));
    let log = node.outside().join("log");
    let outcome = node.decoder(&sealed)?.arg("--log").arg(&log).run()?;
    outcome.error_without_output()?;
    let event = events::of_layer(&log)?;
    ensure!(event["verdict"] == "failed" && event["bytes"] == 0, "{event}");
    ensure!(event["layer"] == digest(&sealed.encrypted), "{event}");
    ensure!(event["hints"].as_array().is_some_and(|hints| !hints.is_empty()), "{event}");
    Ok(())
}

/// What names keys is in the log alone; standard error says where that is.
fn quiet_errors() -> Result<()> {
    let (node, sealed) = (Node::without_key()?, Sealed::of_length(1000));
    node.add("tenant-a.pem", Recipient::generate().private_pem())?;
    let log = node.outside().join("log");
    let config = node.outside().join("config.toml");
    fs::write(&config, "quiet-errors = true\n")?;
    let decoder = node.decoder(&sealed)?.arg("--log").arg(&log).arg("--config").arg(&config);
    let outcome = decoder.run()?;
    let said = outcome.error_without_output()?;
    ensure!(said.contains(&format!("in `{}`", log.display())), "{said}");
    ensure!(outcome.stderr.lines().count() == 2, "{said}");
    for disclosed in ["tenant-a", "SHA256:", "P-256", "wrong key"] {
        ensure!(!outcome.stderr.contains(disclosed), "{disclosed}: {said}");
    }
    let event = events::of_layer(&log)?;
    let error = event["error"].as_str().unwrap_or_default();
    ensure!(error.contains("P-256 `tenant-a.pem` (SHA256:"), "{event}");
    ensure!(event["hints"].as_array().is_some_and(|hints| !hints.is_empty()), "{event}");
    let outcome = node.decoder(&sealed)?.arg("--quiet-errors").arg("--log=off").run()?;
    let said = outcome.error_without_output()?;
    ensure!(said.contains("there is no log") && !said.contains("SHA256:"), "{said}");
    Ok(())
}

fn a_reader_that_leaves() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(4 << 20));
    let log = node.outside().join("log");
    let decoder = node.decoder(&sealed)?.arg("--log").arg(&log);
    decoder.reader_closes_after(100_000).run()?;
    let event = events::of_layer(&log)?;
    ensure!(event["verdict"] == "abandoned", "{event}");
    let bytes = event["bytes"].as_u64().unwrap_or_default();
    ensure!((1..4 << 20).contains(&bytes), "{event}");
    Ok(())
}

/// Where nobody but root can enter, a mode of 0644 harms nobody.
fn a_key_that_everyone_reads() -> Result<()> {
    let sealed = Sealed::of_length(1000);
    for (directory, key, warns) in
        [(0o755, 0o644, true), (0o700, 0o644, false), (0o755, 0o600, false)]
    {
        let node = Node::new()?;
        fs::set_permissions(node.outside(), fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(node.keys(), fs::Permissions::from_mode(directory))?;
        fs::set_permissions(node.keys().join(KEY), fs::Permissions::from_mode(key))?;
        let event = logged(&node, &sealed)?;
        let warning = event["warning"].as_str().unwrap_or_default();
        ensure!(
            warning.contains("everyone on this node") == warns,
            "{directory:o} {key:o}: {event}"
        );
    }
    Ok(())
}

/// A public key beside its private key is usual, and no note. One without a private key is a note.
fn public_keys() -> Result<()> {
    let sealed = Sealed::of_length(1000);
    let (node, gpg) = (Node::new()?, Gpg::new()?);
    let log = node.outside().join("log");
    node.add("node.pub.pem", node.recipient.public_pem())?;
    gpg.generate("other@example.org", "ed25519", "cv25519")?;
    node.add("other.pub.asc", gpg.public("other@example.org")?)?;
    logged(&node, &sealed)?;
    let notes = fs::read_to_string(&log)?;
    ensure!(!notes.contains("node.pub.pem") && notes.contains("`other.pub.asc`"), "{notes}");
    node.add("other.asc", gpg.secret("other@example.org")?)?;
    fs::remove_file(&log)?;
    logged(&node, &sealed)?;
    let notes = fs::read_to_string(&log)?;
    ensure!(!notes.contains("pub.asc"), "{notes}");
    Ok(())
}

/// Events of decoders that run at the same time do not get into each other.
fn many_at_once() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    node.add("README", "one note more for each")?;
    let log = node.outside().join("log");
    thread::scope(|scope| {
        let runs = (0..8).map(|_| {
            scope.spawn(|| {
                (0..4).try_for_each(|_| {
                    let outcome = node.decoder(&sealed)?.arg("--log").arg(&log).run()?;
                    outcome.is_silent_success(&sealed.plain)
                })
            })
        });
        let runs: Vec<_> = runs.collect();
        runs.into_iter().try_for_each(|run| run.join().map_err(|_| anyhow::anyhow!("a panic"))?)
    })?;
    let events = events::read(&log)?;
    let layers = events.iter().filter(|event| event["event"] == "layer").count();
    let notes = events.iter().filter(|event| event["event"] == "note").count();
    ensure!((layers, notes) == (32, 32), "{layers} layers and {notes} notes");
    Ok(())
}

/// logrotate needs to tell nobody.
fn rotated() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let log = node.outside().join("log");
    logged(&node, &sealed)?;
    let (rules, state) = (node.outside().join("rules"), node.outside().join("state"));
    fs::write(
        &rules,
        format!("\"{}\" {{ rotate 2\n size 1\n nocreate\n su root root\n}}\n", log.display()),
    )?;
    Tool::Logrotate.run(["-f".as_ref(), "-s".as_ref(), state.as_os_str(), rules.as_os_str()])?;
    ensure!(!log.exists(), "it was not rotated");
    logged(&node, &sealed)?;
    events::of_layer(&log.with_extension("1"))?;
    Ok(())
}

/// The configuration says where to; the flag wins.
fn configured() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let (log, other) = (node.outside().join("log"), node.outside().join("other"));
    let config = node.outside().join("config.toml");
    fs::write(&config, format!("log = \"{}\"\n", log.display()))?;
    let run = |more: &[&str]| {
        let mut decoder = node.decoder(&sealed)?.arg("--config").arg(&config);
        for word in more {
            decoder = decoder.arg(*word);
        }
        decoder.run()?.is_silent_success(&sealed.plain)
    };
    run(&[])?;
    events::of_layer(&log)?;
    run(&["--log", &other.display().to_string()])?;
    events::of_layer(&other)?;
    run(&["--log", "off"])?;
    ensure!(events::read(&log)?.len() == 1 && events::read(&other)?.len() == 1, "`off` logs");
    ensure!(!Path::new("off").exists(), "`off` is a file");
    Ok(())
}

/// If the log file is a link, nothing is written to its target. The journal gets a note, and the
/// event; a link on the way is the operator's.
fn a_symbolic_link() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let dir = node.outside();
    fs::write(dir.join("payload"), sealed.payload_for(&node.recipient).bytes())?;
    fs::write(dir.join("layer"), &sealed.encrypted)?;
    fs::write(dir.join("victim"), "what was there")?;
    fs::create_dir(dir.join("logs"))?;
    symlink("logs", dir.join("linked"))?;
    symlink("victim", dir.join("log"))?;
    symlink("missing", dir.join("dangling"))?;
    let journal = Journal::new(dir)?;
    let decode = |log: &Path| -> Result<()> {
        let keys = node.keys();
        let args = ["--decryption-keys-path".as_ref(), keys.as_path(), "--log".as_ref(), log];
        let mut decoder = journal.decoder(&args)?;
        decoder.env("PAYLOAD", dir.join("payload"));
        let output = decoder.stdin(File::open(dir.join("layer"))?).output()?;
        ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        ensure!(output.stdout == sealed.plain, "another layer came out");
        Ok(())
    };
    for name in ["log", "dangling"] {
        decode(&dir.join(name))?;
        let note = journal.entry()?;
        let told = format!("{name}` cannot be opened: it is a symbolic link");
        ensure!(note.contains("KEYCELL_EVENT=note\n") && note.contains(&told), "{note}");
        let event = journal.entry()?;
        ensure!(event.contains("KEYCELL_VERDICT=decrypted\n"), "{event}");
    }
    ensure!(fs::read_to_string(dir.join("victim"))? == "what was there", "it was written to");
    ensure!(!dir.join("missing").exists(), "it was made");
    decode(&dir.join("linked/log"))?;
    ensure!(events::of_layer(&dir.join("logs/log"))?["verdict"] == "decrypted");
    Ok(())
}

/// A journald in its own namespace, with the sockets where a system has them.
fn journal_and_syslog() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    node.add("README", "so that there is a note")?;
    let dir = node.outside();
    fs::write(dir.join("payload"), sealed.payload_for(&node.recipient).bytes())?;
    fs::write(dir.join("layer"), &sealed.encrypted)?;
    fs::write(dir.join("journald.sh"), include_str!("journald.sh"))?;
    let mut command = Command::new(Tool::Unshare.find()?);
    command.args(["--mount", "--propagation", "private", "sh"]).arg(dir.join("journald.sh"));
    command.arg(dir).arg(keycell_tests::dist("ctd-decoder")?).arg(Tool::Journald.find()?);
    command.arg(keycell_tests::dist("keycell")?);
    let entries = events::parse(&String::from_utf8(output(&mut command)?)?)?;
    let of = |wanted: &str| -> Vec<&Value> {
        let all = entries.iter();
        all.filter(|entry| {
            entry["SYSLOG_IDENTIFIER"] == "ctd-decoder" && entry["_TRANSPORT"] == wanted
        })
        .collect()
    };
    // By default and by name, a decrypted layer and a note each; then a failure.
    let native = of("journal");
    ensure!(native.len() == 6, "{} native entries: {native:#?}", native.len());
    let layer =
        native.iter().find(|entry| entry["KEYCELL_EVENT"] == "layer").context("no event")?;
    let digest = digest(&sealed.encrypted);
    ensure!(layer["KEYCELL_LAYER"] == digest && layer["PRIORITY"] == "6", "{layer}");
    ensure!(layer["KEYCELL_KEY"] == KEY && layer["KEYCELL_BYTES"] == "1000", "{layer}");
    let message = layer["MESSAGE"].as_str().unwrap_or_default();
    ensure!(
        message.starts_with(&format!("decrypted {digest} with `{KEY}` (jwe, SHA256:")),
        "{message}"
    );
    let failed =
        native.iter().find(|entry| entry["KEYCELL_VERDICT"] == "failed").context("no failure")?;
    let message = failed["MESSAGE"].as_str().unwrap_or_default();
    ensure!(failed["PRIORITY"] == "3" && message.contains("\nhint: "), "{failed}");
    ensure!(failed["KEYCELL_HINTS"].is_string() || failed["KEYCELL_HINTS"].is_array(), "{failed}");
    let mut syslog = of("syslog");
    syslog.retain(|entry| entry["_UID"] == "0");
    ensure!(syslog.len() == 2, "{} entries by syslog: {syslog:#?}", syslog.len());
    ensure!(entries.len() > 8, "nobody forged an entry: {entries:#?}");
    // The second run goes on where the first one stopped, and neither counts what a stranger wrote.
    for (file, failed) in [("metrics.1", 0), ("metrics.2", 1)] {
        let metrics = fs::read_to_string(dir.join(file))?;
        let print = layer["KEYCELL_FINGERPRINT"].as_str().context("no fingerprint")?;
        let decrypted =
            format!("{{verdict=\"decrypted\",scheme=\"jwe\",fingerprint=\"{print}\"}} 3\n");
        let failed = format!("{{verdict=\"failed\",scheme=\"\",fingerprint=\"\"}} {failed}\n");
        says(&metrics, &[&decrypted, &failed, "keycell_log_readable 1\n", "skipped_total 0\n"])?;
    }
    for entry in syslog {
        let json: Value = serde_json::from_str(entry["MESSAGE"].as_str().unwrap_or_default())?;
        ensure!(json["event"] == "note" || json["layer"] == digest, "{json}");
        ensure!(entry["SYSLOG_FACILITY"] == "3", "{entry}");
    }
    Ok(())
}
