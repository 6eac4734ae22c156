//! Case files of strangers: `keycell conform` writes nothing outside of its own directory, and lets no
//! case decide what a target executes without `--trust-cases`.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Result, ensure};
use keycell_tests::suite::Suite;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{keycell, script};

/// Names of files that lead elsewhere or are no plain relative paths.
fn names(place: &Path) -> Vec<String> {
    let absolute = place.join("absolute").display().to_string();
    let mut names: Vec<_> = [
        "../x",
        "..",
        "../../x",
        "a/../../x",
        "a/..",
        "a/../x",
        "/",
        "//x",
        "",
        ".",
        "./x",
        "a//b",
        "a/./b",
        "a/",
        "nul\0name",
        "x/\0",
    ]
    .map(str::to_owned)
    .into();
    names.extend([absolute, "a/".repeat(64) + "x", "a/".repeat(3000) + "x", "x".repeat(1025)]);
    names
}

pub fn cases(suite: &mut Suite) {
    for (member, trusted) in [("keys", false), ("around", true)] {
        suite.case(format!("hostile/names-in-{member}"), &[], move || {
            let place = Place::new()?;
            for name in names(place.0.path()) {
                let files = json!({ name.as_str(): "file" });
                let case = match member {
                    "keys" => json!({ "keys": files }),
                    _ => json!({ "call": { "around": files } }),
                };
                let output = place.run(case, trusted)?;
                refused(&output, "which is no plain relative path")?;
                place.nothing_was_written()?;
            }
            Ok(())
        });
    }
    suite.case("hostile/names-of-links", &[], || {
        let place = Place::new()?;
        for name in ["../x", "/tmp/keycell-hostile-link", "a/../../x"] {
            let output = place.run(json!({ "keys": { name: { "link": "/" } } }), false)?;
            refused(&output, "which is no plain relative path")?;
            place.nothing_was_written()?;
        }
        Ok(())
    });
    suite.case("hostile/through-a-link", &[], through_a_link);
    suite.case("hostile/over-a-link", &[], over_a_link);
    suite.case("hostile/around-in-the-place-of-keys", &[], || {
        let place = Place::new()?;
        let around = json!({ "keys": { "link": place.outside() } });
        let case = json!({ "keys": { "x": "file" }, "call": { "around": around } });
        refused(&place.run(case, true)?, "cannot prepare the case")?;
        place.nothing_was_written()
    });
    suite.case("hostile/decides-what-is-executed", &[], decides);
    suite.case("hostile/takes-all-memory", &[], || {
        let place = Place::new()?;
        for times in [1_u64 << 40, u64::MAX] {
            let part = json!({ "base64": "YWJj", "times": times });
            for content in [json!({ "repeat": part }), json!({ "parts": [part] })] {
                let output = place.run(json!({ "files": { "file": content } }), false)?;
                refused(&output, "it is longer than 1024 MiB")?;
            }
        }
        Ok(())
    });
    suite.case("hostile/never-ends", &[], || {
        let place = Place::new()?;
        for call in [
            json!({ "pieces": { "bytes": 1, "pause": u64::MAX } }),
            json!({ "reads_slowly": 1_000_000 }),
        ] {
            refused(&place.run(json!({ "call": call }), false)?, "pauses for more than")?;
        }
        Ok(())
    });
    // A key that is a link to what never ends is not read for the report.
    suite.case("hostile/link-to-a-device", &[], || {
        let place = Place::new()?;
        let case = json!({ "keys": { "x": { "link": "/dev/zero" } } });
        let output = place.run(case, false)?;
        ensure!(output.status.code() == Some(0), "{output:?}");
        Ok(())
    });
}

/// A link that a file is to be written through: sorted, the link comes first.
fn through_a_link() -> Result<()> {
    let place = Place::new()?;
    for to in [place.outside(), "../../outside".to_owned(), "{around}/../../outside".to_owned()] {
        let keys = json!({ "a": { "link": to }, "a/x": "file", "a/more/x": "file" });
        refused(&place.run(json!({ "keys": keys }), false)?, "cannot prepare the case")?;
        place.nothing_was_written()?;
    }
    Ok(())
}

