use super::*;
use crate::Error;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn layout(directory: &str, choice: Choice) -> Name {
    Name::Layout { directory: directory.into(), choice }
}

fn named(name: &str) -> Choice {
    Choice::Named(name.to_owned())
}

fn digest() -> Choice {
    Choice::Digest(format!("sha256:{HEX}"))
}

fn archive(file: &str) -> ArchiveFile {
    ArchiveFile::Path(file.into())
}

fn refused(name: &str) -> NameError {
    match Name::parse(name) {
        Err(Error::Name(error)) => error,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn the_first_colon_ends_a_directory() -> Result<()> {
    for (text, name) in [
        ("oci:img", layout("img", Choice::Only)),
        ("oci:img:", layout("img", Choice::Only)),
        ("oci:/a/b:1.0", layout("/a/b", named("1.0"))),
        (
            "oci:img:docker.io/library/app:latest",
            layout("img", named("docker.io/library/app:latest")),
        ),
        ("oci:img:notlatest@1", layout("img", named("notlatest@1"))),
        ("oci:img:a--b+c", layout("img", named("a--b+c"))),
        ("oci:img@0", layout("img", Choice::Index(0))),
        ("oci:img:@12", layout("img", Choice::Index(12))),
        ("oci:img@1:", layout("img@1", Choice::Only)),
        ("oci:img@1:x", layout("img@1", named("x"))),
        ("oci:img@1@2", layout("img@1", Choice::Index(2))),
        ("oci:user@host", layout("user@host", Choice::Only)),
        ("oci:./-", layout("./-", Choice::Only)),
    ] {
        assert_eq!(Name::parse(text)?, name, "{text}");
    }
    for text in [format!("oci:img@sha256:{HEX}"), format!("oci:img:@sha256:{HEX}")] {
        assert_eq!(Name::parse(&text)?, layout("img", digest()), "{text}");
    }
    Ok(())
}

#[test]
fn archives_are_files_or_standard_streams() -> Result<()> {
    let oci = |file, choice| Name::OciArchive { file, choice };
    let docker = |file, choice| Name::DockerArchive { file, choice };
    for (text, name) in [
        ("oci-archive:a.tar", oci(archive("a.tar"), Choice::Only)),
        ("oci-archive:a.tar:x/y:1", oci(archive("a.tar"), named("x/y:1"))),
        ("oci-archive:a.tar@3", oci(archive("a.tar"), Choice::Index(3))),
        ("oci-archive:-", oci(ArchiveFile::Standard, Choice::Only)),
        ("oci-archive:-:x", oci(ArchiveFile::Standard, named("x"))),
        ("oci-archive:-@1", oci(ArchiveFile::Standard, Choice::Index(1))),
        ("docker-archive:a.tar", docker(archive("a.tar"), Choice::Only)),
        ("docker-archive:a.tar:app", docker(archive("a.tar"), named("app"))),
        ("docker-archive:a.tar:@1", docker(archive("a.tar"), Choice::Index(1))),
        ("docker-archive:a.tar@1", docker(archive("a.tar"), Choice::Index(1))),
        (
            "docker-archive:-:h.example:5/a:1",
            docker(ArchiveFile::Standard, named("h.example:5/a:1")),
        ),
    ] {
        assert_eq!(Name::parse(text)?, name, "{text}");
        assert_eq!(name.is_standard_stream(), text.contains(":-"), "{text}");
    }
    Ok(())
}

#[test]
fn a_name_that_is_shown_is_parsed_to_the_same() -> Result<()> {
    for text in [
        "docker://alpine",
        "docker://localhost:5000/a/b:1",
        "oci:img",
        "oci:img:a/b:c",
        "oci:img@1:",
        "oci:img@1:x",
        "oci:img@1@2",
        "oci:img:@2",
        "oci-archive:a@1:",
        "oci-archive:-:x",
        "docker-archive:a.tar:app:1",
        "docker-archive:a@1:@2",
        &format!("oci:img@1@sha256:{HEX}"),
        &format!("oci-archive:img@sha256:{HEX}"),
    ] {
        let name = Name::parse(text)?;
        assert_eq!(Name::parse(&name.to_string())?, name, "{text} {name}");
    }
    assert_eq!(Name::parse("oci:img@1:")?.to_string(), "oci:img@1:");
    assert_eq!(Name::parse("oci:img:@1")?.to_string(), "oci:img@1");
    Ok(())
}

#[test]
fn what_skopeo_cannot_parse_is_refused() {
    for text in [
        "",
        "oci:",
        "oci::x",
        "oci:@0",
        "oci-archive:",
        "oci-archive::x",
        "docker-archive:",
        "docker://",
    ] {
        let error = refused(text);
        assert!(matches!(error, NameError::Empty | NameError::NoPlace { .. }), "{text}: {error}");
    }
    for text in ["a b", "a//b", "/a", "a/", "-a", "a---b", "a::b", "a_", "ä", "a\n", "a:@1"] {
        let error = refused(&format!("oci:img:{text}"));
        assert!(matches!(error, NameError::Invalid(_)), "{text}: {error}");
    }
    for text in ["@", "@x", "@-5", "@+5", "@99999999999999999999"] {
        let error = refused(&format!("oci:img:{text}"));
        assert!(matches!(error, NameError::NotAnIndex(_)), "{text}: {error}");
    }
    for text in ["oci:img@sha256:", "oci:img@sha256:12", "oci-archive:a@sha256:x"] {
        assert!(matches!(Name::parse(text), Err(Error::NotADigest(_))), "{text}");
    }
    let other = Name::parse("oci:img@sha512:00");
    assert!(matches!(other, Err(Error::OtherAlgorithm(_))), "{other:?}");
    for text in [format!("a.tar@sha256:{HEX}"), format!("a.tar:app@sha256:{HEX}")] {
        let error = refused(&format!("docker-archive:{text}"));
        assert!(matches!(error, NameError::DigestOfDockerArchive(_)), "{text}: {error}");
    }
    for text in ["docker-archive:a.tar:", "docker-archive::app"] {
        assert!(matches!(refused(text), NameError::NoPlace { .. }), "{text}");
    }
    for text in ["docker://A", "docker://a b", "docker-archive:a.tar:APP", "docker://-"] {
        assert!(matches!(Name::parse(text), Err(Error::Registry(_))), "{text}");
    }
    assert!(matches!(refused("oci:-"), NameError::NoStream(_)));
    assert!(matches!(refused("oci:-:x"), NameError::NoStream(_)));
}

#[test]
fn transports_that_are_not_supported_are_named() {
    for transport in
        ["containers-storage", "dir", "docker-daemon", "ostree", "sif", "tarball", "atomic"]
    {
        let error = refused(&format!("{transport}:app:1"));
        assert!(error.to_string().contains(&format!("`{transport}:`")), "{error}");
        assert!(error.to_string().contains("`oci-archive:`"), "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
}

#[test]
fn a_name_without_a_transport_has_a_suggestion() -> std::io::Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("index.json"), "{}")?;
    let path = directory.path().display().to_string();
    for (text, expected) in [
        (path.as_str(), Some(format!("oci:{path}"))),
        (&format!("{path}:1"), Some(format!("oci:{path}:1"))),
        ("alpine:3.19", Some("docker://alpine:3.19".to_owned())),
        ("localhost:5000/app", Some("docker://localhost:5000/app".to_owned())),
        ("https://r.example/app:1", Some("docker://r.example/app:1".to_owned())),
        ("docker:app:1", Some("docker://app:1".to_owned())),
        ("docker:/app", Some("docker://app".to_owned())),
        ("DOCKER://app", Some("docker://app".to_owned())),
        ("oci-archiv:a.tar", Some("oci-archive:a.tar".to_owned())),
        ("oci_archive:a.tar:x", Some("oci-archive:a.tar:x".to_owned())),
        ("docker-achive:a.tar", Some("docker-archive:a.tar".to_owned())),
        ("OCI:img", Some("oci:img".to_owned())),
        (r"C:\img", None),
        ("./img", None),
        ("/no/such", None),
        ("-", None),
        ("http://", None),
    ] {
        let NameError::NoTransport { suggestion, .. } = refused(text) else { panic!("{text}") };
        assert_eq!(suggestion, expected, "{text}");
        if let Some(suggestion) = suggestion {
            assert!(Name::parse(&suggestion).is_ok(), "{suggestion}");
        }
    }
    Ok(())
}

#[test]
fn a_destination_has_no_index_and_is_no_archive_of_docker() -> Result<()> {
    for (text, read_only) in
        [("oci:img@0", false), ("oci-archive:a.tar@0", false), ("docker-archive:a.tar:a", true)]
    {
        let error = Name::parse(text)?.create(&Options::default(), true).err();
        match error {
            Some(Error::Name(NameError::ReadOnly(_))) if read_only => {}
            Some(Error::Name(NameError::NotADestination(_))) if !read_only => {}
            other => panic!("{text}: {other:?}"),
        }
    }
    Ok(())
}
