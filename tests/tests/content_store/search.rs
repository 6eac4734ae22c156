//! Where the layer and its manifest are found.

use std::fs;

use anyhow::{Result, ensure};
use keycell_tests::archive;
use keycell_tests::decoder::Decoder;
use keycell_tests::events;
use keycell_tests::image::{Image, LayerKind};
use keycell_tests::jwe::Recipient;
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::node::says;
use keycell_tests::sealed::Sealed;
use keycell_tests::tools::Tool;
use serde_json::json;
use tempfile::TempDir;

use crate::{Case, LONG, media_type};
use keycell_tests::suite::Cases;

pub(crate) fn add(cases: &mut Cases) {
    found(cases);
    layer_gone(cases);
    not_found(cases);
}

fn found(cases: &mut Cases) {
    for length in [0, 1, 16, 63, 64, 4095, 4096, 4097, LONG] {
        cases.case(&format!("found/layer-of-{length}"), move || Case::new(length)?.opens());
    }
    cases.case("found/payload-of-nothing", || {
        let case = Case::new(LONG)?;
        case.decoder()?.payload(Vec::new()).run()?.is_silent_success(&case.sealed.plain)
    });
    cases.case("found/layer-in-small-pieces", || {
        let case = Case::new(20_000)?;
        let decoder = case.decoder()?.in_pieces(1000, std::time::Duration::from_millis(2));
        decoder.run()?.is_silent_success(&case.sealed.plain)
    });
    cases.case("found/layer-that-is-decrypted-in-the-guest", || {
        let case = Case::new(LONG)?;
        let decoder = case.decoder()?.arg("--cipher=guest");
        decoder.run()?.is_silent_success(&case.sealed.plain)
    });
    cases.case("found/without-a-media-type", || {
        let case = Case::new(LONG)?;
        let decoder = Decoder::new()?.keys(&case.node.keys()).layer(case.sealed.encrypted.clone());
        let decoder = decoder.arg("--content-store").arg(case.store.root());
        decoder.run()?.is_silent_success(&case.sealed.plain)
    });
    // containerd removes the content of a pull that failed within seconds: the event is what is left.
    cases.case("found/manifest-is-in-the-event", || {
        let case = Case::bare(LONG)?;
        let manifest = case.store.image(&case.sealed, &Recipient::generate())?;
        let log = case.node.outside().join("log.json");
        case.decoder()?.arg("--log").arg(&log).run()?.error_without_output()?;
        let event = events::of_layer(&log)?;
        let digest = manifest.file_name().map(|name| format!("sha256:{}", name.display()));
        ensure!(event["manifests"] == json!([digest]), "{event:#}");
        Ok(())
    });
    cases.case("found/content-store-itself-is-named", || {
        let case = Case::new(LONG)?;
        let store = case.store.root().join("io.containerd.content.v1.content");
        let decoder = case.without_store()?.arg("--content-store").arg(store);
        decoder.run()?.is_silent_success(&case.sealed.plain)
    });
    cases.case("found/among-others", || {
        let case = Case::bare(LONG)?;
        for other in 0..20 {
            case.store.image(&Sealed::of_length(1000 + other), &case.node.recipient)?;
        }
        case.store.image(&case.sealed, &case.node.recipient)?;
        for other in 0..20 {
            case.store.image(&Sealed::of_length(2000 + other), &case.node.recipient)?;
        }
        case.opens()
    });
    cases.case("found/each-layer-of-an-image", || {
        let case = Case::bare(LONG)?;
        let others = [Sealed::of_length(LONG), Sealed::of_length(500)];
        let wrapped = |sealed: &Sealed| sealed.wrapped_for(&case.node.recipient).compact();
        let layers = [&others[0], &case.sealed, &others[1]];
        let descriptors = layers.map(|sealed| sealed.descriptor(&[wrapped(sealed)]));
        case.store.manifest(&descriptors)?;
        for sealed in layers {
            case.store.blob(&sealed.encrypted)?;
        }
        for sealed in layers {
            let decoder = case.decoder()?.layer(sealed.encrypted.clone());
            decoder.run()?.is_silent_success(&sealed.plain)?;
        }
        Ok(())
    });
    cases.case("found/image-with-recipients-added", recipients_added);
    cases.case("found/more-images-than-are-handed-over", || {
        let case = Case::new(LONG)?;
        for other in 0..400 {
            case.store.image(&Sealed::of_length(100 + other), &case.node.recipient)?;
        }
        case.opens()
    });
    cases.case_with(&Tool::IMAGES, "found/image-of-skopeo", image_of_skopeo);
}

