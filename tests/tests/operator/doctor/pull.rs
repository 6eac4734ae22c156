//! An image for a node that is made, and the real containerd that unpacks it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use keycell_tests::archive::{packed, tar};
use keycell_tests::image::{LayerKind, hex};
use keycell_tests::sealed::Sealed;
use keycell_tests::tools::{Tool, output};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::made::Made;
use crate::says;

/// One containerd at a time: there are two cores.
static ONE: Mutex<()> = Mutex::new(());

/// How long containerd may take to answer.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// An archive with an encrypted image.
pub(super) struct Pull {
    archive: PathBuf,
}

impl Pull {
    /// An image of one gzip layer for the node's key.
    pub(super) fn new(made: &Made) -> Result<Self> {
        let plain = tar([("file", &b"decrypted"[..])]);
        let sealed = Sealed::new(packed(&plain, LayerKind::Gzip));
        let wrapped = sealed.wrapped_for(&made.node.recipient).flattened().to_string();
        let mut layer = serde_json::to_value(sealed.descriptor(&[wrapped]))?;
        layer["mediaType"] = json!(format!("{}+encrypted", LayerKind::Gzip.media_type()));
        let mut files =
            vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
        let mut blob = |kind: &str, bytes: Vec<u8>| {
            let digest = hex(&Sha256::digest(&bytes));
            let descriptor = json!({
                "mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len(),
            });
            files.push((format!("blobs/sha256/{digest}"), bytes));
            descriptor
        };
        blob("", sealed.encrypted.clone());
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&Sha256::digest(&plain)))] },
        });
        let config = blob("application/vnd.oci.image.config.v1+json", text(&config));
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
        let mut manifest = blob(kind, text(&manifest));
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "1" });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        files.push(("index.json".to_owned(), text(&index)));
        let files = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let archive = made.path("image.tar");
        fs::write(&archive, tar(files))?;
        Ok(Self { archive })
    }

    /// containerd imports the image with the node's configuration, which calls the decoder.
    pub(super) fn works(&self, made: &Made) -> Result<()> {
        let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let log = made.path("containerd.log");
        let containerd = Tool::Containerd.find()?;
        let mut command = Command::new(&containerd);
        command.arg("--config").arg(made.path("config.toml")).stdin(Stdio::null());
        let stderr = fs::File::create(&log)?;
        let running = Running(command.stdout(Stdio::null()).stderr(stderr).spawn()?);
        let socket = made.path("containerd.sock");
        let ctr = |args: &[&str]| {
            let mut ctr = Command::new(containerd.with_file_name("ctr"));
            output(ctr.arg("--address").arg(&socket).args(args))
        };
        let started = Instant::now();
        while let Err(error) = ctr(&["version"]) {
            if started.elapsed() > STARTS_WITHIN {
                bail!("{error:#}: {}", fs::read_to_string(&log)?);
            }
            thread::sleep(Duration::from_millis(50));
        }
        // The store has nothing yet.
        let found = String::from_utf8(made.doctor()?.output()?.stdout)?;
        let process = format!("process {} reads", running.0.id());
        let store =
            "gzip layer, `ctr images pull` or `import`, or pulled earlier: from the content store";
        says(&found, &[&process, store])?;
        ensure!(!found.contains("  fails  "), "{found}");
        let archive = self.archive.display().to_string();
        ctr(&["images", "import", "--base-name", "made/by", "--snapshotter", "native", &archive])
            .context("the image is not unpacked")?;
        drop(running);
        let snapshots = made.path("root/io.containerd.snapshotter.v1.native/snapshots");
        let files = keycell_tests::layout::state(&snapshots)?;
        ensure!(files.iter().any(|(_, bytes)| bytes == b"decrypted"), "no file of the layer");
        Ok(())
    }
}

fn text(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}
