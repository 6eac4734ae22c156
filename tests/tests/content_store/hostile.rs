//! What a stranger's image, or a damaged disk, may put into a content store. The layer of the right
//! image is decrypted nevertheless, wherever it can be distinguished from the others.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use base64ct::{Base64, Encoding};
use keycell_tests::jwe::Recipient;
use keycell_tests::node::{says, withheld};
use keycell_tests::sealed::{JWE_KEYS, PUBLIC_OPTIONS, Sealed, hmac, random};
use keycell_tests::store::{manifest, name};
use keycell_tests::tools::Tool;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::{Case, LONG};
use keycell_tests::suite::Cases;

/// What the program itself takes, in KiB.
const PROGRAM_KIB: u64 = 24 * 1024;

pub(crate) fn add(cases: &mut Cases) {
    other_manifests(cases);
    many_manifests(cases);
    layers_that_begin_alike(cases);
    garbage_and_size(cases);
    many_entries(cases);
    bounds(cases);
    special_files(cases);
}

fn other_manifests(cases: &mut Cases) {
    // Other manifests that name the layer. Each is newer than the right one, and older in a second
    // run.
    cases.case("names-the-layer/with-another-key", || {
        named_by(|case| {
            let other =
                Sealed { encrypted: case.sealed.encrypted.clone(), ..Sealed::of_length(LONG) };
            Ok(other.descriptor(&[other.wrapped_for(&case.node.recipient).compact()]))
        })
    });
    cases.case("names-the-layer/with-another-key-and-its-hmac", || {
        named_by(|case| {
            let mut other = Sealed::of_length(LONG);
            let key = other.private["symkey"].as_str().map(Base64::decode_vec);
            let key = key.and_then(Result::ok).unwrap_or_default();
            let hmac = Base64::encode_string(&hmac(&key, &case.sealed.encrypted));
            other.public["hmac"] = hmac.into();
            other.encrypted = case.sealed.encrypted.clone();
            Ok(other.descriptor(&[other.wrapped_for(&case.node.recipient).compact()]))
        })
    });
    cases.case("names-the-layer/with-its-key-and-another-hmac", || {
        named_by(|case| {
            let mut descriptor = case.descriptor(&case.node.recipient);
            let mut public = case.sealed.public.clone();
            public["hmac"] = Base64::encode_string(&[0; 32]).into();
            let public = Base64::encode_string(public.to_string().as_bytes());
            descriptor.annotations.insert(PUBLIC_OPTIONS.into(), public);
            Ok(descriptor)
        })
    });
    cases.case("names-the-layer/with-another-size", || {
        named_by(|case| {
            Ok(keycell_tests::image::Descriptor {
                size: 1000,
                ..case.descriptor(&case.node.recipient)
            })
        })
    });
    cases.case("names-the-layer/without-keys", || {
        named_by(|case| {
            let mut descriptor = case.descriptor(&case.node.recipient);
            descriptor.annotations.insert(JWE_KEYS.into(), "%".into());
            Ok(descriptor)
        })
    });
    cases.case("names-the-layer/for-a-stranger", || {
        named_by(|case| Ok(case.descriptor(&Recipient::generate())))
    });
}

fn many_manifests(cases: &mut Cases) {
    cases.case("names-the-layer/three-hundred-times", || {
        let case = Case::new(LONG)?;
        for _ in 0..300 {
            case.store.manifest(&[case.descriptor(&Recipient::generate())])?;
        }
        // The right one may be among those that are too many: a message, not a layer.
        case.refuses(&["no payload", "more than 256 manifests", "remove the image"])
    });
    cases.case("names-the-layer/with-seventeen-keys", || {
        let case = Case::new(5000)?;
        for _ in 0..16 {
            let other =
                Sealed { encrypted: case.sealed.encrypted.clone(), ..Sealed::of_length(5000) };
            let wrapped = other.wrapped_for(&case.node.recipient).compact();
            case.store.manifest(&[other.descriptor(&[wrapped])])?;
        }
        case.refuses(&["no payload", "17 different keys"])
    });
}

