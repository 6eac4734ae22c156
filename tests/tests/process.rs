//! The decoder as a process: what it makes of its descriptors, arguments and input when they are not
//! what they should be.
//!
//! On any failure: exit 1, an error and a hint on stderr, and less than a layer on stdout, because
//! containerd can lose the exit code.

use std::fs;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use base64ct::{Base64, Encoding};
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::image::{Descriptor, Image};
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::payload::{self, Payload, TYPE_URL};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use tempfile::TempDir;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    let layer = Arc::new(OnceLock::new());
    let mut case = |name: &str, run: fn(&Layer) -> Result<()>| {
        let layer = layer.clone();
        suite.case(name, &Tool::IMAGES, move || {
            let made = layer.get_or_init(|| Layer::new().map_err(|e| format!("{e:#}")));
            run(made.as_ref().map_err(|error| anyhow!("{error}"))?)
        });
    };
    payloads(&mut case);
    altered_layers(&mut case);
    descriptors(&mut case);
    arguments(&mut case);
    case("messages/hold-no-secrets", messages_hold_no_secrets);

    let outcome = suite.run();
    drop(layer);
    outcome
}

fn payloads(case: &mut impl FnMut(&str, fn(&Layer) -> Result<()>)) {
    // Each of these fails, says why and does not wait for the layer.
    case("payload/closed", |layer| {
        let decoder = layer.without_payload()?.arg("--content-store=off").stdin_stays_open();
        says(&decoder.run()?, "payload")?;
        says(&decoder.payload(Vec::new()).run()?, "payload")
    });
    case("payload/garbage", |layer| bad_payload(layer, vec![0xff; 300]));
    case("payload/not-json", |layer| bad_payload(layer, payload::any(TYPE_URL, b"{".into())));
    case("payload/other-type", |layer| {
        bad_payload(layer, layer.payload().type_url("io.containerd.ocicrypt.v2.Payload").bytes())
    });
    case("payload/cut-short", |layer| {
        let bytes = layer.payload().bytes();
        bad_payload(layer, bytes[..bytes.len() - 1].into())
    });
    case("payload/without-annotations", |layer| {
        let descriptor = Descriptor { annotations: Default::default(), ..layer.descriptor.clone() };
        let bytes = Payload::new(&descriptor).bytes();
        fails_without_layer(&layer.without_payload()?.payload(bytes).stdin_stays_open().run()?)
    });
    case("key/none-fails-at-once", |layer| {
        let decoder = layer.decoder()?.stdin_stays_open();
        says(&decoder.payload(layer.payload().bytes()).run()?, "key")
    });
    case("key/missing-directory", |layer| {
        let decoder = layer.decoder()?.payload(layer.payload().bytes()).stdin_stays_open();
        says(&decoder.keys(&layer.dir.path().join("absent")).run()?, "key")
    });

    // What Go's JSON and protobuf readers accept.
    case("payload/members-in-any-case", members_in_any_case);
    case("payload/unknown-members", unknown_members);
    case("payload/unknown-fields", unknown_fields);
}

fn altered_layers(case: &mut impl FnMut(&str, fn(&Layer) -> Result<()>)) {
    // Tampering: whoever can change the layer must not choose what is unpacked.
    case("layer/first-byte-changed", |layer| tampered(layer, |bytes| bytes[0] ^= 1));
    case("layer/middle-byte-changed", |layer| {
        tampered(layer, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        })
    });
    case("layer/last-byte-changed", |layer| {
        tampered(layer, |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        })
    });
    case("layer/last-byte-missing", |layer| {
        tampered(layer, |bytes| bytes.truncate(bytes.len() - 1))
    });
    case("layer/half-missing", |layer| tampered(layer, |bytes| bytes.truncate(bytes.len() / 2)));
    case("layer/missing", |layer| tampered(layer, Vec::clear));
    case("layer/one-byte-more", |layer| tampered(layer, |bytes| bytes.push(0)));
    case("layer/a-mebibyte-more", |layer| tampered(layer, |bytes| bytes.extend(vec![0; 1 << 20])));
    case("layer/of-another-descriptor", |layer| {
        let other = layer.other.clone();
        tampered(layer, move |bytes| *bytes = other)
    });
    case("annotation/other-hmac", other_hmac);

    // Every byte through WebAssembly, with nothing lent by the host.
    case("cipher-in-the-guest/whole-layer", |layer| {
        layer.comes_out_of(&layer.complete()?.arg("--cipher").arg("guest"))
    });
    case("cipher-in-the-guest/last-byte-changed", |layer| {
        let mut bytes = layer.encrypted.clone();
        *bytes.last_mut().context("an empty layer")? ^= 1;
        let outcome = layer.complete()?.arg("--cipher").arg("guest").layer(bytes).run()?;
        outcome.error()?;
        incomplete(layer, &outcome)
    });
}

