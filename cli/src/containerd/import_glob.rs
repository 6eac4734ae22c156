//! The patterns among the `imports` of containerd's configuration.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, PatternError};

/// As Go's `filepath.Match`: only a literal `/` matches a `/`, and `*` matches a leading dot.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The files that a pattern matches, in order. Directories that cannot be read are passed over, as
/// Go's `filepath.Glob` passes over them.
///
/// # Errors
/// A pattern that is malformed.
pub fn files(pattern: &Path) -> Result<Vec<PathBuf>, PatternError> {
    let found = glob::glob_with(&translated(&pattern.to_string_lossy()), OPTIONS)?;
    Ok(found.filter_map(Result::ok).collect())
}

/// Whether a path matches a pattern. Nothing matches one that is malformed.
pub fn matches(pattern: &Path, path: &Path) -> bool {
    let pattern = Pattern::new(&translated(&pattern.to_string_lossy()));
    pattern.is_ok_and(|pattern| pattern.matches_path_with(path, OPTIONS))
}

/// A pattern of Go in the syntax of the crate `glob`. Go negates a class with `^`, escapes with `\`,
/// and gives `**` no meaning of its own.
fn translated(pattern: &str) -> String {
    let mut text = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' if text.ends_with('*') => {}
            '[' if rest.next_if_eq(&'^').is_some() => text += "[!",
            '\\' => text.extend(rest.next().map(|c| Pattern::escape(c.encode_utf8(&mut [0; 4])))),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, path, does) in [
            ("/*.toml", "/a.toml", true),
            ("/*.toml", "/.toml", true),
            ("/*.toml", "/a.toml.bak", false),
            ("/*.toml", "/a/b.toml", false),
            ("/**.toml", "/a.toml", true),
            ("/**/b.toml", "/a/c/b.toml", false),
            ("/a*b*c", "/aXbYc", true),
            ("/a*b*c", "/aXc", false),
            ("/a?c", "/abc", true),
            ("/[ab]*", "/b", true),
            ("/[^ab]*", "/b", false),
            ("/[^ab]*", "/c", true),
            (r"/\*\[", "/*[", true),
            (r"/\*", "/a", false),
            ("/plain", "/plain", true),
            ("/[a", "/[a", false),
        ] {
            assert_eq!(matches(Path::new(pattern), Path::new(path)), does, "{pattern} {path}");
        }
    }

    #[test]
    fn files_of_several_directories_are_found_in_order() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        for name in ["b/2.toml", "b/1.toml", "a/3.toml", "a/other"] {
            let path = dir.path().join(name);
            fs::create_dir_all(dir.path().join(name).parent().unwrap_or(&path))?;
            fs::write(path, "")?;
        }
        let found = files(&dir.path().join("*/*.toml"))?;
        let names: Vec<_> =
            found.iter().filter_map(|it| it.strip_prefix(dir.path()).ok()).collect();
        assert_eq!(names, ["a/3.toml", "b/1.toml", "b/2.toml"].map(Path::new));
        assert!(files(Path::new("/[a*")).is_err());
        Ok(())
    }
}