fn layers_that_begin_alike(cases: &mut Cases) {
    // Another layer that begins in the same way: a stranger can copy what a registry shows.
    cases.case("begins-like-the-layer/for-the-same-node", || {
        let case = Case::new(LONG)?;
        let twin = twin(&case)?;
        case.store.image(&twin, &case.node.recipient)?;
        case.refuses(&["no payload", "2 different keys", "`--verify-first`"])?;
        for sealed in [&case.sealed, &twin] {
            let decoder = case.decoder()?.layer(sealed.encrypted.clone()).arg("--verify-first");
            decoder.run()?.is_silent_success(&sealed.plain)?;
        }
        Ok(())
    });
    cases.case("begins-like-the-layer/for-a-stranger", || {
        let case = Case::new(LONG)?;
        case.store.image(&twin(&case)?, &Recipient::generate())?;
        case.opens()
    });
    cases.case("layer-on-stdin-is-another-from-the-second-chunk-on", || {
        let case = Case::new(LONG)?;
        let mut layer = case.sealed.encrypted.clone();
        layer[LONG / 2] ^= 1;
        withheld(&case.decoder()?.layer(layer).run()?, &case.sealed.plain)
    });
}

fn garbage_and_size(cases: &mut Cases) {
    // What manifests are not.
    cases.case("garbage/blobs", garbage);
    cases.case("garbage/manifests", garbage_of_json);
    cases.case("garbage/file-in-the-place-of-the-store", || {
        let case = Case::bare(LONG)?;
        fs::remove_dir_all(case.store.blobs())?;
        fs::write(case.store.blobs(), b"{}")?;
        case.refuses(&["no payload", "is no content store"])
    });
    cases.case("large/manifest-of-100-mib", || {
        let case = Case::new(LONG)?;
        let digest = case.descriptor(&case.node.recipient).digest;
        let mut text = format!("{{\"{JWE_KEYS}\":\"{digest}\",\"a\":\"").into_bytes();
        text.resize(100 << 20, b'a');
        case.store.blob(&text)?;
        fits_in(&case, PROGRAM_KIB + 8 * 1024)
    });
    cases.case("large/manifests-of-4-mib", || {
        // Each is as expensive to parse as it can be, and names the layer.
        for shapes in [[",0", ",[]", ",\"\""], [",{}", ",{\"\":0}", ",0"]] {
            let case = Case::new(LONG)?;
            let digest = case.descriptor(&case.node.recipient).digest;
            for shape in shapes {
                case.store.blob(&padded(&digest, shape, 4 << 20))?;
            }
            // The limit of the guest's memory, and what is handed to it in the host's.
            fits_in(&case, PROGRAM_KIB + (256 + 32) * 1024)?;
        }
        Ok(())
    });
    cases.case("large/manifests-of-more-than-16-mib", || {
        let case = Case::new(LONG)?;
        let digest = case.descriptor(&case.node.recipient).digest;
        for shape in [",0", ",1", ",2", ",3", ",4"] {
            case.store.blob(&padded(&digest, shape, 4 << 20))?;
        }
        case.refuses(&["no payload", "more than 16 MiB of manifests", "remove the image"])
    });
}

fn many_entries(cases: &mut Cases) {
    cases.case("large/manifest-of-many-layers", || {
        let case = Case::new(LONG)?;
        let mut layer = case.descriptor(&Recipient::generate());
        layer.annotations = [(JWE_KEYS.to_owned(), "aGk=".to_owned())].into();
        let layers = (0..10_000).map(|number: u32| {
            let mut layer = layer.clone();
            layer.annotations.insert("number".to_owned(), number.to_string());
            layer
        });
        let path = case.store.manifest(&layers.collect::<Vec<_>>())?;
        let digest = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        case.refuses(&["no payload", "more than 4 different sets of wrapped keys", &digest])
    });
    cases.case("many/100000-blobs", || {
        let case = Case::new(LONG)?;
        (0..100_000)
            .try_for_each(|number| fs::write(case.store.blobs().join(name(number)), b"{ }"))?;
        fits_in(&case, PROGRAM_KIB + 32 * 1024)
    });
    cases.case("many/names-of-layers", || {
        let case = Case::new(LONG)?;
        let names: Vec<_> = (0..50_000).map(|number| format!("sha256:{}", name(number))).collect();
        let text = serde_json::json!({ JWE_KEYS: names }).to_string();
        case.store.blob(text.as_bytes())?;
        case.opens()
    });
}

