//! A registry on the loopback interface, for as long as a test runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::image::Image;
use crate::tools::{Service, Tool};

/// docker-registry on a port that the kernel chose.
///
/// It speaks plain http. containerd does so too, without being told, to a registry whose name is a
/// loopback address; skopeo is told.
#[derive(Debug)]
pub struct Registry {
    address: String,
    _service: Service,
}

impl Registry {
    /// Starts it, with everything that it stores below `dir`.
    pub fn start(dir: &Path) -> Result<Self> {
        let config = dir.join("registry.yml");
        let log = dir.join("registry.log");
        let storage = dir.join("registry");
        fs::write(
            &config,
            format!(
                "version: 0.1\n\
                 log: {{level: info, formatter: json}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}}}\n\
                 http: {{addr: '127.0.0.1:0'}}\n",
                storage.display()
            ),
        )?;
        let script = r#""$@" & cat; kill $!; wait"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(Tool::DockerRegistry.find()?);
        let mut service = Service::start(command.arg("serve").arg(&config), &log)?;
        let address = address(&log, &mut service)?;
        Ok(Self { address, _service: service })
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
            return Ok(address.to_owned());
        }
        if !service.runs() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("docker-registry did not start: {}", fs::read_to_string(log)?)
}
