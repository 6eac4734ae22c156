//! `--decompress`: a layer that is compressed with gzip leaves as tar. `gzip` makes the streams.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use keycell_tests::archive::packed;
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::events;
use keycell_tests::gzip::{gzip, streams};
use keycell_tests::image::{Descriptor, LayerKind};
use keycell_tests::node::{Node, WITHHELD};
use keycell_tests::payload::Payload;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;

/// How the decoder is called. Each must give the same result.
const WAYS: [&[&str]; 3] = [&[], &["--verify-first"], &["--cipher", "guest"]];

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    let mut case = |name: &str, run: fn(&[&'static str]) -> Result<()>| {
        for way in WAYS {
            suite.case(format!("{name}{}", way.concat()), &[], move || run(way));
        }
    };
    case("other/tar", |way| decompresses(&text(), &text(), way));
    case("other/zstd", |way| {
        let zstd = packed(&text(), LayerKind::Zstd);
        decompresses(&zstd, &zstd, way)
    });
    case("other/empty", |way| decompresses(b"", b"", way));
    case("other/the-first-two-bytes-of-gzip", |way| decompresses(b"\x1f\x8b", b"\x1f\x8b", way));

    case("altered/by-a-stranger", altered_by_a_stranger);

    for stream in streams(&text()).expect("gzip") {
        let (name, stream) = (stream.name, Arc::new(stream));
        for way in WAYS {
            let stream = stream.clone();
            suite.case(format!("gzip/{name}{}", way.concat()), &[], move || {
                match stream.is_valid {
                    true => decompresses(&stream.bytes, &stream.text, way),
                    false => refuses(&stream.bytes, way),
                }
            });
        }
    }
    suite.case("bomb/memory-is-bounded", &[], bomb);
    suite.case("flag/is-a-key-of-the-configuration", &[], configured);
    suite.case("flag/without-it-nothing-changes", &[], || {
        let packed = gzip(&[], &text())?;
        let (node, sealed) = (Node::new()?, Sealed::new(packed.clone()));
        decoder(&node, &sealed, &[])?.run()?.is_silent_success(&packed)
    });
    suite.case("event/has-the-bytes-of-the-output", &[], event);
    suite.run()
}

/// 400 KB that compress to a third: more than what is held back.
fn text() -> Vec<u8> {
    (0..60_000).flat_map(|number: u32| format!("{:x} ", number * 2_654_435).into_bytes()).collect()
}

/// The decoder with a layer whose media type is that of gzip.
fn decoder(node: &Node, sealed: &Sealed, flags: &[&str]) -> Result<Decoder> {
    let media_type = format!("{}+encrypted", LayerKind::Gzip.media_type());
    let wrapped = sealed.wrapped_for(&node.recipient).flattened().to_string();
    let descriptor = Descriptor { media_type: media_type.clone(), ..sealed.descriptor(&[wrapped]) };
    let decoder = Decoder::new()?.keys(&node.keys()).media_type(&media_type);
    let decoder =
        decoder.layer(sealed.encrypted.clone()).payload(Payload::new(&descriptor).bytes());
    Ok(flags.iter().fold(decoder, |decoder, flag| decoder.arg(*flag)))
}

fn run(node: &Node, sealed: &Sealed, way: &[&str]) -> Result<Outcome> {
    decoder(node, sealed, &[&["--decompress"], way].concat())?.run()
}

fn decompresses(packed: &[u8], text: &[u8], way: &[&str]) -> Result<()> {
    run(&Node::new()?, &Sealed::new(packed.to_vec()), way)?.is_silent_success(text)
}

/// Fails, and never writes the whole layer.
fn refuses(packed: &[u8], way: &[&str]) -> Result<()> {
    let outcome = run(&Node::new()?, &Sealed::new(packed.to_vec()), way)?;
    let error = outcome.error()?;
    ensure!(error.contains("the layer cannot be decompressed"), "{error}");
    let (length, most) = (outcome.stdout.len(), text().len() - WITHHELD);
    ensure!(length <= most, "{length} bytes were written, {most} at most may be");
    ensure!(outcome.stdout == text()[..length], "other bytes were written");
    Ok(())
}

/// The HMAC fails. Some of the layer may come out first, but never all.
fn altered_by_a_stranger(way: &[&'static str]) -> Result<()> {
    let (node, mut sealed) = (Node::new()?, Sealed::new(gzip(&[], &text())?));
    let last = sealed.encrypted.len() - 1;
    sealed.encrypted[last] ^= 1;
    let outcome = run(&node, &sealed, way)?;
    let error = outcome.error()?;
    // Inside, the guest sees a wrong length before the host sees the end.
    ensure!(error.contains("layer"), "{error}");
    let most = text().len() - WITHHELD;
    ensure!(outcome.stdout.len() <= most, "{} bytes came out", outcome.stdout.len());
    Ok(())
}

/// 256 MiB of zeros in 260 KB come out, and neither the guest nor the host keeps them.
fn bomb() -> Result<()> {
    let zeros = vec![0; 256 << 20];
    let (node, sealed) = (Node::new()?, Sealed::new(gzip(&["-9"], &zeros)?));
    let decoder = decoder(&node, &sealed, &["--decompress"])?;
    let outcome = decoder.measured(env!("CARGO_BIN_EXE_meter")).run()?;
    ensure!(outcome.peak < 32 * 1024, "{} KiB were resident", outcome.peak);
    outcome.is_silent_success(&zeros)
}

fn configured() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::new(gzip(&[], &text())?));
    let config = node.outside().join("config.toml");
    std::fs::write(&config, "decompress = true\n")?;
    let config = config.display().to_string();
    decoder(&node, &sealed, &["--config", &config])?.run()?.is_silent_success(&text())
}

fn event() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::new(gzip(&[], &text())?));
    let log = node.outside().join("log");
    let flag = format!("--log={}", log.display());
    let flags = ["--decompress", flag.as_str()];
    decoder(&node, &sealed, &flags)?.run()?.is_silent_success(&text())?;
    let event = events::of_layer(&log)?;
    ensure!(event["bytes"] == text().len(), "{event}");
    Ok(())
}
