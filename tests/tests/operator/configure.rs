//! `keycell config containerd`: what it prints and installs, before the real containerd.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
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
    case("written-where-imports-are-long", &[Tool::Containerd], || {
        written(&format!("imports = [\n  \"other.toml\", # ]\n]\n{SETTINGS}"), false)
    });
    case("written-where-lines-end-as-on-windows", &[Tool::Containerd], || {
        written(SETTINGS.replace('\n', "\r\n").trim_end(), false)
    });
    case("written-where-another-file-lies", &[Tool::Containerd], another_file);
    case("written-through-a-link", &[Tool::Containerd], through_a_link);
    case("keeps-what-was-chosen", &[Tool::Containerd], keeps_choices);
    case("names-an-unusual-root", &[Tool::Containerd], unusual_root);
    case("taken-back-where-it-cannot-be-written", &[Tool::Containerd], not_written);
    case("taken-back-where-containerd-refuses", &[], taken_back);
    case("overridden-by-a-later-file", &[Tool::Containerd], overridden);
    case("rancher", &[], rancher);
    case("generated-wherever-it-lies", &[], generated);
    case("refused-where-the-generator-is-unknown", &[], unknown_generator);
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
    let program = Tool::Containerd.find()?;
    let text = exits(keycell(&["config", "containerd", "--containerd"])?.arg(program), 0)?;
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
    says(processors, &["docker.image.rootfs.diff.tar.gzip+encrypted", "nondistributable.v1.tar+"])?;
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

/// Every file and directory with its mode, its owner and its content.
fn tree(directory: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let found = fs::symlink_metadata(&path)?;
        let (mode, uid, gid) = (found.mode(), found.uid(), found.gid());
        let content = match path.is_dir() {
            true => {
                lines.extend(tree(&path)?);
                String::new()
            }
            false => fs::read_to_string(&path)?,
        };
        lines.push(format!("{} {mode:o} {uid}:{gid} {content:?}", path.display()));
    }
    lines.sort();
    Ok(lines)
}

/// Installed, found by containerd, installed again without a change, and taken out without a trace.
fn written(former: &str, is_new: bool) -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    let config = dir.path().join("config.toml");
    let former = former.replace("DIR", &dir.path().display().to_string());
    fs::write(dir.path().join("other.toml"), "oom_score = 7\n")?;
    if !is_new {
        fs::write(&config, &former)?;
        fs::set_permissions(&config, Permissions::from_mode(0o640))?;
    }
    let before = tree(dir.path())?;
    let said = exits(&mut write(dir.path(), &["--write"])?, 0)?;
    says(&said, &["90-keycell.toml`", "restart containerd with `systemctl restart "])?;
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
    let after = tree(dir.path())?;
    ensure!(after == before, "left: {after:#?}\nbefore: {before:#?}");
    let said = exits(&mut write(dir.path(), &["--remove"])?, 0)?;
    says(&said, &["the configuration has no lines of Keycell"])
}

/// What an operator left in the directory, and does not import, is not imported for Keycell's sake.
fn another_file() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    fs::create_dir(dir.path().join("conf.d"))?;
    fs::write(dir.path().join("conf.d/old.toml"), "garbage")?;
    fs::write(dir.path().join("config.toml"), SETTINGS)?;
    let before = tree(dir.path())?;
    exits(&mut write(dir.path(), &["--write"])?, 0)?;
    takes_all(&dump(&dir.path().join("config.toml"))?)?;
    exits(&mut write(dir.path(), &["--remove"])?, 0)?;
    let after = tree(dir.path())?;
    ensure!(after == before, "{after:#?}");
    Ok(())
}

/// The file that the link leads to is changed, and the link stays.
fn through_a_link() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    let config = dir.path().join("config.toml");
    fs::create_dir(dir.path().join("real"))?;
    fs::write(dir.path().join("real/containerd.toml"), SETTINGS)?;
    symlink("real/containerd.toml", &config)?;
    let before = tree(dir.path())?;
    exits(&mut write(dir.path(), &["--write"])?, 0)?;
    takes_all(&dump(&config)?)?;
    ensure!(config.is_symlink(), "the link is gone");
    exits(&mut write(dir.path(), &["--remove"])?, 0)?;
    let after = tree(dir.path())?;
    ensure!(after == before, "{after:#?}");
    Ok(())
}

/// An update writes what is installed again, with what the operator chose, or changed by hand.
fn keeps_choices() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    fs::write(dir.path().join("config.toml"), SETTINGS)?;
    let decoder = dir.path().join("ctd-decoder");
    fs::write(&decoder, "")?;
    let run = |more: &[&str]| {
        let mut command = keycell(&["config", "containerd", "--write", "--config"])?;
        exits(command.arg(dir.path().join("config.toml")).args(more), 0)
    };
    let shown = decoder.display().to_string();
    run(&["--keys", "/srv/keys", "--no-decompress", "--decoder", &shown])?;
    let file = dir.path().join("conf.d/90-keycell.toml");
    let text = fs::read_to_string(&file)?;
    ensure!(!text.contains("--decompress"), "{text}");
    let text = text.replace("\"/srv/keys\"", "\"/srv/keys\", \"--log\", \"journald\"");
    let text = text.replace("env = [", "env = [\"A=1\", ");
    let more = "\n[stream_processors.another]\n  accepts = [\"a\"]\n  path = \"/bin/true\"\n";
    fs::write(&file, text + more)?;
    let before = fs::read_to_string(&file)?;
    run(&[])?;
    ensure!(fs::read_to_string(&file)? == before, "lost: {}", fs::read_to_string(&file)?);
    run(&["--keys", "/other", "--decompress"])?;
    let after = fs::read_to_string(&file)?;
    let other = "\"--decryption-keys-path\", \"/other\"";
    says(
        &after,
        &[&format!("{other}, \"--decompress\", \"--log\""), &format!("{other}, \"--log\"")],
    )?;
    says(&after, &["\"A=1\"", "[stream_processors.another]", &shown])
}

