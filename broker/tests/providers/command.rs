//! Providers that are programs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use keycell_broker::Refusal;
use keycell_broker::providers::TIMEOUT;
use serde_json::{Value, json};

use crate::setup::{OPTIONS, Place, SOON, message, opens, parameters, refused, wrapped};
use crate::{Case, Need};

pub const CASES: &[Case] = &[
    ("the right key", &[Need::Python], || {
        let place = Place::new();
        opens(&place.provider(&place.command("normal")));
    }),
    ("an answer in the Rust ocicrypt's form", &[Need::Python], || {
        let place = Place::new();
        opens(&place.provider(&place.command("numbers")));
    }),
    ("what it cannot open", &[Need::Python], || {
        let place = Place::new();
        let providers = place.provider(&place.command("normal"));
        let mut wrapped = wrapped();
        // Another letter of base64, whichever is there.
        let middle = wrapped.len() / 2;
        wrapped[middle] = if wrapped[middle] == b'A' { b'B' } else { b'A' };
        let text = message(providers.unwrap("test", &wrapped, &[], TIMEOUT));
        assert_eq!(
            text,
            "`/usr/bin/python3` failed with exit code 1: provider.py: this was not wrapped for this provider"
        );
    }),
    ("it wraps and unwraps any bytes", &[Need::Python], || {
        let place = Place::new();
        let providers = place.provider(&place.command("normal"));
        let options: Vec<u8> = (0..=255).collect();
        let wrapped = providers.wrap("test", &options, &[b"a".to_vec()], TIMEOUT).unwrap();
        assert_eq!(*providers.unwrap("test", &wrapped, &[], TIMEOUT).unwrap(), options);
    }),
    ("only its own parameters are sent", &[Need::Python], own_parameters),
    ("the environment, or what is named of it", &[], environment),
    ("one that hangs is killed with what it started", &[], hangs),
    ("one whose child holds its output is killed", &[], || {
        let (place, text) = sh("sleep 60 & echo $! >RECORD/grandchild", SOON);
        assert_eq!(
            text,
            "`sh` did not answer within 1 second and was killed; it said nothing on standard error"
        );
        assert_dead(&place, "grandchild");
    }),
    ("garbage", &[], || {
        let (_, text) = sh("echo '{\"keyunwrapresults\": SECRET'", TIMEOUT);
        assert_eq!(text, "`sh` answered something that is not JSON, see its line 1, column 22");
    }),
    ("binary garbage", &[], || {
        // Not all of it is random: a number is JSON.
        let (_, text) = sh("printf '\\377'; head -c 1000 /dev/urandom", TIMEOUT);
        assert!(text.starts_with("`sh` answered something that is not JSON"), "{text}");
    }),
    ("an empty object", &[], || {
        let (_, text) = sh("echo '{}'", TIMEOUT);
        assert_eq!(
            text,
            "`sh` answered without a key: `keyunwrapresults.optsdata` is missing or empty"
        );
    }),
    ("a key that is not base64", &[], || {
        let (_, text) = sh("echo '{\"keyunwrapresults\":{\"optsdata\":\"SECRET!\"}}'", TIMEOUT);
        assert_eq!(text, "`sh` answered without base64 in `keyunwrapresults.optsdata`");
    }),
    ("no answer", &[], || {
        assert_eq!(sh("cat >/dev/null", TIMEOUT).1, "`sh` answered nothing");
    }),
    ("a flood", &[], || {
        let (place, text) = sh("echo $$ >RECORD/child; exec yes SECRET", TIMEOUT);
        assert_eq!(
            text,
            "`sh` answered more than 1 MiB and was killed; it said nothing on standard error"
        );
        assert_dead(&place, "child");
    }),
    ("it closes early", &[], || {
        assert_eq!(sh("exec <&- >&-", TIMEOUT).1, "`sh` answered nothing");
    }),
    ("it answers without reading", &[], || {
        let place = Place::new();
        let script = "exec <&-; echo '{\"keyunwrapresults\":{\"optsdata\":\"AQID\"}}'";
        let providers = place.provider(&in_sh(&place, script));
        let unwrapped = providers.unwrap("test", &vec![0; 1 << 20], &[], TIMEOUT).unwrap();
        assert_eq!(**unwrapped, [1, 2, 3]);
    }),
    ("it fails and says why", &[], || {
        let script =
            "printf 'no vault:\\n\\033[31m\\342\\200\\256 `token` has expired\\n' >&2; exit 3";
        let (_, text) = sh(script, TIMEOUT);
        assert_eq!(text, "`sh` failed with exit code 3: no vault: [31m 'token' has expired");
    }),
    ("it fails and says nothing", &[], || {
        let (_, text) = sh("echo SECRET; exit 4", TIMEOUT);
        assert_eq!(text, "`sh` failed with exit code 4; it said nothing on standard error");
    }),
    ("a right answer and a wrong exit code", &[], || {
        let (_, text) = sh(
            "echo '{\"keyunwrapresults\":{\"optsdata\":\"AQID\"}}'; echo late >&2; exit 1",
            TIMEOUT,
        );
        assert_eq!(text, "`sh` failed with exit code 1: late");
    }),
    ("a signal ends it", &[], || {
        let (_, text) = sh("kill -SEGV $$", TIMEOUT);
        assert_eq!(text, "`sh` was ended by signal 11; it said nothing on standard error");
    }),
    ("a key on standard error is taken out", &[], || {
        let (_, text) = sh(
            "echo 'debug: optsdata=c3ltbWV0cmljIGtleSBvZiAzMiBieXRlcyAuLi4uLi4uLi4= x' >&2; exit 1",
            TIMEOUT,
        );
        assert_eq!(text, "`sh` failed with exit code 1: debug: … x");
    }),
    ("an endless standard error", &[], || {
        let (place, text) = sh("echo $$ >RECORD/child; echo begun >&2; exec yes words >&2", SOON);
        let begin = "`sh` did not answer within 1 second and was killed: begun words words";
        assert!(text.starts_with(begin) && text.contains(" … "), "{text}");
        assert_dead(&place, "child");
    }),
    ("a long standard error and the right key", &[Need::Python], || {
        let place = Place::new();
        opens(&place.provider(&place.command("talkative")));
    }),
    ("no such program", &[], || {
        let place = Place::new();
        let providers = place.provider(&json!({"cmd": {"path": "/nowhere/kms"}}));
        assert_eq!(
            refused(&providers, TIMEOUT),
            "cannot start `/nowhere/kms`: no such file or directory; correct `path` in its `cmd`"
        );
    }),
    ("a program that may not be run", &[], || {
        let place = Place::new();
        fs::write(place.path("kms"), "#!/bin/sh\n").unwrap();
        let providers = place.provider(&json!({"cmd": {"path": place.text("kms")}}));
        let text = refused(&providers, TIMEOUT);
        assert!(text.ends_with("kms`: permission denied; correct `path` in its `cmd`"), "{text}");
    }),
    ("not configured", &[], || {
        let place = Place::new();
        let providers = place.providers(&json!({"other": {"cmd": {"path": "true"}}}));
        let unwrapped = providers.unwrap("test", b"wrapped", &[], TIMEOUT);
        assert!(matches!(unwrapped, Err(Refusal::NotConfigured)));
        let wrapped = providers.wrap("test", OPTIONS, &[], TIMEOUT);
        assert!(matches!(wrapped, Err(Refusal::NotConfigured)));
    }),
];

