//! What `make install` and `make deb` make of what was built: installed, used, and removed without
//! a trace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::Decoder;
use keycell_tests::layout::state;
use keycell_tests::node::Node;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use tempfile::TempDir;

use crate::says;

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("package/make-install", &[], make_install);
    suite.case("package/deb", &[Tool::Dpkg, Tool::Lintian, Tool::Root], deb);
    suite.case("package/units", &[Tool::SystemdAnalyze], units);
    suite.case("package/manual-pages", &[], manual_pages);
    suite.case("package/every-flag-is-documented", &[], every_flag_is_documented);
    suite.case("package/scripts", &[Tool::Shellcheck], scripts);
}

fn dist() -> Result<PathBuf> {
    Ok(keycell_tests::dist("keycell")?.parent().context("a file lies in a directory")?.to_owned())
}

fn make(target: &str, root: &Path) -> Result<()> {
    let mut command = Command::new("make");
    command.arg("--no-print-directory").arg("-C").arg(keycell_tests::workspace()).arg(target);
    command.arg(format!("DIST={}", dist()?.display())).arg(format!("DESTDIR={}", root.display()));
    // The `make` that runs the tests has its own flags.
    output(command.arg("PREFIX=/usr/local").env_remove("MAKEFLAGS").env_remove("MAKELEVEL"))?;
    Ok(())
}

fn works(program: &Path) -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let payload = sealed.payload_for(&node.recipient).bytes();
    let decoder = Decoder::at(program).keys(&node.keys()).payload(payload);
    decoder.layer(sealed.encrypted.clone()).run()?.is_silent_success(&sealed.plain)
}

fn make_install() -> Result<()> {
    let root = TempDir::with_prefix("keycell-install-")?;
    make("install-built", root.path())?;
    let local = root.path().join("usr/local");
    works(&local.join("bin/ctd-decoder"))?;
    for file in [
        "bin/keycell",
        "bin/keycell-broker",
        "share/man/man8/ctd-decoder.8",
        "share/man/man5/keycell.toml.5",
        "share/man/man1/keycell-doctor.1",
        "share/bash-completion/completions/keycell",
        "share/zsh/site-functions/_ctd-decoder",
        "share/fish/vendor_completions.d/keycell.fish",
    ] {
        ensure!(local.join(file).is_file(), "there is no {file}");
    }
    make("uninstall", root.path())?;
    let left = state(root.path())?;
    ensure!(left.is_empty(), "left: {:#?}", left.iter().map(|(path, _)| path).collect::<Vec<_>>());
    Ok(())
}

/// Builds the package in this directory.
fn build(dir: &Path) -> Result<String> {
    let built = dir.join("dist");
    let mut copy = Command::new("cp");
    output(copy.arg("-r").arg(dist()?).arg(&built))?;
    let mut command = Command::new(keycell_tests::workspace().join("package/deb.sh"));
    let package = output(command.arg(&built).env_remove("MAKEFLAGS"))?;
    Ok(String::from_utf8(package)?.trim().to_owned())
}

/// systemd understands every line of the units, and starts the program where it is installed.
fn units() -> Result<()> {
    let root = TempDir::with_prefix("keycell-units-")?;
    make("install-built", root.path())?;
    let units = root.path().join("usr/local/lib/systemd/system");
    let service = fs::read_to_string(units.join("keycell-metrics.service"))?;
    says(
        &service,
        &["\nExecStart=/usr/local/bin/keycell metrics --output ", "\nProtectSystem=strict\n"],
    )?;
    // The program is not installed where the tests run.
    let keycell = keycell_tests::dist("keycell")?;
    let start = service.replace("/usr/local/bin/keycell", &keycell.display().to_string());
    let start = start.replace("Documentation=", "#");
    fs::write(units.join("keycell-metrics.service"), start)?;
    let server = fs::read_to_string(units.join("keycell-keyprovider.service"))?;
    says(&server, &["\nExecStart=/usr/local/bin/keycell keyprovider ", "\nDynamicUser=yes\n"])?;
    let server = server.replace("/usr/local/bin/keycell", &keycell.display().to_string());
    fs::write(units.join("keycell-keyprovider.service"), server.replace("Documentation=", "#"))?;
    let socket = fs::read_to_string(units.join("keycell-keyprovider.socket"))?;
    says(&socket, &["\nSocketMode=0660\n"])?;
    fs::write(units.join("keycell-keyprovider.socket"), socket.replace("Documentation=", "#"))?;
    let mut command = Command::new(Tool::SystemdAnalyze.find()?);
    command.arg("verify").arg(units.join("keycell-metrics.timer"));
    command.arg(units.join("keycell-keyprovider.socket"));
    command.arg(units.join("keycell-keyprovider.service"));
    let done = command.arg(units.join("keycell-metrics.service")).output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("keycell")).collect();
    ensure!(done.status.success() && ours.is_empty(), "{}: {said}", done.status);
    Ok(())
}

