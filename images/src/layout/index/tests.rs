use super::*;

const DIGESTS: [&str; 3] = ["sha256:a", "sha256:b", "sha256:c"];

fn entry(digest: &str, tag: Option<&str>, name: Option<&str>) -> Descriptor {
    let annotations =
        [("org.opencontainers.image.ref.name", tag), ("io.containerd.image.name", name)];
    let annotations = annotations.into_iter();
    let annotations =
        annotations.filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
    let mut entry = Descriptor::default();
    entry.digest = Some(digest.to_owned());
    entry.with_annotations(annotations.collect())
}

fn chosen(entries: &[Descriptor], choice: Choice) -> Option<&str> {
    choose(entries, &choice, |_| String::new()).ok().map(Descriptor::digest)
}

fn named(name: &str) -> Choice {
    Choice::Named(name.to_owned())
}

fn alternatives(entries: &[Descriptor], choice: Choice) -> (usize, Vec<String>) {
    match choose(entries, &choice, |choice| format!("{choice:?}")) {
        Err(Error::HowMany { count, others, .. }) => (count, others),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_image_is_chosen_by_its_names_its_place_or_its_digest() {
    let entries = [
        entry(DIGESTS[0], Some("latest"), Some("docker.io/library/app:latest")),
        entry(DIGESTS[1], Some("latest"), Some("docker.io/library/web:latest")),
        entry(DIGESTS[2], None, None),
    ];
    for (choice, digest) in [
        (named("docker.io/library/app:latest"), Some(DIGESTS[0])),
        (named("web"), Some(DIGESTS[1])),
        (named("web:latest"), Some(DIGESTS[1])),
        (named("latest"), None),
        (named("other"), None),
        (Choice::Only, None),
        (Choice::Index(2), Some(DIGESTS[2])),
        (Choice::Index(3), None),
        (Choice::Digest(DIGESTS[1].to_owned()), Some(DIGESTS[1])),
        (Choice::Digest("sha256:d".to_owned()), None),
    ] {
        assert_eq!(chosen(&entries, choice.clone()), digest, "{choice:?}");
    }
}

#[test]
fn one_image_under_two_names_is_one() {
    let entries = [entry(DIGESTS[0], Some("1"), None), entry(DIGESTS[0], Some("latest"), None)];
    assert_eq!(chosen(&entries, Choice::Only), Some(DIGESTS[0]));
    assert_eq!(chosen(&[], Choice::Only), None);
}

#[test]
fn an_error_names_what_can_be_named() {
    let entries = [
        entry(DIGESTS[0], Some("1"), None),
        entry(DIGESTS[1], Some("latest"), Some("docker.io/library/web:latest")),
        entry(DIGESTS[2], Some("latest"), Some("a\u{1b}[2Jb")),
    ];
    let (count, others) = alternatives(&entries, named("latest"));
    assert_eq!(count, 2);
    assert_eq!(others, [r#"Named("1")"#, r#"Named("docker.io/library/web:latest")"#, "Index(2)"]);
    let many: Vec<_> = (0..1000).map(|place| entry(&place.to_string(), None, None)).collect();
    let (count, others) = alternatives(&many, Choice::Only);
    assert_eq!((count, others.len()), (1000, SHOWN));
    assert_eq!(alternatives(&[], named("x")), (0, vec![]));
}
