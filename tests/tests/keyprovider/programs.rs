//! skopeo with the provider, by command and by gRPC, in both directions.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use keycell_tests::layout;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use keycell_tests::workspace;

use crate::fixture::Site;
use crate::serving::Server;

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &[Tool::NewSkopeo], run);
    case("skopeo/decrypts-by-command", || {
        let site = Site::new()?;
        decrypts(&site, &site.by_command()?)
    });
    case("skopeo/decrypts-by-grpc", || {
        let site = Site::new()?;
        let server = Server::start(&site)?;
        decrypts(&site, &site.by_grpc(&server.socket)?)
    });
    case("skopeo/encrypts-by-command", || {
        let site = Site::new()?;
        let key = format!("provider:keycell:{}", site.public().display());
        encrypts(&site, &site.by_command()?, &key)
    });
    case("skopeo/encrypts-by-grpc", || {
        let site = Site::new()?;
        let server = Server::start(&site)?;
        encrypts(
            &site,
            &site.by_grpc(&server.socket)?,
            &format!("provider:keycell:{}", site.inline()),
        )
    });
    case("skopeo/is-told-why-it-cannot", || {
        let (site, other) = (Site::new()?, Site::new()?);
        site.encrypt("encrypted")?;
        let configured = other.by_command()?;
        let mut command = skopeo(&configured)?;
        command.args(["--decryption-key", "provider:keycell:any"]);
        let done = command.args([site.image("encrypted"), site.image("out")]).output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(
            !done.status.success() && said.contains("no wrapped key could be opened"),
            "{said}"
        );
        Ok(())
    });
}

/// skopeo is newer than this machine's C library, and brings its own.
fn skopeo(configured: &Path) -> Result<Command> {
    let libraries = workspace().join("target/tools/libc6-trixie/usr/lib");
    let library = fs::read_dir(&libraries)?.filter_map(Result::ok).map(|entry| entry.path());
    let loaders = library.flat_map(|directory| {
        ["ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"].map(|name| directory.join(name))
    });
    let loader = loaders.into_iter().find(|loader| loader.is_file());
    let loader = loader.context("there is no C library; `make tools` unpacks it")?;
    let mut command = Command::new(&loader);
    command.arg("--library-path").args(loader.parent());
    command.arg(Tool::NewSkopeo.find()?).env("OCICRYPT_KEYPROVIDER_CONFIG", configured);
    command.args(["--insecure-policy", "copy", "--quiet"]);
    Ok(command)
}

/// skopeo decrypts an image that `keycell` encrypted.
fn decrypts(site: &Site, configured: &Path) -> Result<()> {
    site.encrypt("encrypted")?;
    let mut command = skopeo(configured)?;
    command.args(["--decryption-key", "provider:keycell:any"]);
    output(command.args([site.image("encrypted"), site.image("decrypted")]))?;
    is_plain(site, "decrypted")
}

/// `keycell` decrypts an image that skopeo encrypted, with its own keys; so does skopeo, with the provider.
fn encrypts(site: &Site, configured: &Path, key: &str) -> Result<()> {
    let mut command = skopeo(configured)?;
    command.args(["--encryption-key", key]);
    output(command.args([site.image("plain"), site.image("encrypted")]))?;
    ensure!(!site.wrapped("encrypted")?.is_empty(), "there is no annotation");
    let mut command = Command::new(keycell_tests::dist("keycell")?);
    command.args(["decrypt", &site.image("encrypted"), &site.image("own"), "--keys"]);
    output(command.arg(site.node.keys()))?;
    is_decrypted(site, "own")?;
    let mut command = skopeo(configured)?;
    command.args(["--decryption-key", "provider:keycell:any"]);
    output(command.args([site.image("encrypted"), site.image("decrypted")]))?;
    is_decrypted(site, "decrypted")
}

fn is_decrypted(site: &Site, image: &str) -> Result<()> {
    for layer in layout::layers(&site.path(image))? {
        let kind = layer["mediaType"].as_str().unwrap_or_default();
        ensure!(!kind.ends_with("+encrypted"), "{image}: {layer}");
    }
    Ok(())
}

fn is_plain(site: &Site, image: &str) -> Result<()> {
    is_decrypted(site, image)?;
    let (before, after) =
        (layout::layers(&site.path("plain"))?, layout::layers(&site.path(image))?);
    ensure!(before.len() == after.len(), "{image}: {after:?}");
    Ok(())
}