/// A root that the decoder does not look at by itself is named; a usual one is not.
fn unusual_root() -> Result<()> {
    for (root, is_named) in [("/data/containerd", true), ("/var/lib/containerd", false)] {
        let dir = TempDir::with_prefix("keycell-config-")?;
        fs::write(dir.path().join("config.toml"), format!("root = \"{root}\"\n{SETTINGS}"))?;
        exits(&mut write(dir.path(), &["--write"])?, 0)?;
        let text = fs::read_to_string(dir.path().join("conf.d/90-keycell.toml"))?;
        let count = text.matches(&format!("\"--content-store\", \"{root}\"")).count();
        ensure!(count == if is_named { 2 } else { 0 }, "{root}: {text}");
    }
    Ok(())
}

/// Where one file cannot be written, no other is changed.
fn not_written() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    fs::write(dir.path().join("config.toml"), SETTINGS)?;
    fs::write(dir.path().join("conf.d"), "a file")?;
    let before = tree(dir.path())?;
    let output = write(dir.path(), &["--write"])?.output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{said}");
    says(&said, &["cannot make `", "/conf.d`"])?;
    let after = tree(dir.path())?;
    ensure!(after == before, "{after:#?}");
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
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    let before = state(dir.path())?;
    let output = write(dir.path(), &["--write"])?.arg("--containerd").arg(&program).output()?;
    let said = String::from_utf8(output.stderr)?;
    says(&said, &["so it was taken back: I do not like it"])?;
    let after = state(dir.path())?;
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
            let after = state(&etc)?;
            ensure!(after == before, "{after:#?}");
        }
        let _ = fs::remove_file(etc.join(template));
    }
    let imports = etc.join("config-v3.toml.d");
    fs::write(&config, format!("version = 3\nimports = [\"{}/*.toml\"]\n", imports.display()))?;
    run("--write")?;
    ensure!(imports.join("90-keycell.toml").is_file(), "{:#?}", state(&etc)?);
    run("--remove")?;
    ensure!(state(&etc)?.len() == 1, "{:#?}", state(&etc)?);
    Ok(())
}

/// What the file says decides, wherever `--data-dir` moved it: it is not changed, and the place from which
/// its program takes settings is. The message names the program's service.
fn generated() -> Result<()> {
    let rke2 =
        "# File generated by rke2. DO NOT EDIT. Use config-v3.toml.tmpl instead.\nversion = 3\n";
    let k3s =
        "\n# File generated by k3s. DO NOT EDIT. Use config.toml.tmpl instead.\nversion = 2\n";
    let k0s = "# k0s_managed=true\n# This is a placeholder.\nversion = 2\nimports = [\n]\n";
    let base = "{{ template \"base\" . }}\n[debug]\n  level = \"debug\"";
    let snap = "version = 2\nroot = \"${SNAP_COMMON}/var/lib/containerd\"\n";
    for (name, text, template, written, unit) in [
        ("config.toml", rke2, None, "config-v3.toml.tmpl", "rke2-"),
        ("config.toml", k3s, Some(base), "config.toml.tmpl", "k3s"),
        ("containerd.toml", k0s, None, "containerd.d/90-keycell.toml", "k0s"),
        (
            "containerd.toml",
            "version = 2\n",
            Some(snap),
            "containerd-template.toml",
            "snap.microk8s.",
        ),
    ] {
        let dir = TempDir::with_prefix("keycell-config-")?;
        let etc = dir.path().join("data/agent/etc/containerd");
        fs::create_dir_all(&etc)?;
        fs::write(etc.join(name), text)?;
        if let Some(template) = template {
            fs::write(etc.join(written), template)?;
        }
        let before = tree(&etc)?;
        let run = |more: &str| -> Result<String> {
            let flags = ["config", "containerd", "--version", "2.3", "--decoder", DECODER, more];
            exits(keycell(&flags)?.arg("--config").arg(etc.join(name)), 0)
        };
        says(&run("--write")?, &[written, &format!("`systemctl restart {unit}")])?;
        ensure!(fs::read_to_string(etc.join(name))? == text, "{name} was changed");
        let installed = fs::read_to_string(etc.join(written))?;
        says(&installed, &[DECODER, template.unwrap_or_default()])?;
        run("--write")?;
        ensure!(fs::read_to_string(etc.join(written))? == installed, "twice is not once");
        run("--remove")?;
        let after = tree(&etc)?;
        ensure!(after == before, "left: {after:#?}\nbefore: {before:#?}");
    }
    Ok(())
}

/// A file that another program writes is not changed if nobody knows what that program imports.
fn unknown_generator() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-config-")?;
    let text = format!("# DO NOT EDIT: made by Chef\n{SETTINGS}");
    fs::write(dir.path().join("config.toml"), text)?;
    let before = tree(dir.path())?;
    let output = write(dir.path(), &["--write", "--version", "1.7"])?.output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{said}");
    says(&said, &["says `DO NOT EDIT: made by Chef`", "import a directory"])?;
    let after = tree(dir.path())?;
    ensure!(after == before, "{after:#?}");
    Ok(())
}
