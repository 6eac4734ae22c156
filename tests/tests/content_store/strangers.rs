//! A stranger's manifest for a layer that is not theirs.
//!
//! The encrypted layer and the node's public key are public. So anyone can choose a key, compute the
//! HMAC of the layer with it and the digest of what it decrypts the layer to, wrap it for the node,
//! and have all of it pulled to the node in a manifest of their own. Nothing in the layer tells this
//! key from the genuine one, so Keycell must use neither. What must never happen is exit code 0 with
//! anything but the layer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aes::Aes256;
use aes::cipher::{BlockCipherDecrypt, KeyInit};
use anyhow::{Result, ensure};
use keycell_tests::archive;
use keycell_tests::decoder::Decoder;
use keycell_tests::image::{Descriptor, LayerKind};
use keycell_tests::node::{Node, says};
use keycell_tests::sealed::{Sealed, random};
use keycell_tests::store::{ContentStore, manifest};
use keycell_tests::tools::Tool;

use crate::media_type;
use keycell_tests::suite::Cases;

/// Manifests that a stranger adds with one key, and what is said of them.
const OF_ONE_KEY: [(usize, &str); 5] = [
    (1, "2 different keys that fit"),
    (16, "2 different keys that fit"),
    (255, "2 different keys that fit"),
    (256, "more than 256 manifests"),
    (300, "more than 256 manifests"),
];

/// The same with a different key in each.
const OF_MANY_KEYS: [(usize, &str); 4] = [
    (15, "16 different keys that fit"),
    (16, "17 different keys might be"),
    (255, "256 different keys might be"),
    (300, "more than 256 manifests"),
];

pub(crate) fn add(cases: &mut Cases) {
    beside_the_genuine_manifest(cases);
    beside_one_that_cannot_be_tried(cases);
}

fn beside_the_genuine_manifest(cases: &mut Cases) {
    for kind in LayerKind::ALL {
        for newer in [true, false] {
            let age = if newer { "newer" } else { "older" };
            for (count, words) in OF_ONE_KEY {
                cases.case(&format!("stranger/{kind}/{age}/{count}-of-one-key"), move || {
                    let victim = Victim::new(kind)?;
                    let stranger = victim.sealed.of_a_stranger();
                    victim.is_refused_beside(&vec![stranger; count], newer, &[words])
                });
            }
            for (count, words) in OF_MANY_KEYS {
                cases.case(&format!("stranger/{kind}/{age}/{count}-keys"), move || {
                    let victim = Victim::new(kind)?;
                    let strangers = (0..count).map(|_| victim.sealed.of_a_stranger());
                    victim.is_refused_beside(&strangers.collect::<Vec<_>>(), newer, &[words])
                });
            }
            cases.case(&format!("stranger/{kind}/{age}/both-are-named"), move || {
                both_are_named(kind, newer)
            });
        }
        cases.case(&format!("stranger/{kind}/other-nonce"), move || {
            // Whoever may read the layer knows its key, and can claim another nonce.
            let victim = Victim::new(kind)?;
            let stranger = victim.sealed.claimed_with(&victim.key, &random());
            victim.is_refused_beside(&[stranger], true, &["2 different keys that fit"])
        });
        cases.case(&format!("stranger/{kind}/other-digest"), move || {
            // It decrypts the layer to the same bytes, so it does no harm.
            let victim = Victim::new(kind)?;
            let mut other = victim.sealed.clone();
            other.private["digest"] = format!("sha256:{}", "0".repeat(64)).into();
            victim.opens_beside(&[other])
        });
        cases.case(&format!("stranger/{kind}/same-key-in-255-manifests"), move || {
            let victim = Victim::new(kind)?;
            victim.opens_beside(&vec![victim.sealed.clone(); 255])
        });
        cases.case(&format!("stranger/{kind}/layer-begins-alike"), move || begins_alike(kind));
    }
    for kind in [LayerKind::Gzip, LayerKind::Zstd] {
        cases.case(&format!("stranger/{kind}/layer-is-gone"), move || layer_is_gone(kind));
    }
}

