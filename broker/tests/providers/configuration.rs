//! The operator's file.

use std::fs;
use std::path::Path;
use std::process::Command;

use keycell_broker::providers::{Providers, TIMEOUT};
use serde_json::{Value, json};

use crate::setup::{Place, message, opens, refused};
use crate::{Case, Need};

pub const CASES: &[Case] = &[
    ("no file", &[], || {
        let text = message(Providers::open(Path::new("/nowhere/providers.json")));
        assert_eq!(
            text,
            "the key providers' configuration `/nowhere/providers.json` cannot be read: no such \
             file or directory; correct the file, or the path in `OCICRYPT_KEYPROVIDER_CONFIG`"
        );
    }),
    ("a directory", &[], || {
        assert!(message(Providers::open(Path::new("/"))).contains("`/` is not a regular file"));
    }),
    ("a pipe that nobody writes to", &[], || {
        let place = Place::new();
        assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
        assert!(message(Providers::open(&place.path("pipe"))).contains("is not a regular file"));
    }),
    ("garbage", &[], || {
        let text = of("{\"key-providers\": SECRET");
        assert!(text.contains("is not JSON: see line 1, column 19"), "{text}");
    }),
    ("an empty file", &[], || assert!(of("").contains("is not JSON"))),
    ("too deep", &[], || assert!(of(&"[".repeat(100_000)).contains("is not JSON"))),
    ("another shape", &[], || {
        for json in ["[]", "\"a\"", r#"{"key-providers": []}"#] {
            assert!(of(json).contains("is not of the form `{\"key-providers\""), "{json}");
        }
    }),
    ("too large", &[], || {
        let text = of(&format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20)));
        assert!(text.contains("is larger than 1 MiB"), "{text}");
    }),
    ("no providers", &[], || {
        for json in ["{}", r#"{"key-providers": null}"#, r#"{"key-providers": {}, "x": 1}"#] {
            assert_eq!(open(json).unwrap().names().count(), 0, "{json}");
        }
    }),
    ("names are sorted and keep their case", &[], || {
        let json = r#"{"KEY-Providers": {"b": {}, "a": {"cmd": null}, "A": {}}}"#;
        assert_eq!(open(json).unwrap().names().collect::<Vec<_>>(), ["A", "a", "b"]);
    }),
    ("members in any case, and unknown ones", &[Need::Python], || {
        let place = Place::new();
        let command = &place.command("normal")["cmd"];
        let entry =
            json!({"Cmd": {"PATH": command["path"], "Args": command["args"], "x": 1}, "y": {}});
        opens(&place.provider(&entry));
    }),
    ("cmd wins over grpc, and grpc over ttrpc", &[Need::Python], || {
        let place = Place::new();
        let mut entry = place.command("normal");
        entry["grpc"] = json!("127.0.0.1:1");
        entry["ttrpc"] = json!("unix:///nowhere/a.sock");
        opens(&place.provider(&entry));
        entry["cmd"] = Value::Null;
        assert!(refused(&place.provider(&entry), TIMEOUT).contains("`127.0.0.1:1`"));
        entry["grpc"] = json!("");
        assert!(refused(&place.provider(&entry), TIMEOUT).contains("`unix:///nowhere/a.sock`"));
    }),
    ("a faulty entry does not spoil the others", &[Need::Python], || {
        let place = Place::new();
        let providers = place.providers(&json!({
            "test": place.command("normal"),
            "a": 1,
            "b": {"cmd": {"path": ["SECRET"]}},
            "c": {"cmd": {"path": ""}},
            "d": {"grpc": 50051},
            "e": {"grpc": "localhost:1", "grpc-tls": {"cert-file": 1}},
            "f": {"ttrpc": []},
            "g": {"path": "/usr/lib/kms", "args": []},
        }));
        opens(&providers);
        for (name, wanted) in [
            ("a", "it is not an object"),
            (
                "b",
                "`cmd` needs a `path`, and `args`, `env` and `files`, if there are any, lists of strings",
            ),
            ("c", "`path` in `cmd` is empty"),
            ("d", "`grpc` is not an address such as `localhost:50051`"),
            ("e", "a member of `grpc-tls` has the wrong type"),
            ("f", "`ttrpc` is not an address such as `unix:///run/provider.sock`"),
            (
                "g",
                "it has neither `cmd` nor `grpc` nor `ttrpc`; put `path` and `args` into an object `cmd`",
            ),
        ] {
            let text = message(providers.unwrap(name, b"", &[], TIMEOUT));
            assert!(text.starts_with("its entry in `") && text.ends_with(wanted), "{text}");
        }
    }),
];

fn open(json: &str) -> Result<Providers, keycell_broker::Refusal> {
    let place = Place::new();
    fs::write(place.path("file"), json).unwrap();
    Providers::open(&place.path("file"))
}

fn of(json: &str) -> String {
    message(open(json))
}
