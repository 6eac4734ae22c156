//! Decoders that are not Keycell's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};

use super::Made;
use crate::says;

/// Somebody else's program of the same name, which every user can change and which decrypts nothing.
pub(super) fn another() -> Result<()> {
    let made = Made::new()?;
    let text = decoder_of_another(&made, "echo ctd-decoder version 2.0.3", 0o777)?;
    says(
        &text,
        &[
            "can be changed by others than root",
            "is not Keycell's",
            "decrypts no layer: what it writes is not the layer",
        ],
    )
}

/// The decoder of imgcrypt is no error. It has no `--version`, and this is what it prints for `--help`.
pub(super) fn the_original() -> Result<()> {
    let made = Made::new()?;
    let help = "NAME:\n   ctd-decoder - ctd-decoder is used as a call-out from containerd content \
        stream plugins\n";
    let keycell = keycell_tests::dist("ctd-decoder")?;
    let script = format!(
        "case $1 in\n--version) echo 'flag provided but not defined: -version' >&2; exit 1;;\n\
         --help) printf '{help}';;\n*) exec '{}' --log off \"$@\";;\nesac",
        keycell.display()
    );
    made.change(", \"--decompress\"", "")?;
    made.change("v1.tar\"\n  path", "v1.tar+gzip\"\n  path")?;
    let text = decoder_of_another(&made, &script, 0o755)?;
    says(
        &text,
        &[
            "is the decoder of imgcrypt: it decrypts only layers that containerd hands over",
            "decrypts a trial layer",
            "gzip layer, `ctr images pull` or `import`, or pulled earlier: the decoder gets no payload",
        ],
    )?;
    ensure!(!text.contains("fails    "), "{text}");
    Ok(())
}

/// What doctor prints where a script is the decoder.
fn decoder_of_another(made: &Made, script: &str, mode: u32) -> Result<String> {
    let other = made.path("ctd-decoder");
    fs::write(&other, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&other, Permissions::from_mode(mode))?;
    let to = format!("path = \"{}\"", other.display());
    made.change("path = \"/usr/bin/ctd-decoder\"", &to)?;
    Ok(String::from_utf8(made.doctor()?.output()?.stdout)?)
}
