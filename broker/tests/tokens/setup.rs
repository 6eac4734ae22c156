//! What the tests of tokens share: SoftHSM, a module that misbehaves, and the tools around them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, bail, ensure};
use keycell_broker::Refusal;
use keycell_broker::tokens::{OaepHash, Policy, TokenKey};
use libtest_mimic::{Arguments, Trial};
use tempfile::TempDir;

/// No message may have it.
pub(crate) const PIN: &str = "Pin-31415-secret";
/// Where Debian puts SoftHSM's module: a link into another directory.
pub(crate) const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

const TOKEN_TOOLS: [&str; 3] = ["softhsm2-util", "pkcs11-tool", "openssl"];

/// What is wrapped.
pub(crate) const SECRET: &[u8] = br#"{"symkey":"a layer key","digest":"sha256:0123"}"#;

/// Cases, and those of them that cannot run here.
pub(crate) struct Suite {
    arguments: Arguments,
    trials: Vec<Trial>,
    skipped: BTreeMap<String, usize>,
}

impl Suite {
    pub(crate) fn from_args() -> Self {
        let arguments = Arguments::from_args();
        Self { arguments, trials: Vec::new(), skipped: BTreeMap::new() }
    }

    /// A case without tools.
    pub(crate) fn case(&mut self, name: &str, run: impl FnOnce() -> Result<()> + Send + 'static) {
        self.needs(name, &[], |()| run());
    }

    /// A case with SoftHSM.
    pub(crate) fn softhsm(
        &mut self,
        name: &str,
        run: impl FnOnce(&'static SoftHsm) -> Result<()> + Send + 'static,
    ) {
        self.needs(name, &TOKEN_TOOLS, |()| match &*TOKENS {
            Ok(tokens) => run(tokens),
            Err(error) => bail!("SoftHSM cannot be set up: {error:#}"),
        });
    }

    /// A case with the module that misbehaves.
    pub(crate) fn module(
        &mut self,
        name: &str,
        run: impl FnOnce(&'static Module) -> Result<()> + Send + 'static,
    ) {
        self.needs(name, &["cc"], |()| match &*MODULE {
            Ok(module) => run(module),
            Err(error) => bail!("the module cannot be built: {error:#}"),
        });
    }

    /// Without a tool a case is skipped, or fails when `CI` is set.
    fn needs(
        &mut self,
        name: &str,
        tools: &[&str],
        run: impl FnOnce(()) -> Result<()> + Send + 'static,
    ) {
        let missing = tools.iter().find(|tool| find(tool).is_none());
        let missing =
            missing.map(|tool| format!("`{tool}` is not installed; `make tools` does it"));
        self.trials.push(match missing {
            None => Trial::test(name, || run(()).map_err(|e| format!("{e:#}").into())),
            Some(why) if std::env::var_os("CI").is_some() => {
                Trial::test(name, move || Err(why.into()))
            }
            Some(why) => {
                *self.skipped.entry(why).or_default() += 1;
                Trial::test(name, || Ok(())).with_ignored_flag(true)
            }
        });
    }

    pub(crate) fn run(self) -> ExitCode {
        for (why, cases) in &self.skipped {
            eprintln!("skipping {cases} of {} cases: {why}", self.trials.len());
        }
        libtest_mimic::run(&self.arguments, self.trials).exit_code()
    }
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(tool)).find(|file| file.is_file())
}

/// Runs a command, with `input` on its stdin, and returns its stdout.
pub(crate) fn output(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    child.stdin.take().context("no stdin")?.write_all(input)?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// SoftHSM with a configuration and tokens of its own, which only [`SoftHsm::key`] knows of.
pub(crate) struct SoftHsm {
    pub dir: TempDir,
    /// The slot of the token `keycell`.
    pub slot: String,
}

static TOKENS: LazyLock<Result<SoftHsm>> = LazyLock::new(SoftHsm::set_up);

impl SoftHsm {
    fn set_up() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("tokens"))?;
        let tokens = dir.path().join("tokens");
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs::write(dir.path().join("softhsm2.conf"), conf)?;
        let mut this = Self { dir, slot: String::new() };
        let said = this.util(&["--init-token", "--free", "--label", "keycell"])?;
        this.slot = said.rsplit(' ').next().context("no slot")?.trim().to_owned();
        // Keys that openssl made, of which there is therefore a public half from elsewhere.
        for (label, id, bits) in [
            ("two", "0102", "2048"),
            ("four", "a0ff", "4096"),
            ("twin", "03", "2048"),
            ("twin", "04", "2048"),
        ] {
            let file = this.path(&format!("{label}-{id}.pem"));
            let bits = format!("rsa_keygen_bits:{bits}");
            let mut openssl = Command::new("openssl");
            openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits, "-out", &file]);
            output(&mut openssl, b"")?;
            let import = ["--import", &file, "--token", "keycell", "--label", label, "--id", id];
            this.util(&import)?;
        }
        // A key with which Go wrapped.
        let go =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../ocicrypt/tests/data/keys/rsa-2048.pkcs8.pem");
        this.util(&["--import", go, "--token", "keycell", "--label", "go", "--id", "09"])?;
        // Keys that the token made.
        for (label, id, kind) in [("made", "06", "rsa:2048"), ("curve", "07", "EC:prime256v1")] {
            this.tool(&["--keypairgen", "--key-type", kind, "--label", label, "--id", id])?;
        }
        // Read here, where nothing else runs: SoftHSM hides a token while a process logs in.
        let made = this.tool(&["--read-object", "--type", "pubkey", "--id", "06"])?;
        fs::write(this.path("made.der"), made)?;
        // Only the private half of a key.
        let lonely = this.path("two-0102.pem");
        this.tool(&[
            "--write-object",
            &lonely,
            "--type",
            "privkey",
            "--label",
            "lonely",
            "--id",
            "08",
        ])?;
        Ok(this)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn util(&self, arguments: &[&str]) -> Result<String> {
        let mut util = Command::new("softhsm2-util");
        util.args(arguments).args(["--pin", PIN, "--so-pin", PIN]);
        util.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        Ok(String::from_utf8(output(&mut util, b"")?)?)
    }

    /// Runs OpenSC's `pkcs11-tool` on the token.
    fn tool(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut tool = Command::new("pkcs11-tool");
        tool.args(["--module", SOFTHSM, "--token-label", "keycell", "--login", "--pin", PIN]);
        tool.args(arguments).env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        output(&mut tool, b"")
    }

    /// The public key of a private key that openssl made, in DER.
    pub(crate) fn public_key(&self, file: &str) -> Result<Vec<u8>> {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-in", &self.path(file), "-pubout", "-outform", "DER"]);
        output(&mut openssl, b"")
    }

    /// A key file for the path attributes `path`, with SoftHSM's module and PIN, and with its
    /// configuration in `module.env` only.
    pub(crate) fn file(&self, path: &str) -> String {
        self.file_with(&format!("{path}?module-name=softhsm2&pin-value={PIN}"))
    }

    /// A key file for the URI `pkcs11:{uri}`.
    pub(crate) fn file_with(&self, uri: &str) -> String {
        let conf = self.path("softhsm2.conf");
        format!("pkcs11:\n  uri: pkcs11:{uri}\nmodule:\n  env:\n    SOFTHSM2_CONF: {conf}\n")
    }

    /// As [`SoftHsm::file`], parsed.
    pub(crate) fn key(&self, path: &str) -> Result<TokenKey> {
        parse(&self.file(path))
    }
}

