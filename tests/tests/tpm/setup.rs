//! A TPM with a token, and layers that are encrypted for the token's keys.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::image::Descriptor;
use keycell_tests::layout;
use keycell_tests::payload::Payload;
use keycell_tests::tools::{Service, Tool, output};
use tempfile::TempDir;

/// What every case needs.
pub(crate) const TOOLS: [Tool; 5] =
    [Tool::Swtpm, Tool::Tpm2Tools, Tool::Tpm2Ptool, Tool::Tpm2Pkcs11, Tool::Python];

/// No message may have it.
pub(crate) const PIN: &str = "Pin-27182-secret";

/// The key with 3072 bits.
pub(crate) const LONG: &str = "images";

/// The key with 2048 bits.
pub(crate) const SHORT: &str = "images-2048";

/// How long swtpm and its device may take to start.
pub(crate) const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// Starts the command that follows, and ends it with standard input.
pub(crate) const UNTIL_STDIN_ENDS: &str =
    "\"$@\" & child=$!; cat >/dev/null; kill \"$child\"; wait";

/// swtpm, a device for it, and the files of a node.
pub(crate) struct SoftTpm {
    dir: TempDir,
    swtpm: Option<Service>,
    _device: Service,
}

/// An encrypted layer.
pub(crate) struct Layer {
    descriptor: Descriptor,
    encrypted: Vec<u8>,
    plain: Vec<u8>,
}

/// The state of a TPM with keys and of its store, and a layer for each key.
struct Made {
    files: Vec<(PathBuf, Vec<u8>)>,
    for_long: Layer,
    for_short: Layer,
}

impl Made {
    fn new() -> Result<Self> {
        let mut tpm = SoftTpm::new()?;
        tpm.ptool(&["init"])?;
        let token = ["addtoken", "--pid", "1", "--label", "node", "--sopin", "so", "--userpin"];
        tpm.ptool(&[&token[..], &[PIN]].concat())?;
        for (label, algorithm) in [(LONG, "rsa3072"), (SHORT, "rsa2048")] {
            let key = ["addkey", "--label", "node", "--key-label", label, "--userpin", PIN];
            tpm.ptool(&[&key[..], &["--algorithm", algorithm]].concat())?;
        }
        let for_long = tpm.encrypted(LONG, "sha256")?;
        let for_short = tpm.encrypted(SHORT, "sha1")?;
        tpm.stop()?;
        let mut files = Vec::new();
        for directory in ["state", "store"] {
            for entry in fs::read_dir(tpm.path(directory))? {
                let entry = entry?;
                let name = Path::new(directory).join(entry.file_name());
                files.push((name, fs::read(entry.path())?));
            }
        }
        Ok(Self { files, for_long, for_short })
    }

    /// It is made once, because keys take seconds.
    fn once() -> Result<&'static Self> {
        static MADE: OnceLock<Result<Made, String>> = OnceLock::new();
        let made = MADE.get_or_init(|| Self::new().map_err(|error| format!("{error:#}")));
        made.as_ref().map_err(|error| anyhow!("{error}"))
    }
}

/// The layer that is encrypted for [`LONG`], by RSA-OAEP with SHA-256.
pub(crate) fn layer() -> Result<&'static Layer> {
    Ok(&Made::once()?.for_long)
}

/// The layer that is encrypted for [`SHORT`], by RSA-OAEP with SHA-1.
pub(crate) fn short_layer() -> Result<&'static Layer> {
    Ok(&Made::once()?.for_short)
}

impl SoftTpm {
    /// A TPM as it leaves the factory.
    pub(crate) fn new() -> Result<Self> {
        Self::start_with(&[])
    }

    /// A TPM and a store with both keys, and the key file of [`LONG`] in the keys directory.
    pub(crate) fn with_keys() -> Result<Self> {
        Self::start_with(&Made::once()?.files)
    }

