//! Nodes whose keys, key providers or tokens are broken.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;

use anyhow::Result;
use keycell_tests::jwe::Recipient;
use keycell_tests::node::KEY;
use keycell_tests::sealed::Sealed;

use super::FLAG;
use super::broken_nodes::Mends::{ByHand, Command as Run};
use super::broken_nodes::{Broken, allow_modules, mode};
use super::made::Made;

/// The keys.
pub(super) const KEYS: &[Broken] = &[
    Broken {
        name: "no-keys-directory",
        breaks: |made| Ok(fs::rename(made.node.keys(), made.path("moved"))?),
        finding: ("fails", "there are no keys in `"),
        hint: "put the private key of one of the images' recipients there",
        mends: ByHand(|made, _| Ok(fs::rename(made.path("moved"), made.node.keys())?)),
    },
    Broken {
        name: "no-key",
        breaks: |made| Ok(fs::rename(made.node.keys().join(KEY), made.path(KEY))?),
        finding: ("fails", "there is no private key in `"),
        hint: "put the private key of one of the images' recipients there",
        mends: ByHand(|made, _| Ok(fs::rename(made.path(KEY), made.node.keys().join(KEY))?)),
    },
    Broken {
        name: "no-keys-path",
        breaks: |made| made.change(&format!("{FLAG}, \""), "\"--cipher\", \"host\", \"ignored"),
        finding: ("fails", "the decoder is told of no keys"),
        hint: "add `\"--decryption-keys-path\", \"/etc/containerd/ocicrypt/keys\"`",
        mends: ByHand(|made, _| {
            made.change("\"--cipher\", \"host\", \"ignored", &format!("{FLAG}, \""))
        }),
    },
    Broken {
        name: "a-key-that-everyone-may-read",
        breaks: |made| {
            open_directories(made)?;
            mode(made.node.keys().join(KEY), 0o644)
        },
        finding: ("warning", "everyone on this node may read the key `node.pem`"),
        hint: "`chmod 600 /",
        mends: Run,
    },
    Broken {
        name: "a-password-that-everyone-may-read",
        breaks: |made| {
            open_directories(made)?;
            mode(made.node.add("node.pem.pass", "secret")?, 0o644)
        },
        finding: ("warning", "everyone on this node may read the key `node.pem.pass`"),
        hint: "`chmod 600 /",
        mends: Run,
    },
    Broken {
        name: "a-key-that-everyone-may-change",
        breaks: |made| mode(made.node.keys().join(KEY), 0o622),
        finding: ("warning", "others can change the key `node.pem`"),
        hint: "`chmod go-w /",
        mends: Run,
    },
    Broken {
        name: "a-key-of-another-user",
        breaks: |made| Ok(chown(made.node.keys().join(KEY), Some(65534), None)?),
        finding: ("warning", "others can change the key `node.pem`"),
        hint: "`chown root /",
        mends: Run,
    },
    Broken {
        name: "a-keys-directory-that-everyone-may-change",
        breaks: |made| mode(made.node.keys(), 0o777),
        finding: ("warning", "others can change the keys of this node"),
        hint: "`chmod go-w /",
        mends: Run,
    },
    Broken {
        name: "a-link-that-leaves-the-directory",
        breaks: |made| {
            fs::rename(other_key(made, "other.pem")?, made.path("elsewhere.pem"))?;
            Ok(symlink(made.path("elsewhere.pem"), made.node.keys().join("link.pem"))?)
        },
        finding: ("fails", "`link.pem` is a link that leaves the keys directory"),
        hint: "copy the file there",
        mends: ByHand(|made, _| {
            fs::remove_file(made.node.keys().join("link.pem"))?;
            Ok(fs::rename(made.path("elsewhere.pem"), made.node.keys().join("link.pem"))?)
        }),
    },
    Broken {
        name: "a-key-for-other-images",
        breaks: |made| {
            fs::rename(made.node.keys().join(KEY), made.path(KEY))?;
            other_key(made, "other.pem")?;
            made.store(&Sealed::of_length(100), &made.node.recipient)?;
            Ok(())
        },
        finding: ("fails", "no key opens any of 1 encrypted layer"),
        hint: "says for whom a layer was encrypted",
        mends: ByHand(|made, _| Ok(fs::rename(made.path(KEY), made.node.keys().join(KEY))?)),
    },
];

/// Others may enter every directory above the keys.
fn open_directories(made: &Made) -> Result<()> {
    mode(made.node.outside(), 0o755)?;
    mode(made.node.keys(), 0o755)
}

/// Key providers and tokens.
pub(super) const PROVIDERS: &[Broken] = &[
    Broken {
        name: "a-provider-that-does-not-exist",
        breaks: |made| {
            let text = r#"{"key-providers":{"a":{"cmd":{"path":"/nowhere/kms"}}}}"#;
            fs::write(made.path("providers.json"), text)?;
            let file = made.path("providers.json").display().to_string();
            made.change("/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf", &file)
        },
        finding: ("fails", "there is no `/nowhere/kms`"),
        hint: "correct `/",
        mends: ByHand(|made, _| {
            let text = r#"{"key-providers":{"a":{"cmd":{"path":"/bin/true"}}}}"#;
            Ok(fs::write(made.path("providers.json"), text)?)
        }),
    },
    Broken {
        name: "a-file-of-providers-that-is-not-json",
        breaks: |made| {
            fs::write(made.path("providers.json"), "{")?;
            let file = made.path("providers.json").display().to_string();
            made.change("/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf", &file)
        },
        finding: ("fails", "is not JSON"),
        hint: "correct `/",
        mends: ByHand(|made, _| {
            Ok(fs::write(made.path("providers.json"), r#"{"key-providers":{}}"#)?)
        }),
    },
    Broken {
        name: "a-token-without-a-module",
        breaks: |made| {
            let key = "pkcs11:\n  uri: pkcs11:token=node;object=images?pin-value=1234&module-path=/usr/lib/a.so\n";
            mode(made.node.add("token.yaml", key)?, 0o600)
        },
        finding: ("fails", "no PKCS#11 module is allowed"),
        hint: "allow its module in `/etc/ocicrypt.conf`",
        mends: ByHand(|made, _| Ok(fs::remove_file(made.node.keys().join("token.yaml"))?)),
    },
    Broken {
        name: "a-policy-of-modules-that-is-not-yaml",
        breaks: |made| {
            allow_modules(made)?;
            Ok(fs::write(made.path("ocicrypt.conf"), "pkcs11: [\n")?)
        },
        finding: ("fails", "ocicrypt.conf`"),
        hint: "`OCICRYPT_CONFIG`",
        mends: ByHand(|made, _| {
            let text =
                "pkcs11: {module-directories: [/usr/lib/], allowed-module-paths: [/usr/lib/]}\n";
            Ok(fs::write(made.path("ocicrypt.conf"), text)?)
        }),
    },
];

/// Another key that lies beside the node's.
fn other_key(made: &Made, name: &str) -> Result<PathBuf> {
    let path = made.node.add(name, Recipient::generate().private_pem())?;
    mode(&path, 0o600)?;
    Ok(path)
}
