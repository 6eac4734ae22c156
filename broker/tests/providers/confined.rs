//! Commands that are confined to the files that the operator names.

use std::fs;
use std::path::Path;

use keycell_broker::providers::TIMEOUT;
use serde_json::{Value, json};

use crate::setup::{Place, opens, refused};
use crate::{Case, Need};

pub const CASES: &[Case] = &[
    ("it reaches its files, and no others", &[], || {
        let place = Place::new();
        assert_eq!(tried(&place, Some(json!([place.text("its"), "/proc"]))), Ok(()));
        assert_eq!(fs::read(place.path("its/made")).unwrap(), b"made\n");
        assert_eq!(fs::read(place.path("other")).unwrap(), b"other");
    }),
    ("without the list it reaches both", &[], || {
        let other = Err("`/bin/sh` failed with exit code 12: other".to_owned());
        assert_eq!(tried(&Place::new(), None), other);
    }),
    ("an empty list is a list", &[], || {
        let why = tried(&Place::new(), Some(json!([]))).unwrap_err();
        assert!(why.starts_with("`/bin/sh` failed with exit code 11: "), "{why}");
        assert!(why.contains("Permission denied"), "{why}");
    }),
    ("the right key", &[Need::Python], || {
        let place = Place::new();
        let mut entry = place.command("normal");
        let script = entry["cmd"]["args"][0].as_str().unwrap().to_owned();
        entry["cmd"]["files"] = json!([script, Path::new(&place.text("x")).parent()]);
        opens(&place.provider(&entry));
    }),
    ("a file that is not there", &[], || {
        let why = tried(&Place::new(), Some(json!(["/nowhere/at/all"]))).unwrap_err();
        let begin =
            "`/bin/sh` failed with exit code 126: it cannot be confined to 'files' in its 'cmd': ";
        assert!(why.starts_with(begin) && why.contains("/nowhere/at/all"), "{why}");
    }),
    ("a program that is not there", &[], || {
        let entry = json!({"cmd": {"path": "/nowhere/kms", "files": []}});
        assert_eq!(
            refused(&Place::new().provider(&entry), TIMEOUT),
            "`/nowhere/kms` failed with exit code 126: there is no '/nowhere/kms'; correct 'path' in its 'cmd'"
        );
    }),
    ("a path that is not whole", &[], || {
        let entry = json!({"cmd": {"path": "true", "files": ["etc/kms"]}});
        let why = refused(&Place::new().provider(&entry), TIMEOUT);
        assert!(why.ends_with("a path in `files` of `cmd` does not begin with `/`"), "{why}");
    }),
];

/// What a command can do that was taken over: the number says what went otherwise than it must.
const TRIES: &str = "
    cat PLACE/its/own >/dev/null || exit 11
    cat PLACE/other >&2 && exit 12
    echo made >PLACE/its/made || exit 13
    echo changed 2>/dev/null >PLACE/other && exit 14
    grep -q '^NoNewPrivs:.1' /proc/self/status || exit 15
    grep -q '^Seccomp:.2' /proc/self/status || exit 16
    unshare --mount true 2>/dev/null && exit 17
    unshare --user --mount true 2>/dev/null && exit 18
    ls /etc/ssl/certs >/dev/null 2>&1 || [ ! -e /etc/ssl/certs ] || exit 19
    ls /etc/ssl/private >/dev/null 2>&1 && exit 20
    cat /etc/shadow >/dev/null 2>&1 && exit 21
    echo '{\"keyunwrapresults\":{\"optsdata\":\"AQID\"}}'";

fn tried(place: &Place, files: Option<Value>) -> Result<(), String> {
    fs::create_dir(place.path("its")).unwrap();
    fs::write(place.path("its/own"), "own").unwrap();
    fs::write(place.path("other"), "other").unwrap();
    let whole = place.text("x");
    let root = Path::new(&whole).parent().unwrap().to_str().unwrap();
    let mut entry =
        json!({"cmd": {"path": "/bin/sh", "args": ["-c", TRIES.replace("PLACE", root)]}});
    if let Some(files) = files {
        entry["cmd"]["files"] = files;
    }
    let unwrapped = place.provider(&entry).unwrap("test", b"wrapped", &[], TIMEOUT);
    unwrapped.map(|key| assert_eq!(**key, [1, 2, 3])).map_err(|why| why.to_string())
}
