//! Keys that are credentials of a systemd unit. systemd does not run here: a mount namespace has the
//! directories that it would make, with its modes, and what `systemd-creds` sealed.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::node::KEY;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use serde_json::Value;

use super::FLAG;
use super::made::Made;

/// Before each case: a unit without settings, and a host key of its own. `$KEYS` has the key in clear.
const BEGIN: &str = r#"
    for directory in /etc/systemd/system /var/lib/systemd /run; do mount -t tmpfs tmpfs $directory; done
    printf '[Service]\nExecStart=/bin/true\n' >/etc/systemd/system/test.service
    mkdir -p /etc/systemd/system/test.service.d $OUT/sealed
    seal() { systemd-creds encrypt --name=node.pem "$@" "$KEYS/node.pem" $OUT/sealed/node.pem; }
    unit() { printf '[Service]\n%s\n' "$1" >/etc/systemd/system/test.service.d/keys.conf; }
    load() { unit "LoadCredentialEncrypted=node.pem:$OUT/sealed/node.pem"; }
    start() {
        mkdir -p /run/credentials/test.service
        mount -t ramfs -o mode=700 ramfs /run/credentials/test.service
        (cd $KEYS && install -m 0400 -t /run/credentials/test.service "$@")
        chmod 0500 /run/credentials/test.service
        mount -o remount,bind,ro,nosuid,nodev,noexec /run/credentials/test.service
    }
"#;

/// What a node is like, and what doctor finds.
struct Case {
    name: &'static str,
    node: &'static str,
    finding: (&'static str, &'static str),
    hint: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "sealed-with-the-host-key",
        node: "seal --with-key=host; load; start node.pem",
        finding: ("ok", "sealed with the host key: whoever copies this disk has that, too"),
        hint: "",
    },
    Case {
        name: "sealed-with-a-tpm",
        node: r#"
            mkdir $OUT/tpm
            swtpm socket --tpm2 --tpmstate dir=$OUT/tpm --server type=unixio,path=$OUT/tpm/socket \
                --ctrl type=unixio,path=$OUT/tpm/socket.ctrl --flags not-need-init,startup-clear --daemon \
                --pid file=$OUT/tpm/pid
            seal --with-key=tpm2 --tpm2-pcrs=7 --tpm2-device=swtpm:path=$OUT/tpm/socket
            systemd-creds decrypt --name=node.pem --tpm2-device=swtpm:path=$OUT/tpm/socket \
                $OUT/sealed/node.pem - | cmp - $KEYS/node.pem
            kill $(cat $OUT/tpm/pid)
            load; start node.pem"#,
        finding: ("ok", "sealed with the TPM (PCR 7)"),
        hint: "",
    },
    Case {
        name: "the-keys-are-used-by-another-user",
        node: "seal --with-key=host; load; start node.pem; sed -i 's/\"--decryption-keys-path\"/\"--user\", \"nobody\", &/' $OUT/config.toml",
        finding: ("ok", "P-256 `node.pem`"),
        hint: "",
    },
    Case {
        name: "a-link-to-the-credentials",
        node: "seal --with-key=host; load; start node.pem; ln -s /run/credentials/test.service $OUT/link
            sed -i \"s#/run/credentials/test.service#$OUT/link#\" $OUT/config.toml",
        finding: ("ok", "sealed with the host key"),
        hint: "",
    },
    Case {
        name: "no-unit",
        node: "rm /etc/systemd/system/test.service",
        finding: ("fails", "there is no unit `test.service`, so systemd never makes `/run/credentials/test.service`"),
        hint: "name the directory of a unit that loads the keys",
    },
    Case {
        name: "nothing-is-loaded",
        node: "unit 'LoadCredential=x:/x\nLoadCredential='",
        finding: ("fails", "`test.service` loads no credential"),
        hint: "`systemctl edit test.service` adds a setting",
    },
    Case {
        name: "not-started",
        node: "seal --with-key=host; load",
        finding: ("fails", "there is no `/run/credentials/test.service`: `test.service` does not run"),
        hint: "`systemctl daemon-reload && systemctl restart test.service`",
    },
    Case {
        name: "not-restarted",
        node: "seal --with-key=host; load; unit \"LoadCredentialEncrypted=node.pem:$OUT/sealed/node.pem
            LoadCredentialEncrypted=new.pem:$OUT/sealed/node.pem\"; start node.pem",
        finding: ("fails", "`/run/credentials/test.service` has no `new.pem`"),
        hint: "`systemctl daemon-reload && systemctl restart test.service`",
    },
    Case {
        name: "no-sealed-file",
        node: "load",
        finding: ("fails", "/sealed/node.pem`, from which `test.service` loads `node.pem`"),
        hint: "`systemd-creds encrypt --name=node.pem KEY ",
    },
    Case {
        name: "a-key-in-the-place-of-a-sealed-file",
        node: "cp $KEYS/node.pem $OUT/sealed/node.pem; load",
        finding: ("fails", "/sealed/node.pem` is not a sealed credential, so `test.service` cannot load `node.pem`"),
        hint: "/sealed/node.pem /etc/credstore.encrypted/node.pem` seals it",
    },
    Case {
        name: "a-file-in-clear",
        node: "unit LoadCredential=node.pem:$KEYS/node.pem; start node.pem",
        finding: ("warning", "the credential `node.pem` lies in clear in `"),
        hint: "`systemd-creds encrypt --name=node.pem ",
    },
    Case {
        name: "a-text-in-clear",
        node: "unit 'SetCredential=node.pem: -----BEGIN'; start node.pem",
        finding: ("warning", "the credential `node.pem` is written in clear in `test.service`"),
        hint: "`systemd-creds encrypt --name=node.pem KEY /etc/credstore.encrypted/node.pem`",
    },
    Case {
        name: "sealed-with-an-empty-key",
        node: "seal --with-key=tpm2-absent; load; start node.pem",
        finding: ("warning", "anybody can open the credential `node.pem` in `"),
        hint: "`systemd-creds encrypt --with-key=host --name=node.pem KEY FILE`",
    },
    Case {
        name: "a-copy-beside-the-sealed-file",
        node: "seal --with-key=host; load; start node.pem; cp $KEYS/node.pem $OUT/sealed/old",
        finding: ("warning", "/sealed/old` holds the key of the credential `node.pem`"),
        hint: "`shred -u ",
    },
    Case {
        name: "no-private-key",
        node: "seal --with-key=host; load; echo x >$KEYS/other; start other; cp $KEYS/other $KEYS/node.pem
            unit \"LoadCredentialEncrypted=other:$OUT/sealed/node.pem\"",
        finding: ("fails", "none of the credentials of `test.service` is a private key"),
        hint: "load it with `LoadCredentialEncrypted=` in `test.service`",
    },
    Case {
        name: "a-specifier-of-systemd",
        node: "sed -i 's#/run/credentials/test.service#%d#' $OUT/config.toml",
        finding: ("fails", "`%d` is not a directory of credentials"),
        hint: "containerd expands neither `%d` nor variables",
    },
];

