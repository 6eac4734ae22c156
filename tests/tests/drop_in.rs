//! What a drop-in must do that is not about a hostile image: the original's arguments, its silence,
//! layers of any length in little memory, and no interest in what a caller left open.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::events;
use keycell_tests::image::{Descriptor, hex};
use keycell_tests::node::{KEY, Node};
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use sha2::{Digest, Sha256};

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    arguments(&mut suite);
    layers(&mut suite);
    logs(&mut suite);
    suite.case("user/nobody", &[Tool::Setpriv], || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        let copy = node.outside().join("ctd-decoder");
        fs::copy(keycell_tests::dist("ctd-decoder")?, &copy)?;
        for path in [node.outside(), &copy] {
            fs::set_permissions(path, Permissions::from_mode(0o755))?;
        }
        let payload = sealed.payload_for(&node.recipient).bytes();
        let decoder = Decoder::at(&copy).keys(&node.keys()).payload(payload).as_user(65_534);
        decoder.layer(sealed.encrypted).run()?.is_silent_success(&sealed.plain)
    });
    suite.case("writer/skopeo-reads-it", &[Tool::Skopeo], skopeo_reads_it);
    suite.case("original/decrypts-the-same", &[Tool::OriginalDecoder], original_decrypts_the_same);
    suite.run()
}

/// The decoder that Keycell replaces, called in the same way: the same layers come out of both, and
/// neither gives out an altered one as whole.
fn original_decrypts_the_same() -> Result<()> {
    // The original copies in steps of 10 KiB.
    for length in [0, 1, 10_239, 10_240, 10_241, 1 << 20] {
        let (node, sealed) = (Node::new()?, Sealed::of_length(length));
        let payload = sealed.payload_for(&node.recipient).bytes();
        let call = |program: &Path, layer: &[u8]| {
            let decoder = Decoder::at(program).keys(&node.keys()).payload(payload.clone());
            decoder.layer(layer.to_vec()).run()
        };
        let programs = [keycell_tests::dist("ctd-decoder")?, Tool::OriginalDecoder.find()?];
        for program in &programs {
            call(program, &sealed.encrypted)?.is_silent_success(&sealed.plain)?;
        }
        let mut altered = sealed.encrypted.clone();
        let Some(last) = altered.last_mut() else { continue };
        *last ^= 1;
        for program in &programs {
            let Outcome { status, .. } = call(program, &altered)?;
            ensure!(status.code() == Some(1), "{}: {status}", program.display());
        }
    }
    Ok(())
}

fn arguments(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &[], run);
    case("arguments/directory", || called(|decoder, node| decoder.keys(&node.keys())));
    case("arguments/file", || called(|decoder, node| decoder.keys(&node.keys().join(KEY))));
    case("arguments/equals-sign", || {
        called(|decoder, node| {
            decoder.arg(format!("--decryption-keys-path={}", node.keys().display()))
        })
    });
    case("arguments/single-dash", || {
        called(|decoder, node| decoder.arg("-decryption-keys-path").arg(node.keys()))
    });
    case("arguments/single-dash-and-equals-sign", || {
        called(|decoder, node| {
            decoder.arg(format!("-decryption-keys-path={}", node.keys().display()))
        })
    });
    case("arguments/last-wins", || {
        called(|decoder, node| {
            decoder.keys("/nowhere".as_ref()).keys("/dev/null".as_ref()).keys(&node.keys())
        })
    });
    case("arguments/more-are-ignored", || {
        called(|decoder, node| decoder.keys(&node.keys()).arg("more").arg("").arg("arguments"))
    });
    case("arguments/relative-directory", || {
        called(|decoder, node| decoder.in_directory(node.outside()).keys("keys".as_ref()))
    });
    case("arguments/relative-file", || {
        let file = Path::new("keys").join(KEY);
        called(|decoder, node| decoder.in_directory(node.outside()).keys(&file))?;
        // No directory in the path at all.
        called(|decoder, node| decoder.in_directory(&node.keys()).keys(KEY.as_ref()))
    });
    case("arguments/current-directory", || {
        called(|decoder, node| decoder.in_directory(&node.keys()).keys(".".as_ref()))
    });
    case("arguments/file-grants-nothing-beside-it", || {
        let node = Node::without_key()?;
        let stranger = Node::new()?;
        node.add(KEY, stranger.recipient.private_pem())?;
        node.add("right.pem", node.recipient.private_pem())?;
        let sealed = Sealed::of_length(1000);
        let decoder = node.decoder(&sealed)?.keys(&node.keys().join(KEY));
        decoder.stdin_stays_open().run()?.error_without_output()?;
        Ok(())
    });
}