fn beside_one_that_cannot_be_tried(cases: &mut Cases) {
    // The genuine manifest cannot be tried. The stranger's alone must not count.
    cases.case("stranger/beside-one-with-a-member-twice", || {
        let victim = Victim::new(LayerKind::Gzip)?;
        let genuine = manifest(&[victim.descriptor(&victim.sealed)]).to_string();
        let genuine = genuine.replacen("\"size\"", "\"size\":1,\"size\"", 1);
        alone_is_refused(&victim, genuine.as_bytes(), "could not be tried")
    });
    cases.case("stranger/beside-one-of-5-mib", || {
        let victim = Victim::new(LayerKind::Gzip)?;
        let mut genuine = manifest(&[victim.descriptor(&victim.sealed)]);
        genuine["annotations"] = serde_json::json!({ "note": "a".repeat(5 << 20) });
        let genuine = genuine.to_string();
        alone_is_refused(&victim, genuine.as_bytes(), "2 different keys that fit")
    });
    cases.case("stranger/beside-one-with-spaces-before-it", || {
        let victim = Victim::new(LayerKind::Gzip)?;
        let genuine = manifest(&[victim.descriptor(&victim.sealed)]);
        let genuine = format!("{}{genuine}", " ".repeat(5000));
        alone_is_refused(&victim, genuine.as_bytes(), "2 different keys that fit")
    });
    cases.case("stranger/beside-one-named-by-sha512", named_by_sha512);
    cases.case("stranger/beside-one-of-a-provider-that-fails", provider_fails);
    cases.case_with(&[Tool::Root, Tool::Setpriv], "stranger/beside-one-that-is-unreadable", || {
        unreadable_manifest()
    });
    cases.case("stranger/in-a-fifth-set-of-keys", || {
        let victim = Victim::new(LayerKind::Gzip)?;
        let store = ContentStore::new()?;
        store.blob(&victim.sealed.encrypted)?;
        let mut layers = vec![victim.descriptor(&victim.sealed)];
        layers.extend((0..4).map(|_| victim.descriptor(&victim.sealed.of_a_stranger())));
        store.manifest(&layers)?;
        victim
            .refuses(&store, &["more than 4 different sets of wrapped keys", "manifests: `sha256:"])
    });
    cases.case("stranger/layers-that-begin-alike-without-end", || {
        let victim = Victim::new(LayerKind::Gzip)?;
        let store = ContentStore::new()?;
        let mut layers = Vec::new();
        for number in 0..70_u8 {
            let mut twin = victim.sealed.clone();
            twin.encrypted.push(number);
            store.blob(&twin.encrypted)?;
            layers.push(victim.descriptor(&twin));
        }
        store.manifest(&layers)?;
        victim.add_to(&store, &victim.sealed)?;
        victim.refuses(&store, &["more than 64 layers that begin like this one"])
    });
}

/// A node, and a layer that was encrypted for it.
struct Victim {
    node: Node,
    kind: LayerKind,
    key: [u8; 32],
    sealed: Sealed,
}

impl Victim {
    fn new(kind: LayerKind) -> Result<Self> {
        let content: Vec<u8> = random::<256>().into_iter().cycle().take(300_000).collect();
        let archive = archive::tar([("etc/secret", &content[..])]);
        let key = random();
        let sealed = Sealed::with_key(archive::packed(&archive, kind), &key, &random());
        Ok(Self { node: Node::new()?, kind, key, sealed })
    }

    /// The descriptor of a layer, with its key wrapped for the node.
    fn descriptor(&self, sealed: &Sealed) -> Descriptor {
        let wrapped = sealed.wrapped_for(&self.node.recipient).flattened().to_string();
        Descriptor { media_type: media_type(self.kind), ..sealed.descriptor(&[wrapped]) }
    }

    /// Adds a manifest to the store, and returns its digest.
    fn add_to(&self, store: &ContentStore, sealed: &Sealed) -> Result<String> {
        Ok(digest(&store.manifest(&[self.descriptor(sealed)])?))
    }

    /// A store with the layer, these manifests for it, and the genuine one.
    fn store_beside(&self, others: &[Sealed], newer: bool) -> Result<ContentStore> {
        let store = ContentStore::new()?;
        store.blob(&self.sealed.encrypted)?;
        if newer {
            self.add_to(&store, &self.sealed)?;
        }
        others.iter().try_for_each(|other| self.add_to(&store, other).map(drop))?;
        if !newer {
            self.add_to(&store, &self.sealed)?;
        }
        Ok(store)
    }