pub(super) fn cases(suite: &mut Suite) {
    for case in CASES {
        let tools = [Tool::Root, Tool::Unshare, Tool::SystemdCreds, Tool::Swtpm];
        suite.case(format!("doctor/credentials/{}", case.name), &tools, || tried(case));
    }
}

fn tried(case: &Case) -> Result<()> {
    let made = Made::new()?;
    let keys = made.node.keys();
    ensure!(keys.join(KEY).is_file() && KEY == "node.pem");
    let path = keys.display().to_string();
    let credentials = "/run/credentials/test.service";
    made.change(&format!("{FLAG}, \"{path}\""), &format!("{FLAG}, \"{credentials}\""))?;
    let script = format!(
        "{BEGIN}\n{}\n\"$KEYCELL\" doctor --config $OUT/config.toml --json || test $? = 1",
        case.node
    );
    let output = Command::new(Tool::Unshare.find()?)
        .args(["--mount", "sh", "-euc", &script])
        .env("OUT", made.node.outside())
        .env("KEYS", &keys)
        .env("KEYCELL", keycell_tests::dist("keycell")?)
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| errors.clone())?;
    let findings = report["findings"].as_array().context("no findings")?;
    let (severity, words) = case.finding;
    let has = |one: &&Value| one["message"].as_str().is_some_and(|text| text.contains(words));
    let found: Vec<&Value> = findings.iter().filter(has).collect();
    let [one] = found[..] else {
        anyhow::bail!("{} times `{words}`: {report:#}\n{errors}", found.len());
    };
    ensure!(one["severity"] == severity, "{one:#}");
    let hint = one["hints"][0].as_str().unwrap_or_default();
    ensure!(hint.contains(case.hint), "{one:#}");
    // The namespace has no socket of a log.
    let others: Vec<&Value> = findings.iter().filter(|one| one["section"] != "log").collect();
    let count = |severity| others.iter().filter(|one| one["severity"] == severity).count();
    let expected = |of| usize::from(severity == of);
    let bad = (count("fails"), count("warning"));
    ensure!(bad == (expected("fails"), expected("warning")), "{bad:?}: {report:#}");
    Ok(())
}
