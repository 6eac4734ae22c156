//! OCI image layouts: plain ones from busybox and umoci, encrypted ones from skopeo.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::tools::{Tool, output};

/// The tag that every image of the tests has in its own layout.
const TAG: &str = "test";

/// Bytes of the file that no compressor shortens: many times any decoder's buffer.
const RANDOM_BYTES: u64 = 3 << 20;

/// How a layer blob is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// A plain tar archive.
    Tar,
    /// The usual one.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl LayerKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Tar, Self::Gzip, Self::Zstd];

    /// The media type of a plain layer of this kind.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Tar => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tar => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// What a manifest says of a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The blob's type.
    pub media_type: String,
    /// Its name: `sha256:` and hexadecimal.
    pub digest: String,
    /// Its length.
    pub size: u64,
    /// For an encrypted layer, the wrapped keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Descriptor>,
}

/// An image in its own OCI layout.
#[derive(Clone, Debug)]
pub struct Image {
    dir: PathBuf,
}

impl Image {
    /// Two layers: busybox, and a file of random bytes. It runs, and prints that file's SHA-256,
    /// which only a container with both layers intact can do.
    pub fn busybox(dir: &Path) -> Result<Self> {
        let image = Self { dir: dir.join("plain-gzip") };
        let reference = image.layout();
        let rootfs = dir.join("rootfs");
        busybox_rootfs(&rootfs)?;
        let random = dir.join("random.bin");
        io::copy(&mut File::open("/dev/urandom")?.take(RANDOM_BYTES), &mut File::create(&random)?)?;

        Tool::Umoci.run(["init".as_ref(), "--layout".as_ref(), image.dir.as_os_str()])?;
        Tool::Umoci.run(["new", "--image", &reference])?;
        for (source, target) in [(&rootfs, "/"), (&random, "/random.bin")] {
            let options = ["insert", "--image", &reference].map(AsRef::as_ref);
            Tool::Umoci.run(options.into_iter().chain([source.as_os_str(), target.as_ref()]))?;
        }
        let script = "echo random.bin is $(sha256sum < /random.bin)";
        let command = ["/bin/sh", "-c", script].map(|word| ["--config.cmd", word]);
        let options = ["config", "--image", &reference];
        Tool::Umoci.run(options.iter().chain(command.as_flattened()))?;
        image.check(LayerKind::Gzip.media_type())?;
        Ok(image)
    }

    /// The same content, as an image that sleeps for ever: the sandbox image of a pod.
    pub fn pausing(&self, dir: &Path) -> Result<Self> {
        let image = Self { dir: dir.join("pause") };
        self.copy(&[], &image.reference())?;
        let command = ["--config.cmd", "/bin/sleep", "--config.cmd", "1000000"];
        let reference = image.layout();
        let options = ["config", "--clear", "config.cmd", "--image", &reference];
        Tool::Umoci.run(options.iter().chain(&command))?;
        Ok(image)
    }

    /// What [`Image::busybox`] prints when it runs.
    pub fn prints(dir: &Path) -> Result<String> {
        let random = fs::read(dir.join("random.bin"))?;
        Ok(format!("random.bin is {} -", hex(&Sha256::digest(random))))
    }

    /// The same image with its layers packed in another way.
    pub fn repacked(&self, dir: &Path, kind: LayerKind) -> Result<Self> {
        let image = Self { dir: dir.join(format!("plain-{kind}")) };
        match kind {
            LayerKind::Gzip => return Ok(self.clone()),
            LayerKind::Zstd => {
                self.copy(&["--dest-compress-format", "zstd"], &image.reference())?
            }
            LayerKind::Tar => {
                // skopeo unpacks layers only on their way into a `dir:`.
                let unpacked = format!("dir:{}", dir.join("unpacked").display());
                self.copy(&["--dest-decompress"], &unpacked)?;
                copy(&["--dest-oci-accept-uncompressed-layers"], &unpacked, &image.reference())?;
            }
        }
        image.check(kind.media_type())?;
        Ok(image)
    }

    /// Encrypts every layer with `skopeo copy --encryption-key jwe:FILE`, once for each recipient.
    pub fn encrypted(&self, dir: &Path, recipients: &[&Path]) -> Result<Self> {
        let recipients: Vec<_> =
            recipients.iter().map(|key| format!("jwe:{}", key.display())).collect();
        self.encrypted_for(dir, &recipients, &[])
    }

    /// Encrypts every layer for recipients in skopeo's notation: `jwe:FILE`, `pkcs7:FILE`,
    /// `pgp:ADDRESS` (with `GNUPGHOME` in the environment).
    pub fn encrypted_for(
        &self,
        dir: &Path,
        recipients: &[String],
        env: &[(&str, &Path)],
    ) -> Result<Self> {
        let image = Self { dir: dir.to_path_buf() };
        let mut command = Command::new(Tool::Skopeo.find()?);
        command.args(["--insecure-policy", "copy", "--quiet"]);
        command.arg("--dest-oci-accept-uncompressed-layers");
        for recipient in recipients {
            command.args(["--encryption-key", recipient]);
        }
        command.args([self.reference(), image.reference()]).envs(env.iter().copied());
        output(&mut command).with_context(|| format!("cannot encrypt for {recipients:?}"))?;

        let plain = self.layers()?;
        for (encrypted, plain) in image.layers()?.iter().zip(&plain) {
            ensure!(encrypted.media_type == format!("{}+encrypted", plain.media_type));
            ensure!(encrypted.digest != plain.digest, "skopeo left a layer as it was");
        }
        Ok(image)
    }