fn bounds(cases: &mut Cases) {
    // Bounds of the search. The genuine manifest is the oldest: it would be what is left out.
    cases.case("bounds/compared-layers", || {
        let case = Case::new(LONG)?;
        (0..65_600)
            .try_for_each(|number| fs::write(case.store.blobs().join(name(number)), b"x"))?;
        let names: Vec<_> = (0..65_600).map(|number| format!("sha256:{}", name(number))).collect();
        case.store.blob(serde_json::json!({ JWE_KEYS: names }).to_string().as_bytes())?;
        case.refuses(&["no payload", "more than 65536 other layers", "not looked at"])
    });
    cases.case("bounds/json", || {
        let case = Case::new(LONG)?;
        for number in 0..40 {
            let path = case.store.named(&name(number), b"{")?;
            fs::File::options().write(true).open(path)?.set_len(8 << 20)?; // holes are zeroes
        }
        case.refuses(&["no payload", "more than 256 MiB of JSON", "not looked at"])
    });
    cases.case("bounds/sets-of-keys", || {
        let case = Case::new(LONG)?;
        for _ in 0..65 {
            let layers: Vec<_> = (0..4).map(|_| case.descriptor(&Recipient::generate())).collect();
            case.store.manifest(&layers)?;
        }
        case.refuses(&["no payload", "more than 256 different sets of wrapped keys"])
    });
}

fn special_files(cases: &mut Cases) {
    // What files are not.
    cases.case("links/are-not-followed", || {
        let case = Case::bare(LONG)?;
        let elsewhere = case.node.outside().join("elsewhere");
        fs::create_dir(&elsewhere)?;
        let path = case.store.image(&case.sealed, &case.node.recipient)?;
        let moved = elsewhere.join("manifest");
        fs::rename(&path, &moved)?;
        symlink(&moved, &path)?;
        case.refuses(&["no payload", "is the manifest of an encrypted image"])
    });
    cases.case("links/of-layers-are-not-followed", || {
        let case = Case::new(LONG)?;
        let digest = case.descriptor(&case.node.recipient).digest;
        let path = case.store.blobs().join(digest.trim_start_matches("sha256:"));
        let moved = case.node.outside().join("layer");
        fs::rename(&path, &moved)?;
        symlink(&moved, &path)?;
        case.refuses(&["no payload", "does not have this layer"])
    });
    cases.case_with(&[Tool::Root], "special/pipes-devices-and-directories", || {
        let case = Case::new(LONG)?;
        let blobs = case.store.blobs();
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, blobs.join(name(1)), FileType::Fifo, mode, 0)?;
        mknodat(
            CWD,
            blobs.join(name(2)),
            FileType::CharacterDevice,
            mode,
            rustix::fs::makedev(1, 5),
        )?;
        mknodat(CWD, blobs.join(name(3)), FileType::Socket, mode, 0)?;
        fs::create_dir(blobs.join(name(4)))?;
        symlink("/dev/zero", blobs.join(name(5)))?;
        symlink(name(6), blobs.join(name(6)))?;
        // Named as layers, too.
        let names: Vec<_> = (1..7).map(|number| format!("sha256:{}", name(number))).collect();
        case.store.blob(serde_json::json!({ JWE_KEYS: names }).to_string().as_bytes())?;
        case.opens()
    });
    cases.case("vanishing/blobs", vanishing);
}

/// Another manifest names the layer, newer than the right one, then older.
fn named_by(make: impl Fn(&Case) -> Result<keycell_tests::image::Descriptor>) -> Result<()> {
    for right_one_first in [true, false] {
        let case = Case::bare(LONG)?;
        let mut layers = [case.descriptor(&case.node.recipient), make(&case)?];
        // As in the registry: both name the same blob.
        let digest = layers[0].digest.clone();
        layers[1].digest = digest;
        if !right_one_first {
            layers.reverse();
        }
        case.store.blob(&case.sealed.encrypted)?;
        layers.into_iter().try_for_each(|layer| case.store.manifest(&[layer]).map(drop))?;
        case.opens()?;
        case.decoder()?.arg("--verify-first").run()?.is_silent_success(&case.sealed.plain)?;
    }
    Ok(())
}

/// A layer that another key opens, and that begins with the same ciphertext.
fn twin(case: &Case) -> Result<Sealed> {
    let mut twin = Sealed::of_length(LONG);
    // What the first bytes decrypt to is of no importance: they are what they are.
    let same = 8192;
    twin.encrypted[..same].copy_from_slice(&case.sealed.encrypted[..same]);
    twin.plain = twin.encrypted_as(&twin.encrypted)?;
    twin.private["digest"] = Value::Null;
    let key = Base64::decode_vec(twin.private["symkey"].as_str().unwrap_or_default());
    let hmac = hmac(&key.map_err(|error| anyhow::anyhow!("{error}"))?, &twin.encrypted);
    twin.public["hmac"] = Base64::encode_string(&hmac).into();
    Ok(twin)
}

