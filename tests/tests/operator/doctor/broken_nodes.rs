//! Nodes that are broken in one way each. Doctor finds it; what the hint says is done literally; then
//! doctor is content, and a real containerd unpacks an encrypted image.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use serde_json::Value;

use super::FLAG;
use super::broken_keys::{KEYS, PROVIDERS};
use super::made::Made;
use super::pull::Pull;

/// A node that is broken, and how it is mended.
pub(super) struct Broken {
    pub(super) name: &'static str,
    pub(super) breaks: fn(&Made) -> Result<()>,
    /// What doctor says: how severe it is, and words of the message.
    pub(super) finding: (&'static str, &'static str),
    /// Words of the hint.
    pub(super) hint: &'static str,
    pub(super) mends: Mends,
}

/// How the hint is carried out.
pub(super) enum Mends {
    /// Its first words in backticks are a command.
    Command,
    /// By hand, as the hint says.
    ByHand(fn(&Made, &str) -> Result<()>),
}

use Mends::{ByHand, Command as Run};

pub(super) fn cases(suite: &mut Suite) {
    for broken in PROGRAMS.iter().chain(FLAGS).chain(KEYS).chain(PROVIDERS).chain(CONFIGURATION) {
        let needs = [Tool::Root, Tool::Containerd];
        suite.case(format!("doctor/broken/{}", broken.name), &needs, || tried(broken));
    }
}

