//! Encrypted images on a real node: containerd pulls them through its CRI, calls the decoder, and
//! runs the decrypted image.
//!
//! The image prints the SHA-256 of a file in its upper layer with a program from its lower one, so
//! a container that prints the right line had both layers decrypted.
//!
//! Every case runs with each release of containerd that the tests have.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Error, Result, anyhow};
use keycell_tests::image::LayerKind;
use keycell_tests::release::Release;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;

mod altered;
mod ctr;
mod decompress;
mod docker;
mod elsewhere;
mod ended;
mod imgcrypt;
mod payload;
mod pods;
mod pulls;
mod shared;

use self::shared::{Images, Shared};

fn main() -> ExitCode {
    // Each is a node: a containerd with its shims and containers.
    let mut suite = Suite::from_args().at_most(2);
    let images = Arc::new(OnceLock::new());
    let needs =
        [&Tool::NODE[..], &[Tool::Gpg, Tool::CtrImgcrypt, Tool::Curl, Tool::Dockerd]].concat();
    for (name, release) in Release::all() {
        let missing = || needs.iter().find_map(|tool| tool.find().err());
        for (case, run) in cases(release.as_ref().ok()) {
            let missing = match &release {
                Ok(_) => missing(),
                Err(error) => Some(anyhow!("{error:#}")),
            };
            let (release, images) = (release.as_ref().ok().cloned(), images.clone());
            suite.case_unless(missing, format!("{name}/{case}"), move || {
                let release = release.context("a case of no release was run")?;
                let made = images.get_or_init(|| match Images::new() {
                    Ok(images) => Ok(Arc::new(images)),
                    Err(error) => Err(format!("{error:#}")),
                });
                let images = made.clone().map_err(Error::msg)?;
                run(&Shared { release, images })
            });
        }
    }
    let outcome = suite.run();
    drop(images);
    outcome
}

type Case = (String, Box<dyn Fn(&Shared) -> Result<()> + Send>);

/// The cases of a release; of none that is there, those of the newest.
fn cases(release: Option<&Release>) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for row in payload::rows(release) {
        let name = format!("payload/{}", row.name);
        cases.push((name, Box::new(move |shared| row.holds(shared))));
    }
    let mut case = |name: &str, run: fn(&Shared) -> Result<()>| {
        cases.push((name.to_owned(), Box::new(run)));
    };
    // containerd 2.x no longer reads the document's version of the configuration.
    if release.is_some_and(|release| !release.is_version_2()) {
        case("documented/image-encryption", |shared| pods::documented(shared, pods::DOCUMENTED));
        case("documented/image-decryption", |shared| {
            let config = pods::DOCUMENTED.replace("image_encryption", "image_decryption");
            pods::documented(shared, &config)
        });
    }
    case("documented/later", pods::documented_later);
    case("configured/as-printed", |shared| pods::configured(shared, &[]));
    case("configured/without-decompressing", |shared| {
        pods::configured(shared, &["--no-decompress"])
    });
    case("decompressed/as-containerd-does", decompress::as_containerd_does);
    case("pod/gzip", |shared| pods::pod(shared, LayerKind::Gzip));
    case("pod/tar", |shared| pods::pod(shared, LayerKind::Tar));
    case("pod/zstd", |shared| pods::pod(shared, LayerKind::Zstd));
    case("pod/pkcs7", pods::pod_pkcs7);
    case("pod/pgp", pods::pod_pgp);
    case("pull/by-payload-alone", pulls::by_payload_alone);
    case("pull/images-at-the-same-time", pulls::images_at_the_same_time);
    case("pull/wrong-key", pulls::wrong_key);
    case("pull/no-key-then-the-key", pulls::no_key_then_the_key);
    case("pull/from-registry-to-registry", pulls::from_registry_to_registry);
    case("no-payload/pull-tar", |shared| ctr::ctr_pull(shared, LayerKind::Tar));
    case("no-payload/pull-gzip", |shared| ctr::ctr_pull(shared, LayerKind::Gzip));
    case("no-payload/pull-zstd", |shared| ctr::ctr_pull(shared, LayerKind::Zstd));
    case("no-payload/pull-zstd-by-its-own-processor", ctr::zstd_processor);
    case("no-payload/import", ctr::ctr_import);
    case("no-payload/root-elsewhere", ctr::root_elsewhere);
    case("no-payload/root-in-the-configuration", elsewhere::root_in_configuration);
    case("generated/moved-data-directory", elsewhere::generated);
    case("no-payload/unpacked-later", |shared| ctr::unpacked_later(shared, LayerKind::Gzip));
    case("no-payload/images-at-the-same-time", ctr::ctr_pulls_at_the_same_time);
    case("no-payload/wrong-key", ctr::ctr_pull_with_the_wrong_key);
    case("no-payload/content-store-off", ctr::content_store_off);
    case("imgcrypt/key-of-the-client", imgcrypt::key_of_the_client);
    case("imgcrypt/key-of-the-node", imgcrypt::key_of_the_node);
    case("imgcrypt/encrypted-by-the-client", imgcrypt::encrypted_by_the_client);
    case("docker/pull", docker::pull);
    case("cancelled/in-the-middle-of-a-layer", ended::cancelled);
    case("ended/containerd-is-killed", |shared| ended::containerd_ends(shared, "KILL"));
    case("ended/containerd-is-terminated", |shared| ended::containerd_ends(shared, "TERM"));
    case("altered/tar", |shared| {
        altered::nothing_wrong_is_accepted(shared.setup()?, LayerKind::Tar)
    });
    case("altered/gzip", |shared| {
        altered::nothing_wrong_is_accepted(shared.setup()?, LayerKind::Gzip)
    });
    case("altered/zstd", |shared| {
        altered::nothing_wrong_is_accepted(shared.setup()?, LayerKind::Zstd)
    });
    // Only the decoder's word says then what is in the layer.
    case("altered/gzip-decompressed", |shared| {
        altered::nothing_wrong_is_accepted(decompress::setup(shared, &[])?, LayerKind::Gzip)
    });
    cases
}
