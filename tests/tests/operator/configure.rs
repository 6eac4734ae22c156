//! `keycell config containerd`: what it prints and installs, before the real containerd.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::layout::state;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use tempfile::TempDir;

use crate::{exits, keycell, says};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        suite.case(format!("config/{name}"), tools, run);
    };
    case("page-has-what-it-prints", &[], documented);
    case("for-the-release-that-is-installed", &[Tool::Containerd], installed_release);
    case("no-release-is-known", &[], no_release);
    case("printed-and-imported", &[Tool::Containerd], printed_and_imported);
    case("written-where-nothing-was", &[Tool::Containerd], || written("", true));
    case("written-beside-settings", &[Tool::Containerd], || written(SETTINGS, false));
    case("written-where-imports-are-empty", &[Tool::Containerd], || {
        written(&format!("imports = []\n{SETTINGS}"), false)
    });
    case("written-where-others-are-imported", &[Tool::Containerd], || {
        written(&format!("imports = [\"other.toml\"]\n{SETTINGS}"), false)
    });
    case("written-into-what-is-imported", &[Tool::Containerd], || {
        written(&format!("imports = [\"DIR/conf.d/*.toml\"]\n{SETTINGS}"), false)
    });
    // A release that takes this glob for one of its working directory gets one more import.
    case("written-where-a-glob-is-relative", &[Tool::Containerd], || {
        written(&format!("imports = [\"conf.d/*.toml\"]\n{SETTINGS}"), false)
    });
    case("refused-where-imports-are-long", &[Tool::Containerd], refused);
    case("taken-back-where-containerd-refuses", &[], taken_back);
    case("overridden-by-a-later-file", &[Tool::Containerd], overridden);
    case("rancher", &[], rancher);
}

/// Settings of an operator that must survive.
const SETTINGS: &str = "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  \
    sandbox_image = \"registry.example/pause:1\"\n\n[stream_processors.mine]\n  accepts = [\"a\"]\n  \
    returns = \"b\"\n  path = \"/bin/true\"\n";

const DECODER: &str = "/usr/local/bin/ctd-decoder";

/// The snippet of the page is what the command prints, and for 2.x the same with another version.
fn documented() -> Result<()> {
    let page = fs::read_to_string(keycell_tests::workspace().join("docs/containerd.md"))?;
    ensure!(page.contains("The same two processors with `version = 3`, and nothing else"));
    let other = page.replace("```toml\nversion = 2\n", "```toml\nversion = 3\n");
    for (version, page) in [("1.7", page), ("2.3", other)] {
        let text = exits(
            &mut keycell(&["config", "containerd", "--version", version, "--decoder", DECODER])?,
            0,
        )?;
        ensure!(page.contains(&format!("```toml\n{text}```\n")), "the page does not have:\n{text}");
    }
    Ok(())
}

fn installed_release() -> Result<()> {
    let text = exits(&mut keycell(&["config", "containerd"])?, 0)?;
    says(&text, &["version = 2\n", "tar+zstd+encrypted"])?;
    ensure!(!text.contains("use_local_image_pull"), "{text}");
    Ok(())
}

fn no_release() -> Result<()> {
    let mut command = keycell(&["config", "containerd", "--containerd", "/nowhere/containerd"])?;
    let output = command.output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    says(
        &said,
        &[
            "keycell: error: which containerd is it for?",
            "`--version 2.1`",
            "cannot start `/nowhere/containerd`",
        ],
    )
}

/// The processors of a file as containerd itself understands it.
fn dump(config: &Path) -> Result<String> {
    let mut command = Command::new(Tool::Containerd.find()?);
    let text = output(command.arg("--config").arg(config).args(["config", "dump"]))?;
    Ok(String::from_utf8(text)?)
}

fn printed_and_imported() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    let file = dir.path().join("keycell.toml");
    fs::write(&file, exits(&mut keycell(&["config", "containerd", "--decoder", DECODER])?, 0)?)?;
    let config = dir.path().join("config.toml");
    fs::write(&config, format!("imports = [\"{}\"]\n{SETTINGS}", file.display()))?;
    takes_all(&dump(&config)?)?;
    says(
        &dump(&config)?,
        &["sandbox_image = \"registry.example/pause:1\"", "[stream_processors.mine]"],
    )
}

/// The three kinds of layers go to our decoder, by ids that get a payload.
fn takes_all(dump: &str) -> Result<()> {
    let (_, processors) = dump.split_once("[stream_processors]").context("no processors")?;
    says(processors, &["+gzip+encrypted", "+zstd+encrypted", "v1.tar+encrypted", "key"])?;
    says(dump, &["key_model = \"node\""])?;
    let ours = processors.matches(&format!("path = \"{DECODER}\"")).count();
    ensure!(ours == 2, "{ours} processors with our decoder: {processors}");
    Ok(())
}

fn write(dir: &Path, more: &[&str]) -> Result<Command> {
    let mut command = keycell(&["config", "containerd", "--decoder", DECODER, "--config"])?;
    command.arg(dir.join("config.toml")).args(more);
    Ok(command)
}