fn layer_gone(cases: &mut Cases) {
    for kind in LayerKind::ALL {
        cases.case(&format!("gone/{kind}"), move || layer_is_gone(kind));
    }
    cases.case("gone/none-fits", || {
        let mut case = Case::new(LONG)?;
        case.sealed = Sealed::of_length(LONG);
        case.refuses(&["no payload", "does not have this layer", "pull the image again"])
    });
    cases.case("gone/another-type", || {
        let mut case = Case::bare(0)?;
        case.sealed = Sealed::new(archive());
        case.store.manifest(&[case.descriptor(&case.node.recipient)])?;
        let decoder = Decoder::new()?.keys(&case.node.keys()).layer(case.sealed.encrypted.clone());
        let decoder = decoder.media_type(&media_type(LayerKind::Gzip));
        let decoder = decoder.arg("--content-store").arg(case.store.root());
        says(&decoder.run()?, &["no payload", &media_type(LayerKind::Gzip)])
    });
}

fn not_found(cases: &mut Cases) {
    cases.case("not-found/keys-are-wrong", || {
        let case = Case::bare(LONG)?;
        case.store.image(&case.sealed, &Recipient::generate())?;
        case.refuses(&[
            "no payload",
            "content store",
            "jwe: 1 wrapped key",
            "encrypted for other keys",
        ])
    });
    cases.case("not-found/nothing-is-read-of-the-layer", || {
        let case = Case::bare(LONG)?;
        case.store.blob(b"{}")?;
        let outcome = case.decoder()?.layer(Vec::new()).stdin_stays_open().run()?;
        says(&outcome, &["none of 1 blobs", "use_local_image_pull", "key_model"])
    });
    cases.case("not-found/off", || {
        let case = Case::new(LONG)?;
        let decoder = case.without_store()?.arg("--content-store").arg("off").stdin_stays_open();
        says(&decoder.run()?, &["no payload", "remove `--content-store off`"])
    });
    cases.case("not-found/no-store", || {
        let case = Case::new(LONG)?;
        let decoder = case.without_store()?.arg("--content-store").arg(case.node.keys());
        says(&decoder.stdin_stays_open().run()?, &["no payload", "is no content store"])
    });
    cases.case("not-looked-for/with-a-payload", || {
        let case = Case::bare(LONG)?;
        let payload = case.sealed.payload_for(&case.node.recipient).bytes();
        let decoder = case.without_store()?.payload(payload).arg("--content-store").arg("/absent");
        decoder.run()?.is_silent_success(&case.sealed.plain)
    });
    cases.case_with(&[Tool::Root, Tool::Setpriv], "not-found/unreadable-store", || {
        use std::os::unix::fs::PermissionsExt;
        let case = Case::new(LONG)?;
        let program = case.node.outside().join("ctd-decoder");
        fs::copy(keycell_tests::dist("ctd-decoder")?, &program)?;
        for path in [case.node.outside(), &case.node.keys(), case.store.root()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        let closed = case.store.root().join("io.containerd.content.v1.content");
        fs::set_permissions(closed, fs::Permissions::from_mode(0o700))?;
        let decoder = Decoder::at(&program).keys(&case.node.keys()).as_user(65534);
        let decoder = decoder.arg("--content-store").arg(case.store.root()).stdin_stays_open();
        says(&decoder.run()?, &["no payload", "permission denied", "as the user that containerd"])
    });
    cases.case_with(&[Tool::Root, Tool::Unshare], "found/usual-roots", usual_roots);
}

/// Another tool adds a recipient: the same layer in a second manifest, with more wrapped keys.
fn recipients_added() -> Result<()> {
    for newest_is_ours in [false, true] {
        let case = Case::bare(LONG)?;
        let stranger = case.descriptor(&Recipient::generate());
        let both = [&Recipient::generate(), &case.node.recipient];
        let both = both.map(|recipient| case.sealed.wrapped_for(recipient).compact());
        let mut manifests = [vec![stranger], vec![case.sealed.descriptor(&both)]];
        if !newest_is_ours {
            manifests.reverse();
        }
        case.store.blob(&case.sealed.encrypted)?;
        manifests.iter().try_for_each(|layers| case.store.manifest(layers).map(drop))?;
        case.opens()?;
    }
    Ok(())
}

/// A layout that skopeo wrote has its blobs where a content store has them.
fn image_of_skopeo() -> Result<()> {
    let dir = TempDir::with_prefix("keycell-skopeo-")?;
    let dir = dir.path();
    let key = KeyPair::generate(dir, "key", KeyKind::Rsa(2048))?;
    fs::create_dir(dir.join("keys"))?;
    fs::write(dir.join("keys/key.pem"), key.private(KeyForm::Pkcs8Pem)?)?;
    let plain = Image::busybox(dir)?;
    let encrypted = plain.encrypted(&dir.join("encrypted"), &[key.public()])?;
    for (layer, plain_layer) in encrypted.layers()?.iter().zip(plain.layers()?) {
        let decoder = Decoder::new()?.keys(&dir.join("keys")).media_type(&layer.media_type);
        let decoder = decoder.layer(encrypted.blob(layer)?);
        let decoder = decoder.arg("--content-store").arg(dir.join("encrypted"));
        decoder.run()?.is_silent_success(&plain.blob(&plain_layer)?)?;
    }
    Ok(())
}

/// The manifest is there and the layer is not: the decrypted bytes distinguish it from others.
fn layer_is_gone(kind: LayerKind) -> Result<()> {
    let mut case = Case::bare(0)?;
    case.sealed = Sealed::new(archive::packed(&archive(), kind));
    let of_kind = |sealed: &Sealed| {
        let wrapped = sealed.wrapped_for(&case.node.recipient).compact();
        let mut descriptor = sealed.descriptor(&[wrapped]);
        descriptor.media_type = media_type(kind);
        descriptor
    };
    let others = [Sealed::of_length(1000), Sealed::of_length(LONG)];
    let layers = [of_kind(&others[0]), of_kind(&case.sealed), of_kind(&others[1])];
    layers.into_iter().try_for_each(|layer| case.store.manifest(&[layer]).map(drop))?;
    let decoder = Decoder::new()?.keys(&case.node.keys()).media_type(&media_type(kind));
    let decoder = decoder.layer(case.sealed.encrypted.clone());
    let decoder = decoder.arg("--content-store").arg(case.store.root());
    decoder.run()?.is_silent_success(&case.sealed.plain)?;

    // Two keys for one layer, and nothing to try them on: nothing is released.
    let mut twin = case.sealed.clone();
    twin.public["hmac"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into();
    case.store.manifest(&[of_kind(&twin)])?;
    says(&decoder.run()?, &["no payload", "2 different keys", "`--verify-first`"])?;
    decoder.arg("--verify-first").run()?.is_silent_success(&case.sealed.plain)
}

/// Of one file that takes a few chunks.
fn archive() -> Vec<u8> {
    archive::tar([("file", &[1; 200_000][..])])
}

/// Without a flag, in a mount namespace where the store lies at each of the usual places.
fn usual_roots() -> Result<()> {
    let case = Case::new(LONG)?;
    for root in [
        "/var/lib/containerd",
        "/var/lib/rancher/k3s/agent/containerd",
        "/var/lib/rancher/rke2/agent/containerd",
        "/var/lib/k0s/containerd",
        "/var/snap/microk8s/common/var/lib/containerd",
        "/var/lib/docker/containerd/daemon",
    ] {
        let script = r#"mount -t tmpfs none /var && mkdir -p "$1" && mount --bind "$2" "$1" || exit 9
            shift 2; exec "$@""#;
        let decoder = Decoder::at(&Tool::Unshare.find()?);
        let decoder = ["--mount", "--propagation", "private", "sh", "-c", script, "sh", root]
            .iter()
            .fold(decoder, |decoder, word| decoder.arg(word));
        let decoder = decoder.arg(case.store.root()).arg(keycell_tests::dist("ctd-decoder")?);
        let decoder = decoder.keys(&case.node.keys()).media_type(&media_type(LayerKind::Tar));
        let outcome = decoder.layer(case.sealed.encrypted.clone()).run()?;
        outcome.is_silent_success(&case.sealed.plain).map_err(|error| error.context(root))?;
    }
    Ok(())
}
