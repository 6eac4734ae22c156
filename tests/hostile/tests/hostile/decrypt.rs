//! What `decrypt` does with the layer.

use anyhow::{Result, ensure};
use keycell_hostile::layer::{LARGE, SMALL};

use crate::attack;

refused! {
    decrypt_says_ok: ["the layer is not"];
    decrypt_opens_twice: ["open again: refused (Refusal::AlreadyOpen"];
    decrypt_opens_other_source: [
        "open another stream: refused (Refusal::OtherSource",
        "open after a refusal: refused (Refusal::AlreadyOpen",
    ];
    decrypt_drops_the_stream: ["the layer is not"];
    decrypt_splices_half: ["the layer is not"];
    decrypt_skips_half: ["`decrypt`"];
    decrypt_drains_without_writing: ["`decrypt`"];
    decrypt_writes_other_bytes: ["other bytes than the cipher gave out"];
    decrypt_writes_on: ["other bytes than the cipher gave out"];
    decrypt_reorders: ["other bytes than the cipher gave out"];
    decrypt_writes_more: ["more bytes than it was given"];
    decrypt_writes_first: ["more bytes than it was given"];
    decrypt_writes_zeroes: ["more bytes than it was given"];
    // Only the host's cipher reads the encrypted layer: the guest has nothing to write.
    decrypt_writes_ciphertext: ["the layer is not"];
    decrypt_panics: ["`decrypt`"];
    decrypt_panics_at_the_end: ["`decrypt`"];
    decrypt_exits: ["`decrypt`"];
    decrypt_exits_at_the_end: ["`decrypt`"];
    decrypt_fails_at_the_end: ["changed my mind"];
}

/// What it takes of the encrypted layer is missing in what the cipher reads.
#[test]
pub(crate) fn decrypt_reads_before_it_opens() -> Result<()> {
    attack("decrypt_reads_before_it_opens").garbled().is_refused(&["ended after"])
}

/// The host keeps the layer key. That the search can find it is seen where the guest is given it.
#[test]
pub(crate) fn decrypt_searches_for_the_key() -> Result<()> {
    let attack = || attack("decrypt_searches_for_the_key").memory(128);
    attack().is_refused(&[
        "before: refused",
        "open: refused",
        "half read: refused",
        "at the end: refused",
    ])?;
    attack().inside().is_refused(&["with the key in memory, the search finds it"])
}

/// Keeping a layer that is short is no harm: what counts is how much is kept.
#[test]
pub(crate) fn decrypt_hoards() -> Result<()> {
    attack("decrypt_hoards").succeeds_with(SMALL)?;
    attack("decrypt_hoards").is_refused_with(LARGE, &["read the layer without writing it"])
}

#[test]
pub(crate) fn decrypt_reads_bytewise() -> Result<()> {
    let attack = attack("decrypt_reads_bytewise").memory(128);
    attack.succeeds_with(SMALL)?;
    attack.is_refused_with(LARGE, &["read the layer without writing it"])
}

// `--cipher guest`: every byte inside, and the host verifies beside it.

#[test]
pub(crate) fn inside_ignores_the_hmac() -> Result<()> {
    attack("inside_ignores_the_hmac").inside().is_refused(&["the layer does not match its HMAC"])
}

#[test]
pub(crate) fn inside_ignores_the_digest() -> Result<()> {
    let attack = attack("inside_ignores_the_digest").inside();
    attack.is_refused(&["does not match the digest that was sealed"])
}

#[test]
pub(crate) fn inside_asks_for_the_key_twice() -> Result<()> {
    let attack = attack("inside_asks_for_the_key_twice").inside();
    attack.is_refused(&["ask again: refused (Refusal::AlreadyOpen"])
}

#[test]
pub(crate) fn inside_stops_half() -> Result<()> {
    attack("inside_stops_half").inside().is_refused(&["`decrypt`"])
}

#[test]
pub(crate) fn inside_writes_more() -> Result<()> {
    let attack = attack("inside_writes_more").inside();
    attack.is_refused(&["more bytes than it was given"])
}

// `--decompress`: the host cannot compare the output, and checks what was read.

#[test]
pub(crate) fn decompress_ends_early() -> Result<()> {
    attack("decompress_ends_early").decompressing().is_refused(&["the layer is not"])
}

#[test]
pub(crate) fn decompress_ends_unread() -> Result<()> {
    let attack = attack("decompress_ends_unread").decompressing();
    attack.is_refused(&["it wrote more bytes than it was given"])
}

#[test]
pub(crate) fn decompress_expands() -> Result<()> {
    let seen = attack("decompress_expands").decompressing().run(LARGE)?;
    ensure!(seen.outcome.error()?.contains("more bytes than it was given"), "{:?}", seen.outcome);
    // It was given a chunk.
    ensure!(seen.outcome.stdout.len() <= 1032 * 128 * 1024, "{}", seen.outcome.stdout.len());
    Ok(())
}

/// The host cannot prevent it, and SECURITY.md says so: containerd compares the digest of the
/// decompressed layer.
#[test]
pub(crate) fn decompress_writes_other_bytes() -> Result<()> {
    let seen = attack("decompress_writes_other_bytes").decompressing().run(SMALL)?;
    ensure!(seen.outcome.status.success(), "{:?}", seen.outcome);
    ensure!(seen.outcome.stdout == vec![b'x'; SMALL], "other bytes");
    attack("decompress_writes_other_bytes").is_refused(&["other bytes than the cipher gave out"])
}
