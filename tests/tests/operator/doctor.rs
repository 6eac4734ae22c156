//! `keycell doctor` on nodes that are made for it: a configuration, keys, a content store.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use anyhow::{Context, Result, ensure};
use keycell_tests::jwe::Recipient;
use keycell_tests::layout;
use keycell_tests::node::KEY;
use keycell_tests::registry::Registry;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use serde_json::{Value, json};

use crate::{exits, keycell, says};

mod broken_keys;
mod broken_nodes;
mod credentials;
mod decoders;
mod made;
mod pull;

use made::Made;
use pull::Pull;

/// The first flag of the decoder in a configuration.
const FLAG: &str = "\"--decryption-keys-path\"";

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        suite.case(format!("doctor/{name}"), tools, run);
    };
    case("all-is-well", &[Tool::Containerd], all_is_well);
    case("defaults-of-containerd", &[Tool::Containerd], defaults_of_containerd);
    case("json", &[Tool::Containerd], json_of_it);
    case("three-syntaxes", &[], three_syntaxes);
    case("a-configuration-that-containerd-refuses", &[], refused_configuration);
    case("an-import-that-is-not-found", &[], relative_glob);
    case("no-decoder", &[], || {
        fails(
            "path = \"/usr/bin/ctd-decoder\"",
            "path = \"/nowhere/ctd-decoder\"",
            &["cannot find `/nowhere/ctd-decoder`"],
        )
    });
    case("not-a-program", &[], || {
        fails(
            "path = \"/usr/bin/ctd-decoder\"",
            "path = \"/etc/passwd\"",
            &["no program that may be executed"],
        )
    });
    case("another-decoder", &[], decoders::another);
    case("the-original-decoder", &[Tool::OriginalDecoder], decoders::the_original);
    case("a-flag-that-is-none", &[], || {
        fails(
            "\"--decryption-keys-path\"",
            "\"--decryption-key-path\"",
            &["decrypts no layer: unexpected argument `--decryption-key-path`"],
        )
    });
    case("zstd-without-a-processor", &[], || {
        fails(
            "    \"application/vnd.oci.image.layer.v1.tar+zstd+encrypted\",\n",
            "",
            &["zstd layers fail", "hint: list it in the `accepts`"],
        )
    });
    case("two-processors-for-one-type", &[], two_processors);
    case("a-return-that-cannot-be-unpacked", &[], || {
        fails(
            "returns = \"application/vnd.oci.image.layer.v1.tar+gzip\"",
            "returns = \"text/plain\"",
            &["returns `text/plain`, which containerd cannot unpack"],
        )
    });
    case("a-tar-that-nobody-decompresses", &[], || {
        fails(
            ", \"--decompress\"",
            "",
            &["returns a plain tar for gzip layers, which are compressed", "`--decompress`"],
        )
    });
    case("decompressed-and-returned-as-gzip", &[], decompressed_and_returned_as_gzip);
    case("zstd-through-the-decompressing-processor", &[], zstd_returned_as_tar);
    case("key-model", &[], key_model);
    case("a-guest-that-is-not-there", &[], || {
        fails(
            "\"--decryption-keys-path\"",
            "\"--guest\", \"absent\", \"--decryption-keys-path\"",
            &["there is no guest `absent`", "hint: "],
        )
    });
    case("cri-disabled", &[], cri_disabled);
    case("a-snapshotter-that-unpacks-by-itself", &[], own_snapshotter);
    case("keys", &[], keys);
    case("no-keys", &[], no_keys);
    case("key-providers", &[], key_providers);
    case("tokens", &[], tokens);
    case("images", &[], images);
    case("images-in-a-registry", &[Tool::DockerRegistry], images_in_a_registry);
    case("a-key-that-opens-nothing", &[], a_key_that_opens_nothing);
    case("a-store-of-garbage", &[], a_store_of_garbage);
    case("nothing-is-changed", &[Tool::Containerd], nothing_is_changed);
    case("before-the-first-pull", &[Tool::Root, Tool::Containerd], before_the_first_pull);
    broken_nodes::cases(suite);
    credentials::cases(suite);
}

/// As Docker's package has it: nothing is said to be pulled for Kubernetes.
fn cri_disabled() -> Result<()> {
    let made = Made::new()?;
    let disabled = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
    made.change("version = 2\n", disabled)?;
    let text = exits(&mut made.doctor()?, 0)?;
    says(&text, &["the plugin `io.containerd.grpc.v1.cri` is disabled"])?;
    ensure!(!text.contains("pulled for Kubernetes"), "{text}");
    Ok(())
}

