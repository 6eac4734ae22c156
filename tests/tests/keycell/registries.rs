//! Images in registries: from and to them, with credentials, through failures, and interrupted.

mod broken;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use keycell_tests::faults::{Access, Fault, Proxy};
use keycell_tests::image::Image;
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::layout;
use keycell_tests::registry::{PASSWORD, Registry, USER};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use tempfile::TempDir;

use crate::keycell;

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        let tools: Vec<_> = tools.iter().copied().chain([Tool::DockerRegistry]).collect();
        suite.case(format!("keycell/registry/{name}"), &tools, run);
    };
    case("to-skopeo", &Tool::IMAGES, to_skopeo);
    case("from-skopeo", &Tool::IMAGES, from_skopeo);
    case("all-platforms", &[Tool::Openssl], all_platforms);
    case("who-may-not", &[Tool::Openssl], who_may_not);
    case("certificates", &[Tool::Openssl], certificates);
    case("files-of-credentials", &[Tool::Openssl], files_of_credentials);
    case("credential-helper", &[Tool::Openssl], credential_helper);
    case("tokens-that-expire", &[Tool::Openssl], tokens_that_expire);
    case("mounted-and-skipped", &[Tool::Openssl], mounted_and_skipped);
    case("a-tag-that-is-there", &[Tool::Openssl], a_tag_that_is_there);
    case("no-right-to-push", &[Tool::Openssl], no_right_to_push);
    broken::cases(&mut case);
}

/// A layout with an image for two platforms, a key, and a registry.
struct Made {
    dir: TempDir,
    key: KeyPair,
    registry: Registry,
}

impl Made {
    fn new(start: fn(&Path) -> Result<Registry>) -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-registry-")?;
        layout::make(&dir.path().join("plain"))?;
        let key = KeyPair::generate(dir.path(), "node", KeyKind::P256)?;
        fs::create_dir(dir.path().join("keys"))?;
        key.install(KeyForm::Pkcs8Pem, &dir.path().join("keys"))?;
        let registry = start(dir.path())?;
        Ok(Self { dir, key, registry })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `oci:DIR:demo` of this directory.
    fn layout(&self, name: &str) -> String {
        format!("oci:{}:demo", self.path(name).display())
    }

    fn proxy(&self, access: Access) -> Result<Proxy> {
        Proxy::start(self.registry.address(), access)
    }

    /// `keycell encrypt`, in an environment without any credentials.
    fn encrypt(&self, from: &str, to: &str) -> Result<Command> {
        let recipient = format!("jwe:{}", self.key.public().display());
        let mut command = keycell(&["encrypt", from, to, "-r", &recipient])?;
        command.args(["--allow-unencrypted", "application/vnd.in-toto+json"]);
        Ok(self.alone(command))
    }

    fn decrypt(&self, from: &str, to: &str) -> Result<Command> {
        let keys = self.path("keys").display().to_string();
        Ok(self.alone(keycell(&["decrypt", from, to, "--keys", &keys])?))
    }

    fn alone(&self, mut command: Command) -> Command {
        for name in ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"] {
            command.env_remove(name);
        }
        command.env("HOME", self.dir.path()).env_remove("HTTPS_PROXY").env_remove("HTTP_PROXY");
        command
    }

    /// Decrypts and compares all layers.
    fn decrypts(&self, from: &str, more: &[&str]) -> Result<()> {
        let to = self.layout("decrypted");
        let _ = fs::remove_dir_all(self.path("decrypted"));
        succeeds(self.decrypt(from, &to)?.args(more), "")?;
        let root = self.path("decrypted");
        for (layer, name) in layout::layers(&root)?.iter().zip(["one", "two", "three"]) {
            ensure!(layout::read(&root, layer)? == layout::plain(name), "`{name}` is another");
        }
        Ok(())
    }
}

fn run(command: &mut Command, stdin: &str) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // Who does not want a password does not read it.
    let _ = child.stdin.take().context("no pipe")?.write_all(stdin.as_bytes());
    Ok(child.wait_with_output()?)
}