/// Wraps with openssl, RSA-OAEP.
pub(crate) fn wrap(public_key: &[u8], hash: &str, plain: &[u8]) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), public_key)?;
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey"]).arg(file.path());
    for option in [
        "rsa_padding_mode:oaep".to_owned(),
        format!("rsa_oaep_md:{hash}"),
        format!("rsa_mgf1_md:{hash}"),
    ] {
        openssl.args(["-pkeyopt", &option]);
    }
    output(&mut openssl, plain)
}

/// The module of `tests/tokens/module.c`.
pub(crate) struct Module {
    dir: TempDir,
}

static MODULE: LazyLock<Result<Module>> = LazyLock::new(|| {
    let dir = tempfile::tempdir()?;
    build(dir.path(), None)?;
    Ok(Module { dir })
});

/// Builds `libfake.so`, which behaves as its environment says, or as `behaviour` does. It leaves
/// `counter.loaded` beside it when it is loaded.
pub(crate) fn build(dir: &Path, behaviour: Option<&str>) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tokens/module.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-Wall", "-o"]).arg(dir.join("libfake.so")).arg(source);
    cc.args(behaviour.map(|behaviour| format!("-DBEHAVIOUR=\"{behaviour}\"")));
    cc.arg(format!("-DCOUNTER=\"{}\"", dir.join("counter").display()));
    output(&mut cc, b"")?;
    Ok(())
}

impl Module {
    pub(crate) fn dir(&self) -> String {
        format!("{}/", self.dir.path().display())
    }