/// SOCI unpacks each layer, and containerd calls no decoder.
fn own_snapshotter() -> Result<()> {
    let made = Made::new()?;
    let file = made.path("config.toml");
    let more = "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"soci\"\n\
        [proxy_plugins.soci]\ntype = \"snapshot\"\naddress = \"/run/soci.sock\"\n";
    fs::write(&file, fs::read_to_string(&file)? + more)?;
    says(
        &exits(&mut made.doctor()?, 1)?,
        &["the snapshotter `soci` unpacks layers itself", "`overlayfs`"],
    )
}

/// containerd looks at the first bytes of what comes out, so this works.
fn decompressed_and_returned_as_gzip() -> Result<()> {
    let made = Made::new()?;
    let (tar, gzip) = ("layer.v1.tar\"\n", "layer.v1.tar+gzip\"\n");
    made.change(tar, gzip)?;
    says(&exits(&mut made.doctor()?, 0)?, &["gzip layers: the decoder of", "decompresses them"])
}

/// zstd layers pass as they are, and containerd would take them for tar.
fn zstd_returned_as_tar() -> Result<()> {
    let made = Made::new()?;
    let zstd = "\"application/vnd.oci.image.layer.v1.tar+zstd+encrypted\"";
    made.change(&format!("    {zstd},\n"), "")?;
    let gzip = "\"application/vnd.oci.image.layer.v1.tar+gzip+encrypted\"";
    made.change(gzip, &format!("{gzip}, {zstd}"))?;
    says(&exits(&mut made.doctor()?, 1)?, &["returns a plain tar for zstd layers"])
}

/// With this changed, something will fail, and these words tell what.
fn fails(from: &str, to: &str, words: &[&str]) -> Result<()> {
    let made = Made::new()?;
    made.change(from, to)?;
    says(&exits(&mut made.doctor()?, 1)?, words)
}

fn all_is_well() -> Result<()> {
    let made = Made::new()?;
    let text = exits(&mut made.doctor()?, 0)?;
    let gzip = "gzip layer, pulled for Kubernetes: containerd hands over what is needed";
    let zstd = gzip.replace("gzip", "zstd");
    says(
        &text,
        &[
            "ok       containerd 1.6.20",
            "(version 2)",
            "(Keycell)",
            "P-256 `node.pem` (SHA256:",
            gzip,
            &zstd,
        ],
    )?;
    says(&text, &["the guest that the decoder was built with", "this kernel gives: no new priv"])?;
    says(&text, &["decrypts a trial layer, called as containerd calls it"])?;
    // Not every kernel has every wall, and not every machine of the tests a journal.
    let differ = ["no wall `", "`--require-sandbox`", "layers are not logged", "name a file: `log"];
    let lines = text.lines().filter(|line| !differ.iter().any(|words| line.contains(words)));
    let lines: Vec<_> = lines.collect();
    ensure!(!lines.concat().contains("warning") && !lines.concat().contains("hint: "), "{text}");
    Ok(())
}

/// Without a payload, and not to find one by itself.
fn key_model() -> Result<()> {
    let made = Made::new()?;
    let section = "[plugins.\"io.containerd.grpc.v1.cri\".image_decryption]\nkey_model = \"\"\n";
    made.change("version = 2\n", &format!("version = 2\n{section}"))?;
    says(
        &exits(&mut made.doctor()?, 0)?,
        &[
            "`key_model` is ``",
            "gzip layer, pulled for Kubernetes: the decoder finds what is needed",
        ],
    )?;
    made.change(FLAG, &format!("\"--content-store\", \"off\", {FLAG}"))?;
    let text = exits(&mut made.doctor()?, 1)?;
    says(&text, &["the decoder gets no payload", "hint: set `key_model = \"node\"`"])
}

/// Without a configuration, `ctd-decoder` in PATH and no zstd.
fn defaults_of_containerd() -> Result<()> {
    let made = Made::new()?;
    let text = exits(keycell(&["doctor", "--config"])?.arg(made.path("absent.toml")), 2)?;
    says(&text, &["there is no `", "name the file that containerd reads"])
}