fn descriptors(case: &mut impl FnMut(&str, fn(&Layer) -> Result<()>)) {
    // Descriptors.
    case("stdin/closed", |layer| fails_without_layer(&layer.complete()?.close(0).run()?));
    case("stdout/closed", |layer| {
        let outcome = layer.complete()?.close(1).run()?;
        ensure!(!outcome.status.success(), "success, with nowhere to write to");
        Ok(())
    });
    case("stderr/closed", |layer| layer.comes_out_of(&layer.complete()?.close(2)));
    case("stderr/closed-on-failure", |layer| {
        let outcome = layer.without_payload()?.close(2).run()?;
        ensure!(outcome.status.code() == Some(1), "{}", outcome.status);
        Ok(())
    });
    case("stdout/reader-closes-at-once", |layer| early_close(layer, 0));
    case("stdout/reader-closes-early", |layer| early_close(layer, 100_000));
}

fn arguments(case: &mut impl FnMut(&str, fn(&Layer) -> Result<()>)) {
    // Arguments and environment, as the original reads them.
    case("arguments/single-dash", |layer| {
        let decoder = layer.decoder()?.arg("-decryption-keys-path").arg(layer.keys());
        layer.comes_out_of(&decoder.payload(layer.payload().bytes()))
    });
    case("arguments/with-equals-sign", |layer| {
        let argument = format!("--decryption-keys-path={}", layer.keys().display());
        layer.comes_out_of(&layer.decoder()?.arg(argument).payload(layer.payload().bytes()))
    });
    case("arguments/last-path-wins", |layer| {
        let decoder = layer.decoder()?.keys("/proc/self/absent".as_ref()).keys(&layer.keys());
        layer.comes_out_of(&decoder.payload(layer.payload().bytes()))
    });
    case("arguments/more-are-ignored", |layer| {
        layer.comes_out_of(&layer.complete()?.arg("more").arg("arguments"))
    });
    case("media-type/unset", |layer| {
        let decoder = Decoder::new()?.keys(&layer.keys()).layer(layer.encrypted.clone());
        layer.comes_out_of(&decoder.payload(layer.payload().bytes()))
    });
}

fn bad_payload(layer: &Layer, bytes: Vec<u8>) -> Result<()> {
    says(&layer.without_payload()?.payload(bytes).stdin_stays_open().run()?, "payload")
}

fn members_in_any_case(layer: &Layer) -> Result<()> {
    let json = String::from_utf8(layer.payload().json())?
        .replace("\"DecryptConfig\"", "\"decryptconfig\"")
        .replace("\"Parameters\"", "\"PARAMETERS\"")
        .replace("\"Descriptor\"", "\"descriptor\"")
        .replace("\"annotations\"", "\"Annotations\"");
    let bytes = payload::any(TYPE_URL, json.into_bytes());
    layer.comes_out_of(&layer.without_payload()?.payload(bytes))
}

fn unknown_members(layer: &Layer) -> Result<()> {
    let json = String::from_utf8(layer.payload().json())?
        .replace("{\"DecryptConfig\":{", "{\"Later\":[1,{}],\"DecryptConfig\":{\"Later\":null,");
    ensure!(json.contains("Later"), "nothing was replaced: {json}");
    let bytes = payload::any(TYPE_URL, json.into_bytes());
    layer.comes_out_of(&layer.without_payload()?.payload(bytes))
}

/// A varint field 3 before and a string field 15 after the two that are known.
fn unknown_fields(layer: &Layer) -> Result<()> {
    let mut bytes = vec![0x18, 0x07];
    bytes.extend(layer.payload().bytes());
    bytes.extend([0x7a, 0x02, b'h', b'i']);
    layer.comes_out_of(&layer.without_payload()?.payload(bytes))
}

fn tampered(layer: &Layer, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let mut bytes = layer.encrypted.clone();
    change(&mut bytes);
    let outcome = layer.complete()?.layer(bytes).run()?;
    outcome.error()?;
    incomplete(layer, &outcome)
}

/// The HMAC is not sealed with the key: anyone can replace it, and then it does not match.
fn other_hmac(layer: &Layer) -> Result<()> {
    const NAME: &str = "org.opencontainers.image.enc.pubopts";
    let value = layer.descriptor.annotations.get(NAME).context("no public options")?;
    let json = Base64::decode_vec(value).map_err(|error| anyhow!("{error}"))?;
    let mut options: serde_json::Value = serde_json::from_slice(&json)?;
    options["hmac"] = Base64::encode_string(&[0; 32]).into();
    let value = Base64::encode_string(options.to_string().as_bytes());
    let bytes = layer.payload().annotation(NAME, &value).bytes();
    let outcome = layer.complete()?.payload(bytes).run()?;
    outcome.error()?;
    incomplete(layer, &outcome)
}