fn layers(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &[], run);
    case("descriptors/leaking", || {
        called(|decoder, node| decoder.keys(&node.keys()).leaking())?;
        // Without a payload the first of them is not taken for one.
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        let outcome = node.without_payload(&sealed)?.leaking().stdin_stays_open().run()?;
        ensure!(outcome.error_without_output()?.contains("no payload"), "{}", outcome.stderr);
        Ok(())
    });

    case("length/0", || of_length(0));
    case("length/1", || of_length(1));
    case("length/65535", || of_length(65_535));
    case("length/65536", || of_length(65_536));
    case("length/65537", || of_length(65_537));
    case("length/131072", || of_length(131_072));
    case("length/1-mib-and-1", || of_length((1 << 20) + 1));
    case("length/64-mib-in-24-mib-of-memory", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(64 << 20));
        let decoder = node.decoder(&sealed)?.measured(env!("CARGO_BIN_EXE_meter"));
        let outcome = decoder.run()?;
        outcome.is_silent_success(&sealed.plain)?;
        ensure!(outcome.peak < 24 * 1024, "{} KiB of memory", outcome.peak);
        // Nearly nothing is what a meter that does not work measures.
        ensure!(outcome.peak > 1024, "{} KiB of memory", outcome.peak);
        Ok(())
    });
}

fn logs(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &[], run);
    case("log/names-what-was-passed-over", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        node.add("README", "The keys of this node.\n")?;
        let log = node.outside().join("log");
        let outcome = node.decoder(&sealed)?.arg("--log").arg(&log).run()?;
        outcome.is_silent_success(&sealed.plain)?;
        let log = fs::read_to_string(log)?;
        ensure!(log.contains("passed over `README`: not a key"), "{log}");
        Ok(())
    });
    case("log/repeats-the-error", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        let log = node.outside().join("log");
        let outcome = node.without_payload(&sealed)?.arg("--log").arg(&log).run()?;
        let event = events::of_layer(&log)?;
        let error = event["error"].as_str().unwrap_or_default();
        let mut told = format!("ctd-decoder: error: {error}\n");
        for hint in event["hints"].as_array().into_iter().flatten() {
            told += &format!("hint: {}\n", hint.as_str().unwrap_or_default());
        }
        ensure!(told == outcome.stderr, "{event}\n{}", outcome.stderr);
        Ok(())
    });
    // A logging failure never fails a layer.
    case("log/that-cannot-be-written", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        node.add("README", "so that there is something to say")?;
        let pipe = node.outside().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        for log in [Path::new("/nowhere/log"), "/".as_ref(), "/dev/full".as_ref(), &pipe] {
            let outcome = node.decoder(&sealed)?.arg("--log").arg(log).run()?;
            outcome.is_silent_success(&sealed.plain).with_context(|| log.display().to_string())?;
        }
        Ok(())
    });
}

/// A call that passes the keys in some way decrypts the layer.
fn called(call: impl FnOnce(Decoder, &Node) -> Decoder) -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(100_000));
    let payload = sealed.payload_for(&node.recipient).bytes();
    let decoder = Decoder::new()?.payload(payload).layer(sealed.encrypted);
    call(decoder, &node).run()?.is_silent_success(&sealed.plain)
}

/// With the cipher of the host and that of the guest.
fn of_length(length: usize) -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(length));
    for side in ["host", "guest"] {
        let outcome = node.decoder(&sealed)?.arg("--cipher").arg(side).run()?;
        outcome.is_silent_success(&sealed.plain).with_context(|| format!("--cipher {side}"))?;
    }
    Ok(())
}

/// The test's own writer against another reader than the one that it tests.
fn skopeo_reads_it() -> Result<()> {
    let node = Node::new()?;
    let sealed = Sealed::of_length(100_000);
    let (encrypted, plain) = (node.outside().join("encrypted"), node.outside().join("plain"));
    let blobs = encrypted.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let write = |bytes: &[u8], media_type: &str| -> Result<Descriptor> {
        let name = hex(&Sha256::digest(bytes));
        fs::write(blobs.join(&name), bytes)?;
        Ok(Descriptor {
            media_type: media_type.to_owned(),
            digest: format!("sha256:{name}"),
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
        })
    };
    let digest = format!("sha256:{}", hex(&Sha256::digest(&sealed.plain)));
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest] },
    });
    let config = write(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json")?;
    write(&sealed.encrypted, "")?;
    let wrapped = sealed.wrapped_for(&node.recipient).flattened().to_string();
    let layer = sealed.descriptor(&[wrapped]);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer],
    });
    let manifest = write(manifest.to_string().as_bytes(), media_type)?;
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(encrypted.join("index.json"), index.to_string())?;
    fs::write(encrypted.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}")?;

    Tool::Skopeo.run([
        "--insecure-policy",
        "copy",
        "--quiet",
        "--dest-oci-accept-uncompressed-layers",
        "--decryption-key",
        &node.keys().join(KEY).display().to_string(),
        &format!("oci:{}", encrypted.display()),
        &format!("oci:{}", plain.display()),
    ])?;
    let layer = fs::read(plain.join("blobs").join(digest.replace(':', "/")))?;
    ensure!(layer == sealed.plain, "{} bytes, and they differ", layer.len());
    Ok(())
}
