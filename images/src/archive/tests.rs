use std::fs;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;
use crate::choice::Choice;
use crate::digest;
use crate::documents::Manifest;
use crate::error::{ArchiveError, EntryProblem, Error, Result};
use crate::place::Source;

/// An archive that is being made.
struct Made {
    directory: TempDir,
    tar: Builder<Vec<u8>>,
}

impl Made {
    fn new() -> io::Result<Self> {
        Ok(Self { directory: tempfile::tempdir()?, tar: Builder::new(Vec::new()) })
    }

    fn file(mut self, path: &str, bytes: &[u8]) -> io::Result<Self> {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes)?;
        Ok(self)
    }

    /// An entry as it is, also with what the crate `tar` refuses to write.
    fn raw(mut self, kind: EntryType, path: &str, link: &str, bytes: &[u8]) -> io::Result<Self> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.tar.append(&header, bytes)?;
        Ok(self)
    }

    fn bytes(self) -> io::Result<(TempDir, Vec<u8>)> {
        Ok((self.directory, self.tar.into_inner()?))
    }

    fn open(self) -> io::Result<Opened> {
        let (directory, bytes) = self.bytes()?;
        let file = ArchiveFile::Path(directory.path().join("a.tar"));
        fs::write(directory.path().join("a.tar"), bytes)?;
        Ok(Opened { archive: Archive::open(&file), file, _directory: directory })
    }
}

struct Opened {
    archive: Result<Archive>,
    file: ArchiveFile,
    _directory: TempDir,
}