fn tried(broken: &Broken) -> Result<()> {
    let made = Made::new()?;
    made.own_decoder()?;
    let pull = Pull::new(&made)?;
    (broken.breaks)(&made)?;
    let (severity, words) = broken.finding;
    let found = findings(&made)?;
    let is_it = |one: &&Value| one["message"].as_str().is_some_and(|text| text.contains(words));
    let one = found
        .iter()
        .find(is_it)
        .with_context(|| format!("nothing of `{words}`: {}", shown(&found)))?;
    ensure!(one["severity"] == severity, "{one:#}");
    let count = found.iter().filter(is_it).count();
    ensure!(count == 1, "{count} times: {}", shown(&found));
    let failures = found.iter().filter(|one| one["severity"] == "fails").count();
    ensure!(failures <= 1, "{failures} failures of one cause: {}", shown(&found));
    let hints = one["hints"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let hint = hints.into_iter().find(|hint| hint.contains(broken.hint));
    let hint = hint.with_context(|| format!("no hint with `{}`: {one:#}", broken.hint))?;
    match broken.mends {
        Run => {
            let command = hint.split('`').nth(1).context("no command")?;
            let programs = made.path("bin").display().to_string();
            output(
                Command::new("sh")
                    .args(["-ec", command])
                    .env("PATH", format!("{programs}:/usr/bin:/bin")),
            )?;
        }
        ByHand(mend) => mend(&made, hint)?,
    }
    let after = findings(&made)?;
    ensure!(!after.iter().any(|one| is_it(&one)), "it is still there: {}", shown(&after));
    let bad = after.iter().find(|one| one["severity"] == "fails" || one["severity"] == "unknown");
    ensure!(bad.is_none(), "{}", shown(&after));
    pull.works(&made)
}

/// The findings that are not as they should be, a line for each.
fn shown(findings: &[Value]) -> String {
    let bad =
        findings.iter().filter(|one| !["ok", "note"].iter().any(|word| one["severity"] == *word));
    bad.map(|one| format!("\n{} {} {}", one["severity"], one["message"], one["hints"])).collect()
}

/// What doctor finds.
fn findings(made: &Made) -> Result<Vec<Value>> {
    let output = made.doctor()?.arg("--json").output()?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    report["findings"].as_array().cloned().context("no findings")
}

/// Puts words into the `args` of both processors.
pub(super) fn with_args(made: &Made, args: &str) -> Result<()> {
    made.change(FLAG, &format!("{args}, {FLAG}"))
}

/// Takes them out again.
fn without_args(made: &Made, args: &str) -> Result<()> {
    made.change(&format!("{args}, {FLAG}"), FLAG)
}

pub(super) fn mode(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

/// The program and its neighbour.
const PROGRAMS: &[Broken] = &[
    Broken {
        name: "no-decoder",
        breaks: |made| Ok(fs::rename(made.path("bin/ctd-decoder"), made.path("bin/other"))?),
        finding: ("fails", "cannot find `"),
        hint: "install Keycell",
        mends: ByHand(|made, _| {
            Ok(fs::rename(made.path("bin/other"), made.path("bin/ctd-decoder"))?)
        }),
    },
    Broken {
        name: "a-decoder-that-is-not-executable",
        breaks: |made| mode(made.path("bin/ctd-decoder"), 0o644),
        finding: ("fails", "no program that may be executed"),
        hint: "`chmod 755 /",
        mends: Run,
    },
    Broken {
        name: "a-decoder-that-everyone-can-change",
        breaks: |made| mode(made.path("bin/ctd-decoder"), 0o777),
        finding: ("warning", "can be changed by others than root"),
        hint: "`chmod go-w /",
        mends: Run,
    },
    Broken {
        name: "a-decoder-that-is-cut-off",
        breaks: |made| Ok(fs::write(made.path("bin/ctd-decoder"), b"\x7fELF")?),
        finding: ("fails", "decrypts no layer"),
        hint: "install Keycell",
        mends: ByHand(|made, _| made.own_decoder()),
    },
    Broken {
        name: "a-broker-that-everyone-can-change",
        breaks: |made| {
            allow_modules(made)?;
            mode(made.path("bin/keycell-broker"), 0o777)
        },
        finding: ("fails", "decrypts no layer"),
        hint: "`chmod go-w /",
        mends: Run,
    },
    Broken {
        name: "no-broker",
        breaks: |made| {
            allow_modules(made)?;
            Ok(fs::remove_file(made.path("bin/keycell-broker"))?)
        },
        finding: ("fails", "decrypts no layer"),
        hint: "belongs beside `ctd-decoder`",
        mends: ByHand(|made, _| made.own_decoder()),
    },
];

/// The decoder's flags and its configuration file.
const FLAGS: &[Broken] = &[
    Broken {
        name: "a-flag-that-is-none",
        breaks: |made| with_args(made, "\"--verify-frist\""),
        finding: ("fails", "`--verify-frist`"),
        hint: "`ctd-decoder --help` lists the flags",
        mends: ByHand(|made, _| made.change("--verify-frist", "--verify-first")),
    },
    Broken {
        name: "arguments-that-ask-for-help",
        breaks: |made| with_args(made, "\"--help\""),
        finding: ("fails", "ask for help"),
        hint: "remove `--help`",
        mends: ByHand(|made, _| without_args(made, "\"--help\"")),
    },
    Broken {
        name: "a-value-that-is-none",
        breaks: |made| with_args(made, "\"--min-algorithms\", \"strong\""),
        finding: ("fails", "[possible values: legacy, modern]"),
        hint: "`ctd-decoder --help` lists the flags",
        mends: ByHand(|made, _| made.change("\"strong\"", "\"modern\"")),
    },
    Broken {
        name: "a-key-that-the-configuration-does-not-have",
        breaks: |made| decoder_configuration(made, "min-algoritms = \"modern\"\n"),
        finding: ("fails", "there is no key `min-algoritms`"),
        hint: "did you mean `min-algorithms`?",
        mends: ByHand(|made, _| {
            Ok(fs::write(made.path("keycell.toml"), "min-algorithms = \"modern\"\n")?)
        }),
    },
    Broken {
        name: "a-configuration-that-everyone-can-change",
        breaks: |made| {
            decoder_configuration(made, "min-algorithms = \"modern\"\n")?;
            mode(made.path("keycell.toml"), 0o666)
        },
        finding: ("fails", "can be changed by others than root"),
        hint: "`chmod go-w /",
        mends: Run,
    },
    Broken {
        name: "a-user-who-is-unknown",
        breaks: |made| with_args(made, "\"--user\", \"nobody-of-here\""),
        finding: ("fails", "cannot become the user `nobody-of-here`"),
        hint: "`--user` takes a name from `/etc/passwd`",
        mends: ByHand(|made, _| made.change("\"nobody-of-here\"", "\"root\"")),
    },
    Broken {
        name: "a-spool-that-does-not-exist",
        breaks: |made| {
            let spool = made.path("spool").display().to_string();
            with_args(made, &format!("\"--verify-first\", \"--spool\", \"{spool}\""))
        },
        finding: ("fails", "spool"),
        hint: "the directory of `--spool`",
        mends: ByHand(|made, _| Ok(fs::create_dir(made.path("spool"))?)),
    },
    Broken {
        name: "a-log-in-a-directory-that-does-not-exist",
        breaks: |made| {
            let log = made.path("logs/a/keycell.json").display().to_string();
            with_args(made, &format!("\"--log\", \"{log}\""))
        },
        finding: ("warning", "cannot be written: there is no `"),
        hint: "`mkdir -p /",
        mends: Run,
    },
    Broken {
        name: "a-log-that-is-a-link",
        breaks: |made| {
            let log = made.path("keycell.json");
            symlink("/dev/null", &log)?;
            with_args(made, &format!("\"--log\", \"{}\"", log.display()))
        },
        finding: ("warning", "cannot be written: it is a symbolic link"),
        hint: "names a regular file",
        mends: ByHand(|made, _| Ok(fs::remove_file(made.path("keycell.json"))?)),
    },
    Broken {
        name: "a-guest-that-is-not-installed",
        breaks: |made| with_args(made, "\"--guest\", \"absent\""),
        finding: ("fails", "there is no guest `absent`"),
        hint: "",
        mends: ByHand(|made, _| made.change("\"absent\"", "\"embedded\"")),
    },
];

/// A configuration file of the decoder that the processors name.
fn decoder_configuration(made: &Made, text: &str) -> Result<()> {
    let file = made.path("keycell.toml");
    fs::write(&file, text)?;
    with_args(made, &format!("\"--config\", \"{}\"", file.display()))
}

/// Allows a PKCS#11 module, so that the decoder starts its broker.
pub(super) fn allow_modules(made: &Made) -> Result<()> {
    let file = made.path("ocicrypt.conf");
    fs::write(
        &file,
        "pkcs11: {module-directories: [/usr/lib/], allowed-module-paths: [/usr/lib/]}\n",
    )?;
    made.change("env = [", &format!("env = [\"OCICRYPT_CONFIG={}\", ", file.display()))
}

/// containerd's configuration.
const CONFIGURATION: &[Broken] = &[
    Broken {
        name: "a-return-that-cannot-be-unpacked",
        breaks: |made| {
            made.change(
                "returns = \"application/vnd.oci.image.layer.v1.tar\"",
                "returns = \"text/plain\"",
            )
        },
        finding: ("fails", "returns `text/plain`"),
        hint: "`returns` is the media type of the decrypted layer",
        mends: ByHand(|made, _| {
            made.change(
                "returns = \"text/plain\"",
                "returns = \"application/vnd.oci.image.layer.v1.tar\"",
            )
        }),
    },
    Broken {
        name: "a-tar-that-nobody-decompresses",
        breaks: |made| made.change(", \"--decompress\"", ""),
        finding: ("fails", "returns a plain tar for gzip layers"),
        hint: "if its `args` have `--decompress`",
        mends: ByHand(|made, _| {
            let first = made.config()?.replacen(FLAG, &format!("\"--decompress\", {FLAG}"), 1);
            Ok(fs::write(made.path("config.toml"), first)?)
        }),
    },
    Broken {
        name: "not-toml",
        breaks: |made| made.change("version = 2", "version = = 2"),
        finding: ("fails", "is not TOML: line 1"),
        hint: "correct the file",
        mends: ByHand(|made, _| made.change("version = = 2", "version = 2")),
    },
    Broken {
        name: "an-import-that-does-not-exist",
        breaks: |made| made.change("version = 2\n", "version = 2\nimports = [\"absent.toml\"]\n"),
        finding: ("fails", "absent.toml"),
        hint: "correct the file",
        mends: ByHand(|made, _| made.change("imports = [\"absent.toml\"]\n", "")),
    },
    Broken {
        name: "several-processors-for-a-type",
        breaks: |made| {
            let more = "[stream_processors.mine]\naccepts = [\"application/vnd.oci.image.layer.v1.tar+encrypted\"]\n\
                returns = \"application/vnd.oci.image.layer.v1.tar\"\npath = \"/bin/true\"\n";
            Ok(fs::write(made.path("config.toml"), made.config()? + more)?)
        },
        finding: ("fails", "are taken by several processors"),
        hint: "leave one of them",
        mends: ByHand(|made, _| {
            let text = made.config()?;
            let text = text.split("[stream_processors.mine]").next().unwrap_or_default();
            Ok(fs::write(made.path("config.toml"), text)?)
        }),
    },
    Broken {
        name: "no-payload-and-no-content-store",
        breaks: |made| {
            let section =
                "[plugins.\"io.containerd.grpc.v1.cri\".image_decryption]\nkey_model = \"\"\n";
            made.append(section)?;
            with_args(made, "\"--content-store\", \"off\"")
        },
        finding: ("fails", "pulled for Kubernetes: the decoder gets no payload"),
        hint: "set `key_model = \"node\"`",
        mends: ByHand(|made, _| {
            made.change("key_model = \"\"", "key_model = \"node\"")?;
            without_args(made, "\"--content-store\", \"off\"")
        }),
    },
];
