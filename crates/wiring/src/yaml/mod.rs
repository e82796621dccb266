//! YAML as a tree whose nodes know their bytes, and insertions that keep every other byte.
//!
//! ```text
//! env:                 mapping, block: its column is that of its first key
//!   - name: A          sequence, block: its column is that of its first dash
//!     value: "1"       scalar, quoted
//! args: [a, b]         sequence, flow: it begins with its bracket
//! ```
//!
//! Upstream: YAML 1.2.2; the events are granit-parser's (2.2), which serde-saphyr reads with too.

mod insert;
mod value;

use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, StructureStyle};

pub use insert::{Blocked, Insert};
pub use value::Value;

/// Nodes in nodes are read no deeper: a manifest has about ten levels.
const DEEPEST: usize = 100;

/// What was read of a text.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The roots of its documents, without those that are empty.
    pub documents: Vec<Node>,
    /// What could not be read; the document it stands in is left out.
    pub errors: Vec<SyntaxError>,
}

/// Something that is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SyntaxError {
    /// Where, from 1.
    pub line: usize,
    /// What the parser says.
    pub what: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it stands. A block's end is that of its last node.
    pub span: Range<usize>,
    /// Bytes between the beginning of its line and itself.
    pub column: usize,
    /// Whether an alias repeats it or something that it stands in.
    pub shared: bool,
    anchor: usize,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text, number, truth or nothing at all.
    Scalar {
        /// Its value, quotes and escapes resolved.
        value: String,
        /// How it is written.
        style: Style,
    },
    /// A list.
    Sequence {
        /// Whether it is written in brackets.
        flow: bool,
        /// In order.
        items: Vec<Node>,
    },
    /// Keys and values.
    Mapping {
        /// Whether it is written in braces.
        flow: bool,
        /// In order, with keys that stand there twice.
        entries: Vec<(Node, Node)>,
    },
    /// `*name`.
    Alias,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// In quotes.
    Quoted,
    /// `|` or `>`.
    Block,
}

impl Node {
    /// The value of a key; of two, the last, as most readers have it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// A key with its value.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        self.entries()
            .iter()
            .rev()
            .find(|(k, _)| k.text() == Some(key))
    }

    /// What is at the end of a path of keys.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The items of a sequence; none of all else.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Sequence { items, .. } => items,
            _ => &[],
        }
    }

    /// The entries of a mapping; none of all else.
    #[must_use]
    pub fn entries(&self) -> &[(Node, Node)] {
        match &self.kind {
            Kind::Mapping { entries, .. } => entries,
            _ => &[],
        }
    }

    /// Whether it is nothing: no text, `null` or `~`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { value, style: Style::Plain } if matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Whether another text has everything of this one, in the same order, and maybe more entries and
    /// items.
    #[must_use]
    pub fn is_kept_in(&self, other: &Node) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Mapping { entries: a, .. }, Kind::Mapping { entries: b, .. }) => {
                let mut later = b.iter();
                a.iter().all(|(key, value)| {
                    later.any(|(k, v)| key.is_kept_in(k) && value.is_kept_in(v))
                })
            }
            (Kind::Sequence { items: a, .. }, Kind::Sequence { items: b, .. }) => {
                let mut later = b.iter();
                a.iter().all(|item| later.any(|i| item.is_kept_in(i)))
            }
            (Kind::Scalar { value: a, .. }, Kind::Scalar { value: b, .. }) => a == b,
            (Kind::Alias, Kind::Alias) => true,
            // A key without a value may get one.
            _ => self.is_null(),
        }
    }

    fn share(&mut self, aliased: &[usize], above: bool) {
        self.shared = above || aliased.contains(&self.anchor);
        let shared = self.shared;
        match &mut self.kind {
            Kind::Mapping { entries, .. } => {
                for (key, value) in entries {
                    key.share(aliased, shared);
                    value.share(aliased, shared);
                }
            }
            Kind::Sequence { items, .. } => items.iter_mut().for_each(|i| i.share(aliased, shared)),
            Kind::Scalar { .. } | Kind::Alias => {}
        }
    }
}

