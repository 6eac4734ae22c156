//! Registries on the loopback interface, for as long as a test runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::image::Image;
use crate::tools::{Service, Tool};

/// Who may use a registry that is started with [`Registry::secure`].
pub const USER: &str = "operator";
/// The password.
pub const PASSWORD: &str = "correct horse";
/// The password as htpasswd writes it (bcrypt).
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";

/// docker-registry on a port that the kernel chose.
///
/// Without TLS, containerd is not told so: it also tries that for a registry whose name is a loopback
/// address. skopeo is told.
#[derive(Debug)]
pub struct Registry {
    address: String,
    storage: PathBuf,
    _service: Service,
}

impl Registry {
    /// Starts one without TLS that everyone may use, with everything that it stores below `dir`.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, "")
    }

    /// Starts one with TLS that [`USER`] may use. `DIR/ca.crt` is the authority of its certificate.
    pub fn secure(dir: &Path) -> Result<Self> {
        let path = |name: &str| dir.join(name).display().to_string();
        let users = path("users");
        fs::write(&users, format!("{USER}:{HASH}\n"))?;
        let (ca, ca_key) = (path("ca.crt"), path("ca.key"));
        let (certificate, key) = (path("server.crt"), path("server.key"));
        let new = ["req", "-x509", "-days", "2", "-nodes", "-newkey", "ec", "-pkeyopt"];
        let new = new.iter().copied().chain(["ec_paramgen_curve:prime256v1"]);
        let authority = ["-subj", "/CN=authority", "-keyout", &ca_key, "-out", &ca];
        Tool::Openssl.run(new.clone().chain(authority))?;
        let server = [
            ["-subj", "/CN=server"],
            ["-CA", &ca],
            ["-CAkey", &ca_key],
            ["-addext", "subjectAltName=IP:127.0.0.1"],
            ["-addext", "basicConstraints=CA:FALSE"],
            ["-keyout", &key],
            ["-out", &certificate],
        ];
        Tool::Openssl.run(new.chain(server.iter().flatten().copied()))?;
        let more = format!(
            ", tls: {{certificate: {certificate}, key: {key}}}}}\n\
             auth: {{htpasswd: {{realm: tests, path: {users}}}"
        );
        Self::start_with(dir, &more)
    }

    /// `more` goes on where the configuration of `http` ends.
    fn start_with(dir: &Path, more: &str) -> Result<Self> {
        let config = dir.join("registry.yml");
        let log = dir.join("registry.log");
        let storage = dir.join("registry");
        fs::write(
            &config,
            format!(
                "version: 0.1\n\
                 log: {{level: info, formatter: json}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}}}\n\
                 http: {{addr: '127.0.0.1:0', secret: tests{more}}}\n",
                storage.display()
            ),
        )?;
        let script = r#""$@" & cat; kill $!; wait"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(Tool::DockerRegistry.find()?);
        let mut service = Service::start(command.arg("serve").arg(&config), &log)?;
        let address = address(&log, &mut service)?;
        Ok(Self { address, storage, _service: service })
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The files that it has of uploads that are not complete.
    pub fn uploads(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        files(&self.storage, &mut found)?;
        found.retain(|path| path.ends_with("data") && path.iter().any(|it| it == "_uploads"));
        Ok(found)
    }

    /// Whether a repository has a tag.
    pub fn has_tag(&self, repository: &str, tag: &str) -> bool {
        let manifests =
            format!("docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}");
        self.storage.join(manifests).join("current/link").is_file()
    }

    /// Stores an image and returns the name that a node pulls it by.
    pub fn push(&self, image: &Image, name: &str) -> Result<String> {
        let name = format!("{}/{name}", self.address);
        image.copy(&["--dest-tls-verify=false"], &format!("docker://{name}"))?;
        Ok(name)
    }
}

/// Reads from its log where it listens.
fn address(log: &PathBuf, service: &mut Service) -> Result<String> {
    const LISTENING: &str = "listening on ";
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        let text = fs::read_to_string(log).context("docker-registry's log")?;
        if let Some((_, rest)) = text.split_once(LISTENING)
            && let Some((address, _)) = rest.split_once('"')
        {
            // It adds that it uses TLS.
            return Ok(address.split(',').next().unwrap_or_default().to_owned());
        }
        if !service.runs() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("docker-registry did not start: {}", fs::read_to_string(log)?)
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