fn own_parameters() {
    let place = Place::new();
    let providers = place.providers(&json!({
        "test": place.command("normal"),
        "other": {"cmd": {"path": "false"}},
    }));
    let secrets = parameters(&["PARAMETER", "", "\u{0}\u{1}"]);
    let wrapped = wrapped();
    providers.unwrap("test", &wrapped, &secrets, TIMEOUT).unwrap();
    let request = place.recorded();
    assert_eq!(request["op"], "keyunwrap");
    assert_eq!(request["keywrapparams"], json!({"ec": null, "optsdata": null}));
    let sent = json!({"Parameters": {"test": ["UEFSQU1FVEVS", "", "AAE="]}});
    assert_eq!(request["keyunwrapparams"]["dc"], sent);
    assert_eq!(request.as_object().unwrap().len(), 3);
    assert_eq!(request["keyunwrapparams"].as_object().unwrap().len(), 2);
    // One without parameters gets an empty object, which `null` is not to all providers.
    providers.unwrap("test", &wrapped, &[], TIMEOUT).unwrap();
    assert_eq!(place.recorded()["keyunwrapparams"]["dc"], json!({"Parameters": {}}));
}

fn environment() {
    let place = Place::new();
    // What the shell was given, not what it has made of it.
    let script =
        "cat /proc/$$/environ >RECORD/environment; cat /proc/$$/cmdline >RECORD/arguments; exit 1";
    let mut entry = in_sh(&place, script);
    let given = || {
        let text = fs::read_to_string(place.path("environment")).unwrap();
        let names =
            text.split_terminator('\0').map(|line| line.split('=').next().unwrap().to_owned());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let secrets = parameters(&["PARAMETER"]);
    message(place.provider(&entry).unwrap("test", b"WRAPPED", &secrets, TIMEOUT));
    let mut ours: Vec<_> =
        std::env::vars_os().map(|(name, _)| name.into_string().unwrap()).collect();
    ours.sort();
    assert!(ours.len() > 5);
    assert_eq!(given(), ours);
    let arguments = fs::read_to_string(place.path("arguments")).unwrap();
    assert!(!arguments.contains("PARAMETER") && !arguments.contains("WRAPPED"));

    // Set by cargo for every test.
    entry["cmd"]["env"] = json!(["CARGO_MANIFEST_DIR", "KEYCELL_IS_NOT_SET"]);
    let text = message(place.provider(&entry).unwrap("test", b"WRAPPED", &secrets, TIMEOUT));
    assert_eq!(given(), ["CARGO_MANIFEST_DIR", "PATH"]);
    assert!(text.ends_with("add what it needs to `env`, or remove `env` to pass on all"), "{text}");

    // Behind walls, nothing comes by itself.
    entry["cmd"]["files"] = json!([place.text(""), "/proc"]);
    for (names, wanted) in [
        (json!(null), &["PATH"][..]),
        (json!([]), &["PATH"]),
        (json!(["CARGO_MANIFEST_DIR"]), &["CARGO_MANIFEST_DIR", "PATH"]),
    ] {
        entry["cmd"]["env"] = names;
        let text = message(place.provider(&entry).unwrap("test", b"WRAPPED", &secrets, TIMEOUT));
        assert_eq!(given(), wanted);
        assert!(text.ends_with("add what it needs to `files` and `env`"), "{text}");
    }
}

fn hangs() {
    let begin = Instant::now();
    let (place, text) = sh(
        "echo $$ >RECORD/child; (sleep 60 & echo $! >RECORD/grandchild; wait) & echo waiting for the vault >&2; wait",
        SOON,
    );
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
    assert_eq!(text, "`sh` did not answer within 1 second and was killed: waiting for the vault");
    assert_dead(&place, "child");
    assert_dead(&place, "grandchild");
}

/// Whether the process with the recorded number is no more, or will be as soon as it is reaped.
fn assert_dead(place: &Place, name: &str) {
    let pid = fs::read_to_string(place.path(name)).unwrap();
    let status = Path::new("/proc").join(pid.trim()).join("stat");
    let deadline = Instant::now() + Duration::from_secs(5);
    // Whoever adopts a grandchild reaps it in its own time: a zombie is dead.
    while let Ok(stat) = fs::read_to_string(&status) {
        if stat.rsplit(')').next().unwrap().trim_start().starts_with(['Z', 'X']) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is alive: {stat}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What comes of a shell script as a provider.
fn sh(script: &str, limit: Duration) -> (Place, String) {
    let place = Place::new();
    let text = refused(&place.provider(&in_sh(&place, script)), limit);
    (place, text)
}

fn in_sh(place: &Place, script: &str) -> Value {
    let script = script.replace("RECORD", &place.text(""));
    json!({"cmd": {"path": "sh", "args": ["-c", script]}})
}