    fn decoder(&self, store: &ContentStore) -> Result<Decoder> {
        let decoder = Decoder::new()?.keys(&self.node.keys()).media_type(&media_type(self.kind));
        let decoder = decoder.layer(self.sealed.encrypted.clone());
        Ok(decoder.arg("--content-store").arg(store.root()))
    }

    /// Nothing is written, with `--verify-first` or without it, and the message has each of `words`.
    fn refuses(&self, store: &ContentStore, words: &[&str]) -> Result<()> {
        let decoder = self.decoder(store)?;
        says(&decoder.run()?, words)?;
        says(&decoder.arg("--verify-first").run()?, words)
    }

    fn is_refused_beside(&self, others: &[Sealed], newer: bool, words: &[&str]) -> Result<()> {
        let store = self.store_beside(others, newer)?;
        let ways_out =
            ["no payload", "manifests: `sha256:", "images rm --sync", "use_local_image_pull"];
        self.refuses(&store, &[&ways_out[..], words].concat())
    }

    fn opens_beside(&self, others: &[Sealed]) -> Result<()> {
        for newer in [true, false] {
            let store = self.store_beside(others, newer)?;
            let decoder = self.decoder(&store)?;
            decoder.run()?.is_silent_success(&self.sealed.plain)?;
            decoder.arg("--verify-first").run()?.is_silent_success(&self.sealed.plain)?;
        }
        Ok(())
    }
}

fn digest(path: &Path) -> String {
    format!("sha256:{}", path.file_name().unwrap_or_default().to_string_lossy())
}

/// The message names the digests of both manifests, and so does the log. A payload is not affected.
fn both_are_named(kind: LayerKind, newer: bool) -> Result<()> {
    let victim = Victim::new(kind)?;
    let store = ContentStore::new()?;
    store.blob(&victim.sealed.encrypted)?;
    let mut sealed = [victim.sealed.clone(), victim.sealed.of_a_stranger()];
    if !newer {
        sealed.reverse();
    }
    let [first, second] = [victim.add_to(&store, &sealed[0])?, victim.add_to(&store, &sealed[1])?];
    victim.refuses(&store, &[&first, &second])?;

    let log = victim.node.outside().join("log");
    let outcome = victim.decoder(&store)?.arg("--log").arg(&log).run()?;
    says(&outcome, &[&first, &second])?;
    let log = fs::read_to_string(log)?;
    ensure!(!log.contains("\"decrypted\""), "a verdict of success: {log}");
    ensure!(log.contains(&first) && log.contains(&second), "the log names no manifest: {log}");

    let wrapped = victim.sealed.wrapped_for(&victim.node.recipient).flattened().to_string();
    let payload = victim.sealed.payload(&[wrapped]);
    let decoder = victim.decoder(&store)?.payload(payload.bytes());
    decoder.run()?.is_silent_success(&victim.sealed.plain)
}

/// The stranger made a layer that begins in the same way, too.
fn begins_alike(kind: LayerKind) -> Result<()> {
    let victim = Victim::new(kind)?;
    let store = victim.store_beside(&[victim.sealed.of_a_stranger()], true)?;
    let (key, nonce) = (random(), random());
    let mut plain = victim.sealed.claimed_with(&key, &nonce).plain;
    let last = plain.len() - 1;
    plain[last] ^= 1;
    let twin = Sealed::with_key(plain, &key, &nonce);
    store.blob(&twin.encrypted)?;
    victim.add_to(&store, &twin)?;
    let decoder = victim.decoder(&store)?;
    says(&decoder.run()?, &["3 different keys", "`--verify-first`"])?;
    says(&decoder.arg("--verify-first").run()?, &["2 different keys that fit"])
}