fn found(opened: &Opened, path: &str) -> Result<Vec<u8>> {
    opened.archive.as_ref().map_err(|error| Error::TooLong(error.to_string()))?.document(path)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[test]
fn files_are_found_by_their_paths_and_through_links() -> io::Result<()> {
    let long = "d/".repeat(120) + "f";
    let opened = Made::new()?
        .file("./a", b"A")?
        .raw(EntryType::Symlink, "x/layer.tar", "../a", b"")?
        .raw(EntryType::Link, "y/layer.tar", "x/layer.tar", b"")?
        .raw(EntryType::Symlink, "z", "/a", b"")?
        .file(&long, b"long")?
        .open()?;
    for path in ["a", "./a", "x/layer.tar", "y/layer.tar", "z"] {
        assert!(found(&opened, path).is_ok_and(|bytes| bytes == b"A"), "{path}");
    }
    assert!(found(&opened, &long).is_ok_and(|bytes| bytes == b"long"));
    assert!(matches!(found(&opened, "b"), Err(Error::Archive(ArchiveError::Missing { .. }))));
    Ok(())
}

#[test]
fn a_pax_header_names_the_next_entry_and_its_size() -> io::Result<()> {
    let pax = b"15 path=a/name\n9 size=2\n";
    let opened = Made::new()?
        .raw(EntryType::XHeader, "pax", "", pax)?
        .raw(EntryType::Regular, "other", "", b"OK")?
        .file("b", b"B")?
        .open()?;
    assert!(found(&opened, "a/name").is_ok_and(|bytes| bytes == b"OK"));
    assert!(found(&opened, "b").is_ok_and(|bytes| bytes == b"B"));
    assert!(found(&opened, "other").is_err());
    Ok(())
}

#[test]
fn what_no_image_has_is_refused_at_once() -> io::Result<()> {
    let refused = |made: Made| match made.open()?.archive.err() {
        Some(Error::Archive(ArchiveError::Entry { problem, .. })) => Ok(problem),
        other => Err(io::Error::other(format!("{other:?}"))),
    };
    let file = EntryType::Regular;
    let pax = |text: &[u8]| Made::new()?.raw(EntryType::XHeader, "p", "", text)?.file("a", b"A");
    assert_eq!(refused(Made::new()?.raw(file, "../a", "", b"")?)?, EntryProblem::Outside);
    assert_eq!(refused(Made::new()?.raw(file, "a/../../b", "", b"")?)?, EntryProblem::Outside);
    assert_eq!(refused(Made::new()?.raw(file, "/etc/passwd", "", b"")?)?, EntryProblem::Outside);
    assert_eq!(
        refused(Made::new()?.raw(EntryType::GNUSparse, "a", "", b"")?)?,
        EntryProblem::Sparse
    );
    assert_eq!(refused(pax(b"22 GNU.sparse.major=1\n")?)?, EntryProblem::Sparse);
    assert_eq!(refused(pax(b"nonsense\n")?)?, EntryProblem::Attributes);
    assert_eq!(refused(pax(b"10 size=x\n")?)?, EntryProblem::Attributes);
    let long = vec![b'x'; 2 << 20];
    assert_eq!(
        refused(Made::new()?.raw(EntryType::GNULongName, "L", "", &long)?)?,
        EntryProblem::TooLong
    );
    Ok(())
}

#[test]
fn what_is_there_twice_or_leads_nowhere_is_refused_when_it_is_read() -> io::Result<()> {
    let opened = Made::new()?
        .file("a", b"A")?
        .file("a", b"B")?
        .raw(EntryType::Symlink, "out", "../../etc/passwd", b"")?
        .raw(EntryType::Symlink, "root", "/etc/passwd", b"")?
        .raw(EntryType::Symlink, "loop", "loop", b"")?
        .raw(EntryType::Fifo, "pipe", "", b"")?
        .open()?;
    for (path, expected) in [
        ("a", EntryProblem::Twice),
        ("out", EntryProblem::Link),
        ("root", EntryProblem::Link),
        ("loop", EntryProblem::Link),
        ("pipe", EntryProblem::NotAFile),
    ] {
        match found(&opened, path) {
            Err(Error::Archive(ArchiveError::Entry { problem, .. })) => {
                assert_eq!(problem, expected, "{path}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    Ok(())
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_refused() -> Result<(), Box<dyn std::error::Error>> {
    let (directory, bytes) = Made::new()?.file("a", &[7; 1000])?.file("b", b"B")?.bytes()?;
    let path = directory.path().join("a.tar");
    for length in 0..bytes.len().min(2100) {
        fs::write(&path, &bytes[..length])?;
        let archive = Archive::open(&ArchiveFile::Path(path.clone()));
        match archive {
            // The padding of the last entry, or the end of the archive, may be missing.
            Ok(archive) => assert!(archive.document("a").is_ok() && length > 1511, "{length}"),
            Err(Error::Archive(ArchiveError::NoArchive(_))) if length < 512 => {}
            Err(Error::Archive(ArchiveError::CutOff(_))) => {}
            Err(error) => panic!("{length}: {error}"),
        }
    }
    fs::write(&path, [&bytes[..1536], &[1; 512], &bytes[1536..]].concat())?;
    let damaged = Archive::open(&ArchiveFile::Path(path.clone())).err();
    assert!(matches!(damaged, Some(Error::Archive(ArchiveError::Header { at: 1536, .. }))));
    let (_kept, one) = Made::new()?.file("a", b"")?.bytes()?;
    fs::write(&path, one[..512].repeat(70_000))?;
    let many = Archive::open(&ArchiveFile::Path(path)).map(drop);
    assert!(many.is_ok(), "one path many times is one entry");
    Ok(())
}

#[test]
fn gzip_is_decompressed_and_other_compressions_are_named() -> io::Result<()> {
    let (directory, bytes) = Made::new()?.file("a", b"A")?.bytes()?;
    let path = directory.path().join("a.tar");
    let file = ArchiveFile::Path(path.clone());
    fs::write(&path, gzip(&bytes)?)?;
    assert!(Archive::open(&file).is_ok_and(|archive| archive.document("a").is_ok()));
    for magic in [&b"\x28\xb5\x2f\xfd"[..], b"\xfd7zXZ\0", b"BZh9"] {
        fs::write(&path, magic)?;
        let error = Archive::open(&file).err();
        assert!(
            matches!(error, Some(Error::Archive(ArchiveError::Compressed { .. }))),
            "{error:?}"
        );
    }
    Ok(())
}

/// An archive of Docker with two images of two layers each.
fn docker(
    manifest: &serde_json::Value,
    layers: [&[u8]; 2],
    diff_ids: [&[u8]; 2],
) -> io::Result<Opened> {
    let config = json!({ "rootfs": { "diff_ids": diff_ids.map(digest::of) } }).to_string();
    Made::new()?
        .file("config.json", config.as_bytes())?
        .file("1/layer.tar", layers[0])?
        .file("2/layer.tar", layers[1])?
        .raw(EntryType::Symlink, "3/layer.tar", "../1/layer.tar", b"")?
        .file(MANIFEST, manifest.to_string().as_bytes())?
        .open()
}

fn item(tags: &[&str], layers: &[&str]) -> serde_json::Value {
    json!({ "Config": "config.json", "RepoTags": tags, "Layers": layers })
}

fn contents(source: &dyn Source) -> Result<Vec<Vec<u8>>> {
    let manifest: Manifest = source.document(source.entry())?;
    let layers = manifest.layers.iter().map(|layer| {
        assert_eq!(layer.media_type(), "application/vnd.oci.image.layer.v1.tar+gzip");
        let mut bytes = Vec::new();
        let read = flate2::read::GzDecoder::new(source.blob(layer)?).read_to_end(&mut bytes);
        read.map_err(|error| Error::Read { shown: String::new(), error })?;
        Ok(bytes)
    });
    layers.collect()
}

#[test]
fn an_image_of_docker_gets_a_manifest_and_compressed_layers()
-> Result<(), Box<dyn std::error::Error>> {
    let compressed = gzip(b"two")?;
    let manifest = json!([item(&["app:1"], &["1/layer.tar", "2/layer.tar"])]);
    let opened = docker(&manifest, [b"one", &compressed], [b"one", b"two"])?;
    let source = open_docker(&opened.file, &Choice::Only)?;
    assert_eq!(contents(&*source)?, [b"one", b"two"]);
    let again = open_docker(&opened.file, &Choice::Named("docker.io/library/app:1".to_owned()))?;
    assert_eq!(again.entry(), source.entry());
    let linked = json!([item(&[], &["1/layer.tar", "3/layer.tar"])]);
    let opened = docker(&linked, [b"one", b""], [b"one", b"one"])?;
    assert_eq!(contents(&*open_docker(&opened.file, &Choice::Index(0))?)?, [b"one", b"one"]);
    Ok(())
}

#[test]
fn layers_of_docker_are_what_the_configuration_says() -> io::Result<()> {
    let manifest = json!([item(&[], &["1/layer.tar", "2/layer.tar"])]);
    for second in [b"altered".to_vec(), gzip(b"altered")?] {
        let opened = docker(&manifest, [b"one", &second], [b"one", b"two"])?;
        let error = open_docker(&opened.file, &Choice::Only).err();
        assert!(matches!(error, Some(Error::Archive(ArchiveError::DiffId { .. }))), "{error:?}");
    }
    let opened = docker(&manifest, [b"one", b"\x28\xb5\x2f\xfd12"], [b"one", b"two"])?;
    let error = open_docker(&opened.file, &Choice::Only).err();
    assert!(matches!(error, Some(Error::Archive(ArchiveError::LayerCompressed { .. }))));
    let fewer = json!([item(&[], &["1/layer.tar"])]);
    let opened = docker(&fewer, [b"one", b"two"], [b"one", b"two"])?;
    let error = open_docker(&opened.file, &Choice::Only).err();
    assert!(matches!(error, Some(Error::Archive(ArchiveError::Layers { layers: 1, diff_ids: 2 }))));
    Ok(())
}

#[test]
fn an_image_of_docker_is_chosen_by_its_tag_or_its_place() -> io::Result<()> {
    let layers = ["1/layer.tar", "2/layer.tar"];
    let manifest = json!([item(&["app:1", "app:2"], &layers), item(&[], &layers)]);
    let opened = docker(&manifest, [b"one", b"two"], [b"one", b"two"])?;
    for choice in [Choice::Named("app:2".to_owned()), Choice::Index(1)] {
        assert!(open_docker(&opened.file, &choice).is_ok(), "{choice:?}");
    }
    let absent = Choice::Named("app".to_owned());
    for (choice, expected) in [(Choice::Only, 2), (absent, 0), (Choice::Index(2), 0)] {
        match open_docker(&opened.file, &choice).err() {
            Some(Error::HowMany { count, others, .. }) => {
                let names =
                    ["app:1", "@1"].map(|end| others.iter().any(|name| name.ends_with(end)));
                assert_eq!((count, names), (expected, [true; 2]), "{choice:?}");
            }
            other => panic!("{choice:?}: {other:?}"),
        }
    }
    Ok(())
}

#[test]
fn the_wrong_transport_has_a_suggestion() -> io::Result<()> {
    let suggested = |error: Option<Error>| match error {
        Some(Error::Archive(ArchiveError::OtherTransport { name, .. })) => Ok(name),
        other => Err(io::Error::other(format!("{other:?}"))),
    };
    let opened = Made::new()?.file(MANIFEST, b"[]")?.open()?;
    let name = suggested(open_oci(&opened.file, &Choice::Index(1)).err())?;
    assert!(name.starts_with("docker-archive:") && name.ends_with("a.tar@1"), "{name}");
    let opened = Made::new()?.file(INDEX, b"{}")?.open()?;
    let name = suggested(open_docker(&opened.file, &Choice::Only).err())?;
    assert!(name.starts_with("oci-archive:"), "{name}");
    Ok(())
}

#[test]
fn what_is_written_is_read_and_is_always_the_same() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let manifest = br#"{"schemaVersion":2,"layers":[]}"#;
    let write = |file: &str, replace| -> Result<()> {
        let file = ArchiveFile::Path(directory.path().join(file));
        let target = create_oci(&file, &Choice::Named("a/b:1".to_owned()), replace)?;
        for bytes in [b"one", b"two"] {
            let mut blob = target.blob()?;
            blob.write_all(bytes).map_err(|error| Error::Read { shown: String::new(), error })?;
            blob.keep()?;
        }
        let mut entry = crate::documents::Descriptor::default();
        entry.digest = Some(digest::of(manifest));
        entry.size = Some(manifest.len() as u64);
        target.publish(entry, manifest)
    };
    write("a.tar", false)?;
    write("b.tar", false)?;
    assert!(matches!(write("a.tar", false), Err(Error::Exists { .. })));
    write("a.tar", true)?;
    let file = ArchiveFile::Path(directory.path().join("a.tar"));
    let source = open_oci(&file, &Choice::Named("a/b:1".to_owned()))?;
    assert_eq!(source.document_bytes(source.entry())?, manifest);
    let read = |name| fs::read(directory.path().join(name));
    assert_eq!(read("a.tar")?, read("b.tar")?);
    assert_eq!(fs::read_dir(directory.path())?.count(), 2, "temporary files are removed");
    let refused = create_oci(&ArchiveFile::Path("/dev/null".into()), &Choice::Only, true).err();
    assert!(matches!(refused, Some(Error::Archive(ArchiveError::NotAFile(_)))), "{refused:?}");
    Ok(())
}