fn json_of_it() -> Result<()> {
    let made = Made::new()?;
    made.change("+zstd+encrypted", "+other+encrypted")?;
    let report: Value = serde_json::from_str(&exits(made.doctor()?.arg("--json"), 1)?)?;
    ensure!(report["exit"] == 1, "{report:#}");
    let findings = report["findings"].as_array().context("no findings")?;
    let failure = findings.iter().find(|finding| finding["severity"] == "fails");
    let failure = failure.context("no failure")?;
    ensure!(failure["section"] == "stream processors" && failure["hints"].is_array(), "{failure}");
    Ok(())
}

/// The processors are the same in all; where the CRI is configured is not.
fn three_syntaxes() -> Result<()> {
    let made = Made::new()?;
    made.change(FLAG, &format!("\"--content-store\", \"off\", {FLAG}"))?;
    let model =
        |section: &str| format!("[plugins.{section}.image_decryption]\nkey_model = \"none\"\n");
    for (version, section, program) in [
        ("", "cri", "1.7"),
        ("version = 2\n", "\"io.containerd.grpc.v1.cri\"", "1.7"),
        ("version = 3\n", "\"io.containerd.cri.v1.images\"", "2.3"),
    ] {
        // The program is missing: the release is derived from the configuration.
        let file = made.path("syntax.toml");
        let text = fs::read_to_string(made.path("config.toml"))?;
        let local = if program == "2.3" {
            "[plugins.\"io.containerd.cri.v1.images\"]\nuse_local_image_pull = true\n"
        } else {
            ""
        };
        let text = text.replace("version = 2\n", version);
        fs::write(&file, format!("{text}{local}{}", model(section)))?;
        let mut doctor = keycell(&["doctor", "--containerd", "/nowhere/containerd", "--config"])?;
        says(&exits(doctor.arg(&file), 1)?, &["`key_model` is `none`"])?;
    }
    let text =
        fs::read_to_string(made.path("config.toml"))?.replace("version = 2\n", "version = 3\n");
    fs::write(made.path("syntax.toml"), text)?;
    let mut doctor = keycell(&["doctor", "--containerd", "/nowhere/containerd", "--config"])?;
    let output = doctor.arg(made.path("syntax.toml")).output()?;
    says(&String::from_utf8(output.stdout)?, &["transfer service, which hands over no payload"])
}

fn refused_configuration() -> Result<()> {
    let made = Made::new()?;
    fs::write(
        made.path("config.toml"),
        "version = 2\nimports = [\"absent.toml\"]\npassword = \"Secret-1\"\n",
    )?;
    let text = exits(&mut made.doctor()?, 1)?;
    says(&text, &["containerd does not start with its configuration", "absent.toml"])?;
    fs::write(made.path("config.toml"), "version = 2\npassword = \"Secret-1\n")?;
    let text = exits(&mut made.doctor()?, 1)?;
    says(&text, &["is not TOML: line 2"])?;
    ensure!(!text.contains("Secret-1"), "it shows what stands there: {text}");
    Ok(())
}

/// What is relative was looked up somewhere else by older releases.
fn relative_glob() -> Result<()> {
    let made = Made::new()?;
    made.change("version = 2\n", "version = 2\nimports = [\"conf.d/*.toml\"]\n")?;
    let program = made.path("containerd");
    for (version, warns) in [("v1.7.15", true), ("v1.7.16", false), ("v1.6.20~ds1", true)] {
        fs::write(&program, format!("#!/bin/sh\necho containerd x {version}\n"))?;
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        let text = exits(made.doctor()?.arg("--containerd").arg(&program), 0)?;
        let words = "imports `conf.d/*.toml`, which this containerd looks up in its working dir";
        ensure!(text.contains(words) == warns, "{version}: {text}");
    }
    Ok(())
}

fn two_processors() -> Result<()> {
    let made = Made::new()?;
    let file = made.path("config.toml");
    let more = "[stream_processors.mine]\naccepts = [\"application/vnd.oci.image.layer.v1.tar+encrypted\"]\n\
        returns = \"application/vnd.oci.image.layer.v1.tar\"\npath = \"/bin/true\"\n";
    fs::write(&file, fs::read_to_string(&file)? + more)?;
    says(&exits(&mut made.doctor()?, 1)?, &["tar layers are taken by several processors", "`mine`"])
}