fn succeeds(command: &mut Command, stdin: &str) -> Result<String> {
    let output = run(command, stdin)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {}; stderr: {stderr}", output.status);
    ensure!(!stderr.contains(PASSWORD), "the password is shown: {stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Fails with one error that has each of `words`.
fn fails(command: &mut Command, stdin: &str, words: &[&str]) -> Result<()> {
    let output = run(command, stdin)?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{}: {stderr}", output.status);
    ensure!(stderr.matches("error: ").count() == 1, "not one error: {stderr}");
    ensure!(!stderr.contains(PASSWORD), "the password is shown: {stderr}");
    for word in words {
        ensure!(stderr.contains(word), "nothing of `{word}`: {stderr}");
    }
    Ok(())
}

/// What we push with TLS and a password, skopeo decrypts.
fn to_skopeo() -> Result<()> {
    let made = Made::new(Registry::secure)?;
    let image = Image::busybox(made.dir.path())?;
    let plain = format!("oci:{}:demo", made.path("busybox").display());
    image.copy(&[], &plain)?;
    let name = format!("docker://{}/team/app:1", made.registry.address());
    let ca = made.path("ca.crt").display().to_string();
    let mut encrypt = made.encrypt(&plain, &name)?;
    let digest = succeeds(
        encrypt.args(["--ca-file", &ca, "--username", USER, "--password-stdin"]),
        &format!("{PASSWORD}\n"),
    )?;
    let certificates = made.path("certificates");
    fs::create_dir(&certificates)?;
    fs::copy(&ca, certificates.join("ca.crt"))?;
    let certificates = certificates.display().to_string();
    let (credentials, private) = (format!("{USER}:{PASSWORD}"), made.path("node.pem"));
    let to = format!("oci:{}:demo", made.path("decrypted").display());
    let command = ["--insecure-policy", "copy", "--quiet", "--src-creds", &credentials];
    let keys = ["--src-cert-dir", &certificates, "--decryption-key"];
    let private = private.display().to_string();
    Tool::Skopeo.run(command.iter().chain(&keys).copied().chain([&private[..], &name, &to]))?;
    let (one, other) =
        (layout::layers(&made.path("busybox"))?, layout::layers(&made.path("decrypted"))?);
    let digests = |layers: &[serde_json::Value]| -> Vec<_> {
        layers.iter().map(|layer| layer["digest"].clone()).collect()
    };
    ensure!(digests(&one) == digests(&other), "{one:?}, {other:?}");
    let inspect = ["inspect", "--creds", &credentials, "--cert-dir", &certificates, "--format"];
    let shown = Tool::Skopeo.run(inspect.iter().copied().chain(["{{.Digest}}", &name]))?;
    ensure!(String::from_utf8(shown)?.trim() == digest.trim(), "another digest than `{digest}`");
    Ok(())
}

/// What skopeo pushes encrypted, we inspect and decrypt.
fn from_skopeo() -> Result<()> {
    let made = Made::new(Registry::start)?;
    let image = Image::busybox(made.dir.path())?;
    let public = format!("jwe:{}", made.key.public().display());
    let name = format!("docker://{}/app:1", made.registry.address());
    image.copy(&["--dest-tls-verify=false", "--encryption-key", &public], &name)?;
    let inspect = keycell(&["inspect", &name, "--tls-verify=false"])?;
    let shown = succeeds(&mut made.alone(inspect), "")?;
    ensure!(shown.contains("P-256"), "{shown}");
    let to = made.layout("decrypted");
    succeeds(made.decrypt(&name, &to)?.arg("--insecure"), "")?;
    let found = layout::layers(&made.path("decrypted"))?;
    let digests = image.layers()?.into_iter().map(|layer| layer.digest);
    ensure!(found.iter().map(|it| it["digest"].clone()).eq(digests), "{found:?}");
    Ok(())
}

/// An index and its manifests, from one repository to another and back.
fn all_platforms() -> Result<()> {
    let made = Made::new(Registry::start)?;
    let name = |repository: &str| format!("docker://{}/{repository}:1", made.registry.address());
    succeeds(made.encrypt(&made.layout("plain"), &name("encrypted"))?.arg("--insecure"), "")?;
    succeeds(made.decrypt(&name("encrypted"), &name("plain"))?.arg("--insecure"), "")?;
    succeeds(made.encrypt(&name("plain"), &name("a/b/c"))?.arg("--insecure"), "")?;
    made.decrypts(&name("a/b/c"), &["--insecure"])
}

fn who_may_not() -> Result<()> {
    let made = Made::new(Registry::secure)?;
    let name = format!("docker://{}/app:1", made.registry.address());
    let ca = made.path("ca.crt").display().to_string();
    let encrypt = || -> Result<Command> {
        let mut command = made.encrypt(&made.layout("plain"), &name)?;
        command.args(["--ca-file", &ca]);
        Ok(command)
    };
    let host = made.registry.address();
    fails(&mut encrypt()?, "", &["without signing in", &format!("`docker login {host}`")])?;
    let login = ["--username", USER, "--password-stdin"];
    fails(encrypt()?.args(login), "wrong", &["does not accept the credentials", "--authfile"])?;
    ensure!(!made.registry.has_tag("app", "1"), "it was pushed");
    succeeds(encrypt()?.args(login), PASSWORD)?;
    ensure!(made.registry.has_tag("app", "1"), "it was not pushed");
    Ok(())
}

fn certificates() -> Result<()> {
    let made = Made::new(Registry::secure)?;
    let name = format!("docker://{}/app:1", made.registry.address());
    let login = ["--username", USER, "--password-stdin"];
    let encrypt = |more: &[&str]| -> Result<Command> {
        let mut command = made.encrypt(&made.layout("plain"), &name)?;
        command.args(login).args(more);
        Ok(command)
    };
    fails(&mut encrypt(&[])?, PASSWORD, &["the authority that issued", "--ca-file FILE"])?;
    let key = made.path("node.pub.pem").display().to_string();
    fails(&mut encrypt(&["--ca-file", &key])?, PASSWORD, &["has no certificate in PEM"])?;
    fails(&mut encrypt(&["--insecure"])?, PASSWORD, &["status 400", "without `--insecure`"])?;
    let localhost = name.replace("127.0.0.1", "localhost");
    let ca = made.path("ca.crt").display().to_string();
    let mut other = made.encrypt(&made.layout("plain"), &localhost)?;
    other.args(login).args(["--ca-file", &ca]);
    fails(&mut other, PASSWORD, &["for another host", "openssl s_client"])?;
    succeeds(&mut encrypt(&["--tls-verify=false"])?, PASSWORD)?;
    // Without TLS, `--tls-verify=false` is enough, as for skopeo.
    let plain = Made::new(Registry::start)?;
    let name = format!("docker://{}/app:1", plain.registry.address());
    let mut encrypt = plain.encrypt(&plain.layout("plain"), &name)?;
    fails(&mut encrypt, "", &["does not speak TLS", "--tls-verify=false"])?;
    succeeds(encrypt.arg("--tls-verify=false"), "")?;
    Ok(())
}

fn files_of_credentials() -> Result<()> {
    let made = Made::new(Registry::secure)?;
    let host = made.registry.address();
    let ca = made.path("ca.crt").display().to_string();
    let write = |name: &str, text: &str| -> Result<PathBuf> {
        let path = made.path(name);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(&path, text)?;
        Ok(path)
    };
    let good = credentials(host, PASSWORD);
    let docker = write("docker/config.json", &good)?;
    let of_repository = credentials(&format!("{host}/team"), PASSWORD);
    let named = write("named.json", &of_repository)?;
    let wrong = write("wrong.json", &credentials(host, "wrong"))?;
    let mut count = 0;
    let mut encrypt = |repository: &str| -> Result<Command> {
        count += 1;
        let name = format!("docker://{host}/{repository}:{count}");
        let mut command = made.encrypt(&made.layout("plain"), &name)?;
        command.args(["--ca-file", &ca]);
        Ok(command)
    };
    let docker = docker.parent().context("no parent")?;
    succeeds(encrypt("app")?.env("DOCKER_CONFIG", docker), "")?;
    succeeds(encrypt("team/app")?.env("REGISTRY_AUTH_FILE", &named), "")?;
    fails(encrypt("app")?.env("REGISTRY_AUTH_FILE", &named), "", &["without signing in"])?;
    let authfile = |path: &Path| ["--authfile".to_owned(), path.display().to_string()];
    succeeds(encrypt("team/app")?.args(authfile(&named)).env("REGISTRY_AUTH_FILE", &wrong), "")?;
    fails(
        encrypt("app")?.args(authfile(&wrong)).env("DOCKER_CONFIG", docker),
        "",
        &["credentials"],
    )?;
    fails(encrypt("app")?.args(authfile(Path::new("missing"))), "", &["`missing`", "--authfile"])?;
    let malformed = write("malformed.json", "{")?;
    fails(encrypt("app")?.args(authfile(&malformed)), "", &["malformed"])?;
    write(".config/containers/auth.json", &good)?;
    succeeds(&mut encrypt("app")?, "")?;
    write("runtime/containers/auth.json", &credentials(host, "wrong"))?;
    fails(encrypt("app")?.env("XDG_RUNTIME_DIR", made.path("runtime")), "", &["credentials"])
}

/// A file of credentials with one entry.
fn credentials(key: &str, password: &str) -> String {
    use base64ct::{Base64, Encoding};
    let auth = Base64::encode_string(format!("{USER}:{password}").as_bytes());
    format!(r#"{{"auths":{{"{key}":{{"auth":"{auth}"}}}}}}"#)
}

fn credential_helper() -> Result<()> {
    let made = Made::new(Registry::secure)?;
    let host = made.registry.address();
    let ca = made.path("ca.crt").display().to_string();
    let helper = |name: &str, script: &str| -> Result<()> {
        let path = made.path(&format!("docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\nread server\n{script}\n"))?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    };
    let answer =
        format!(r#"{{"ServerURL":"'$server'","Username":"{USER}","Secret":"{PASSWORD}"}}"#);
    helper("good", &format!("[ \"$server\" = {host} ] && echo '{answer}'"))?;
    helper("empty", "echo credentials not found in native keychain; exit 1")?;
    helper("bad", &format!("echo 'no access, {PASSWORD}'; exit 3"))?;
    let path = std::env::var("PATH")?;
    let path = format!("{}:{path}", made.dir.path().display());
    let encrypt = |tag: &str, config: &str| -> Result<Command> {
        fs::write(made.path("config.json"), config)?;
        let mut command =
            made.encrypt(&made.layout("plain"), &format!("docker://{host}/app:{tag}"))?;
        let command_path = made.path("config.json").display().to_string();
        command.args(["--ca-file", &ca, "--authfile", &command_path]).env("PATH", &path);
        Ok(command)
    };
    let of_host = |name: &str| format!(r#"{{"credHelpers":{{"{host}":"{name}"}}}}"#);
    succeeds(&mut encrypt("1", &of_host("good"))?, "")?;
    succeeds(&mut encrypt("2", r#"{"credsStore":"good"}"#)?, "")?;
    fails(&mut encrypt("3", r#"{"credsStore":"empty"}"#)?, "", &["without signing in"])?;
    fails(&mut encrypt("4", &of_host("bad"))?, "", &["`docker-credential-bad`", " get`"])?;
    fails(&mut encrypt("5", &of_host("missing"))?, "", &["`docker-credential-missing`"])
}

/// Tokens are renewed when the registry does not accept them any more, also within a blob.
fn tokens_that_expire() -> Result<()> {
    let made = Made::new(Registry::start)?;
    let proxy = made.proxy(Access::Bearer(3))?;
    let name = format!("docker://{}/app:1", proxy.address());
    let login = ["--insecure", "--username", USER, "--password-stdin"];
    succeeds(made.encrypt(&made.layout("plain"), &name)?.args(login), PASSWORD)?;
    let asked = proxy.seen("GET", "/token");
    ensure!(asked.len() > 3, "only {} tokens", asked.len());
    let scope = "scope=repository%3Aapp%3Apull%2Cpush";
    ensure!(asked.iter().all(|it| it.target.contains(scope)), "{asked:?}");
    ensure!(asked.iter().all(|it| it.target.contains("service=s")), "{asked:?}");
    fails(
        made.decrypt(&name, &made.layout("decrypted"))?.args(login),
        "wrong",
        &["does not accept the credentials"],
    )
}

/// Blobs that stay as they are, are neither read nor sent if the registry has them.
fn mounted_and_skipped() -> Result<()> {
    let made = Made::new(Registry::start)?;
    let direct = format!("docker://{}/plain:1", made.registry.address());
    succeeds(made.encrypt(&made.layout("plain"), &direct)?.arg("--insecure"), "")?;
    let proxy = made.proxy(Access::Open)?;
    let name = |tag: &str| format!("docker://{}/{tag}", proxy.address());
    succeeds(made.decrypt(&name("plain:1"), &name("other:1"))?.arg("--insecure"), "")?;
    let mounted = proxy.seen("POST", "mount=");
    ensure!(mounted.len() == 4, "three configurations and an attestation, and not {mounted:?}");
    ensure!(mounted.iter().all(|it| it.target.contains("from=plain")), "{mounted:?}");
    let sent = proxy.seen("PUT", "/other/blobs/").len();
    ensure!(sent == 3, "three layers are sent, and not {sent}");
    let (asked, read) =
        (proxy.seen("HEAD", "/other/blobs/").len(), proxy.seen("GET", "/plain/blobs/"));
    ensure!(asked >= 2, "only {asked} are looked for");
    succeeds(made.decrypt(&name("plain:1"), &name("other:2"))?.arg("--insecure"), "")?;
    ensure!(proxy.seen("POST", "mount=").len() == 4, "mounted again");
    ensure!(!read.is_empty(), "nothing was read");
    Ok(())
}

fn a_tag_that_is_there() -> Result<()> {
    let made = Made::new(Registry::start)?;
    let proxy = made.proxy(Access::Open)?;
    let name = format!("docker://{}/app:1", proxy.address());
    let encrypt = || -> Result<Command> {
        let mut command = made.encrypt(&made.layout("plain"), &name)?;
        command.arg("--insecure");
        Ok(command)
    };
    succeeds(&mut encrypt()?, "")?;
    let before = proxy.seen("POST", "").len();
    fails(&mut encrypt()?, "", &["is there already", "--force"])?;
    ensure!(proxy.seen("POST", "").len() == before, "an upload was begun");
    succeeds(encrypt()?.arg("--force"), "")?;
    made.decrypts(&name, &["--insecure"])?;
    let by_digest = format!("docker://{}/app@sha256:{}", proxy.address(), "0".repeat(64));
    fails(&mut made.encrypt(&made.layout("plain"), &by_digest)?, "", &["destination"])
}

/// Who may not push hears it before anything is sent.
fn no_right_to_push() -> Result<()> {
    let made = Made::new(Registry::start)?;
    let proxy = made.proxy(Access::Open)?;
    let denied = r#"{"errors":[{"code":"DENIED","message":"\u001b[1mread only"}]}"#;
    let fault = Fault::Answer(403, String::new(), denied.to_owned());
    proxy.fail("POST", "/blobs/uploads/", 99, fault);
    let name = format!("docker://{}/app:1", proxy.address());
    let mut encrypt = made.encrypt(&made.layout("plain"), &name)?;
    fails(encrypt.arg("--insecure"), "", &["denies access", "DENIED: \\u{1b}[1mread only"])?;
    ensure!(proxy.seen("PUT", "").is_empty() && proxy.seen("PATCH", "").is_empty(), "it was sent");
    Ok(())
}