/// Reads a text. What stands in a document that is no YAML is lost, the others are there.
#[must_use]
pub fn read(text: &str) -> Stream {
    let mut options = Options::default();
    options.emit_comments = false;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut stream = Stream::default();
    let mut reading = Reading::new(text);
    loop {
        match parser.next() {
            None => break,
            Some(Ok((event, span))) => {
                let Some(bytes) = span.byte_range() else {
                    continue;
                };
                if let Event::DocumentEnd = event {
                    stream.documents.extend(reading.finish());
                    continue;
                }
                if let Err(what) = reading.event(event, bytes) {
                    let line = span.start.line();
                    stream.errors.push(SyntaxError { line, what });
                    // What a reader gives up is read by nobody: the rest is not looked at.
                    return stream;
                }
            }
            Some(Err(error)) => {
                stream.errors.push(SyntaxError {
                    line: error.marker().line(),
                    what: error.info().to_owned(),
                });
                reading = Reading::new(text);
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    stream
}

/// A document while its events come.
struct Reading<'a> {
    text: &'a str,
    open: Vec<Node>,
    /// The key of each open mapping that waits for its value.
    keys: Vec<Option<Node>>,
    root: Option<Node>,
    aliased: Vec<usize>,
}

impl<'a> Reading<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            open: Vec::new(),
            keys: Vec::new(),
            root: None,
            aliased: Vec::new(),
        }
    }

    fn finish(&mut self) -> Option<Node> {
        let mut root = self.root.take();
        if let Some(root) = &mut root {
            root.share(&self.aliased, false);
        }
        self.aliased.clear();
        root.filter(|r| !r.is_null())
    }

    fn event(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), String> {
        match event {
            Event::Scalar(value, style, anchor, _) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                let value = value.into_owned();
                self.close(self.node(Kind::Scalar { value, style }, span, anchor));
            }
            Event::Alias(id) => {
                self.aliased.push(id);
                self.close(self.node(Kind::Alias, span, 0));
            }
            Event::SequenceStart(style, anchor, _) => {
                let flow = style == StructureStyle::Flow;
                self.open(
                    Kind::Sequence {
                        flow,
                        items: Vec::new(),
                    },
                    span,
                    anchor,
                )?;
            }
            Event::MappingStart(style, anchor, _) => {
                let flow = style == StructureStyle::Flow;
                self.open(
                    Kind::Mapping {
                        flow,
                        entries: Vec::new(),
                    },
                    span,
                    anchor,
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.keys.pop();
                if let Some(mut node) = self.open.pop() {
                    self.begin_at_dash(&mut node);
                    node.span.end = match &node.kind {
                        Kind::Sequence { flow: true, .. } | Kind::Mapping { flow: true, .. } => {
                            span.end
                        }
                        Kind::Sequence { items, .. } => {
                            items.last().map_or(node.span.end, |i| i.span.end)
                        }
                        Kind::Mapping { entries, .. } => entries
                            .last()
                            .map_or(node.span.end, |(k, v)| k.span.end.max(v.span.end)),
                        Kind::Scalar { .. } | Kind::Alias => node.span.end,
                    };
                    self.close(node);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A list as far left as its key begins at its first item, says the parser.
    fn begin_at_dash(&self, node: &mut Node) {
        if let Kind::Sequence { flow: false, items } = &node.kind
            && let Some(first) = items.first()
            && first.span.start <= node.span.start
            && let before = self.text[..first.span.start].trim_end()
            && before.ends_with('-')
        {
            let begun = self.node(Kind::Alias, before.len() - 1..before.len(), 0);
            node.column = begun.column;
            node.span.start = begun.span.start;
        }
    }

    fn node(&self, kind: Kind, span: Range<usize>, anchor: usize) -> Node {
        let line = self.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let bom = if line == 0 && self.text.starts_with('\u{feff}') {
            3
        } else {
            0
        };
        Node {
            kind,
            column: (span.start - line).saturating_sub(bom),
            span,
            shared: false,
            anchor,
        }
    }

    fn open(&mut self, kind: Kind, span: Range<usize>, anchor: usize) -> Result<(), String> {
        if self.open.len() == DEEPEST {
            return Err(format!("nodes in nodes are more than {DEEPEST} deep"));
        }
        let node = self.node(kind, span, anchor);
        self.open.push(node);
        self.keys.push(None);
        Ok(())
    }

    /// A node is whole: it goes into the one that it stands in.
    fn close(&mut self, node: Node) {
        let Some(above) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut above.kind {
            Kind::Sequence { items, .. } => items.push(node),
            Kind::Mapping { entries, .. } => match self.keys.last_mut().and_then(Option::take) {
                Some(key) => entries.push((key, node)),
                None => {
                    if let Some(key) = self.keys.last_mut() {
                        *key = Some(node);
                    }
                }
            },
            Kind::Scalar { .. } | Kind::Alias => {}
        }
    }
}

#[cfg(test)]
mod tests;