    /// Has skopeo compress every plain layer while it encrypts it, as it does unless it is told
    /// otherwise, and as podman and buildah do with layers of a local store.
    pub fn compressed_and_encrypted(&self, dir: &Path, recipient: &Path) -> Result<Self> {
        let image = Self { dir: dir.to_path_buf() };
        let recipient = format!("jwe:{}", recipient.display());
        self.copy(&["--encryption-key", &recipient], &image.reference())?;
        image.check(&format!("{}+encrypted", LayerKind::Gzip.media_type()))?;
        Ok(image)
    }

    /// The same image, with its layers replaced by these: descriptors without digest and
    /// size, which are computed, and blobs.
    pub fn with_layers(&self, dir: &Path, layers: Vec<(Descriptor, Vec<u8>)>) -> Result<Self> {
        let image = Self { dir: dir.to_path_buf() };
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let write = |bytes: &[u8]| -> Result<(String, usize)> {
            let digest = hex(&Sha256::digest(bytes));
            fs::write(blobs.join(&digest), bytes)?;
            Ok((format!("sha256:{digest}"), bytes.len()))
        };
        let read = |path: &Path| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
        let mut index = read(&self.dir.join("index.json"))?;
        let name = |value: &Value| value.as_str().unwrap_or_default().replace(':', "/");
        let blob = |value: &Value| self.dir.join("blobs").join(name(value));
        let mut manifest = read(&blob(&index["manifests"][0]["digest"]))?;
        write(&fs::read(blob(&manifest["config"]["digest"]))?)?;
        let mut descriptors = Vec::new();
        for (descriptor, bytes) in layers {
            let (digest, size) = write(&bytes)?;
            descriptors.push(Descriptor { digest, size: size as u64, ..descriptor });
        }
        manifest["layers"] = serde_json::to_value(descriptors)?;
        let (digest, size) = write(&serde_json::to_vec(&manifest)?)?;
        index["manifests"][0]["digest"] = digest.into();
        index["manifests"][0]["size"] = size.into();
        fs::write(dir.join("index.json"), serde_json::to_vec(&index)?)?;
        fs::copy(self.dir.join("oci-layout"), dir.join("oci-layout"))?;
        Ok(image)
    }

    /// Decrypts it with skopeo, which is given these keys and this environment.
    pub fn decrypted(&self, dir: &Path, keys: &[&Path], env: &[(&str, &Path)]) -> Result<Self> {
        let image = Self { dir: dir.to_path_buf() };
        let mut command = Command::new(Tool::Skopeo.find()?);
        command.args(["--insecure-policy", "copy", "--quiet"]);
        for key in keys {
            command.arg("--decryption-key").arg(key);
        }
        command.args([self.reference(), image.reference()]);
        output(command.envs(env.iter().copied()))?;
        Ok(image)
    }

    /// Copies it to another place in skopeo's notation.
    pub fn copy(&self, options: &[&str], to: &str) -> Result<()> {
        copy(options, &self.reference(), to)
    }

    /// The layers' descriptors, the lowest first.
    pub fn layers(&self) -> Result<Vec<Descriptor>> {
        let index: Index = serde_json::from_slice(&fs::read(self.dir.join("index.json"))?)?;
        let [manifest] = index.manifests.as_slice() else {
            anyhow::bail!("{} holds more than one image", self.dir.display());
        };
        let manifest: Manifest = serde_json::from_slice(&self.blob(manifest)?)?;
        Ok(manifest.layers)
    }

    /// A blob's bytes.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let name = descriptor.digest.replace(':', "/");
        let bytes = fs::read(self.dir.join("blobs").join(name))?;
        ensure!(bytes.len() as u64 == descriptor.size, "{} is cut short", descriptor.digest);
        Ok(bytes)
    }

    fn check(&self, media_type: &str) -> Result<()> {
        let layers = self.layers()?;
        ensure!(layers.len() == 2, "expected two layers, found {}", layers.len());
        for layer in layers {
            ensure!(layer.media_type == media_type, "expected {media_type}, got {layer:?}");
        }
        Ok(())
    }

    fn layout(&self) -> String {
        format!("{}:{TAG}", self.dir.display())
    }

    fn reference(&self) -> String {
        format!("oci:{}", self.layout())
    }
}

fn copy(options: &[&str], from: &str, to: &str) -> Result<()> {
    // The signature policy of the machine has no say in images that never leave it.
    let command = ["--insecure-policy", "copy", "--quiet"];
    Tool::Skopeo
        .run(command.iter().chain(options).copied().chain([from, to]))
        .with_context(|| format!("cannot copy {from} to {to}"))?;
    Ok(())
}

fn busybox_rootfs(root: &Path) -> Result<()> {
    let bin = root.join("bin");
    fs::create_dir_all(&bin)?;
    // What runc mounts over.
    for dir in ["dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir(root.join(dir))?;
    }
    fs::copy(Tool::Busybox.find()?, bin.join("busybox"))?;
    for applet in ["sh", "cat", "sha256sum", "sleep"] {
        symlink("busybox", bin.join(applet))?;
    }
    Ok(())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
