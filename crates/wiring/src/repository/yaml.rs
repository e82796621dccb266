//! YAML as values with line numbers: aliases are what they stand for, what stands before an error is kept.
//! [`crate::yaml`] is for edits: it keeps bytes, and leaves a broken document alone.

use std::collections::HashMap;

use granit_parser::{Event, Parser};

/// Documents in one text, at most; templates of generators have some dozens.
const MOST_DOCUMENTS: usize = 2000;
/// Nodes that aliases may bring into one text, at most.
const MOST_COPIES: usize = 50_000;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// What could not be read: the line and why.
pub(super) type Broken = (usize, String);

impl Node {
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Through several keys.
    pub(super) fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    pub(super) fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The scalar of a key.
    pub(super) fn string(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Self::text)
    }

    pub(super) fn boolean(&self, key: &str) -> bool {
        self.string(key) == Some("true")
    }

    /// The strings of a list, or the one of a scalar.
    pub(super) fn strings(&self) -> Vec<String> {
        match &self.value {
            Value::Scalar(text) => vec![text.clone()],
            Value::List(items) => items
                .iter()
                .filter_map(Self::text)
                .map(str::to_owned)
                .collect(),
            Value::Map(_) => Vec::new(),
        }
    }
}

/// The documents of a text.
pub(super) fn documents(text: &str) -> (Vec<Node>, Vec<Broken>) {
    let mut parser = Parser::new_from_str(text);
    let mut documents = Vec::new();
    let mut broken = Vec::new();
    let mut builder = Builder::default();
    while documents.len() < MOST_DOCUMENTS {
        match parser.next_event() {
            None => break,
            Some(Ok((event, span))) => {
                if matches!(event, Event::DocumentEnd) {
                    documents.extend(builder.finish());
                } else {
                    builder.event(event, span.start.line());
                }
            }
            Some(Err(error)) => {
                broken.push((error.marker().line(), error.info()));
                documents.extend(builder.finish());
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    documents.extend(builder.finish());
    (documents, broken)
}

/// A list or a map that is not whole yet.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<String>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    whole: Option<Node>,
    anchors: HashMap<usize, Node>,
    copies: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::Scalar(text, _, anchor, _) => {
                let node = Node {
                    line,
                    value: Value::Scalar(text.into_owned()),
                };
                self.anchor(anchor, &node);
                self.put(node);
            }
            Event::SequenceStart(_, anchor, _) => self.begin(line, Value::List(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => self.begin(line, Value::Map(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                self.copies += node.as_ref().map_or(0, size);
                if let Some(node) = node.filter(|_| self.copies < MOST_COPIES) {
                    self.put(node);
                } else {
                    self.put(Node {
                        line,
                        value: Value::Scalar(String::new()),
                    });
                }
            }
            _ => {}
        }
    }

    fn anchor(&mut self, anchor: usize, node: &Node) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn begin(&mut self, line: usize, value: Value, anchor: usize) {
        self.open.push(Open {
            node: Node { line, value },
            anchor,
            key: None,
        });
    }

    fn end(&mut self) {
        if let Some(open) = self.open.pop() {
            self.anchor(open.anchor, &open.node);
            self.put(open.node);
        }
    }

    fn put(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.whole.get_or_insert(node);
            return;
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                None => open.key = Some(node.text().unwrap_or_default().to_owned()),
                Some(key) if key == "<<" => {
                    let merged = match node.value {
                        Value::Map(merged) => merged,
                        Value::List(maps) => {
                            maps.iter().flat_map(|m| m.entries().to_vec()).collect()
                        }
                        Value::Scalar(_) => Vec::new(),
                    };
                    entries.extend(merged);
                }
                Some(key) => {
                    // What is said here goes before what was merged in.
                    entries.retain(|(k, _)| *k != key);
                    entries.push((key, node));
                }
            },
            Value::Scalar(_) => {}
        }
    }

    /// What there is of the document, and an empty one for the next.
    fn finish(&mut self) -> Option<Node> {
        while !self.open.is_empty() {
            self.end();
        }
        let whole = self.whole.take();
        *self = Self::default();
        whole
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, v)| size(v)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_anchors_and_what_stands_before_an_error() {
        let text = "a: &x\n  b: 1\nc:\n  <<: *x\n  d: [2, '3']\n---\ne: 1\n f: 2\n---\ng: 4\n";
        let (documents, broken) = documents(text);
        assert_eq!(documents[0].at(&["c", "b"]).and_then(Node::text), Some("1"));
        assert_eq!(
            documents[0].at(&["c", "d"]).map(Node::strings),
            Some(vec!["2".into(), "3".into()])
        );
        assert_eq!(documents[0].at(&["c", "d"]).map(|n| n.line), Some(5));
        assert_eq!(broken.len(), 1);
        assert_eq!(documents.last().and_then(|d| d.string("g")), Some("4"));
    }
}
