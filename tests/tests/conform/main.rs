//! `keycell conform`: our decoder passes its cases, and decoders that are wrong do not.

mod hostile;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use keycell_tests::dist;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use serde_json::Value;
use tempfile::TempDir;

/// Wrong decoders: what they do, the cases that they run, and what the kit must say of every one.
const WRONG: [(&str, &str, &str, &[&str]); 9] = [
    ("succeeds-without-a-layer", "exit 0", "jwe/bad/not-", &["exit code 0, with 0 bytes"]),
    ("succeeds-at-anything", "exit 0", "skopeo/", &["0 bytes came out, the layer has"]),
    ("copies", "exec cat", "skopeo/", &["they are not the layer"]),
    (
        "releases-before-it-fails",
        "cat; echo 'error: the HMAC does not match' >&2; exit 1",
        "layer/altered/last-byte",
        &["at most should have"],
    ),
    ("fails-at-anything", "echo no >&2; exit 1", "layer/length/", &["exit code 1: no"]),
    ("fails-in-silence", "exit 1", "jwe/bad/tag-", &["exit code 1 without a message"]),
    ("hangs", "sleep 600 & wait", "process/early/", &["still running after 2 s"]),
    ("crashes", "kill -SEGV $$", "options/key/", &["ended by signal 11"]),
    ("writes-without-end", "exec cat /dev/zero", "options/hmac/", &["writes without end"]),
];

/// The same, of which the message is what is wrong.
const TELLTALE: [(&str, &str, &str); 3] = [
    ("panics", "echo 'panic: runtime error: index out of range [-1]' >&2; exit 2", "crashed: "),
    ("traps", "echo '    2: wasm trap: wasm `unreachable` executed' >&2; exit 134", "crashed: "),
    ("shows-the-key", "cat \"$2\"/* >&2; exit 1", "holds a line of the key"),
];

fn main() -> ExitCode {
    let mut suite = Suite::from_args().at_most(1);
    suite.case("ours/all", &[], || {
        let report = judged(&dist("ctd-decoder")?, &["--require", "decompress"], true)?;
        let all = report["cases"].as_array().context("cases")?.len();
        ensure!(all > 700, "{all} cases");
        passes(&report, all)
    });
    suite.case("ours/bytes-in-the-guest", &[], || {
        let words = ["--filter", "layer/", "--filter", "options/", "--require", "may"];
        let mut command = conform(&dist("ctd-decoder")?, &words)?;
        command.args(["--json", "--", "--cipher", "guest"]);
        let report = report(&command.output()?, true)?;
        passes(&report, 140)
    });
    for guest in ["decoder-portable.wasm", "decoder-portable-core.wasm"] {
        // A runtime compiles the guest anew for each case: some of every family.
        suite.case(format!("ours/{guest}"), &[Tool::Wasmtime], move || {
            let wasmtime = Tool::Wasmtime.find()?.display().to_string();
            let words = [
                "jwe/skopeo",
                "pkcs7/skopeo",
                "pgp/skopeo",
                "layer/altered/last",
                "options/nonce/they",
                "keys/links/",
                "jwe/bad/tag-",
                "payload/json/bad/open",
                "process/reader/",
                "provider/answers/",
            ];
            let words = words.iter().flat_map(|word| ["--filter", word]);
            let words: Vec<_> =
                words.chain(["--wasmtime", &wasmtime, "--require", "may"]).collect();
            let report = judged(&dist(guest)?, &words, true)?;
            ensure!(report["not-applicable"].as_u64() == Some(1), "providers need a host");
            passes(&report, 30)
        });
    }

    let place = Arc::new(TempDir::new().expect("a directory can be made"));
    for (name, script, filter, says) in WRONG {
        let place = place.clone();
        suite.case(format!("wrong/{name}"), &[], move || {
            let report = wrong(&place, name, script, filter)?;
            fails_everywhere(&report, says)
        });
    }
    for (name, script, says) in TELLTALE {
        let place = place.clone();
        suite.case(format!("wrong/{name}"), &[], move || {
            let report = wrong(&place, name, script, "jwe/bad/wrapped-key-")?;
            fails_everywhere(&report, &[says])
        });
    }
    suite.case("known/exactly-these", &[], known);
    suite.case("levels/what-counts", &[], levels);
    suite.case("list", &[], || {
        let output = keycell(&["conform", "--list", "--filter", "skopeo"])?.output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && text.lines().count() > 10, "{text}");
        ensure!(text.lines().all(|line| line.contains("skopeo") && line.ends_with(')')), "{text}");
        Ok(())
    });
    suite.case("kit/what-it-cannot-run", &[], mistakes);
    suite.case("kit/cases-of-this-repository", &[], || {
        let cases = keycell_tests::workspace().join("conformance/cases");
        let cases = cases.display().to_string();
        let from_path = listed(&["--cases", &cases])?;
        ensure!(from_path == listed(&[])?, "`keycell` was built from other cases");
        Ok(())
    });
    hostile::cases(&mut suite);
    peer(&mut suite);
    let outcome = suite.run();
    drop(place);
    outcome
}

