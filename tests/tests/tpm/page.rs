//! What stands in docs/tpm.md works when it is pasted.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::image::Image;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};
use keycell_tests::workspace;

use crate::setup::{SoftTpm, TOOLS};

/// Lets `/etc` and `/dev/tpmrm0` be the page's own, then runs its commands: `sh -c SCRIPT sh DIR COMMANDS`.
const NODE: &str = r#"
set -eu
cp -a /etc "$1/etc"
rm -rf "$1/etc/keycell" "$1/etc/containerd" "$1/etc/ocicrypt.conf"
mount --bind "$1/etc" /etc
terminal=$(readlink -f "$1/tpmrm0")
mkdir "$1/dev"
mount --rbind /dev "$1/dev"
mount -t tmpfs -o mode=0755 keycell-dev /dev
for name in null zero full random urandom tty; do
    touch "/dev/$name"
    mount --bind "$1/dev/$name" "/dev/$name"
done
ln -s /proc/self/fd /dev/fd
touch /dev/tpmrm0
mount --bind "$1$terminal" /dev/tpmrm0
cd "$1/here"
exec sh -ec "$2"
"#;

/// In the place of Debian's: what the page installs is there already.
const APT: &str = "#!/bin/sh\n[ \"$1\" = install ] && shift && exec dpkg --status \"$@\"\n";

pub(crate) fn cases(suite: &mut Suite) {
    let more = [Tool::Root, Tool::Unshare, Tool::Openssl, Tool::Pkcs11Tool, Tool::Skopeo];
    let images = [Tool::Umoci, Tool::Busybox, Tool::Dpkg];
    let needs = [&TOOLS[..], &more, &images].concat();
    // The page names the directories of this architecture.
    let is_other = cfg!(not(target_arch = "x86_64")) && Path::new("/usr/lib").exists();
    if !is_other {
        suite.case("page", &needs, commands_of_the_page);
    }
}

fn commands_of_the_page() -> Result<()> {
    let page = fs::read_to_string(workspace().join("docs/tpm.md"))?;
    let blocks = page.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    ensure!(blocks.len() >= 6, "the page has {} blocks of commands", blocks.len());
    let tpm = SoftTpm::new()?;
    let dir = tpm.path("");
    for name in ["here", "bin"] {
        fs::create_dir(dir.join(name))?;
    }
    let image = Image::busybox(&dir)?;
    let plain = format!("oci:{}:app", dir.join("here/plain").display());
    image.copy(&[], &plain)?;
    fs::write(dir.join("bin/apt"), APT)?;
    fs::set_permissions(dir.join("bin/apt"), fs::Permissions::from_mode(0o755))?;
    for program in ["keycell", "ctd-decoder"] {
        symlink(keycell_tests::dist(program)?, dir.join("bin").join(program))?;
    }
    let path = std::env::var_os("PATH").context("no PATH")?;
    let path = std::iter::once(dir.join("bin")).chain(std::env::split_paths(&path));
    let mut command = Command::new(Tool::Unshare.find()?);
    command.args(["--mount", "--propagation", "private", "sh", "-c", NODE, "sh"]);
    command.arg(&dir).arg(blocks.concat()).env("PATH", std::env::join_paths(path)?);
    output(&mut command)?;
    let layer = fs::read(dir.join("here/layer.tar.gz"))?;
    ensure!(layer == image.blob(&image.layers()?[0])?, "another layer");
    Ok(())
}