/// What lies there, who can read it, and which link the decoder would not follow.
fn keys() -> Result<()> {
    let made = Made::new()?;
    let node = &made.node;
    fs::set_permissions(node.outside(), Permissions::from_mode(0o755))?;
    fs::set_permissions(node.keys(), Permissions::from_mode(0o755))?;
    let open = node.add("open.pem", Recipient::generate().private_pem())?;
    fs::set_permissions(open, Permissions::from_mode(0o644))?;
    node.add("README", "not a key")?;
    let elsewhere = made.path("elsewhere.pem");
    fs::write(&elsewhere, Recipient::generate().private_pem())?;
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o600))?;
    symlink(&elsewhere, node.keys().join("link.pem"))?;
    let text = exits(&mut made.doctor()?, 1)?;
    says(
        &text,
        &[
            "warning  everyone on this node may read the key `open.pem`",
            "hint: `chmod 600 /",
            "note     passed over `README`: not a key",
            "fails    `link.pem` is a link that leaves the keys directory",
        ],
    )?;
    ensure!(!text.contains("may read the key `node.pem`"), "{text}");
    Ok(())
}

fn no_keys() -> Result<()> {
    let made = Made::new()?;
    fs::remove_file(made.node.keys().join(KEY))?;
    says(&exits(&mut made.doctor()?, 1)?, &["there is no private key in `"])?;
    fs::remove_dir(made.node.keys())?;
    says(&exits(&mut made.doctor()?, 1)?, &["there are no keys in `", "no such file"])
}

