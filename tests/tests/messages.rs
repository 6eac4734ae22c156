//! Every message that an operator can meet, one file each in `tests/cmd`: the command that causes
//! it, and the whole of what it says. `TRYCMD=overwrite` writes them anew; read them then as one
//! who has to repair a node at night.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use trycmd::schema::Bin;

/// The commands of the files, in the directory that they take their input from.
#[test]
fn commands_say_what_their_files_say() {
    let decoder = keycell_tests::dist("ctd-decoder").expect("`make` has built the decoder");
    let directory = decoder.parent().expect("a file lies in a directory").display().to_string();
    // `without`, which runs a program as on a kernel that lacks something.
    let ours = Path::new(env!("CARGO_BIN_EXE_without"));
    let ours = ours.parent().expect("a file lies in a directory").display();
    // Files are named relative to it, and so do messages name them.
    env::set_current_dir(commands().join("fixtures")).expect("the fixtures are there");
    trycmd::TestCases::new()
        .env("PATH", format!("{directory}:{ours}:/usr/bin:/bin"))
        .register_bin("ctd-decoder", Bin::Path(decoder))
        .register_bin("sh", Bin::Path("/bin/sh".into()))
        .case(commands().join("*.trycmd"));
}

/// What is said to go wrong begins in lower case, ends without a full stop, and comes with a way
/// out. Nothing else is said.
#[test]
fn messages_keep_their_form() {
    let mut errors = 0;
    for file in fs::read_dir(commands()).expect("the commands are there") {
        let path = file.expect("a directory can be read").path();
        if path.extension().is_none_or(|extension| extension != "trycmd") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text file");
        let lines: Vec<_> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some((prefix, said)) = ["ctd-decoder: error: ", "keycell: error: ", "hint: "]
                .into_iter()
                .find_map(|prefix| Some((prefix, line.strip_prefix(prefix)?)))
            else {
                continue;
            };
            let at = format!("{}:{}: {line}", path.display(), index + 1);
            assert!(!said.is_empty() && !said.starts_with(char::is_uppercase), "{at}");
            assert!(!said.ends_with(['.', '!', ' ']), "{at}");
            assert!(said.matches('`').count().is_multiple_of(2), "{at}");
            if prefix != "hint: " {
                errors += 1;
                let next = lines.get(index + 1).copied().unwrap_or_default();
                assert!(next.starts_with("hint: "), "no hint: {at}");
            }
        }
    }
    assert!(errors > 40, "only {errors} messages");
}

fn commands() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cmd")
}