/// A file in the place of a link, and a link that dangles.
fn over_a_link() -> Result<()> {
    let place = Place::new()?;
    for to in ["victim", "new"] {
        let to = format!("{}/{to}", place.outside());
        let around = json!({ "keys/a": "file" });
        let case = json!({ "keys": { "a": { "link": to } }, "call": { "around": around } });
        refused(&place.run(case, true)?, "cannot prepare the case")?;
        place.nothing_was_written()?;
    }
    Ok(())
}

/// `args`, `env` and `around` are for cases that are trusted.
fn decides() -> Result<()> {
    let place = Place::new()?;
    for call in [
        json!({ "args": ["--log", "/etc/passwd"] }),
        json!({ "args": [] }),
        json!({ "env": { "LD_PRELOAD": "{around}/evil.so" } }),
        json!({ "env": { "PATH": "{around}" } }),
        json!({ "around": { "etc/ocicrypt.conf": "file" } }),
    ] {
        let output = place.run(json!({ "call": call }), false)?;
        refused(&output, "and is not Keycell's")?;
        ensure!(!place.0.path().join("ran").exists(), "the target was started");
    }
    let output = place.run(json!({ "call": { "args": ["word"] } }), true)?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    ensure!(fs::read_to_string(place.0.path().join("ran"))? == "word\n");
    // Without `--cases` there is nothing to trust.
    let output = keycell(&["conform", "--trust-cases", "/bin/true"])?.output()?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    Ok(())
}

/// A directory for everything that the kit makes, and one beside it that must stay as it is.
struct Place(TempDir);

impl Place {
    fn new() -> Result<Self> {
        let place = Self(TempDir::with_prefix("keycell-hostile-")?);
        fs::create_dir(place.0.path().join("outside"))?;
        fs::create_dir(place.0.path().join("temporary"))?;
        fs::write(place.0.path().join("outside/victim"), "as it was")?;
        Ok(place)
    }

    fn outside(&self) -> String {
        self.0.path().join("outside").display().to_string()
    }

    /// Runs one case with these members in the place of the usual ones.
    fn run(&self, members: Value, trusted: bool) -> Result<Output> {
        let mut case = json!({
            "name": "hostile/case", "level": "must", "why": "", "rule": "",
            "expect": { "refused": { "most": 0 } }, "layer": "file", "payload": null, "keys": {},
        });
        let mut files = json!({ "file": { "text": "content" } });
        for (name, value) in members.as_object().into_iter().flatten() {
            match name.as_str() {
                "files" => files = value.clone(),
                name => case[name] = value.clone(),
            }
        }
        let family = json!({ "family": "hostile", "about": "", "cases": [case], "files": files });
        let cases = self.0.path().join("cases.json");
        fs::write(&cases, family.to_string())?;
        let ran = self.0.path().join("ran");
        let says = format!("echo \"$@\" >{}; echo no >&2; exit 1", ran.display());
        let target = script(&self.0, "target", &says)?;
        let mut command = keycell(&["conform", "--timeout", "5"])?;
        command.arg(target).arg("--cases").arg(cases).args(trusted.then_some("--trust-cases"));
        Ok(command.env("TMPDIR", self.0.path().join("temporary")).output()?)
    }

    fn nothing_was_written(&self) -> Result<()> {
        let list = |path: &Path| -> Result<Vec<_>> {
            let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
            let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
            names.sort();
            Ok(names)
        };
        let here = list(self.0.path())?;
        ensure!(here == ["cases.json", "outside", "target", "temporary"], "{here:?}");
        let outside = list(&self.0.path().join("outside"))?;
        ensure!(outside == ["victim"], "{outside:?}");
        ensure!(list(&self.0.path().join("temporary"))?.is_empty(), "something is left");
        ensure!(fs::read(self.0.path().join("outside/victim"))? == b"as it was");
        Ok(())
    }
}

/// The kit could not be run: exit code 2, and one error.
fn refused(output: &Output, words: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{}: {said}", output.status);
    ensure!(said.starts_with("keycell: error: ") && said.contains(words), "{said}");
    Ok(())
}