/// Installed, found by containerd, installed again without a change, and taken out without a trace
/// but the backup.
fn written(former: &str, is_new: bool) -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    let config = dir.path().join("config.toml");
    let former = former.replace("DIR", &dir.path().display().to_string());
    fs::write(dir.path().join("other.toml"), "oom_score = 7\n")?;
    if !is_new {
        fs::write(&config, &former)?;
    }
    let before = state(dir.path())?;
    let said = exits(&mut write(dir.path(), &["--write"])?, 0)?;
    says(&said, &["90-keycell.toml`", "restart containerd"])?;
    let dumped = dump(&config)?;
    takes_all(&dumped)?;
    if !is_new {
        says(
            &dumped,
            &["sandbox_image = \"registry.example/pause:1\"", "[stream_processors.mine]"],
        )?;
        ensure!(
            !former.contains("other.toml") || dumped.contains("oom_score = 7"),
            "an import is lost"
        );
        let backup = dir.path().join("config.toml.before-keycell");
        let changed = fs::read_to_string(&config)? != former;
        ensure!(backup.exists() == changed, "changed: {changed}, kept: {}", backup.exists());
        ensure!(!changed || fs::read_to_string(&backup)? == former, "another file was kept");
    }
    let installed = state(dir.path())?;
    exits(&mut write(dir.path(), &["--write"])?, 0)?;
    ensure!(state(dir.path())? == installed, "the second time changes something");
    exits(&mut write(dir.path(), &["--remove"])?, 0)?;
    let mut after = state(dir.path())?;
    after.retain(|(path, _)| !path.ends_with("config.toml.before-keycell"));
    ensure!(after == before, "left: {after:#?}\nbefore: {before:#?}");
    let said = exits(&mut write(dir.path(), &["--remove"])?, 0)?;
    says(&said, &["the configuration has no lines of Keycell"])
}

/// A list over several lines is not edited: the message says what to add.
fn refused() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    fs::write(dir.path().join("other.toml"), "")?;
    let text = format!("imports = [\n  \"other.toml\",\n]\n{SETTINGS}");
    fs::write(dir.path().join("config.toml"), text)?;
    let before = state(dir.path())?;
    let output = write(dir.path(), &["--write"])?.output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{said}");
    says(&said, &["add \"", "/conf.d/*.toml\" to the `imports` of `", "by hand"])?;
    ensure!(state(dir.path())? == before, "something was changed");
    Ok(())
}

/// What a containerd does not start with does not stay.
fn taken_back() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    fs::write(dir.path().join("config.toml"), SETTINGS)?;
    let program = dir.path().join("containerd");
    let script = "#!/bin/sh\n[ \"$1\" != --version ] || { echo containerd x v1.7.1; exit; }\n\
        echo 'I do not like it' >&2; exit 1\n";
    fs::write(&program, script)?;
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let before = state(dir.path())?;
    let output = write(dir.path(), &["--write"])?.arg("--containerd").arg(&program).output()?;
    let said = String::from_utf8(output.stderr)?;
    says(&said, &["so it was taken back: I do not like it"])?;
    let mut after = state(dir.path())?;
    after.retain(|(path, _)| !path.ends_with("config.toml.before-keycell"));
    ensure!(after == before, "{after:#?}");
    Ok(())
}

/// A file that is imported later would win.
fn overridden() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    fs::create_dir(dir.path().join("conf.d"))?;
    fs::write(
        dir.path().join("config.toml"),
        format!("imports = [\"{}/conf.d/*.toml\"]\n{SETTINGS}", dir.path().display()),
    )?;
    let id = "io.containerd.ocicrypt.decoder.v1.tar";
    let later = format!("[stream_processors.\"{id}\"]\npath = \"/usr/bin/other\"\n");
    fs::write(dir.path().join("conf.d/99.toml"), later)?;
    let output = write(dir.path(), &["--write"])?.output()?;
    let said = String::from_utf8(output.stderr)?;
    says(&said, &["conf.d/99.toml` comes after ours"])?;
    ensure!(!dir.path().join("conf.d/90-keycell.toml").exists(), "it stayed");
    Ok(())
}

/// k3s and RKE2 write the configuration anew: where it imports a directory, that is used, and where
/// it does not, their template.
fn rancher() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    let etc = dir.path().join("rancher/k3s/agent/etc/containerd");
    fs::create_dir_all(&etc)?;
    let config = etc.join("config.toml");
    let run = |more: &str| exits(write(&etc, &["--version", "2.3"])?.arg(more), 0);
    for (version, template) in [(3, "config-v3.toml.tmpl"), (2, "config.toml.tmpl")] {
        fs::write(&config, format!("# Generated by k3s\nversion = {version}\n"))?;
        for former in ["", "{{ template \"base\" . }}\n\n[debug]\n  level = \"debug\"\n"] {
            if !former.is_empty() {
                fs::write(etc.join(template), former)?;
            }
            let before = state(&etc)?;
            run("--write")?;
            let text = fs::read_to_string(etc.join(template))?;
            says(
                &text,
                &["{{ template \"base\" . }}\n", "# keycell begin\n", DECODER, "# keycell end\n"],
            )?;
            ensure!(!text.contains("version = "), "a version twice: {text}");
            ensure!(text.starts_with(former), "{text}");
            run("--write")?;
            ensure!(fs::read_to_string(etc.join(template))? == text, "twice is not once");
            run("--remove")?;
            let mut after = state(&etc)?;
            after.retain(|(path, _)| !path.to_string_lossy().ends_with(".before-keycell"));
            ensure!(after == before, "{after:#?}");
        }
        for left in [template.to_owned(), format!("{template}.before-keycell")] {
            let _ = fs::remove_file(etc.join(left));
        }
    }
    let imports = etc.join("config-v3.toml.d");
    fs::write(&config, format!("version = 3\nimports = [\"{}/*.toml\"]\n", imports.display()))?;
    run("--write")?;
    ensure!(imports.join("90-keycell.toml").is_file(), "{:#?}", state(&etc)?);
    run("--remove")?;
    ensure!(state(&etc)?.len() == 1, "{:#?}", state(&etc)?);
    Ok(())
}