/// The Go original, where there is one: exactly what is known of it fails.
fn peer(suite: &mut Suite) {
    let Some(path) = std::env::var_os("CTD_PEER").map(PathBuf::from) else {
        if !std::env::args().any(|word| word == "--list") {
            eprintln!("skipping the original: `CTD_PEER` names none");
        }
        return;
    };
    suite.case("original/known-failures", &[], move || {
        let report = judged(&path, &["--known", "go-imgcrypt"], true)?;
        ensure!(failed(&report).len() > 50, "the original fails less than it is known to");
        Ok(())
    });
}

fn keycell(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(dist("keycell")?);
    command.args(args);
    Ok(command)
}

fn conform(target: &Path, args: &[&str]) -> Result<Command> {
    let mut command = keycell(&["conform"])?;
    command.arg(target).args(args);
    Ok(command)
}

fn listed(args: &[&str]) -> Result<Vec<u8>> {
    Ok(keycell(&["conform", "--list"])?.args(args).output()?.stdout)
}

/// What the kit says of a target, with an exit code that says the same.
fn judged(target: &Path, args: &[&str], conforms: bool) -> Result<Value> {
    report(&conform(target, args)?.arg("--json").output()?, conforms)
}

fn report(output: &Output, conforms: bool) -> Result<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| said.to_string())?;
    ensure!(report["conforms"] == conforms, "{}", failures(&report));
    let code = if conforms { 0 } else { 1 };
    ensure!(output.status.code() == Some(code), "{}; {}", output.status, failures(&report));
    Ok(report)
}

fn passes(report: &Value, least: usize) -> Result<()> {
    ensure!(failed(report).is_empty(), "{}", failures(report));
    let passed = with_outcome(report, "passed").len();
    let skipped = with_outcome(report, "not-applicable").len();
    ensure!(passed + skipped >= least, "{passed} cases passed");
    Ok(())
}

fn fails_everywhere(report: &Value, says: &[&str]) -> Result<()> {
    let failed = failed(report);
    ensure!(!failed.is_empty() && with_outcome(report, "passed").is_empty(), "{report:#}");
    for case in failed {
        let reason = case["reason"].as_str().unwrap_or_default();
        ensure!(says.iter().any(|words| reason.contains(words)), "{}: {reason}", case["name"]);
    }
    Ok(())
}

fn with_outcome<'a>(report: &'a Value, outcome: &str) -> Vec<&'a Value> {
    let cases = report["cases"].as_array().into_iter().flatten();
    cases.filter(|case| case["outcome"] == outcome).collect()
}

fn failed(report: &Value) -> Vec<&Value> {
    with_outcome(report, "failed")
}

