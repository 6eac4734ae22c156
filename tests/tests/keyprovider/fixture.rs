//! A node with a key, a plain image, and providers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Result;
use base64ct::{Base64, Encoding as _};
use keycell_tests::dist;
use keycell_tests::layout;
use keycell_tests::node::Node;
use keycell_tests::tools::{fed, output};
use serde_json::{Value, json};

pub(crate) const NAME: &str = "org.opencontainers.image.enc.keys.provider.keycell";

/// A node, and the public key of its key.
pub(crate) struct Site {
    pub(crate) node: Node,
}

impl Site {
    pub(crate) fn new() -> Result<Self> {
        let node = Node::new()?;
        fs::write(node.outside().join("node.pub.pem"), node.recipient.public_pem())?;
        let plain = node.outside().join("plain");
        fs::create_dir(&plain)?;
        let layer = layout::blob(&plain, layout::TAR, layout::plain("one"))?;
        let manifest = layout::manifest(&plain, "linux", "amd64", vec![layer])?;
        layout::list(&plain, vec![layout::named(manifest, "app")])?;
        Ok(Self { node })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.node.outside().join(name)
    }

    pub(crate) fn public(&self) -> PathBuf {
        self.path("node.pub.pem")
    }

    /// The public key as one word.
    pub(crate) fn inline(&self) -> String {
        Base64::encode_string(self.node.recipient.public_pem().as_bytes())
    }

    /// A file for `OCICRYPT_KEYPROVIDER_CONFIG`, with the command.
    pub(crate) fn by_command(&self) -> Result<PathBuf> {
        let arguments = json!([
            "keyprovider",
            "--decryption-keys-path",
            self.node.keys().display().to_string()
        ]);
        let path = dist("keycell")?;
        self.configured("command.json", &json!({ "cmd": { "path": path, "args": arguments } }))
    }

    /// The same with a server.
    pub(crate) fn by_grpc(&self, socket: &Path) -> Result<PathBuf> {
        let address = format!("unix://{}", socket.display());
        self.configured("grpc.json", &json!({ "grpc": address }))
    }

    fn configured(&self, name: &str, provider: &Value) -> Result<PathBuf> {
        let file = self.path(name);
        fs::write(&file, json!({ "key-providers": { "keycell": provider } }).to_string())?;
        Ok(file)
    }

    /// Encrypts the plain image with `keycell encrypt`, which has the provider built in.
    pub(crate) fn encrypt(&self, to: &str) -> Result<()> {
        let mut command = Command::new(dist("keycell")?);
        command.args(["encrypt", &self.image("plain"), &self.image(to), "-r"]);
        command.arg(format!("provider:keycell:{}", self.public().display()));
        output(command.env_remove("OCICRYPT_KEYPROVIDER_CONFIG"))?;
        Ok(())
    }

    /// The name of an image in skopeo's notation.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("oci:{}:app", self.path(name).display())
    }

    /// The wrapped key in the annotation of an image.
    pub(crate) fn wrapped(&self, image: &str) -> Result<Vec<u8>> {
        let layers = layout::layers(&self.path(image))?;
        let text = layers[0]["annotations"][NAME].as_str().unwrap_or_default().to_owned();
        Ok(Base64::decode_vec(&text)?)
    }

    /// The command, with a request on standard input.
    pub(crate) fn ask(&self, request: &[u8], more: &[&str]) -> Result<Output> {
        let mut command = Command::new(dist("keycell")?);
        command.arg("keyprovider").arg("--decryption-keys-path").arg(self.node.keys());
        command.args(more);
        fed(command, &[request])
    }
}

/// A request as Go writes it.
pub(crate) fn to_unwrap(annotation: &[u8]) -> Value {
    json!({
        "op": "keyunwrap",
        "keywrapparams": { "ec": null, "optsdata": null },
        "keyunwrapparams": {
            "dc": { "Parameters": { "keycell": ["a2V5"] } },
            "annotation": Base64::encode_string(annotation),
        },
    })
}

/// A request to wrap a key, with parameters for providers.
pub(crate) fn to_wrap(provider: &str, parameter: &str) -> Value {
    let options = json!({
        "symkey": Base64::encode_string(&[7; 32]),
        "digest": format!("sha256:{}", "ab".repeat(32)),
        "cipheroptions": { "nonce": Base64::encode_string(&[9; 16]) },
    });
    json!({
        "op": "keywrap",
        "keywrapparams": {
            "ec": {
                "Parameters": { provider: [Base64::encode_string(parameter.as_bytes())] },
                "DecryptConfig": { "Parameters": {} },
            },
            "optsdata": Base64::encode_string(options.to_string().as_bytes()),
        },
        "keyunwrapparams": { "dc": null, "annotation": null },
    })
}