/// The store has no layer to try the keys on. The stranger's key is one with which the layer begins
/// as it should: the nonce can be chosen for one block.
fn layer_is_gone(kind: LayerKind) -> Result<()> {
    let victim = Victim::new(kind)?;
    let key: [u8; 32] = random();
    let mut nonce: [u8; 16] = victim.sealed.encrypted[..16].try_into()?;
    nonce.iter_mut().zip(&victim.sealed.plain).for_each(|(nonce, plain)| *nonce ^= plain);
    let mut block = nonce.into();
    Aes256::new(&key.into()).decrypt_block(&mut block);
    let stranger = victim.sealed.claimed_with(&key, &block.into());
    ensure!(stranger.plain[..16] == victim.sealed.plain[..16], "the stranger has failed");
    for newer in [true, false] {
        let store = victim.store_beside(std::slice::from_ref(&stranger), newer)?;
        let layer = victim.sealed.descriptor::<&[u8]>(&[]).digest;
        fs::remove_file(store.blobs().join(layer.trim_start_matches("sha256:")))?;
        let decoder = victim.decoder(&store)?;
        says(
            &decoder.run()?,
            &["2 different keys", "might be the layer's", "manifests: `sha256:"],
        )?;
        says(&decoder.arg("--verify-first").run()?, &["2 different keys that fit"])?;
    }
    Ok(())
}

/// A genuine manifest of these bytes, and a stranger's.
fn alone_is_refused(victim: &Victim, genuine: &[u8], words: &str) -> Result<()> {
    for newer in [true, false] {
        let store = ContentStore::new()?;
        store.blob(&victim.sealed.encrypted)?;
        if newer {
            store.blob(genuine)?;
        }
        victim.add_to(&store, &victim.sealed.of_a_stranger())?;
        if !newer {
            store.blob(genuine)?;
        }
        victim.refuses(&store, &[words, "manifests: `sha256:"])?;
    }
    Ok(())
}

/// containerd knows other digests than SHA-256.
fn named_by_sha512() -> Result<()> {
    use sha2::{Digest, Sha512};
    let victim = Victim::new(LayerKind::Gzip)?;
    let store = ContentStore::new()?;
    store.blob(&victim.sealed.encrypted)?;
    victim.add_to(&store, &victim.sealed.of_a_stranger())?;
    let genuine = manifest(&[victim.descriptor(&victim.sealed)]).to_string();
    let name = keycell_tests::image::hex(&Sha512::digest(genuine.as_bytes()));
    let directory = store.blobs().with_file_name("sha512");
    fs::create_dir(&directory)?;
    fs::write(directory.join(&name), genuine)?;
    victim.refuses(&store, &["2 different keys that fit", &format!("`sha512:{name}`")])
}

/// The genuine key is with a provider that fails today.
fn provider_fails() -> Result<()> {
    let victim = Victim::new(LayerKind::Gzip)?;
    let store = ContentStore::new()?;
    store.blob(&victim.sealed.encrypted)?;
    let scheme = "org.opencontainers.image.enc.keys.provider.plain";
    let genuine = victim.sealed.descriptor_with(scheme, &["wrapped"]);
    store.manifest(&[Descriptor { media_type: media_type(victim.kind), ..genuine }])?;
    victim.add_to(&store, &victim.sealed.of_a_stranger())?;
    let config = victim.node.outside().join("providers.json");
    fs::write(&config, r#"{"key-providers":{"plain":{"cmd":{"path":"/bin/false"}}}}"#)?;
    let decoder = victim.decoder(&store)?.env("OCICRYPT_KEYPROVIDER_CONFIG", &config);
    says(&decoder.run()?, &["could not be tried", "manifests: `sha256:"])
}

/// The genuine manifest cannot be read.
fn unreadable_manifest() -> Result<()> {
    let victim = Victim::new(LayerKind::Gzip)?;
    let store = ContentStore::new()?;
    store.blob(&victim.sealed.encrypted)?;
    let genuine = store.manifest(&[victim.descriptor(&victim.sealed)])?;
    victim.add_to(&store, &victim.sealed.of_a_stranger())?;
    let program = victim.node.outside().join("ctd-decoder");
    fs::copy(keycell_tests::dist("ctd-decoder")?, &program)?;
    for path in [victim.node.outside(), &victim.node.keys(), store.root()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(genuine, fs::Permissions::from_mode(0o000))?;
    let decoder = Decoder::at(&program).keys(&victim.node.keys()).as_user(65534);
    let decoder = decoder.media_type(&media_type(victim.kind));
    let decoder = decoder.layer(victim.sealed.encrypted.clone());
    let decoder = decoder.arg("--content-store").arg(store.root());
    says(&decoder.run()?, &["cannot be read: permission denied", "so no other one is used"])
}