    fn start_with(files: &[(PathBuf, Vec<u8>)]) -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-tpm-")?;
        for name in ["state", "store", "keys"] {
            fs::create_dir(dir.path().join(name))?;
        }
        for (name, content) in files {
            fs::write(dir.path().join(name), content)?;
        }
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tpm/device.py");
        let mut device = Command::new(Tool::Python.find()?);
        device.arg(program).arg(dir.path().join("swtpm.sock")).arg(dir.path().join("tpmrm0"));
        let device = Service::start(&mut device, &dir.path().join("device.log"))?;
        let mut tpm = Self { dir, swtpm: None, _device: device };
        tpm.start()?;
        tpm.add("pin", &format!("{PIN}\n"))?;
        tpm.key_file(LONG, &[])?;
        tpm.policy(Some(&["tpmrm0", "store"]))?;
        Ok(tpm)
    }

    /// Switches the TPM on.
    pub(crate) fn start(&mut self) -> Result<()> {
        let shown = |name| self.path(name).display().to_string();
        let (socket, control) = (self.path("swtpm.sock"), self.path("swtpm.sock.ctrl"));
        let mut command = Command::new("sh");
        command.args(["-c", UNTIL_STDIN_ENDS, "sh"]).arg(Tool::Swtpm.find()?);
        command.args(["socket", "--tpm2", "--flags", "startup-clear", "--tpmstate"]);
        command.arg(format!("dir={}", shown("state")));
        command.args(["--server", &format!("type=unixio,path={}", socket.display()), "--ctrl"]);
        command.arg(format!("type=unixio,path={}", control.display()));
        self.swtpm = Some(Service::start(&mut command, &self.path("swtpm.log"))?);
        let started = Instant::now();
        while !control.exists() || !self.path("tpmrm0").exists() {
            let log = || fs::read_to_string(self.path("swtpm.log")).unwrap_or_default();
            ensure!(started.elapsed() < STARTS_WITHIN, "swtpm did not start: {}", log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Switches it off as the kernel does: a TPM that just loses power may count that as a wrong PIN. The device
    /// stays, and does not answer.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.shell("tpm2_shutdown --clear")?;
        self.swtpm = None;
        for name in ["swtpm.sock", "swtpm.sock.ctrl"] {
            // swtpm has removed them if it had the time.
            let _ = fs::remove_file(self.path(name));
        }
        Ok(())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that only root reads.
    pub(crate) fn add(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }

    /// Writes the key file of this key, with the usual variables, except those that are
    /// `changed`: without those that are empty.
    pub(crate) fn key_file(&self, label: &str, changed: &[(&str, &str)]) -> Result<PathBuf> {
        let pin = self.path("pin");
        let mut text = format!(
            "pkcs11:\n  uri: pkcs11:token=node;object={label}?module-name=tpm2_pkcs11&pin-source={}\n\
             module:\n  env:\n    KEYCELL: tests\n",
            pin.display()
        );
        let usual = [
            ("TPM2_PKCS11_STORE", self.path("store").display().to_string()),
            ("TPM2_PKCS11_TCTI", format!("device:{}", self.path("tpmrm0").display())),
        ];
        let usual = usual.iter().map(|(name, value)| (*name, value.as_str()));
        // The last one of a name counts.
        let variables: BTreeMap<_, _> = usual.chain(changed.iter().copied()).collect();
        for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
            text += &format!("    {name}: '{value}'\n");
        }
        self.add("keys/node.yaml", &text)
    }

    /// Writes the policy, with `module-files` in the TPM's directory.
    pub(crate) fn policy(&self, files: Option<&[&str]>) -> Result<()> {
        let module = Tool::Tpm2Pkcs11.find()?;
        let directory = module.parent().context("a module has a directory")?.display();
        let module = module.display();
        let mut text = format!(
            "pkcs11:\n  module-directories: [{directory}/]\n  allowed-module-paths: [{module}]\n"
        );
        if let Some(files) = files {
            let files: Vec<_> =
                files.iter().map(|file| self.path(file).display().to_string()).collect();
            text += &format!("  module-files: [{}]\n", files.join(", "));
        }
        self.add("ocicrypt.conf", &text).map(drop)
    }

    /// A command that uses this TPM.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let device = format!("device:{}", self.path("tpmrm0").display());
        command.env("TPM2TOOLS_TCTI", &device).env("TPM2_PKCS11_TCTI", &device);
        command.env("TPM2_PKCS11_STORE", self.path("store"));
        command.env("OCICRYPT_CONFIG", self.path("ocicrypt.conf")).current_dir(self.dir.path());
        command
    }

    /// Runs a command line with the TPM's tools.
    pub(crate) fn shell(&self, line: &str) -> Result<String> {
        let mut command = self.command(Path::new("sh"));
        Ok(String::from_utf8(output(command.args(["-ec", line]))?)?)
    }

    fn ptool(&self, args: &[&str]) -> Result<()> {
        let mut command = self.command(&Tool::Tpm2Ptool.find()?);
        output(command.args(args)).map(drop)
    }

    /// The second layer of an image that `keycell` encrypts for a key.
    fn encrypted(&self, label: &str, hash: &str) -> Result<Layer> {
        let file = self.key_file(label, &[])?;
        let image =
            |name: &str| format!("oci:{}:demo", self.path(&format!("{name}-{hash}")).display());
        let (plain, encrypted) = (image("plain"), image("encrypted"));
        layout::make(&self.path(&format!("plain-{hash}")))?;
        let keycell =
            |args: &[&str]| output(self.command(&keycell_tests::dist("keycell")?).args(args));
        let recipient = format!("pkcs11:{}", file.display());
        let args = ["encrypt", &plain, &encrypted, "-r", &recipient, "--drop-attestations"];
        keycell(&[&args[..], &["--oaep-hash", hash]].concat())?;
        let root = self.path(&format!("encrypted-{hash}"));
        let layers = layout::layers(&root)?;
        let descriptor = layers.get(1).context("an image without a second layer")?;
        Ok(Layer {
            encrypted: layout::read(&root, descriptor)?,
            descriptor: serde_json::from_value(descriptor.clone())?,
            plain: layout::plain("two"),
        })
    }

    /// The decoder with a layer, called as containerd calls it.
    pub(crate) fn decoder(&self, layer: &Layer) -> Result<Decoder> {
        let decoder = Decoder::new()?.keys(&self.path("keys")).arg("--log").arg(self.path("log"));
        let decoder = decoder.media_type("application/vnd.oci.image.layer.v1.tar+encrypted");
        let decoder = decoder.payload(layer.payload().bytes()).layer(layer.encrypted.clone());
        Ok(decoder.env("OCICRYPT_CONFIG", self.path("ocicrypt.conf")))
    }

    /// The layer is decrypted.
    pub(crate) fn opens(&self, layer: &Layer) -> Result<()> {
        layer.is_opened_by(&self.decoder(layer)?.run()?)
    }

    /// The layer is not decrypted, and the one message has these words, and no PIN. Returns the message.
    pub(crate) fn refuses(&self, layer: &Layer, words: &[&str]) -> Result<String> {
        let outcome = self.decoder(layer)?.run()?;
        keycell_tests::node::says(&outcome, words)?;
        ensure!(!outcome.stderr.contains(PIN), "the PIN: {}", outcome.stderr);
        Ok(outcome.stderr)
    }

    /// Makes the PIN file wrong, or right again.
    pub(crate) fn has_pin(&self, is_right: bool) -> Result<()> {
        let pin = if is_right { PIN } else { "Pin-wrong-secret" };
        self.add("pin", &format!("{pin}\n")).map(drop)
    }
}

impl Layer {
    pub(crate) fn is_opened_by(&self, outcome: &Outcome) -> Result<()> {
        outcome.is_silent_success(&self.plain)
    }

    pub(crate) fn payload(&self) -> Payload {
        Payload::new(&self.descriptor)
    }
}