    pub(crate) fn policy(&self) -> Result<Policy> {
        policy(&[&self.dir()], &[&self.dir()])
    }

    /// As [`Module::policy`], and key files of clients may name it.
    pub(crate) fn client_policy(&self) -> Result<Policy> {
        client_policy(&self.dir(), &[format!("{}libfake.so", self.dir())])
    }

    /// As [`Module::policy`], and the module may use one file and no other.
    pub(crate) fn policy_with_file(&self, file: &Path) -> Result<Policy> {
        let (dir, file) = (self.dir(), file.display());
        let yaml = format!(
            "pkcs11: {{module-directories: [{dir}], allowed-module-paths: [{dir}], \
             module-files: [{file}]}}"
        );
        Policy::parse(yaml.as_bytes()).map_err(refused)
    }

    /// A key that makes the module behave so, and the file in which it writes its logins down.
    pub(crate) fn key(
        &self,
        behaviour: &str,
        pin: &str,
    ) -> Result<(TokenKey, tempfile::NamedTempFile)> {
        let log = tempfile::NamedTempFile::new()?;
        let path = log.path().display();
        let key = parse(&format!(
            "pkcs11: {{uri: 'pkcs11:token=fake;object=x?module-name=fake&pin-value={pin}'}}\n\
             module: {{env: {{KEYCELL_TEST_MODULE: '{behaviour}', KEYCELL_TEST_LOG: '{path}'}}}}\n"
        ))?;
        Ok((key, log))
    }
}

pub(crate) fn parse(file: &str) -> Result<TokenKey> {
    match TokenKey::parse(file.as_bytes()) {
        Some(Ok(key)) => Ok(key),
        Some(Err(refusal)) => bail!("{refusal:?}: {file}"),
        None => bail!("not a key file: {file}"),
    }
}

/// A policy with these lists.
pub(crate) fn policy(directories: &[&str], allowed: &[&str]) -> Result<Policy> {
    let list = |entries: &[&str]| -> String {
        entries.iter().map(|entry| format!("\n    - {entry}")).collect()
    };
    let yaml = format!(
        "pkcs11:\n  module-directories:{}\n  allowed-module-paths:{}\n",
        list(directories),
        list(allowed)
    );
    Policy::parse(yaml.as_bytes()).map_err(|refusal| anyhow!("{refusal:?}: {yaml}"))
}

/// A policy that allows the modules in a directory, and key files of clients to name these.
pub(crate) fn client_policy(directory: &str, modules: &[String]) -> Result<Policy> {
    let yaml = format!(
        "pkcs11: {{module-directories: [{directory}], allowed-module-paths: [{directory}], \
         client-modules: [{}]}}",
        modules.join(", ")
    );
    Policy::parse(yaml.as_bytes()).map_err(refused)
}

/// SoftHSM and nothing else, which may use these files and no others.
pub(crate) fn softhsm_policy_with_files(files: &[&str]) -> Result<Policy> {
    let files = files.join(", ");
    let yaml = format!("pkcs11: {{allowed-module-paths: [{SOFTHSM}], module-files: [{files}]}}");
    Policy::parse(yaml.as_bytes()).map_err(refused)
}

/// SoftHSM and nothing else.
pub(crate) fn softhsm_policy() -> Result<Policy> {
    policy(&["/usr/lib/softhsm/"], &[SOFTHSM])
}

/// SoftHSM and nothing else, also for key files of clients.
pub(crate) fn softhsm_client_policy() -> Result<Policy> {
    client_policy("/usr/lib/softhsm/", &[SOFTHSM.to_owned()])
}

/// The reason of a refusal. Whatever it is, the PIN is not in it.
pub(crate) fn reason<T>(result: Result<T, Refusal>) -> Result<String> {
    match result {
        Ok(_) => bail!("it was not refused"),
        Err(Refusal::NotConfigured) => Ok("not configured".to_owned()),
        Err(Refusal::Failed(failure)) => {
            let why = failure.to_string();
            ensure!(!why.is_empty() && !why.contains(PIN) && !why.contains('\n'), "{why}");
            Ok(why)
        }
    }
}

pub(crate) fn opens(key: &TokenKey, policy: &Policy, blob: &[u8]) -> Result<()> {
    let plain = key.decrypt(policy, OaepHash::Sha1, blob).map_err(refused)?;
    ensure!(plain[..] == *SECRET, "another plaintext");
    Ok(())
}

pub(crate) fn refused(refusal: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("{refusal:?}")
}