fn failures(report: &Value) -> String {
    let line = |case: &&Value| format!("{}: {}", case["name"], case["reason"]);
    failed(report).iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A decoder that is a shell script.
fn script(place: &TempDir, name: &str, script: &str) -> Result<PathBuf> {
    let path = place.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn wrong(place: &TempDir, name: &str, text: &str, filter: &str) -> Result<Value> {
    let path = script(place, name, text)?;
    judged(&path, &["--filter", filter, "--timeout", "2", "--require", "may"], false)
}

/// Exactly the known failures are success; one more or one less is not.
fn known() -> Result<()> {
    let place = TempDir::new()?;
    let refuses = script(&place, "refuses", "echo no >&2; exit 1")?;
    let filter = ["--filter", "jwe/item/"];
    let report = judged(&refuses, &[&filter[..], &["--require", "may"]].concat(), false)?;
    let names: Vec<_> = failed(&report).iter().filter_map(|case| case["name"].as_str()).collect();
    ensure!(names.len() > 2, "{names:?}");
    let list = place.path().join("list");
    let with = |names: &[&str], conforms| -> Result<Value> {
        fs::write(&list, format!("# refuses all\n\n{}  # because\n", names.join("\n")))?;
        let list = list.display().to_string();
        judged(&refuses, &[&filter[..], &["--known", &list]].concat(), conforms)
    };
    with(&names, true)?;
    let report = with(&names[1..], false)?;
    ensure!(report["unexpected"] == serde_json::json!([names[0]]), "{report:#}");
    let passes = script(&place, "passes", "echo no >&2; exit 1")?;
    fs::write(&list, "jwe/bad/tag-empty\n")?;
    let list = list.display().to_string();
    let words = ["--filter", "jwe/bad/tag-", "--known", &list];
    let report = judged(&passes, &words, false)?;
    ensure!(report["no-longer-failing"] == serde_json::json!(["jwe/bad/tag-empty"]), "{report:#}");
    Ok(())
}

/// A failure below the required level is reported, and does not count.
fn levels() -> Result<()> {
    let place = TempDir::new()?;
    let refuses = script(&place, "refuses", "echo no >&2; exit 1")?;
    let may = ["--filter", "payload/media-type/docker"];
    ensure!(failed(&judged(&refuses, &may, true)?).len() == 2);
    judged(&refuses, &[&may[..], &["--require", "may"]].concat(), false)?;
    let output = conform(&refuses, &may)?.output()?;
    let text = String::from_utf8(output.stdout)?;
    for words in [
        "failed may        payload/media-type/docker-tar",
        "exit code 1: no",
        "Keycell: media types",
        "0 of 2 cases passed",
    ] {
        ensure!(text.contains(words), "nothing of `{words}`: {text}");
    }
    Ok(())
}

/// Exit code 2 and one error, when it is not the target's fault.
fn mistakes() -> Result<()> {
    let place = TempDir::new()?;
    let list = place.path().join("list");
    fs::write(&list, "jwe/no-such-case\n")?;
    let broken = place.path().join("broken.json");
    fs::write(&broken, "{\"family\":1}")?;
    let empty = place.path().join("empty");
    fs::create_dir(&empty)?;
    let guest = place.path().join("guest.wasm");
    fs::write(&guest, "\0asm")?;
    let [list, broken, empty, guest] =
        [list, broken, empty, guest].map(|path| path.display().to_string());
    for (line, words) in [
        ("/nowhere/decoder", "cannot find `/nowhere/decoder`"),
        ("/", "`/` is no program"),
        ("/bin/true --filter no-such-word", "no case has a name with `no-such-word`"),
        (
            "/bin/true --known no-such-list",
            "cannot read `no-such-list`, and the lists held here are `go-imgcrypt`",
        ),
        (
            &format!("/bin/true --known {list}"),
            "1 known failures are names of no case, `jwe/no-such-case` the first",
        ),
        (&format!("/bin/true --cases {broken}"), "is no file of cases: invalid type"),
        (&format!("/bin/true --cases {empty}"), "holds no `.json` file with cases"),
        ("/bin/true --cases /nowhere", "cannot read `/nowhere`"),
        (
            &format!("{guest} --wasmtime /nowhere/wasmtime"),
            "cannot start `/nowhere/wasmtime`, which runs guests",
        ),
        (&format!("{guest} --wasmtime /bin/false"), "`/bin/false --version` fails"),
    ] {
        let output = keycell(&["conform"])?.args(line.split(' ')).output()?;
        let said = String::from_utf8(output.stderr)?;
        if output.status.code() != Some(2)
            || !said.starts_with("keycell: error: ")
            || !said.contains(words)
        {
            bail!("`{line}`: {}: {said}", output.status);
        }
    }
    Ok(())
}
