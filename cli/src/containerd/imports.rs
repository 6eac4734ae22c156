//! The `imports` of a configuration file, edited in its text so that nothing else changes.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

/// The mark of a line that was added to an existing file.
const MARK: &str = "# added by `keycell config containerd`";

/// What Windows' editors write at the beginning of a file.
const BOM: &str = "\u{feff}";

#[derive(Deserialize)]
struct File {
    imports: Option<Spanned<Vec<Spanned<String>>>>,
}

/// The file's text with one more import, the last one. None if the text is not TOML, or its `imports` is
/// not a list of paths.
pub fn with(text: &str, import: &str) -> Option<String> {
    let quoted = super::snippet::quoted(import);
    match toml::from_str::<File>(text).ok()?.imports {
        None => {
            // Before the first table: below it, the name would be one of the table's.
            let (bom, rest) = split_bom(text);
            Some(format!("{bom}imports = [{quoted}] {MARK}{}{rest}", line_end(text)))
        }
        Some(imports) => {
            let (at, separator) = match imports.get_ref().last() {
                Some(last) => (last.span().end, ", "),
                None => (imports.span().start + 1, ""),
            };
            let (before, after) = (text.get(..at)?, text.get(at..)?);
            Some(format!("{before}{separator}{quoted}{after}"))
        }
    }
}

/// The text before [`with`]. It is unchanged if it does not have the import.
pub fn without(text: &str, import: &str) -> String {
    let line = format!("imports = [{}] {MARK}{}", super::snippet::quoted(import), line_end(text));
    let (bom, rest) = split_bom(text);
    if let Some(rest) = rest.strip_prefix(&line) {
        return format!("{bom}{rest}");
    }
    let Ok(File { imports: Some(imports) }) = toml::from_str(text) else { return text.to_owned() };
    let list = imports.get_ref();
    let Some(at) = list.iter().position(|it| it.get_ref() == import) else {
        return text.to_owned();
    };
    let span = list[at].span();
    let cut: Range<usize> = match (at.checked_sub(1), list.get(at + 1)) {
        (Some(former), _) => list[former].span().end..span.end,
        (None, Some(next)) => span.start..next.span().start,
        (None, None) => span,
    };
    let mut text = text.to_owned();
    text.replace_range(cut, "");
    text
}

fn split_bom(text: &str) -> (&str, &str) {
    text.strip_prefix(BOM).map_or(("", text), |rest| (BOM, rest))
}

fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

#[cfg(test)]
mod tests {
    use toml::Table;

    use super::*;

    const OURS: &str = "/etc/containerd/conf.d/*-keycell.toml";

    #[test]
    fn an_import_is_added_and_taken_out_without_a_trace() -> anyhow::Result<()> {
        for text in [
            "",
            "version = 2",
            "version = 2\r\n[grpc]\r\n  address = \"/a\"\r\n",
            "# a comment\nversion = 2\n[plugins.x]\nimports = [\"/not/these\"]\n",
            "imports = []\nversion = 2\n",
            "version = 2\n  imports = [ ]  # none\n",
            "imports = [\"other.toml\"]",
            "imports=['/a/*.toml' , \"/b.toml\" ,]# two\n",
            "version = 2\nimports = [\n  \"a.toml\", # one, \"two\" ]\n  \"b.toml\",\n  # no more\n]\n[x]\n",
            "imports = [\r\n  \"a.toml\"\r\n]\r\n",
            "\"imports\" = [\"a.toml\"]\n",
        ] {
            let former: Table = text.parse()?;
            let list = |table: &Table| -> Vec<String> {
                let list = table.get("imports").and_then(toml::Value::as_array);
                list.into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
            };
            let added = with(text, OURS).unwrap_or_default();
            let mut table: Table = added.parse()?;
            assert_eq!(list(&table), [list(&former), vec![OURS.to_owned()]].concat(), "{text}");
            table.remove("imports");
            let mut rest = former.clone();
            rest.remove("imports");
            assert_eq!(table, rest, "{text}");
            assert_eq!(without(&added, OURS), text, "{added}");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_list_of_paths_is_not_edited() {
        for text in ["imports = \"a\"", "imports = [1]", "imports = [", "a"] {
            assert_eq!(with(text, OURS), None, "{text}");
            assert_eq!(without(text, OURS), text);
        }
        let later = format!("imports = [\"{OURS}\", \"/later.toml\"]\n");
        assert_eq!(without(&later, OURS), "imports = [\"/later.toml\"]\n");
    }
}