/// The package is built, inspected, installed into a separate root, used, removed and purged. Debian's own
/// checks find no fault in it.
fn deb() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-deb-")?;
    let package = build(dir.path())?;
    let package = package.as_str();
    let said = Tool::Lintian.run(["--allow-root", "--fail-on", "error,warning", package])?;
    ensure!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    let dpkg = Tool::Dpkg.find()?;
    let ask = |args: &[&str]| -> Result<String> {
        Ok(String::from_utf8(output(Command::new(dpkg.with_file_name("dpkg-deb")).args(args))?)?)
    };
    says(
        &ask(&["--info", package])?,
        &["Package: keycell", "Depends: libc6 (>= 2.", "postinst", "prerm"],
    )?;
    let contents = ask(&["--contents", package])?;
    says(
        &contents,
        &[
            "./usr/bin/ctd-decoder",
            "./usr/share/man/man1/keycell.1.gz",
            "./usr/share/doc/keycell/copyright",
            "./usr/share/doc/keycell/alerts.yml",
            "./usr/lib/systemd/system/keycell-metrics.service",
            "./usr/lib/systemd/system/keycell-metrics.timer",
            "./usr/share/doc/keycell/write-a-guest.md",
            "./usr/share/doc/keycell/wit/decoder.wit",
            "./usr/share/doc/keycell/wit/deps/io.wit",
            "./usr/share/doc/keycell/examples/c/wrap.py",
            "./usr/share/doc/keycell/examples/go/main.go",
        ],
    )?;
    for line in contents.lines() {
        ensure!(line.contains("root/root"), "not root's: {line}");
        ensure!(!line.contains("./etc/") && !line.contains("./lib/"), "of others: {line}");
    }
    installed_and_purged(package, &dir.path().join("root"))
}

/// The root has nothing but dpkg's database: the scripts do not run in it, as there is no shell.
fn installed_and_purged(package: &str, root: &Path) -> Result<()> {
    let dpkg = Tool::Dpkg.find()?;
    for directory in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    fs::create_dir_all(root.join("etc/containerd"))?;
    let config = root.join("etc/containerd/config.toml");
    fs::write(&config, "[stream_processors.a]\npath = \"/usr/bin/ctd-decoder\"\n")?;
    let run = |args: &[&str]| -> Result<String> {
        let mut command = Command::new(&dpkg);
        command.arg(format!("--root={}", root.display())).arg("--force-script-chrootless");
        command.args(["--force-depends", "--log=/dev/null"]).args(args);
        Ok(String::from_utf8(output(&mut command)?)?)
    };
    let said = run(&["--install", package])?;
    says(&said, &["`keycell config containerd --write` tells containerd of the decoder"])?;
    works(&root.join("usr/bin/ctd-decoder"))?;
    // What the programs make goes with them; what the operator makes stays, and is named.
    for file in [
        "var/lib/keycell/guests/a/guest.wasm",
        "var/lib/keycell/metrics.json",
        "var/lib/prometheus/node-exporter/keycell.prom",
        "etc/keycell/keys/node.pem",
        "etc/containerd/ocicrypt/keys/node.pem",
    ] {
        let file = root.join(file);
        fs::create_dir_all(file.parent().context("a file lies in a directory")?)?;
        fs::write(file, "")?;
    }
    let said = run(&["--remove", "keycell"])?;
    says(&said, &["containerd still names /usr/bin/ctd-decoder in /etc/containerd;"])?;
    ensure!(!root.join("var/lib/prometheus/node-exporter/keycell.prom").exists());
    ensure!(root.join("var/lib/keycell/metrics.json").exists(), "only a purge takes it");
    let said = run(&["--purge", "keycell"])?;
    says(
        &said,
        &[
            "keycell: /etc/keycell is left as it is",
            "keycell: /etc/containerd/ocicrypt is left as it is",
        ],
    )?;
    ensure!(!said.contains("90-keycell.toml"), "{said}");
    ensure!(!root.join("var/lib/keycell").exists(), "what the programs made is left");
    for key in ["etc/keycell/keys/node.pem", "etc/containerd/ocicrypt/keys/node.pem"] {
        ensure!(root.join(key).exists(), "{key} was deleted");
    }
    ensure!(
        !root.join("usr").exists(),
        "left: {:#?}",
        fs::read_dir(root.join("usr"))?.collect::<Vec<_>>()
    );
    says(&fs::read_to_string(&config)?, &["/usr/bin/ctd-decoder"])
}

/// They name every flag and every verb, and `man` would find nothing to complain about.
fn manual_pages() -> Result<()> {
    let man = dist()?.join("man");
    let read = |name: &str| fs::read_to_string(man.join(name)).with_context(|| name.to_owned());
    says(
        &read("ctd-decoder.8")?,
        &["\\-\\-decryption\\-keys\\-path", "\\-\\-log", ".TH ctd-decoder 8"],
    )?;
    says(
        &read("keycell.toml.5")?,
        &["\\fBdecryption\\-keys\\-path\\fR", "\\fBlog\\fR", "/etc/keycell/config.toml"],
    )?;
    says(&read("keycell.1")?, &["doctor", "config"])?;
    says(&read("keycell-config-containerd.1")?, &["\\-\\-write", "\\-\\-remove"])?;
    ensure!(!man.join("keycell-manual.1").exists(), "what is hidden has a page");
    Ok(())
}

/// docs/operating.md knows every flag of the decoder.
fn every_flag_is_documented() -> Result<()> {
    let help = output(Command::new(keycell_tests::dist("ctd-decoder")?).arg("--help"))?;
    let help = String::from_utf8(help)?;
    let document = fs::read_to_string(keycell_tests::workspace().join("docs/operating.md"))?;
    let flags = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    // Those of the list, without their values; texts name some in backticks.
    let flags = flags.map(|flag| flag.split('[').next().unwrap_or_default());
    let flags: Vec<_> = flags.filter(|flag| !["help", "version"].contains(flag)).collect();
    ensure!(flags.len() > 4, "{flags:?}");
    for flag in flags {
        ensure!(
            document.contains(&format!("| `{flag}` |")),
            "docs/operating.md does not know `{flag}`"
        );
    }
    Ok(())
}

fn scripts() -> Result<()> {
    let workspace = keycell_tests::workspace();
    let scripts = ["package/deb.sh", "package/postinst", "package/prerm", "package/postrm"];
    let scripts = scripts.map(|script| workspace.join(script));
    Tool::Shellcheck.run(scripts)?;
    Ok(())
}
