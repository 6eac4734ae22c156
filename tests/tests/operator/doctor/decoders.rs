//! Decoders that are not Keycell's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use keycell_tests::tools::Tool;

use super::FLAG;
use super::made::Made;
use crate::{exits, says};

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

/// The decoder that Keycell replaces is no error, and doctor says what it cannot do.
pub(super) fn the_original() -> Result<()> {
    let made = Made::new()?;
    made.change(", \"--decompress\"", "")?;
    made.change("v1.tar\"\n  path", "v1.tar+gzip\"\n  path")?;
    fs::copy(Tool::OriginalDecoder.find()?, made.path("ctd-decoder"))?;
    made.change("path = \"/usr/bin/ctd-decoder\"", &path_of(&made))?;
    let text = exits(&mut made.doctor()?, 0)?;
    says(
        &text,
        &[
            "is the decoder of imgcrypt: it decrypts only layers that containerd hands over",
            "decrypts a trial layer",
            "gzip layer, `ctr images pull` or `import`, or pulled earlier: the decoder gets no payload",
        ],
    )?;
    // It has one flag.
    made.change(FLAG, &format!("\"--content-store\", \"/data\", {FLAG}"))?;
    let text = exits(&mut made.doctor()?, 1)?;
    says(&text, &["decrypts no layer: ", "flag provided but not defined: -content-store"])
}

/// What doctor prints where a script is the decoder.
fn decoder_of_another(made: &Made, script: &str, mode: u32) -> Result<String> {
    let other = made.path("ctd-decoder");
    fs::write(&other, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&other, Permissions::from_mode(mode))?;
    made.change("path = \"/usr/bin/ctd-decoder\"", &path_of(made))?;
    Ok(String::from_utf8(made.doctor()?.output()?.stdout)?)
}

fn path_of(made: &Made) -> String {
    format!("path = \"{}\"", made.path("ctd-decoder").display())
}