/// containerd stopped reading: the decoder has nobody left to work for.
fn early_close(layer: &Layer, after: usize) -> Result<()> {
    let outcome = layer.complete()?.reader_closes_after(after).run()?;
    ensure!(!outcome.status.success(), "success, though nobody read the layer");
    ensure!(outcome.elapsed < Duration::from_secs(10), "took {:?}", outcome.elapsed);
    ensure!(layer.plain.starts_with(&outcome.stdout), "something else than the layer came out");
    Ok(())
}

/// What a failure shows goes into the kubelet's events, for many to read.
fn messages_hold_no_secrets(layer: &Layer) -> Result<()> {
    let key = layer.stranger.private(KeyForm::Pkcs8Pem)?;
    let password = b"correct horse battery staple";
    let bytes = layer
        .payload()
        .parameter("privkeys", Some(&key))
        .parameter("privkeys-passwords", Some(password))
        .bytes();
    let outcome = layer.decoder()?.payload(bytes).run()?;
    outcome.error()?;
    for line in String::from_utf8(key)?.lines().filter(|line| !line.starts_with('-')) {
        ensure!(!outcome.stderr.contains(line), "a line of the key: {}", outcome.stderr);
    }
    for word in ["correct horse", "Y29ycmVjdCBob3Jz"] {
        ensure!(!outcome.stderr.contains(word), "the password: {}", outcome.stderr);
    }
    Ok(())
}

/// Fails with a message that names the matter, and nothing on stdout.
fn says(outcome: &Outcome, matter: &str) -> Result<()> {
    let error = outcome.error()?;
    ensure!(error.contains(matter), "nothing of {matter}: {error}");
    ensure!(outcome.stdout.is_empty(), "{} bytes came out", outcome.stdout.len());
    Ok(())
}

fn fails_without_layer(outcome: &Outcome) -> Result<()> {
    outcome.error()?;
    ensure!(outcome.stdout.is_empty(), "{} bytes came out", outcome.stdout.len());
    Ok(())
}

fn incomplete(layer: &Layer, outcome: &Outcome) -> Result<()> {
    let (came, whole) = (outcome.stdout.len(), layer.plain.len());
    ensure!(came < whole, "{came} bytes came out, the layer has {whole}");
    Ok(())
}

/// One encrypted layer (the random one: incompressible, many buffers long) and the key to it.
struct Layer {
    descriptor: Descriptor,
    encrypted: Vec<u8>,
    plain: Vec<u8>,
    other: Vec<u8>,
    stranger: KeyPair,
    dir: TempDir,
}

impl Layer {
    fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-layer-")?;
        let key = KeyPair::generate(dir.path(), "ours", KeyKind::P256)?;
        let stranger = KeyPair::generate(dir.path(), "stranger", KeyKind::P256)?;
        fs::create_dir(dir.path().join("keys"))?;
        key.install(KeyForm::Pkcs8Pem, &dir.path().join("keys"))?;
        let plain = Image::busybox(dir.path())?;
        let image = plain.encrypted(&dir.path().join("encrypted"), &[key.public()])?;
        let (Some(descriptor), Some(below)) =
            (image.layers()?.pop(), image.layers()?.into_iter().next())
        else {
            anyhow::bail!("an image without layers");
        };
        Ok(Self {
            encrypted: image.blob(&descriptor)?,
            plain: plain.blob(&plain.layers()?.pop().context("no layer")?)?,
            other: image.blob(&below)?,
            descriptor,
            stranger,
            dir,
        })
    }

    fn keys(&self) -> std::path::PathBuf {
        self.dir.path().join("keys")
    }

    fn payload(&self) -> Payload {
        Payload::new(&self.descriptor)
    }

    /// Neither payload nor keys yet.
    fn decoder(&self) -> Result<Decoder> {
        Ok(Decoder::new()?.media_type(&self.descriptor.media_type).layer(self.encrypted.clone()))
    }

    fn without_payload(&self) -> Result<Decoder> {
        Ok(self.decoder()?.keys(&self.keys()))
    }

    fn complete(&self) -> Result<Decoder> {
        Ok(self.without_payload()?.payload(self.payload().bytes()))
    }

    fn comes_out_of(&self, decoder: &Decoder) -> Result<()> {
        let decoded = decoder.run()?.plaintext()?;
        ensure!(decoded == self.plain, "{} bytes came out, and they differ", decoded.len());
        Ok(())
    }
}
