//! A parser for the part of YAML 1.2 that key files and `ocicrypt.conf` use.
//!
//! It reads event by event, so that nothing is expanded: no more than [`DEPTH`] levels, [`NODES`]
//! values and [`SIZE`] bytes, and no aliases. Go ctd-decoder expands aliases. Neither file needs them,
//! and in a key file from a payload they could exhaust memory.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use zeroize::Zeroizing;

/// The largest file, in bytes.
pub(super) const SIZE: usize = 1024 * 1024;
/// The most levels of mappings and sequences; the two files have three.
const DEPTH: usize = 8;
/// The most values, including keys.
const NODES: usize = 10_000;

/// Why a file cannot be read: a predicate, which quotes nothing of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is too large.
    #[error("is larger than 1 MiB")]
    TooLarge,
    /// Something in it is wrong.
    #[error("{fault} (line {line})")]
    At {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        fault: Fault,
    },
}

/// What is wrong on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not YAML.
    #[error("is not YAML")]
    NotYaml,
    /// The file ends within a value.
    #[error("ends too early")]
    CutOff,
    /// There are too many levels or values.
    #[error("is nested too deep or has too many values")]
    TooMuch,
    /// The name of a value is a mapping or a list.
    #[error("has a name that is not plain text")]
    Name,
    /// A name is used twice.
    #[error("has the same name twice")]
    Twice,
    /// There is an alias.
    #[error("has an alias (`*`): write the value out")]
    Alias,
}

/// A value. A key file holds a PIN, so text is wiped when it is dropped.
pub(super) enum Node {
    /// Nothing: `~`, `null`, or a missing value.
    Null,
    /// Text. A number or a boolean is text too, as Go reads them into a string.
    Scalar(Zeroizing<String>),
    /// A list.
    Sequence(Vec<Node>),
    /// Values by their name.
    Mapping(BTreeMap<String, Node>),
}

impl Node {
    /// Reads the first document, as Go does.
    ///
    /// # Errors
    ///
    /// What is wrong and on which line, without quoting the line.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > SIZE {
            return Err(Error::TooLarge);
        }
        let mut reader = Reader { parser: Parser::new_from_str(text), line: 1, nodes: 0 };
        loop {
            match reader.next()? {
                Event::DocumentStart(_) => {
                    let first = reader.next()?;
                    return reader.node(first, 0);
                }
                Event::StreamEnd => return Ok(Self::Null),
                _ => {}
            }
        }
    }

    /// The value with the name `name`, if this is a mapping that has one.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Mapping(values) => values.get(name),
            _ => None,
        }
    }

    /// The text. A null value is empty text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Null => Some(""),
            Self::Scalar(text) => Some(text),
            Self::Sequence(_) | Self::Mapping(_) => None,
        }
    }

    /// The items of a list. A null value is an empty list.
    pub(super) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Null => Some(&[]),
            Self::Sequence(items) => Some(items),
            Self::Scalar(_) | Self::Mapping(_) => None,
        }
    }

    /// The values of a mapping. A null value is an empty mapping.
    pub(super) fn values(&self) -> Option<impl Iterator<Item = (&String, &Self)>> {
        match self {
            Self::Null => Some(None.into_iter().flatten()),
            Self::Mapping(values) => Some(Some(values).into_iter().flatten()),
            Self::Scalar(_) | Self::Sequence(_) => None,
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    line: usize,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, Error> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => {
                self.line = error.marker().line();
                Err(self.refuse(Fault::NotYaml))
            }
            None => Err(self.refuse(Fault::CutOff)),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, Error> {
        self.nodes += 1;
        if depth > DEPTH || self.nodes > NODES {
            return Err(self.refuse(Fault::TooMuch));
        }
        match event {
            Event::Scalar(text, style, _, _) => Ok(match (&*text, style) {
                ("" | "~" | "null" | "Null" | "NULL", ScalarStyle::Plain) => Node::Null,
                _ => Node::Scalar(Zeroizing::new(text.into_owned())),
            }),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => return Ok(Node::Sequence(items)),
                        item => items.push(self.node(item, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut values = BTreeMap::new();
                loop {
                    let name = match self.next()? {
                        Event::MappingEnd => return Ok(Node::Mapping(values)),
                        Event::Scalar(name, ..) => name.into_owned(),
                        _ => return Err(self.refuse(Fault::Name)),
                    };
                    let line = self.line;
                    let value = self.next()?;
                    if values.insert(name, self.node(value, depth + 1)?).is_some() {
                        self.line = line;
                        return Err(self.refuse(Fault::Twice));
                    }
                }
            }
            Event::Alias(_) => Err(self.refuse(Fault::Alias)),
            _ => Err(self.refuse(Fault::NotYaml)),
        }
    }

    fn refuse(&self, fault: Fault) -> Error {
        Error::At { line: self.line, fault }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name() {
        let node = Node::parse("a:\n  b: 'x: y'\n  c: [1, two]\n  d:\n").expect("YAML");
        let a = node.get("a").expect("a");
        assert_eq!(a.get("b").and_then(Node::text), Some("x: y"));
        let items: Vec<_> = a.get("c").and_then(Node::items).expect("c").iter().collect();
        assert_eq!(items.iter().map(|n| n.text()).collect::<Vec<_>>(), [Some("1"), Some("two")]);
        assert_eq!(a.get("d").and_then(Node::text), Some(""));
        assert_eq!(a.get("d").and_then(Node::values).map(Iterator::count), Some(0));
    }

    #[test]
    fn the_first_document_counts() {
        let node = Node::parse("a: 1\n---\nb: 2\n").expect("YAML");
        assert!(node.get("a").is_some() && node.get("b").is_none());
        assert!(matches!(Node::parse(""), Ok(Node::Null)));
    }

    #[test]
    fn what_is_not_fit_is_refused_with_its_line() {
        let deep = format!("{}x{}", "[".repeat(DEPTH + 2), "]".repeat(DEPTH + 2));
        let wide = "- a\n".repeat(NODES + 1);
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n";
        for (text, expected) in [
            ("a: 1\nb: [\n", "is not YAML (line 3)"),
            ("a: 1\na: 2\n", "has the same name twice (line 2)"),
            ("? [a]\n: 1\n", "has a name that is not plain text (line 1)"),
            (bomb, "has an alias (`*`): write the value out (line 2)"),
            (&*deep, "is nested too deep or has too many values (line 1)"),
            (&*wide, "is nested too deep or has too many values (line 10000)"),
            (&*"a".repeat(SIZE + 1), "is larger than 1 MiB"),
        ] {
            let error = Node::parse(text).err();
            let error = error.map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some(expected), "{}", &text[..text.len().min(40)]);
        }
    }
}