/// JSON of about this length that names the layer.
fn padded(digest: &str, shape: &str, length: usize) -> Vec<u8> {
    let begin = format!("{{\"{JWE_KEYS}\":\"{digest}\",\"a\":[0");
    let count = (length - begin.len() - 2) / shape.len();
    format!("{begin}{}]}}", shape.repeat(count)).into_bytes()
}

fn garbage() -> Result<()> {
    let case = Case::new(LONG)?;
    for length in [0, 1, 63, 64, 4096, 100_000] {
        case.store.blob(&vec![0xff; length])?;
        case.store.blob(&random::<512>()[..length.min(512)])?;
    }
    for (name, bytes) in [
        ("ingest", &b"{}"[..]),
        ("..data", b"{}"),
        (
            &name(1).to_uppercase().replace('1', "A"),
            b"{\"org.opencontainers.image.enc.keys.jwe\":1}",
        ),
        (&name(1)[1..], b"{\"org.opencontainers.image.enc.keys.jwe\":1}"),
        ("\u{1b}[31m", b"{\"org.opencontainers.image.enc.keys.jwe\":1}"),
    ] {
        case.store.named(name, bytes)?;
    }
    case.opens()
}

/// They look like manifests, name the layer, and cannot be read: each might be the genuine one.
fn garbage_of_json() -> Result<()> {
    let case = Case::bare(LONG)?;
    let descriptor = case.descriptor(&case.node.recipient);
    let right = manifest(std::slice::from_ref(&descriptor)).to_string();
    let twice = right.replacen("\"size\"", "\"size\":1,\"size\"", 1);
    let mut unreadable = vec![
        right[..right.len() - 1].to_owned(),
        format!("{right}{{"),
        twice,
        format!("{{\"a\":{}{right}", "[".repeat(1 << 20)),
        right.replace("\"layers\":[", "\"layers\":[1,"),
        right.replace("\"layers\":", "\"layers\":{},\"other\":"),
        right.replace("\"annotations\":{", "\"annotations\":{\"a\":1,"),
    ];
    unreadable.push(format!("  \n\t{}", unreadable[0]));
    for text in unreadable {
        let case = case.with_own_store()?;
        let path = case.store.blob(text.as_bytes())?;
        let digest = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        case.refuses(&["could not be tried", "no readable manifest", &digest])?;
    }
    // These are no manifests, or have no layers.
    let case = case.with_own_store()?;
    case.store.blob("{".repeat(1 << 20).as_bytes())?;
    case.store.blob(format!("{{\"manifests\":[{right}]}}").as_bytes())?;
    case.opens()
}

/// The layer is decrypted, with no more memory than that.
fn fits_in(case: &Case, kib: u64) -> Result<()> {
    let outcome = case.decoder()?.measured(env!("CARGO_BIN_EXE_meter")).run()?;
    outcome.is_silent_success(&case.sealed.plain)?;
    eprintln!("{} ms, {} KiB", outcome.elapsed.as_millis(), outcome.peak);
    ensure!(outcome.peak < kib, "{} KiB of memory", outcome.peak);
    Ok(())
}

/// containerd collects garbage while the decoder looks at it.
fn vanishing() -> Result<()> {
    let case = Case::new(LONG)?;
    let (done, blobs) = (AtomicBool::new(false), case.store.blobs());
    thread::scope(|scope| {
        let churn = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::Relaxed) {
                let all = (0..200).map(|number| blobs.join(name(number)));
                for path in all.clone() {
                    fs::write(path, b"{\"org.opencontainers.image.enc.keys.jwe\":1}")?;
                }
                all.into_iter().try_for_each(fs::remove_file)?;
            }
            Ok(())
        });
        let runs = (0..20).try_for_each(|_| case.opens());
        done.store(true, Ordering::Relaxed);
        churn.join().map_err(|_| anyhow::anyhow!("the other side panicked"))??;
        runs
    })?;
    // The same with the layer and its manifest: it is decrypted, or there is a message.
    let layer = case.descriptor(&case.node.recipient).digest;
    fs::remove_file(case.store.blobs().join(layer.trim_start_matches("sha256:")))?;
    says(&case.run()?, &["no payload"])
}