/// Read by the broker's own parser; a command that is not there is found before it is needed.
fn key_providers() -> Result<()> {
    let made = Made::new()?;
    let providers = made.path("providers.json");
    let variable = "env = [\"OCICRYPT_KEYPROVIDER_CONFIG=";
    let path = providers.display().to_string();
    made.change("/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf", &path)?;
    let file = fs::read_to_string(made.path("config.toml"))?;
    ensure!(file.contains(&format!("{variable}{path}")), "{file}");
    says(&exits(&mut made.doctor()?, 0)?, &["no key providers are configured: there is no `"])?;
    fs::write(
        &providers,
        r#"{"key-providers":{"a":{"cmd":{"path":"/bin/true"}},"b":{"grpc":"localhost:1"}}}"#,
    )?;
    let text = exits(&mut made.doctor()?, 0)?;
    says(
        &text,
        &[
            "key provider `a`: the command `/bin/true`",
            "key provider `b`: gRPC at `localhost:1`",
            "keycell-broker` asks them",
        ],
    )?;
    fs::write(&providers, r#"{"key-providers":{"a":{"cmd":{"path":"/nowhere/kms"}}}}"#)?;
    says(&exits(&mut made.doctor()?, 1)?, &["key provider `a`: there is no `/nowhere/kms`"])?;
    fs::write(&providers, "{")?;
    says(&exits(&mut made.doctor()?, 1)?, &["is not JSON"])
}

/// A token's key that no module may serve, and one whose module is not there. No PIN is shown.
fn tokens() -> Result<()> {
    let made = Made::new()?;
    let key =
        "pkcs11:\n  uri: pkcs11:token=node;object=images?pin-value=Pin-1234&module-name=softhsm2\n";
    made.node.add("token.yaml", key)?;
    fs::set_permissions(made.node.keys().join("token.yaml"), Permissions::from_mode(0o600))?;
    let text = exits(&mut made.doctor()?, 1)?;
    says(
        &text,
        &["`pkcs11:token=node;object=images` cannot be used: no PKCS#11 module is allowed"],
    )?;
    let policy = made.path("ocicrypt.conf");
    let empty = made.path("modules");
    fs::create_dir(&empty)?;
    fs::write(
        &policy,
        format!(
            "pkcs11: {{module-directories: [{0}/], allowed-module-paths: [{0}/]}}\n",
            empty.display()
        ),
    )?;
    let variable = format!("env = [\"OCICRYPT_CONFIG={}\", ", policy.display());
    made.change("env = [", &variable)?;
    let refused = exits(&mut made.doctor()?, 1)?;
    says(&refused, &["there is no module called `softhsm2`"])?;
    ensure!(!text.contains("Pin-1234") && !refused.contains("Pin-1234"), "a PIN: {text}{refused}");
    Ok(())
}

/// By digest, and from a layout; which key opens it, or why none does.
fn images() -> Result<()> {
    let made = Made::new()?;
    let sealed = Sealed::of_length(1000);
    let ours = made.store(&sealed, &made.node.recipient)?;
    let theirs = made.store(&sealed, &Recipient::generate())?;
    let index = json!({ "manifests": [{ "digest": ours }, { "digest": format!("sha256:{}", "0".repeat(64)) }] });
    let index = made.blob(index.to_string().as_bytes())?;
    for digest in [&ours, &index] {
        let text = exits(made.doctor()?.args(["--image", digest]), 0)?;
        says(&text, &["opened by `node.pem` (jwe, SHA256:", "1 of 2 encrypted layers"])?;
    }
    let text = exits(made.doctor()?.args(["--image", &theirs]), 1)?;
    says(
        &text,
        &["no wrapped key could be opened", "hint: the image was encrypted for other keys"],
    )?;
    let absent = format!("sha256:{}", "1".repeat(64));
    says(&exits(made.doctor()?.args(["--image", &absent]), 2)?, &["there is no manifest `sha256:1"])
}

/// An image that containerd does not have is looked up in its registry.
fn images_in_a_registry() -> Result<()> {
    let made = Made::new()?;
    let registry = Registry::start(made.node.outside())?;
    let public = exits(keycell(&["keys", "--public"])?.arg(made.node.keys().join(KEY)), 0)?;
    fs::write(made.path("node.pub"), public)?;
    layout::make(&made.path("plain"))?;
    let image = format!("{}/app:1", registry.address());
    let mut encrypt = keycell(&["encrypt", "--insecure", "--drop-attestations", "--recipient"])?;
    encrypt.arg(format!("jwe:{}", made.path("node.pub").display()));
    encrypt.arg(format!("oci:{}:demo", made.path("plain").display()));
    exits(encrypt.arg(format!("docker://{image}")), 0)?;
    for name in [&image, &format!("docker://{image}")] {
        let text = exits(made.doctor()?.args(["--insecure", "--image", name]), 0)?;
        says(&text, &["layer 3, sha256:", "opened by `node.pem` (jwe, SHA256:"])?;
    }
    let absent = image.replace("app:1", "app:2");
    let text = exits(made.doctor()?.args(["--insecure", "--image", &absent]), 2)?;
    says(&text, &["the registry does not give it", "has no image `2`"])
}

/// After a rotation: the old key opens nothing in the store any more.
fn a_key_that_opens_nothing() -> Result<()> {
    let made = Made::new()?;
    made.store(&Sealed::of_length(1000), &made.node.recipient)?;
    let old = made.node.add("old.pem", Recipient::generate().private_pem())?;
    fs::set_permissions(old, Permissions::from_mode(0o600))?;
    let text = exits(&mut made.doctor()?, 0)?;
    says(&text, &["1 of 1 encrypted layer", "`old.pem`", "opens none of them"])?;
    let line = text.lines().find(|line| line.contains("opens none of them")).unwrap_or_default();
    ensure!(!line.contains(KEY), "{line}");
    Ok(())
}

/// Links, pipes, what is not JSON, what is deep and what is large: none of it is an error.
fn a_store_of_garbage() -> Result<()> {
    let made = Made::new()?;
    made.store(&Sealed::of_length(1000), &made.node.recipient)?;
    made.blob(b"{")?;
    made.blob("[".repeat(100_000).as_bytes())?;
    made.blob(format!("{{\"layers\":{}", "[".repeat(100_000)).as_bytes())?;
    made.blob(br#"{"layers":[{"annotations":5},7,{"annotations":{"org.opencontainers.image.enc.keys.jwe":"!"}}]}"#)?;
    let blobs = made.path("root/io.containerd.content.v1.content/blobs/sha256");
    symlink("/dev/zero", blobs.join("zero"))?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        blobs.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )?;
    let large = fs::File::create(blobs.join("large"))?;
    large.set_len(1 << 40)?;
    says(&exits(&mut made.doctor()?, 0)?, &["1 of 2 encrypted layers"])
}

/// The root that `--content-store` names has no store until containerd stores the first blob.
fn before_the_first_pull() -> Result<()> {
    let made = Made::new()?;
    let root = made.path("root").display().to_string();
    made.change(FLAG, &format!("\"--content-store\", \"{root}\", {FLAG}"))?;
    Pull::new(&made)?.works(&made)
}

/// It only looks.
fn nothing_is_changed() -> Result<()> {
    let made = Made::new()?;
    let digest = made.store(&Sealed::of_length(1000), &made.node.recipient)?;
    let before = keycell_tests::layout::state(made.node.outside())?;
    exits(made.doctor()?.args(["--image", &digest]), 0)?;
    ensure!(keycell_tests::layout::state(made.node.outside())? == before, "something was changed");
    Ok(())
}
